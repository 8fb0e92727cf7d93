package enforce

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// Limits of a Config. Above them the answer is assay.CodeTooLarge.
const (
	// MaxConfig is the largest configuration, in bytes.
	MaxConfig = 16 << 20
	// MaxRoutes is the number of routes of a configuration.
	MaxRoutes = 2048
	// MaxVersions is the number of versions behind one route.
	MaxVersions = 16
	// MaxAttestations is the number of attestations of one version.
	MaxAttestations = 8
	// MaxRevoked is the number of revoked digests.
	MaxRevoked = 10000
	// MaxWithdrawn is the number of exceptions that were taken back.
	MaxWithdrawn = 10000
	// MaxName is the length of a route, service or version name, in bytes.
	MaxName = 63
	// MaxTimeout is the longest time a route may give its backends.
	MaxTimeout = 10 * time.Minute
	// MaxRequestBody is the largest request body a route may allow, in bytes.
	MaxRequestBody = 1 << 40
)

// Defaults of a Route.
const (
	DefaultTimeout = 30 * time.Second
	// DefaultBody is the request body a route accepts, in bytes.
	DefaultBody = 16 << 20
)

// Config is one revision of what an enforcer knows: routes, versions and the
// attestations that may let them in.
type Config struct {
	Routes []Route `json:"routes"`
	// Revoked are digests of artifacts or of attestations that no longer count. An
	// attestation's is that of its compact JSON, as it was signed and recorded, also
	// where a file shows it with spaces or a proof file holds it.
	Revoked []assay.Digest `json:"revoked,omitempty"`
	// Withdrawn are the ids of exceptions that were taken back before their end: a
	// verdict that rests on one no longer counts. A signed verdict cannot know.
	Withdrawn []string `json:"withdrawn,omitempty"`
}

// Route maps requests to the versions of one service. The longest matching Path
// of a matching Host wins; a route with a Host goes before one without.
type Route struct {
	Name     string    `json:"name"`
	Service  string    `json:"service"`
	Host     string    `json:"host,omitempty"` // without port; "" is any
	Path     string    `json:"path,omitempty"` // prefix at a segment boundary; "" is "/"
	Sticky   Sticky    `json:"sticky,omitzero"`
	Timeout  Duration  `json:"timeout,omitempty"`  // of one exchange with a backend; 0 is DefaultTimeout
	MaxBody  int64     `json:"max_body,omitempty"` // of a request, in bytes; 0 is DefaultBody
	Entry    Entry     `json:"entry"`
	Versions []Version `json:"versions"`
	// Matches send requests with a header or cookie to a version, before shares count.
	Matches []Match `json:"matches,omitempty"`
	// Mirror copies requests to a version; nil copies none.
	Mirror *Mirror `json:"mirror,omitempty"`
	// Levers are what else can be moved at this door; nil has none.
	Levers *Levers `json:"levers,omitempty"`
}

// StickyBy says what makes two requests come from one client.
type StickyBy string

const (
	// ByRequest treats every request as a client of its own.
	ByRequest StickyBy = "request"
	// ByHeader takes the value of a header.
	ByHeader StickyBy = "header"
	// ByCookie takes the value of a cookie.
	ByCookie StickyBy = "cookie"
	// ByClient takes the client's address, without the port.
	ByClient StickyBy = "client"
)

// Sticky is the key that holds a client to its version. A request without the
// header or cookie is a client of its own: it has no identity to be true to.
type Sticky struct {
	By   StickyBy `json:"by,omitempty"`   // "" is ByRequest
	Name string   `json:"name,omitempty"` // of the header or cookie
}

// Entry is what an attestation must say for a version to be let in.
type Entry struct {
	Mode         assay.Mode   `json:"mode,omitempty"` // enforce (default) or dry-run, which records and lets pass
	ResourceURI  string       `json:"resource_uri"`
	Levels       []string     `json:"levels,omitempty"`
	MaxAge       Duration     `json:"max_age,omitempty"` // 0 is any age
	PolicyDigest assay.Digest `json:"policy_digest,omitempty"`
	// AllowUnenforced accepts the summary of a gate that only watches.
	AllowUnenforced bool `json:"allow_unenforced,omitempty"`
}

