package client

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/loopback"
)

// unreached says why no answer came, and what to do about it: never with more of the
// request than the server's address.
func (c *Client) unreached(err error) error {
	if asked, ok := errors.AsType[*url.Error](err); ok {
		err = asked.Err // without the method and the address of the question
	}
	fault := func(code assay.Code, hint, format string, args ...any) error {
		e := assay.Errorf(code, format, args...)
		e.Hint = hint
		return e
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		hint := "give it a certificate, assay serve --tls-cert FILE --tls-key FILE, or ask the proxy before it that has one"
		if loopback.Is(c.base.Hostname()) {
			hint = "write --server http://" + c.base.Host
		}
		return fault(assay.CodeUnavailable, hint, "the server %s speaks HTTP without TLS", c.base.Host)
	}
	if unknown := (x509.UnknownAuthorityError{}); errors.As(err, &unknown) {
		return fault(assay.CodeDenied, "name the file of its authority with --server-ca",
			"the server's certificate is signed by nobody who is trusted here: %w", err)
	}
	if other := (x509.HostnameError{}); errors.As(err, &other) {
		return fault(assay.CodeDenied, "name it with --server as its certificate does, or give it another certificate",
			"the server's certificate is for another name: %w", err)
	}
	if bad := (x509.CertificateInvalidError{}); errors.As(err, &bad) {
		return fault(assay.CodeDenied, "whoever runs the server has to renew it", "the server's certificate is not good: %w", err)
	}
	return fault(assay.CodeUnavailable, "is it running, and does --server name it?", "cannot reach the server %s: %w", c.base.Redacted(), err)
}

// told adds to what the server said what only this side knows.
func (c *Client) told(err error) error {
	e, ok := errors.AsType[*assay.Error](err)
	switch {
	case !ok:
	case e.Code == assay.CodeUnauthenticated && c.token == "":
		return &assay.Error{
			Code: e.Code, Err: err, Msg: "the server wants a token, and none is set",
			Hint: "put one into ASSAY_TOKEN; whoever has the role admin makes it with: assay token create NAME --role ROLE",
		}
	case e.Code == assay.CodeNotFound && strings.HasPrefix(e.Msg, "no such resource: ") && c.base.Path != "":
		e.Hint = "does " + c.base.Path + " belong into --server? Its own addresses begin behind that"
	case e.Code == assay.CodeNotFound && strings.HasPrefix(e.Msg, "no such resource: "):
		e.Hint = "is the server older than this program? See: assay version"
	}
	return err
}
