package posix_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/ledger"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"
)

func serve(t *testing.T, f *fixture) *httptest.Server {
	t.Helper()
	d, err := ledger.OpenDir(ledger.EpochDir(f.data, 0))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.StripPrefix("/ledger", ledger.Handler(d.FS())))
	t.Cleanup(func() {
		srv.Close()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return srv
}

// get does not clean the path, as a hostile client would not.
func get(t *testing.T, srv *httptest.Server, method, path string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = "//" + req.URL.Host + path
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

const immutable = "public, max-age=31536000, immutable"

// tilePaths are what a ledger of 70,000 leaves answers; size -1 is any.
var tilePaths = map[string]struct {
	status, size int
	cache        string
}{
	"/checkpoint":               {200, -1, "no-cache"},
	"/tile/0/000":               {200, 8192, immutable},
	"/tile/0/272":               {200, 8192, immutable},
	"/tile/0/273.p/112":         {200, 112 * 32, immutable},
	"/tile/1/000":               {200, 8192, immutable},
	"/tile/1/001.p/17":          {200, 17 * 32, immutable},
	"/tile/2/000.p/1":           {200, 32, immutable},
	"/tile/entries/000":         {200, -1, immutable},
	"/tile/entries/272":         {200, -1, immutable},
	"/tile/entries/273.p/112":   {200, -1, immutable},
	"/tile/0/273":               {404, -1, "no-cache"},
	"/tile/0/273.p/113":         {404, -1, "no-cache"},
	"/tile/0/274.p/1":           {404, -1, "no-cache"},
	"/tile/1/001.p/18":          {404, -1, "no-cache"},
	"/tile/3/000.p/1":           {404, -1, "no-cache"},
	"/tile/0/x001/000":          {404, -1, "no-cache"},
	"/tile/0/x001/x234/067":     {404, -1, "no-cache"},
	"/tile/63/000":              {404, -1, "no-cache"},
	"/tile/64/000":              {404, -1, ""},
	"/tile/0/0":                 {404, -1, ""},
	"/tile/00/000":              {404, -1, ""},
	"/tile/0/x000/000":          {404, -1, ""},
	"/tile/0/273.p/0":           {404, -1, ""},
	"/tile/0/273.p/256":         {404, -1, ""},
	"/tile/0/273.p/0112":        {404, -1, ""},
	"/tile/0/":                  {404, -1, ""},
	"/tile/0/000/":              {404, -1, ""},
	"/tile/0/..%2f..%2f.state":  {404, -1, ""},
	"/tile/../.state/treeState": {404, -1, ""},
	"/.state/treeState":         {404, -1, ""},
	"/.assay.lock":              {404, -1, ""},
	"/":                         {404, -1, ""},
	"/checkpoint/":              {404, -1, ""},
	"/%2e%2e/epoch-0.head":      {404, -1, ""},
}

// The numbers are those of the C2SP example in contracts: 70,000 leaves make 273
// full tiles and one of width 112 at level 0, one full and one of 17 at level 1, and
// one of width 1 at level 2.
func TestHTTPServesTheTilesOfC2SP(t *testing.T) {
	f := newFixture(t)
	tree, err := f.opener(t)(t.Context(), accept)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < 70000; n += 1000 {
		if _, err := tree.Append(t.Context(), numbered(n, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	srv := serve(t, f)
	for path, c := range tilePaths {
		resp, b := get(t, srv, http.MethodGet, "/ledger"+path)
		if resp.StatusCode != c.status || c.size >= 0 && len(b) != c.size || resp.Header.Get("Cache-Control") != c.cache {
			t.Errorf("%s: status %d, %d bytes, cache %q; want %+v", path, resp.StatusCode, len(b), resp.Header.Get("Cache-Control"), c)
		}
		want := "text/plain; charset=utf-8"
		if c.status == 200 && path != "/checkpoint" {
			want = "application/octet-stream"
		}
		if got := resp.Header.Get("Content-Type"); got != want {
			t.Errorf("%s: content type %q, want %q", path, got, want)
		}
		h, hb := get(t, srv, http.MethodHead, "/ledger"+path)
		if h.StatusCode != c.status || len(hb) != 0 {
			t.Errorf("HEAD %s: status %d, %d bytes", path, h.StatusCode, len(hb))
		}
		if p, _ := get(t, srv, http.MethodPost, "/ledger"+path); p.StatusCode != http.StatusMethodNotAllowed || p.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("POST %s: status %d", path, p.StatusCode)
		}
	}
}

func TestTesseraClientReadsOurLedgerOverHTTP(t *testing.T) {
	f := newFixture(t)
	var ids []assay.FactID
	for range 3 {
		ids = append(ids, f.commit(t, 111)...)
		f.run(t, ids[len(ids)-1])
	}
	srv := serve(t, f)
	u, err := url.Parse(srv.URL + "/ledger/")
	if err != nil {
		t.Fatal(err)
	}
	fetcher, err := client.NewHTTPFetcher(u, srv.Client())
	if err != nil {
		t.Fatal(err)
	}
	_, v := f.keys(t, assay.DefaultOrigin)
	cp, _, _, err := client.FetchCheckpoint(t.Context(), fetcher.ReadCheckpoint, v, assay.DefaultOrigin)
	if err != nil || cp.Size != 333 {
		t.Fatalf("checkpoint %+v, %v", cp, err)
	}
	pb, err := client.NewProofBuilder(t.Context(), cp.Size, fetcher.ReadTile)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []uint64{0, 255, 256, 332} {
		b, err := client.GetEntryBundle(t.Context(), fetcher.ReadEntryBundle, i/256, cp.Size)
		if err != nil {
			t.Fatal(err)
		}
		hashes, err := pb.InclusionProof(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		if err := ledger.VerifyInclusion(i, cp.Size, rfc6962.DefaultHasher.HashLeaf(b.Entries[i%256]), hashes, cp.Hash); err != nil {
			t.Errorf("leaf %d: %v", i, err)
		}
	}
}

func TestOurReaderAuditsALedgerOverHTTP(t *testing.T) {
	f := newFixture(t)
	ids := f.commit(t, 600)
	f.run(t, ids[599])
	srv := serve(t, f)
	r, err := ledger.OpenURL(srv.URL+"/ledger", srv.Client())
	if err != nil {
		t.Fatal(err)
	}
	_, v := f.keys(t, assay.DefaultOrigin)
	l, err := ledger.New(f.store, salt, []ledger.Epoch{{Origin: assay.DefaultOrigin, Reader: r, Verifier: v}})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := l.Audit(t.Context(), ledger.AuditOptions{Fsck: true})
	if err != nil || !rep.OK || rep.Epochs[0].Size != 600 {
		t.Errorf("report %+v, %v", rep, err)
	}
	path := filepath.Join(ledger.EpochDir(f.data, 0), "tile", "0", "001")
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte{1}, 9000), 0o644); err != nil {
		t.Fatal(err)
	}
	rep, err = l.Audit(t.Context(), ledger.AuditOptions{Fsck: true})
	if err != nil || rep.OK || !strings.Contains(strings.Join(rep.Problems, "\n"), "tile/0/001") {
		t.Errorf("report over the tampered tile %+v, %v", rep, err)
	}
	for _, bad := range []string{"", "ftp://x/", "http://", "http://x/?q=1", "/path", "http://x/#f", "\x00"} {
		if _, err := ledger.OpenURL(bad, srv.Client()); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("OpenURL(%q) = %v, want invalid", bad, err)
		}
	}
}
