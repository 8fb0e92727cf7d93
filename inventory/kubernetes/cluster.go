package kubernetes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/inventory"
	corev1 "k8s.io/api/core/v1"
)

// Limits of what is read from a cluster; above them it is assay.CodeTooLarge.
const (
	// MaxPage is the largest page of a list of pods, in bytes.
	MaxPage = 64 << 20
	// MaxPods is the number of pods of one cluster.
	MaxPods = 200_000
	// pageSize is how many pods a page is asked to have.
	pageSize = 500
)

// timeout bounds one request with its answer.
const timeout = 30 * time.Second

// Cluster lists the pods of one cluster. It implements inventory.Source.
type Cluster struct {
	access      Access
	environment string
	source      string
	http        *http.Client
}

// New returns the cluster that access leads to. Environment is where its pods run, and
// source who says so; neither may be empty.
func New(access Access, environment, source string) (*Cluster, error) {
	u, err := url.Parse(access.Server)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		e := assay.Errorf(assay.CodeInvalid, "the API server %q is not an https:// address", clip(access.Server))
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
	return &Cluster{access: access, environment: environment, source: source, http: &http.Client{
		Transport: transport, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // no token leaves for elsewhere
	}}, nil
}

// Observe implements inventory.Source: all pods of the cluster, counted by service,
// namespace and digest. More than one report can hold is said in several, of which none
// is complete: what is gone ends with its time then.
func (c *Cluster) Observe(ctx context.Context) ([]inventory.Report, error) {
	counted := tally{}
	pods, next := 0, ""
	for page := 1; ; page++ {
		list, err := c.page(ctx, next)
		if err != nil {
			return nil, err
		}
		if pods += len(list.Items); pods > MaxPods || page > MaxPods/pageSize {
			return nil, assay.Errorf(assay.CodeTooLarge, "the cluster has more than %d pods", MaxPods)
		}
		for i := range list.Items {
			counted.add(&list.Items[i])
		}
		if next = list.Continue; next == "" {
			break
		}
	}
	all := counted.sightings()
	var out []inventory.Report
	for len(all) > inventory.MaxSightings {
		out = append(out, inventory.Report{Source: c.source, Environment: c.environment, Sightings: all[:inventory.MaxSightings]})
		all = all[inventory.MaxSightings:]
	}
	return append(out, inventory.Report{Source: c.source, Environment: c.environment, Sightings: all, Complete: len(out) == 0}), nil
}

func (c *Cluster) page(ctx context.Context, next string) (list corev1.PodList, err error) {
	query := url.Values{"limit": {strconv.Itoa(pageSize)}}
	if next != "" {
		query.Set("continue", next)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.access.Server, "/")+"/api/v1/pods?"+query.Encode(), nil)
	if err != nil {
		return list, err
	}
	req.Header.Set("Accept", "application/json")
	token, err := c.access.token()
	if err != nil {
		return list, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return list, assay.Errorf(assay.CodeUnavailable, "the cluster of %s does not answer: %w", c.environment, err)
	}
	defer resp.Body.Close()
	data, err := strict.Bounded(resp.Body, MaxPage, "the list of pods")
	if err != nil {
		return list, err
	}
	if resp.StatusCode != http.StatusOK {
		return list, refused(resp.StatusCode, data, c.environment)
	}
	return parsePods(data)
}

// refused says what an API server has against a request, and what to do about it.
func refused(status int, body []byte, environment string) error {
	var said struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(body, &said) // another answer has no message
	e := assay.Errorf(assay.CodeUnavailable, "the cluster of %s answers %d: %s", environment, status, clip(said.Message))
	switch status {
	case http.StatusUnauthorized:
		e.Code, e.Hint = assay.CodeUnauthenticated, "the token or certificate is unknown there, or has ended"
	case http.StatusForbidden:
		e.Code, e.Hint = assay.CodeDenied, "it needs a ClusterRole with the verb list on pods; deploy/kubernetes has one"
	case http.StatusGone:
		e.Hint = fmt.Sprintf("the list changed while it was read; it is read again, in pages of %d", pageSize)
	}
	return e
}
