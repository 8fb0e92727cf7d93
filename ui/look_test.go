package ui_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.dev/assay/api"
	"assay.dev/assay/internal/testenv"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// screens are the widths and heights that pages are looked at in.
var screens = []struct{ width, height int64 }{{1440, 900}, {390, 844}}

// TestPagesLookRight opens every page in a real browser, wide and narrow, light
// and dark, and as it is printed: nothing is wider than the screen, and the console stays
// empty. With ASSAY_SCREENSHOTS it keeps the pictures in that folder.
func TestPagesLookRight(t *testing.T) {
	testenv.Tool(t, "chromium", chromiumFrom)
	w := busy(t)
	none := empty(t, viewer)
	srv, bare := serve(t, w), serve(t, none)
	pages := map[string]string{
		"empty-overview": bare + "/", "empty-coverage": bare + "/coverage", "empty-exceptions": bare + "/exceptions", "empty-gates": bare + "/gates", "not-found": srv + "/nowhere", "verification": srv + "/log" + pressVerify,
	}
	for name, path := range w.addresses() {
		pages[name] = srv + path
	}
	browser, seen := browse(t)
	for name, address := range pages {
		t.Run(name, func(t *testing.T) {
			seen.forget(name == "not-found")
			open(t, browser, address)
			for _, screen := range screens {
				for _, scheme := range []string{"light", "dark"} {
					t.Run(fmt.Sprintf("%d-%s", screen.width, scheme), func(t *testing.T) {
						look(t, browser, screen.width, screen.height, scheme)
						keep(t, browser, fmt.Sprintf("%s-%d-%s", name, screen.width, scheme), screen.width, screen.height)
					})
				}
			}
			t.Run("printed", func(t *testing.T) {
				printed(t, browser)
				keep(t, browser, name+"-print", a4, 1000)
				onScreen(t, browser)
			})
			for _, line := range seen.lines() {
				t.Errorf("console: %s", line)
			}
		})
	}
}

// a4 is how many pixels paper has between its margins.
const a4 = 720

// printed checks the page that is open as it comes on paper. Paper does not scroll, is white,
// and is read later: nothing is cut off, dark text stays dark whatever the screen of who
// prints, and times are times of a day.
func printed(t *testing.T, browser context.Context) {
	t.Helper()
	must(t, chromedp.Do(browser, chromedp.EmulateViewport(a4, 1000)))
	_, err := chromedp.Call(browser, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print", Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
	must(t, err)
	if !evaluate[bool](t, browser, fmt.Sprintf(`innerWidth === %d && matchMedia("print").matches`, a4)) {
		t.Error("the browser does not show the page as it is printed")
	}
	if cut := evaluate[string](t, browser, `[...document.querySelectorAll("main table")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.innerText.slice(0, 60) + " …: " + Math.round(e.getBoundingClientRect().right)).join("; ")`); cut != "" {
		t.Errorf("these are wider than the paper of %d pixels: %s", a4, cut)
	}
	if light := evaluate[string](t, browser, `getComputedStyle(document.body).color`); light != "rgb(20, 24, 29)" {
		t.Errorf("the text is printed in %s", light)
	}
	if ago := evaluate[int](t, browser, `[...document.querySelectorAll("main time[data-ago]")].filter(e => getComputedStyle(e).fontSize !== "0px" || !/\d{4}-\d\d-\d\d/.test(getComputedStyle(e, "::after").content + e.title)).length`); ago > 0 {
		t.Errorf("%d times are told by how long ago they were", ago)
	}
}

// onScreen ends what printed set: buttons are not printed, and could not be pressed.
func onScreen(t *testing.T, browser context.Context) {
	t.Helper()
	_, err := chromedp.Call(browser, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{})
	must(t, err)
}

const chromiumFrom = "apt-get install chromium"

// browse starts a browser that ends with the test.
func browse(t *testing.T) (context.Context, *console) {
	t.Helper()
	chromium := testenv.Tool(t, "chromium", chromiumFrom)
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.Flag("hide-scrollbars", true))
	alloc, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancel)
	browser, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	browser, cancel = context.WithTimeout(browser, 4*time.Minute)
	t.Cleanup(cancel)
	return browser, watchConsole(browser)
}