// Version is one deployed artifact behind a route.
type Version struct {
	Name    string       `json:"name"`
	Digest  assay.Digest `json:"digest"`  // of the artifact the backend runs, as the platform reports it
	Backend string       `json:"backend"` // "http://host:port"; "" where Places say it
	// Places are where it runs, one for each region of the route, in that order.
	Places []Place `json:"places,omitempty"`
	// Weight is the version's first share in percent. It counts only when its
	// route is new; afterwards traffic moves by Shift alone.
	Weight int `json:"weight"`
	// Attestations are Sigstore bundles, DSSE envelopes or proof files; one that holds is enough.
	Attestations []json.RawMessage `json:"attestations,omitempty"`
}

// Duration is a time.Duration that documents write as text, "30s".
type Duration time.Duration

// MarshalText writes d as Go writes durations.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what MarshalText writes; negative durations are refused.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return assay.Errorf(assay.CodeInvalid, "duration %q is not a positive time such as \"30s\"", clip(string(text)))
	}
	*d = Duration(v)
	return nil
}

// ParseConfig reads a configuration in JSON, strictly, and checks it.
func ParseConfig(data []byte) (Config, error) {
	if len(data) > MaxConfig {
		return Config{}, assay.Errorf(assay.CodeTooLarge, "configuration has %d bytes; the limit is %d", len(data), MaxConfig)
	}
	var c Config
	if err := strict.JSON(data, &c); err != nil {
		return Config{}, err
	}
	return c, c.Check()
}

