package kubernetes

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"assay.dev/assay"
	"assay.dev/assay/internal/kube"
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

// Cluster lists the pods of one cluster. It implements inventory.Source.
type Cluster struct {
	api         *kube.Client
	environment string
	source      string
}

// New returns the cluster that access leads to. Environment is where its pods run, and
// source who says so; neither may be empty.
func New(access kube.Access, environment, source string) (*Cluster, error) {
	api, err := kube.New(access)
	if err != nil {
		return nil, err
	}
	return &Cluster{api: api, environment: environment, source: source}, nil
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
	resp, err := c.api.Do(ctx, http.MethodGet, "/api/v1/pods?"+query.Encode(), "", nil)
	if err != nil {
		return list, assay.Errorf(assay.CodeOf(err), "the cluster of %s: %w", c.environment, err)
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
	e := assay.Errorf(assay.CodeUnavailable, "the cluster of %s answers %d: %s", environment, status, kube.Message(body))
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
