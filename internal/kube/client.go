package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"assay.dev/assay"
)

// Timeout bounds one request with its answer.
const Timeout = 30 * time.Second

// Client sends requests to one API server. It is safe for concurrent use.
type Client struct {
	access Access
	http   *http.Client
}

// New returns a client of the cluster that access leads to. Nothing is sent yet.
// CodeInvalid if its address is not https or its certificates cannot be used.
func New(access Access) (*Client, error) {
	u, err := url.Parse(access.Server)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		e := assay.Errorf(assay.CodeInvalid, "the API server %q is not an https:// address", quoted(access.Server))
		e.Hint = "a token sent without TLS belongs to everybody on the way"
		return nil, e
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(access.CA) > 0 {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(access.CA) {
			return nil, assay.Errorf(assay.CodeInvalid, "the cluster's certificate authority holds no certificate in PEM")
		}
	}
	if len(access.Cert) > 0 {
		pair, err := tls.X509KeyPair(access.Cert, access.Key)
		if err != nil {
			return nil, assay.Errorf(assay.CodeInvalid, "the client certificate and its key do not belong together: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig, transport.MaxIdleConnsPerHost = conf, 1
	return &Client{access: access, http: &http.Client{
		Transport: transport, Timeout: Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // no token leaves for elsewhere
	}}, nil
}

// Do sends one request; path begins with a slash and may have a query. contentType is that
// of body, if there is one. The answer of any status is returned, and its body is the caller's
// to bound and to close; CodeUnavailable if there is none.
func (c *Client) Do(ctx context.Context, method, path, contentType string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.access.Server, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	token, err := c.access.token()
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, assay.Errorf(assay.CodeUnavailable, "the API server does not answer: %w", err)
	}
	return resp, nil
}

// Message is what a server has against a request, in its own words; "" if the body of its
// answer says nothing.
func Message(body []byte) string {
	var said struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(body, &said) // another answer has no message
	return quoted(said.Message)
}

// quoted is what others wrote, short enough to be shown.
func quoted(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