// What happens is seen on an open page without a reload, what somebody is typing
// stays, and keys work.
func TestAnOpenPageFollowsWhatHappens(t *testing.T) {
	browser, seen := browse(t)
	w := empty(t, viewer)
	address := serve(t, w)
	must(t, chromedp.Do(browser, chromedp.Navigate(address+"/exceptions"), chromedp.WaitReady(chromedp.CSS("#pulse.live"))))
	_, err := w.As("ada", namespace, api.RoleDeveloper).RequestException(t.Context(), api.ExceptionRequest{
		Scope: ruleScope("ship/no-critical"), Reason: "the fix is being tested", NotAfter: w.Now().Add(time.Hour),
	})
	must(t, err)
	eventually := func(what, expression string) {
		t.Helper()
		if _, err := chromedp.Run(browser, chromedp.Poll[bool](expression)); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	eventually("the request shows", `document.querySelector('#waiting .exception')?.innerText.includes('the fix is being tested')`)
	eventually("/ goes to the search", `(document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '/', bubbles: true})), document.activeElement.name === 'q')`)
	must(t, chromedp.Do(browser, chromedp.Navigate(address+"/"), chromedp.WaitReady(chromedp.CSS("#pulse.live"))))
	eventually("? lists the keys", `(document.getElementById('keys').open || document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '?', bubbles: true})), document.getElementById('keys').open)`)
	for _, line := range seen.lines() {
		t.Errorf("console: %s", line)
	}
}

func serve(t *testing.T, w *town) string {
	t.Helper()
	srv := httptest.NewServer(w.handler)
	t.Cleanup(func() {
		must(t, srv.Config.Shutdown(context.Background())) // ends the streams, which Close would wait for
		srv.Close()
	})
	return srv.URL
}

// stickingOut names the cards that something sticks out of. Pictures may: their
// labels stand in the card's padding.
const stickingOut = `[...document.querySelectorAll('.card')].filter((card) => {
	if (getComputedStyle(card).overflowX !== 'visible') return false;
	const edge = card.getBoundingClientRect().right;
	return [...card.querySelectorAll('p, table, form, dl, ul')].some((e) => e.getBoundingClientRect().right > edge && !e.closest('.scroll'));
}).map((card) => card.closest('.part').id).join(', ')`

// pressVerify stands behind the address of a page whose first verify button is pressed.
const pressVerify = "#press-verify"

// open goes to a page and waits until it is live.
func open(t *testing.T, browser context.Context, address string) {
	t.Helper()
	must(t, chromedp.Do(browser, chromedp.Navigate(address), chromedp.WaitReady(chromedp.CSS("#pulse.live, body:not([data-live])"))))
	if strings.HasSuffix(address, pressVerify) {
		_, err := chromedp.RunResponse(browser, chromedp.Click(chromedp.CSS(`form[action="/log/verification"] button`)))
		must(t, err)
	}
}

// look makes the page that is open as wide as a screen and checks that all of it fits.
func look(t *testing.T, browser context.Context, width, height int64, scheme string) {
	t.Helper()
	must(t, chromedp.Do(browser, chromedp.EmulateViewport(width, height)))
	_, err := chromedp.Call(browser, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	must(t, err)
	if got := evaluate[bool](t, browser, fmt.Sprintf(`innerWidth === %d && matchMedia("screen and (prefers-color-scheme: %s)").matches`, width, scheme)); !got {
		t.Errorf("the browser does not show the page %d pixels wide in %s", width, scheme)
	}
	if wide := evaluate[int64](t, browser, `Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)`); wide > width {
		t.Errorf("is %d pixels wide on a screen of %d", wide, width)
	}
	// Whoever is signed in, and may have a long name. These pages are seen without a token.
	const cutOff = `(() => {
		const top = document.querySelector(".top"), who = document.querySelector(".who");
		if (!top) return 0;
		const was = who.innerHTML;
		who.querySelector("a, form")?.remove();
		who.insertAdjacentHTML("beforeend", '<form><span class="name">platform-on-call-rotation</span><button class="plain">Sign out</button></form>');
		const menu = top.querySelector("nav");
		const cut = Math.max(menu.scrollWidth - menu.clientWidth, top.scrollWidth - top.clientWidth);
		who.innerHTML = was;
		return cut;
	})()`
	if cut := evaluate[int64](t, browser, cutOff); width > 1000 && cut > 0 {
		t.Errorf("%d pixels of the menu are not seen on a screen of %d", cut, width)
	}
	if out := evaluate[string](t, browser, stickingOut); out != "" {
		t.Errorf("these stick out of their cards: %s", out)
	}
}

func evaluate[T any](t *testing.T, browser context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(browser, chromedp.Evaluate[T](expression))
	must(t, err)
	return v
}

// keep takes a picture of the page, if somebody wants to look at it.
func keep(t *testing.T, browser context.Context, name string, width, height int64) {
	t.Helper()
	dir := os.Getenv("ASSAY_SCREENSHOTS")
	if dir == "" {
		return
	}
	tall := evaluate[float64](t, browser, `document.documentElement.scrollHeight`)
	shot, err := chromedp.Call(browser, page.CaptureScreenshot, page.CaptureScreenshotParams{
		CaptureBeyondViewport: new(true), Clip: &page.Viewport{Width: float64(width), Height: min(max(tall, float64(height)), 6000), Scale: 1},
	})
	must(t, err)
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, name+".png"), shot.Data, 0o644))
}

// console is what the browser complained about.
type console struct {
	mu       sync.Mutex
	said     []string
	notFound bool // the page is meant to be missing
}

// watchConsole collects what the browser complains about until ctx ends.
func watchConsole(ctx context.Context) *console {
	c := &console{}
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			c.mu.Lock()
			missing := c.notFound && strings.Contains(m.Text, "404")
			if !missing && (m.IsException() || m.Type == "error" || m.Type == "warning") {
				c.said = append(c.said, m.String())
			}
			c.mu.Unlock()
		}
	}()
	return c
}

func (c *console) forget(notFound bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said, c.notFound = nil, notFound
}

func (c *console) lines() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said
}
