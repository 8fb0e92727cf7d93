// The pages work without this file. It keeps them live, and adds keys, sorting
// and copying.
'use strict';
(() => {
  const $ = (id) => document.getElementById(id);
  const skew = Date.parse(document.body.dataset.now) - Date.now(); // of the browser's clock
  const now = () => Date.now() + skew;

  // Times that say how long ago something was.
  const span = (ms) => {
    const s = ms / 1000;
    if (s < 60) return Math.floor(s) + ' s';
    if (s < 3600) return Math.floor(s / 60) + ' min';
    if (s < 172800) return Math.floor(s / 3600) + ' h';
    return Math.floor(s / 86400) + ' d';
  };
  const put = (el, text) => { if (el.textContent !== text) el.textContent = text; };
  const clocks = () => {
    for (const el of document.querySelectorAll('time[data-ago]')) {
      const d = now() - Date.parse(el.dateTime);
      put(el, d < -1000 ? 'in ' + span(-d) : d < 1000 ? 'now' : span(d) + ' ago');
    }
    for (const el of document.querySelectorAll('time[data-left]')) {
      const d = Date.parse(el.dateTime) - now();
      put(el, d > 0 ? span(d) + ' left' : 'over');
    }
  };
  setInterval(clocks, 1000);

  // A narrow screen shows a part of the navigation: the one that says where we are.
  const where = () => document.querySelector('.top [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  where();
  addEventListener('resize', where);

  // Tables: sort by a column, copy as CSV. Both survive a live update.
  const orders = new Map();
  const value = (row, i) => {
    const cell = row.cells[i];
    if (!cell) return '';
    const at = cell.querySelector('time');
    return at ? at.dateTime : cell.textContent.trim();
  };
  const number = (s) => {
    const m = s.replace(/[,\s]/g, '').replace('−', '-').match(/^-?[\d.]+/);
    return m ? parseFloat(m[0]) : NaN;
  };
  const sort = (table, i, down) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => {
      const x = value(a, i), y = value(b, i), p = number(x), q = number(y);
      const c = !x.includes('T') && !isNaN(p) && !isNaN(q) ? p - q : x.localeCompare(y);
      return down ? -c : c;
    });
    body.append(...rows);
    [...table.tHead.rows[0].cells].forEach((th, k) => {
      if (k === i) th.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      else th.removeAttribute('aria-sort');
    });
  };
  const csv = (table) => [...table.rows].map((row) => [...row.cells]
    .map((c) => '"' + (c.querySelector('time') ? value(row, c.cellIndex) : c.textContent.trim().replace(/\s+/g, ' ')).replace(/"/g, '""') + '"')
    .join(',')).join('\n');
  const tables = (root) => {
    for (const table of root.querySelectorAll('table[data-sort]')) {
      const key = table.closest('.part').id;
      [...table.tHead.rows[0].cells].forEach((th, i) => {
        if (!th.textContent.trim()) return;
        th.dataset.key = i;
        th.tabIndex = 0;
        const turn = () => {
          const was = orders.get(key);
          orders.set(key, { i, down: was && was.i === i ? !was.down : false });
          sort(table, i, orders.get(key).down);
        };
        th.addEventListener('click', turn);
        th.addEventListener('keydown', (e) => { if (e.key === 'Enter') turn(); });
      });
      if (navigator.clipboard) {
        const copy = document.createElement('button');
        copy.className = 'plain small copy';
        copy.textContent = 'Copy as CSV';
        copy.addEventListener('click', async () => {
          await navigator.clipboard.writeText(csv(table));
          copy.textContent = 'Copied';
        });
        table.closest('.scroll').before(copy);
      }
      const o = orders.get(key);
      if (o) sort(table, o.i, o.down);
    }
  };
  tables(document);

  // Live parts: replaced by id. What a person is writing in is left alone.
  const pulse = $('pulse'), text = $('pulse-text');
  const replace = (part) => {
    const el = $(part.id);
    if (!el) { location.reload(); return; }
    const typing = el.contains(document.activeElement) && document.activeElement.matches('input, select');
    if (typing || [...el.querySelectorAll('input')].some((i) => i.value !== i.defaultValue)) return;
    const open = [...el.querySelectorAll('details')].map((d) => d.open);
    el.innerHTML = part.html; // rendered and escaped by the server
    [...el.querySelectorAll('details')].forEach((d, i) => { d.open = !!open[i]; });
    tables(el);
  };
  let last = 0, source = null;
  const cut = () => {
    if (!pulse) return;
    pulse.className = 'pulse cut';
    text.textContent = 'not live' + (last ? ' since ' + new Date(last).toISOString().slice(11, 19) + ' UTC' : '');
  };
  const connect = () => {
    source = new EventSource('/live' + document.body.dataset.live);
    source.addEventListener('part', (e) => replace(JSON.parse(e.data)));
    source.addEventListener('tick', (e) => {
      last = Date.parse(e.data);
      pulse.className = 'pulse live';
      text.textContent = 'as of ' + e.data.slice(11, 19) + ' UTC';
    });
    source.addEventListener('gone', () => { source.close(); cut(); });
    source.addEventListener('error', () => {
      cut();
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 10000);
    });
  };
  if (pulse && document.body.dataset.live) {
    connect();
    setInterval(() => { if (last && now() - last > 5000) cut(); }, 1000);
    addEventListener('pagehide', () => source.close());
    addEventListener('pageshow', (e) => { if (e.persisted) connect(); });
  }

  // Keys.
  const places = { o: '/', s: '/services', r: '/rollouts', t: '/strategies', m: '/models', d: '/decisions', g: '/gates', e: '/exceptions', c: '/coverage', k: '/keys', l: '/log' };
  let going = 0;
  addEventListener('keydown', (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || (e.target instanceof Element && e.target.matches('input, select'))) return;
    if (e.key === '/') {
      document.querySelector('.search input').focus();
      e.preventDefault();
    } else if (e.key === '?') {
      if (!$('keys').open) $('keys').showModal();
    } else if (Date.now() - going < 1500 && places[e.key]) {
      location.href = places[e.key];
    } else if (e.key === 'g') {
      going = Date.now();
    }
  });
})();
