// Package client calls a control plane over HTTP. Its methods are those of
// control.Session, so the command line uses either without knowing which.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/internal/loopback"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 20

// Client calls one server with one token. It is safe for concurrent use.
type Client struct {
	base  *url.URL
	token string
	http  *http.Client
}

// New returns a client for a server's base URL, for example "https://assay.example".
// A token is sent over plain HTTP only to this machine.
func New(base, token string) (*Client, error) { return NewTrusting(base, token, nil) }

// NewTrusting is New for a server whose certificate one of these authorities signed; nil
// means those that the machine trusts.
func NewTrusting(base, token string, roots *x509.CertPool) (*Client, error) {
	u, err := url.Parse(strings.TrimSuffix(base, "/"))
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		e := assay.Errorf(assay.CodeInvalid, "server %q is not an http or https URL", base)
		e.Hint = "write for example https://assay.example or http://127.0.0.1:7070"
		return nil, e
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, assay.Errorf(assay.CodeInvalid, "server %q must not have a user, a query or a fragment; the token is given apart", u.Redacted())
	}
	if u.Scheme == "http" && !loopback.Is(u.Hostname()) {
		return nil, assay.Errorf(assay.CodeInvalid, "server %q would receive the token unencrypted; use https", base)
	}
	transport := http.DefaultTransport
	if roots != nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		transport = own
	}
	return &Client{base: u, token: token, http: &http.Client{
		Transport: transport,
		Timeout:   15 * time.Minute,
		// A redirect could carry the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// PutEvidence uploads one report and returns its digest.
func (c *Client) PutEvidence(ctx context.Context, r io.Reader) (d assay.Digest, err error) {
	err = c.do(ctx, http.MethodPost, "/v1/evidence", "application/octet-stream", r, &d)
	return d, err
}

// Check asks a gate for its verdict.
func (c *Client) Check(ctx context.Context, req api.CheckRequest) (v assay.Verdict, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/checks", req, &v)
	return v, err
}

// Attest asks a gate for its verdict, signed and recorded.
func (c *Client) Attest(ctx context.Context, req api.CheckRequest) (a api.Attested, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/attestations", req, &a)
	return a, err
}

// Bundle returns an attestation's Sigstore bundle.
func (c *Client) Bundle(ctx context.Context, d assay.Digest) ([]byte, error) {
	return c.bytes(ctx, "/v1/attestations/"+url.PathEscape(string(d)))
}

// Artifact returns what is known of one artifact.
func (c *Client) Artifact(ctx context.Context, d assay.Digest) (a api.Artifact, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/artifacts/"+url.PathEscape(string(d)), nil, &a)
	return a, err
}

// Artifacts lists artifacts by digest, those after the digest after.
func (c *Client) Artifacts(ctx context.Context, after assay.Digest, limit int) (list []api.Artifact, err error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if after != "" {
		q.Set("after", string(after))
	}
	err = c.call(ctx, http.MethodGet, "/v1/artifacts?"+q.Encode(), nil, &list)
	return list, err
}

// Facts lists the newest facts of the given kinds, about subject if it is set.
func (c *Client) Facts(ctx context.Context, kinds []string, subject assay.Digest, limit int) (list []assay.Fact, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/facts?"+factQuery(kinds, subject, limit).Encode(), nil, &list)
	return list, err
}

func factQuery(kinds []string, subject assay.Digest, limit int) url.Values {
	q := url.Values{"kind": kinds, "limit": {strconv.Itoa(limit)}}
	if subject != "" {
		q.Set("subject", string(subject))
	}
	return q
}

// Publication says how far a fact has come on its way into the ledger.
func (c *Client) Publication(ctx context.Context, id assay.FactID) (p api.Publication, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/facts/"+url.PathEscape(string(id))+"/publication", nil, &p)
	return p, err
}

// Proof waits until the fact is published and returns its portable proof.
func (c *Client) Proof(ctx context.Context, id assay.FactID) ([]byte, error) {
	return c.bytes(ctx, "/v1/facts/"+url.PathEscape(string(id))+"/proof")
}

// Head returns the ledger's newest signed checkpoint.
func (c *Client) Head(ctx context.Context) (h api.Head, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/ledger/head", nil, &h)
	return h, err
}

// RequestException asks for an exception.
func (c *Client) RequestException(ctx context.Context, req api.ExceptionRequest) (e assay.Exception, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/exceptions", req, &e)
	return e, err
}

// ApproveException approves a request of somebody else.
func (c *Client) ApproveException(ctx context.Context, id string) (e assay.Exception, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/exceptions/"+url.PathEscape(id)+"/approval", nil, &e)
	return e, err
}

// RevokeException ends an exception at once.
func (c *Client) RevokeException(ctx context.Context, id, reason string) (e assay.Exception, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/exceptions/"+url.PathEscape(id)+"/revocation", api.Revocation{Reason: reason}, &e)
	return e, err
}

// Exceptions lists the exceptions of the caller's namespace.
func (c *Client) Exceptions(ctx context.Context) (list []assay.Exception, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/exceptions", nil, &list)
	return list, err
}

// BypassException excuses rules at once, for hours.
func (c *Client) BypassException(ctx context.Context, req api.BypassRequest) (e assay.Exception, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/exceptions/bypass", req, &e)
	return e, err
}

// ExceptionReport sums up the exceptions of the caller's namespace by age and owner.
func (c *Client) ExceptionReport(ctx context.Context) (r api.ExceptionReport, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/exceptions/report", nil, &r)
	return r, err
}

// CreateToken makes a token.
func (c *Client) CreateToken(ctx context.Context, req api.TokenRequest) (t api.NewToken, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/tokens", req, &t)
	return t, err
}

// RevokeToken ends a token at once.
func (c *Client) RevokeToken(ctx context.Context, id string) (t api.Token, err error) {
	err = c.call(ctx, http.MethodDelete, "/v1/tokens/"+url.PathEscape(id), nil, &t)
	return t, err
}

// Tokens lists the tokens of the caller's namespace, without secrets.
func (c *Client) Tokens(ctx context.Context) (list []api.Token, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/tokens", nil, &list)
	return list, err
}

func (c *Client) bytes(ctx context.Context, path string) (b []byte, err error) {
	err = c.do(ctx, http.MethodGet, path, "", nil, &b)
	return b, err
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	if in == nil {
		return c.do(ctx, method, path, "", nil, out)
	}
	data, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.do(ctx, method, path, "application/json", bytes.NewReader(data), out)
}

// do sends one request and decodes its answer into out; a *[]byte takes the answer as it is.
func (c *Client) do(ctx context.Context, method, path, contentType string, body io.Reader, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, body)
	if err != nil {
		return assay.Errorf(assay.CodeInvalid, "%w", err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreached(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return assay.Errorf(assay.CodeUnavailable, "the server's answer broke off: %w", err)
	}
	if len(data) > maxAnswer {
		return assay.Errorf(assay.CodeTooLarge, "the server's answer is larger than %d bytes", maxAnswer)
	}
	if resp.StatusCode != http.StatusOK {
		return c.told(problem(resp, data))
	}
	if b, ok := out.(*[]byte); ok {
		*b = data
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return assay.Errorf(assay.CodeInternal, "the server's answer to %s %s is not what it should be: %w", method, req.URL.Path, err)
	}
	return nil
}

// problem turns a failed answer back into the error that the server had.
func problem(resp *http.Response, data []byte) error {
	var p api.Problem
	if err := json.Unmarshal(data, &p); err != nil || p.Code == "" {
		if strings.Contains(string(data), "HTTP request to an HTTPS server") {
			return &assay.Error{Code: assay.CodeUnavailable, Msg: "the server answers TLS alone", Hint: "write https:// in --server"}
		}
		return assay.Errorf(assay.CodeUnavailable, "the server answered %s; is this an assay server?", resp.Status)
	}
	if msg, ok := strings.CutPrefix(p.Detail, p.Field+" "); ok && p.Field != "" {
		return &assay.Error{Code: p.Code, Field: p.Field, Msg: msg}
	}
	return &assay.Error{Code: p.Code, Msg: p.Detail}
}
