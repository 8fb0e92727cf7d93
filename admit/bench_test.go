package admit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"assay.dev/assay/admit"
	"assay.dev/assay/attest"
)

// BenchmarkReview is what the webhook itself does for a review of a pod with two
// images, without the network: of images whose signatures were verified before, of
// images that are new to the cache each time, and a denial.
func BenchmarkReview(b *testing.B) {
	const images = 64
	w := newWorld(b)
	for i := range images {
		w.attest(web(fmt.Sprint("good", i)))
	}
	h := admit.Handler(w.door)
	bodies := func(image func(i int) string) [][]byte {
		var all [][]byte
		for i := range images {
			object := fmt.Sprintf(`{"metadata":{"generateName":"web-"},"spec":{"containers":[{"name":"a","image":%q,"resources":{"limits":{"cpu":"1"}}},{"name":"b","image":%q}]}}`,
				image(i), image((i+1)%images))
			all = append(all, review("CREATE", "", "Pod", "", object, ""))
		}
		return all
	}
	good := func(i int) string { return web(fmt.Sprint("good", i)) }
	for _, c := range []struct {
		name    string
		image   func(i int) string
		cache   int
		allowed bool
	}{
		{"verified before", good, 8 << 20, true},
		{"verified now", good, 1, true},
		{"denied", func(i int) string { return web(fmt.Sprint("bad", i)) }, 1, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			w.trust.Cache = attest.NewCache(c.cache)
			all := bodies(c.image)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r := httptest.NewRequest(http.MethodPost, strings.Replace(reviewPath, "300ms", "250ms", 1), bytes.NewReader(all[i%images]))
				r.Header.Set("Content-Type", "application/json")
				a := httptest.NewRecorder()
				h.ServeHTTP(a, r)
				var got struct{ Response struct{ Allowed bool } }
				if err := json.Unmarshal(a.Body.Bytes(), &got); err != nil || got.Response.Allowed != c.allowed {
					b.Fatalf("%s %v", a.Body, err)
				}
			}
		})
	}
}
