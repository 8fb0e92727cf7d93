package enforce

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// Limits of a route's rules.
const (
	// MaxMatches is the number of match rules of one route.
	MaxMatches = 16
	// MaxMatchValue is the length of a value that a match rule wants, in bytes.
	MaxMatchValue = 256
)

// Match sends the requests that carry a header or cookie with a value to one
// version, whatever the shares are: an A/B test, or people who try the new version
// first. The first rule that matches wins.
type Match struct {
	Header  string `json:"header,omitempty"` // name; either Header or Cookie
	Cookie  string `json:"cookie,omitempty"` // name
	Value   string `json:"value"`            // compared byte by byte
	Version string `json:"version"`
}

// Mirror copies requests to a version and throws its answers away. A copy is sent
// after the client was answered, so that it can neither slow nor fail the request;
// copies that the proxy has no room for are dropped and counted.
type Mirror struct {
	Version string `json:"version"` // that gets the copies
	Percent int    `json:"percent"` // of the route's requests to its other versions, 1 to 100
	// Methods that are copied; GET and HEAD if there are none. A copy does what the
	// request does, a second time: name others only where the new version has a
	// store of its own.
	Methods []string `json:"methods,omitempty"`
}

// mirrorable are the methods that a plan may name.
var mirrorable = []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// Copies reports whether a request of this method is copied.
func (m Mirror) Copies(method string) bool {
	if len(m.Methods) == 0 {
		return method == http.MethodGet || method == http.MethodHead
	}
	return slices.Contains(m.Methods, method)
}

// Check says what is wrong with a mirror, whatever its route is.
func (m Mirror) Check(field string) error {
	if m.Percent < 1 || m.Percent > 100 {
		return at(field+".percent", "is %d; expected 1 to 100 percent", m.Percent)
	}
	for i, method := range m.Methods {
		if !slices.Contains(mirrorable, method) || slices.Contains(m.Methods[:i], method) {
			return at(fmt.Sprintf("%s.methods[%d]", field, i), "%q is not one of %s, each at most once", clip(method), strings.Join(mirrorable, ", "))
		}
	}
	return nil
}

// Check says what is wrong with a match rule, whatever its route is.
func (m Match) Check(field string) error {
	switch {
	case (m.Header == "") == (m.Cookie == ""):
		return at(field, "names a header or a cookie, and not both")
	case m.Header != "" && !tokenForm.MatchString(m.Header):
		return at(field+".header", "%q is not the name of a header", clip(m.Header))
	case m.Cookie != "" && !tokenForm.MatchString(m.Cookie):
		return at(field+".cookie", "%q is not the name of a cookie", clip(m.Cookie))
	case m.Value == "" || len(m.Value) > MaxMatchValue || strict.HasControl(m.Value):
		return at(field+".value", "is missing or not a text of at most %d bytes", MaxMatchValue)
	}
	return nil
}

// checkRules checks a route's rules against its versions.
func (r Route) checkRules(field string) error {
	known := func(version string) bool {
		return slices.ContainsFunc(r.Versions, func(v Version) bool { return v.Name == version })
	}
	if n := len(r.Matches); n > MaxMatches {
		return tooMany(field+".matches", n, MaxMatches)
	}
	for i, m := range r.Matches {
		mf := fmt.Sprintf("%s.matches[%d]", field, i)
		if err := m.Check(mf); err != nil {
			return err
		}
		if !known(m.Version) {
			return at(mf+".version", "%q is no version of the route", clip(m.Version))
		}
	}
	if r.Mirror == nil {
		return nil
	}
	if err := r.Mirror.Check(field + ".mirror"); err != nil {
		return err
	}
	if !known(r.Mirror.Version) {
		return at(field+".mirror.version", "%q is no version of the route", clip(r.Mirror.Version))
	}
	return nil
}

// Matched is the version that a rule sends a request to, nil if none does. value
// reads the header or cookie that a rule names.
func (w *Way) Matched(value func(Match) string) *Target {
	for i, m := range w.Route.Matches {
		if value(m) == m.Value {
			return w.matched[i]
		}
	}
	return nil
}

// Mirrored is the version that gets copies, nil if none does.
func (w *Way) Mirrored() *Target { return w.mirrored }

// rule finds the targets of the route's rules.
func (w *Way) rule() {
	named := func(version string) *Target {
		for _, t := range w.Targets {
			if t.Version.Name == version {
				t.ruled = true
				return t
			}
		}
		return nil // Check refused it
	}
	for _, m := range w.Route.Matches {
		w.matched = append(w.matched, named(m.Version))
	}
	if w.Route.Mirror != nil {
		w.mirrored = named(w.Route.Mirror.Version)
	}
}

// fed reports whether requests reach the target: by its share or by a rule.
func (t *Target) fed() bool { return t.Percent > 0 || t.ruled }

// Digest identifies a configuration; Replacement.Base names one by it.
func (c Config) Digest() (assay.Digest, error) {
	s := State{Config: c}
	err := s.seal()
	return s.conf, err
}
