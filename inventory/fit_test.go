package inventory_test

import (
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/inventory"
	"assay.dev/assay/store/mem"
)

func TestNamesThatOthersChoseAreMadeToFit(t *testing.T) {
	long := strings.Repeat("n", inventory.MaxName)
	image := strings.Repeat("i", inventory.MaxImage)
	d := assay.Digest("sha256:" + strings.Repeat("a", 64))
	for name, c := range map[string]struct {
		in   inventory.Sighting
		want string // beginning of the service, image and digest
	}{
		"short names stay":                     {inventory.Sighting{Service: "web", Place: "shop", Image: "r/web:1"}, "web r/web:1 "},
		"the longest name stays":               {inventory.Sighting{Service: long, Image: image}, long + " " + image + " "},
		"a longer one is cut":                  {inventory.Sighting{Service: long + "1", Image: "i"}, long[:187] + "~"},
		"between letters":                      {inventory.Sighting{Service: strings.Repeat("é", 101), Image: "i"}, strings.Repeat("é", 93) + "~"},
		"a place too":                          {inventory.Sighting{Service: "s", Place: long + "1", Image: "i"}, "s i "},
		"a long image with a digest":           {inventory.Sighting{Service: "s", Image: image + "1", Digest: d}, "s  " + string(d)},
		"a long image that is pinned":          {inventory.Sighting{Service: "s", Image: image + "@" + string(d)}, "s  " + string(d)},
		"a long image without a digest":        {inventory.Sighting{Service: "s", Image: image + "1"}, "s " + image[:487] + "~"},
		"a pin that is no digest":              {inventory.Sighting{Service: "s", Image: "r/a@sha512:00"}, "s r/a "},
		"what cannot be printed":               {inventory.Sighting{Service: " a\x00b\xff ", Image: "i"}, "a\uFFFDb\uFFFD i "},
		"a pin that is no digest beside one":   {inventory.Sighting{Service: "s", Image: "r/a@sha512:00", Digest: d}, "s r/a " + string(d)},
		"a pin that is a digest is left alone": {inventory.Sighting{Service: "s", Image: "r/a@" + string(d)}, "s r/a@" + string(d) + " "},
	} {
		t.Run(name, func(t *testing.T) {
			g := inventory.Fit(c.in)
			if got := g.Service + " " + g.Image + " " + string(g.Digest); !strings.HasPrefix(got, c.want) {
				t.Errorf("it is %q, want %q", got, c.want)
			}
			s := mem.New(mem.Config{Now: func() time.Time { return start }})
			r := inventory.Report{Namespace: "default", Actor: "a", Source: "s", Environment: "prod", Complete: true, Sightings: []inventory.Sighting{g}}
			if _, err := inventory.Push(t.Context(), s, r, start); err != nil {
				t.Errorf("Push does not take it: %v", err)
			}
		})
	}
	one, two := inventory.Fit(inventory.Sighting{Service: long + "1"}), inventory.Fit(inventory.Sighting{Service: long + "2"})
	if one.Service == two.Service || len(one.Service) != inventory.MaxName {
		t.Errorf("two services became %q and %q", one.Service, two.Service)
	}
}
