package registry

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/loopback"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// door is the only way to a registry: a request passes it if it goes to the
// registry that the person named. Where an answer points to is the registry's
// wish; a page or an upload elsewhere is refused here, a redirect in checkRedirect.
type door struct {
	auth    *auth.Client
	scheme  string
	host    string
	timeout time.Duration
}

// Do sends req with the registry's credentials and bounds the time until its
// answer was read. It makes door a remote.Client.
func (d *door) Do(req *http.Request) (*http.Response, error) {
	if !sameOrigin(req.URL, &url.URL{Scheme: d.scheme, Host: d.host}) {
		return nil, assay.Errorf(assay.CodeDenied, "registry %s points to another host, %s; such requests are not sent", d.host, clip(req.URL.Host))
	}
	ctx, cancel := context.WithTimeout(req.Context(), d.timeout)
	resp, err := d.auth.Do(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = &timed{resp.Body, cancel}
	return resp, nil
}

// timed ends a request's time when its answer is closed.
type timed struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (t *timed) Close() error {
	defer t.cancel()
	return t.ReadCloser.Close()
}

// encrypted refuses plain HTTP to other machines, whoever asks for it: a
// reference, a redirect or a token service that a registry names.
type encrypted struct {
	base  http.RoundTripper
	plain bool
}

func (e encrypted) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !e.plain && !loopback.Is(req.URL.Hostname()) {
		err := assay.Errorf(assay.CodeDenied, "%s would be asked over plain HTTP, where anybody on the way reads and changes", clip(req.URL.Host))
		err.Hint = "use a registry with HTTPS, or allow it with --insecure"
		return nil, err
	}
	return e.base.RoundTrip(req)
}

// checkRedirect follows a registry to where it keeps its blobs, without
// credentials, and to nowhere else.
func checkRedirect(req *http.Request, via []*http.Request) error {
	from := via[len(via)-1].URL
	switch {
	case len(via) > MaxRedirects:
		return assay.Errorf(assay.CodeDenied, "registry %s redirects more than %d times", clip(via[0].URL.Host), MaxRedirects)
	case sameOrigin(from, req.URL):
		return nil
	case req.Method != http.MethodGet && req.Method != http.MethodHead:
		return assay.Errorf(assay.CodeDenied, "registry %s redirects an upload to another host, %s", clip(from.Host), clip(req.URL.Host))
	case from.Scheme == "https" && req.URL.Scheme != "https":
		return assay.Errorf(assay.CodeDenied, "registry %s redirects from HTTPS to plain HTTP", clip(from.Host))
	case internal(req.URL.Hostname()) && !strings.EqualFold(req.URL.Hostname(), from.Hostname()):
		return assay.Errorf(assay.CodeDenied, "registry %s redirects into a private network, to %s", clip(from.Host), clip(req.URL.Host))
	}
	for _, name := range []string{"Authorization", "Cookie"} {
		req.Header.Del(name)
	}
	return nil
}

// sameOrigin reports whether two URLs have the same scheme, host and port.
func sameOrigin(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		switch p := u.Port(); {
		case p != "":
			return p
		case strings.EqualFold(u.Scheme, "https"):
			return "443"
		}
		return "80"
	}
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

// internal reports whether host is an address that only means something inside
// a network or a machine, such as a cloud's metadata service.
func internal(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host == "localhost"
	}
	addr = addr.Unmap()
	return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() || addr.IsUnspecified() || addr.IsMulticast()
}
