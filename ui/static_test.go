package ui_test

import (
	"math"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/ui"
)

func ruleScope(rules ...string) assay.ExceptionScope { return assay.ExceptionScope{Rules: rules} }

func TestStaticFilesAreKeptForEverUnderTheirHash(t *testing.T) {
	w := empty(t, nil)
	page := w.get("/login").Body.String()
	for _, name := range []string{"app", "mark"} {
		found := regexp.MustCompile(`"(/static/`+name+`\.[0-9a-f]{12}\.[a-z]+)"`).FindAllStringSubmatch(page, -1)
		if len(found) == 0 {
			t.Fatalf("the page does not name %s", name)
		}
		for _, f := range found {
			rec := w.get(f[1])
			if rec.Code != http.StatusOK || rec.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" || rec.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: %d, %q", f[1], rec.Code, rec.Header().Get("Cache-Control"))
			}
		}
	}
	if rec := w.get("/static/app.css"); rec.Code != http.StatusNotFound || rec.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("without a hash: %d", rec.Code)
	}
}

// colours are the CSS variables of one scheme.
func colours(t *testing.T, css string) map[string][3]float64 {
	t.Helper()
	out := map[string][3]float64{}
	for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(css, -1) {
		var rgb [3]float64
		for i := range rgb {
			v, err := strconv.ParseUint(m[2][2*i:2*i+2], 16, 8)
			must(t, err)
			rgb[i] = float64(v) / 255
		}
		out[m[1]] = rgb
	}
	return out
}

// luminance is that of WCAG 2.
func luminance(c [3]float64) float64 {
	var lin [3]float64
	for i, v := range c {
		if v <= 0.04045 {
			lin[i] = v / 12.92
		} else {
			lin[i] = math.Pow((v+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*lin[0] + 0.7152*lin[1] + 0.0722*lin[2]
}

func contrast(a, b [3]float64) float64 {
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// Text needs 4.5 to 1 and pictures 3 to 1 on what they are drawn on (WCAG 2 AA), in
// both schemes.
func TestColoursCanBeRead(t *testing.T) {
	css, err := os.ReadFile("static/app.css")
	must(t, err)
	light, dark, ok := strings.Cut(string(css), "@media screen and (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("there is no dark scheme")
	}
	dark, _, _ = strings.Cut(dark, "}\n}")
	for scheme, css := range map[string]string{"light": light, "dark": dark} {
		c := colours(t, css)
		if len(c) < 25 {
			t.Fatalf("%s has %d colours", scheme, len(c))
		}
		check := func(least float64, front string, backs ...string) {
			for _, back := range backs {
				if got := contrast(c[front], c[back]); got < least {
					t.Errorf("%s: %s on %s is %.2f to 1; expected %.1f", scheme, front, back, got, least)
				}
			}
		}
		check(4.5, "text", "bg", "surface", "raised")
		check(4.5, "dim", "bg", "surface", "raised")
		check(4.5, "accent", "bg", "surface", "raised")
		check(4.5, "on-accent", "accent")
		for _, state := range []string{"ok", "warn", "bad", "active", "unknown"} {
			check(4.5, state+"-ink", "surface", "raised", state+"-soft")
		}
		check(4.5, "text", "active-soft")
		check(3, "ok", "surface")
		check(3, "bad", "surface")
		check(3, "active", "surface")
		check(3, "canary", "surface")
		check(3, "control", "surface")
	}
}

func TestAMessageBecomesASentenceInAnyAlphabet(t *testing.T) {
	for in, want := range map[string]string{
		"":               "",
		"it is not so":   "It is not so.",
		"état inconnu":   "État inconnu.",
		"ожидание":       "Ожидание.",
		"\"x\" is what?": "\"x\" is what?",
		"…":              "….",
	} {
		if got := ui.Sentence(in); got != want {
			t.Errorf("%q became %q; want %q", in, got, want)
		}
	}
}
