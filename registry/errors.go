package registry

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"assay.dev/assay"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// problem turns what went wrong with a request into an answer that says what to
// do: doing is what was tried, for example "cannot list referrers".
func (r *repository) problem(doing string, err error) error {
	if e, ok := errors.AsType[*assay.Error](err); ok {
		c := *e
		c.Msg = doing + ": " + e.Msg
		return c.In(r.Reference.String())
	}
	code, hint := codeOf(err)
	e := assay.Errorf(code, "%s: %w", doing, err)
	e.Hint = hint
	return e.In(r.Reference.String())
}

// codeOf sorts an error of the transport by what the caller should do.
func codeOf(err error) (assay.Code, string) {
	if answer, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		switch s := answer.StatusCode; {
		case s == http.StatusUnauthorized:
			return assay.CodeUnauthenticated, loginHint
		case s == http.StatusForbidden:
			return assay.CodeDenied, "these credentials may not do this there"
		case s == http.StatusNotFound:
			return assay.CodeNotFound, "the registry has no such image; attestations hang on images that are there"
		case s == http.StatusRequestEntityTooLarge:
			return assay.CodeTooLarge, ""
		case s == http.StatusTooManyRequests || s >= 500:
			return assay.CodeUnavailable, "try again later"
		}
		return assay.CodeInvalid, ""
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return assay.CodeUnverified, "if its certificate is of a private authority, name that one's: --registry-ca FILE"
	}
	switch {
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return assay.CodeUnauthenticated, loginHint
	case errors.Is(err, errdef.ErrNotFound):
		return assay.CodeNotFound, "the registry has no such image; attestations hang on images that are there"
	case lies(err):
		return assay.CodeUnverified, "the registry's answer is not what it was asked for; do not use it"
	case errors.Is(err, errdef.ErrSizeExceedsLimit):
		return assay.CodeTooLarge, ""
	case errors.Is(err, context.Canceled):
		return assay.CodeUnavailable, ""
	case errors.Is(err, context.DeadlineExceeded):
		return assay.CodeUnavailable, "the registry did not answer in time; try again later"
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return assay.CodeUnavailable, "try again later"
	}
	return assay.CodeUnverified, "the registry's answer does not follow the protocol"
}

const loginHint = "docker login writes credentials into ~/.docker/config.json; --credential-helpers allows to run the helpers named there"

// lies reports whether content was not what its descriptor says.
func lies(err error) bool {
	return errors.Is(err, content.ErrMismatchedDigest) || errors.Is(err, content.ErrTrailingData) || errors.Is(err, content.ErrInvalidDescriptorSize)
}

// clip bounds text from outside for a message.
func clip(s string) string {
	if len(s) > 200 {
		return strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}

// visible makes one short, printable line of text that somebody else wrote.
func visible(s string) string {
	return clip(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf) || r == utf8.RuneError {
			return -1
		}
		return r
	}, s))
}