var (
	nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`)
	hostForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
	// tokenForm is a header or cookie name, RFC 9110 section 5.6.2.
	tokenForm = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")
)

// Check reports the first thing that is wrong with c.
func (c Config) Check() error {
	if n := len(c.Routes); n > MaxRoutes {
		return tooMany("routes", n, MaxRoutes)
	}
	if n := len(c.Revoked); n > MaxRevoked {
		return tooMany("revoked", n, MaxRevoked)
	}
	for i, d := range c.Revoked {
		if _, err := assay.ParseDigest(string(d)); err != nil {
			return at(fmt.Sprintf("revoked[%d]", i), "%w", err)
		}
	}
	if err := checkWithdrawn(c.Withdrawn); err != nil {
		return err
	}
	names, places := map[string]bool{}, map[string]string{}
	for i, r := range c.Routes {
		field := fmt.Sprintf("routes[%d]", i)
		if err := r.check(field); err != nil {
			return err
		}
		if names[r.Name] {
			return at(field+".name", "%q is already the name of another route", r.Name)
		}
		names[r.Name] = true
		place := r.Host + r.path()
		if other, taken := places[place]; taken {
			return at(field, "takes the same host and path as route %q", other)
		}
		places[place] = r.Name
	}
	return nil
}

func checkWithdrawn(ids []string) error {
	if n := len(ids); n > MaxWithdrawn {
		return tooMany("withdrawn", n, MaxWithdrawn)
	}
	for i, id := range ids {
		if id == "" || len(id) > MaxKey || strict.HasControl(id) || strings.ContainsAny(id, "\t\r\n") {
			return at(fmt.Sprintf("withdrawn[%d]", i), "is not the id of an exception")
		}
	}
	return nil
}

func (r Route) check(field string) error {
	switch {
	case !validName(r.Name):
		return badName(field+".name", r.Name)
	case !validName(r.Service):
		return badName(field+".service", r.Service)
	case r.Host != "" && (len(r.Host) > 253 || !hostForm.MatchString(r.Host)):
		return at(field+".host", "%q is not a host name in lower case without port", clip(r.Host))
	case r.Path != "" && !validPath(r.Path):
		return at(field+".path", "%q is not a plain path that starts with /", clip(r.Path))
	case time.Duration(r.Timeout) > MaxTimeout:
		return at(field+".timeout", "is %s; at most %s", time.Duration(r.Timeout), MaxTimeout)
	case r.MaxBody < 0 || r.MaxBody > MaxRequestBody:
		return at(field+".max_body", "is %d; expected 0 to %d bytes", r.MaxBody, int64(MaxRequestBody))
	case len(r.Versions) == 0:
		return at(field+".versions", "is empty; a route needs at least one version")
	case len(r.Versions) > MaxVersions:
		return tooMany(field+".versions", len(r.Versions), MaxVersions)
	}
	if err := r.Sticky.check(field + ".sticky"); err != nil {
		return err
	}
	if err := r.Entry.check(field + ".entry"); err != nil {
		return err
	}
	if err := r.Levers.check(field + ".levers"); err != nil {
		return err
	}
	seen, sum := map[string]bool{}, 0
	for i, v := range r.Versions {
		vf := fmt.Sprintf("%s.versions[%d]", field, i)
		if err := cmp.Or(v.check(vf), v.checkPlaces(vf, r.Levers)); err != nil {
			return err
		}
		if seen[v.Name] {
			return at(vf+".name", "%q is already the name of another version", v.Name)
		}
		seen[v.Name] = true
		sum += v.Weight
	}
	if sum != 100 {
		return at(field+".versions", "have weights that add up to %d; expected 100", sum)
	}
	return r.checkRules(field)
}

func (v Version) check(field string) error {
	if !validName(v.Name) {
		return badName(field+".name", v.Name)
	}
	if _, err := assay.ParseDigest(string(v.Digest)); err != nil {
		return at(field+".digest", "%w", err)
	}
	if len(v.Places) == 0 && !validBackend(v.Backend) {
		return at(field+".backend", "%q is not of the form http://host:port", clip(v.Backend))
	}
	if v.Weight < 0 || v.Weight > 100 {
		return at(field+".weight", "is %d; expected 0 to 100 percent", v.Weight)
	}
	if n := len(v.Attestations); n > MaxAttestations {
		return tooMany(field+".attestations", n, MaxAttestations)
	}
	return nil
}

func validBackend(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "http" && u.Hostname() != "" && u.User == nil && (u.Path == "" || u.Path == "/") && u.RawQuery == "" && u.Fragment == ""
}

func (s Sticky) check(field string) error {
	switch s.By {
	case "", ByRequest, ByClient:
		if s.Name != "" {
			return at(field+".name", "is set, but only %q and %q have a name", ByHeader, ByCookie)
		}
	case ByHeader, ByCookie:
		if !tokenForm.MatchString(s.Name) {
			return at(field+".name", "%q is not the name of a %s", clip(s.Name), s.By)
		}
	default:
		return at(field+".by", "%s", strict.OneOf(string(s.By), []string{string(ByRequest), string(ByHeader), string(ByCookie), string(ByClient)}))
	}
	return nil
}

func (e Entry) check(field string) error {
	switch e.Mode {
	case "", assay.ModeEnforce, assay.ModeDryRun:
	default:
		return at(field+".mode", "%s", strict.OneOf(string(e.Mode), []string{string(assay.ModeEnforce), string(assay.ModeDryRun)}))
	}
	if e.ResourceURI == "" || len(e.ResourceURI) > 2048 {
		return at(field+".resource_uri", "is missing or too long; an attestation is valid for one resource only")
	}
	if e.PolicyDigest != "" {
		if _, err := assay.ParseDigest(string(e.PolicyDigest)); err != nil {
			return at(field+".policy_digest", "%w", err)
		}
	}
	if len(e.Levels) > 32 {
		return tooMany(field+".levels", len(e.Levels), 32)
	}
	return nil
}

func (r Route) path() string {
	if r.Path == "" {
		return "/"
	}
	return r.Path
}

// validPath accepts paths that every server reads alike.
func validPath(p string) bool {
	if len(p) > 1024 || !strings.HasPrefix(p, "/") || strings.ContainsAny(p, "%?#\\ ;") || strings.Contains(p, "//") || strict.HasControl(p) {
		return false
	}
	for seg := range strings.SplitSeq(p, "/") {
		if seg == "." || seg == ".." {
			return false
		}
	}
	return true
}

func validName(s string) bool { return len(s) <= MaxName && nameForm.MatchString(s) }

func badName(field, name string) error {
	return at(field, "%q is not a name of at most %d lower-case letters, digits, dots and dashes", clip(name), MaxName)
}

func tooMany(field string, n, limit int) error {
	e := assay.Errorf(assay.CodeTooLarge, "has %d entries; the limit is %d", n, limit)
	e.Field = field
	return e
}

func at(field, format string, args ...any) error {
	e := assay.Errorf(assay.CodeInvalid, format, args...)
	e.Field = field
	return e
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
