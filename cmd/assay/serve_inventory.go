package main

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/advisory"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
	"assay.dev/assay/evidence"
	"assay.dev/assay/inventory"
	"github.com/prometheus/client_golang/prometheus"
)

// Intervals of the inventory's jobs.
const (
	observeEvery = 30 * time.Second // how often an enforcer is asked what it routes to
	scanEvery    = time.Hour        // how often what runs is held against the database of advisories
	measureEvery = 15 * time.Second // how old the coverage in the metrics may be
)

// openAdvisories returns the database at path, a folder or a zip file, which is read
// anew for every search: who replaces it need not restart anything.
func openAdvisories(path string) inventory.Database {
	return func(ctx context.Context, each func(advisory.Advisory) error) (advisory.Report, error) {
		info, err := os.Stat(path)
		if err != nil {
			return advisory.Report{}, err
		}
		if info.IsDir() {
			root, err := os.OpenRoot(path) // no link in it leads out
			if err != nil {
				return advisory.Report{}, err
			}
			defer root.Close()
			r, err := advisory.ReadDir(ctx, root.FS(), each)
			return r, inFile(err, path)
		}
		f, err := os.Open(path)
		if err != nil {
			return advisory.Report{}, err
		}
		defer f.Close()
		r, err := advisory.ReadArchive(ctx, f, info.Size(), each)
		return r, inFile(err, path)
	}
}

// openVEX returns the VEX documents at path, a file or a folder, which is read anew for
// every search.
func openVEX(path string) inventory.Documents {
	return func(ctx context.Context) ([]assay.Evidence, []string, error) {
		info, err := os.Stat(path)
		if err != nil {
			return nil, nil, err
		}
		if info.IsDir() {
			root, err := os.OpenRoot(path) // no link in it leads out
			if err != nil {
				return nil, nil, err
			}
			defer root.Close()
			docs, problems, err := inventory.VEXFiles(ctx, root.FS())
			return docs, problems, inFile(err, path)
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		doc, err := evidence.Read(f, path, evidence.Options{Kind: assay.KindVEX})
		if err != nil {
			return nil, nil, err // the one that was named
		}
		return []assay.Evidence{doc}, nil, nil
	}
}

// addAdvisories gives the plane its database of advisories and its VEX documents, if
// there are any.
func (a *app) addAdvisories(cfg *control.Config) {
	if a.vex != "" {
		cfg.VEX = openVEX(a.vex)
	}
	if a.advisories != "" {
		cfg.Advisories = openAdvisories(a.advisories)
	}
}

// environmentOf is where a service runs, by the rollouts of the policy in force.
func (a *app) environmentOf(service string) string {
	p, err := a.policies()
	if err != nil {
		return ""
	}
	for _, r := range p.Revision.Rollouts() {
		if r.Spec.Service == service && r.Metadata.Namespace == a.cfg.get("namespace") {
			return cmp.Or(r.Spec.Environment, "default")
		}
	}
	return "" // of another namespace, or of nobody
}

// observe keeps the inventory: it asks the enforcer, if there is one, and the places that
// were named, and ends what expired.
func (a *app) observe(plane *control.Plane, door control.Enforcer, places inventory.Sources) func(context.Context) error {
	if door != nil {
		places = append(places, inventory.Doors{Enforcer: door, Environment: a.environmentOf, Name: "enforcer"})
	}
	var src inventory.Source
	if len(places) > 0 {
		src = places
	}
	return func(ctx context.Context) error {
		return plane.ObserveFrom(ctx, src, a.cfg.get("namespace"), observeEvery, func(err error) {
			a.log.Warn("the inventory was not renewed", "error", err)
		})
	}
}

// scan holds what runs against the advisories, now and every hour.
func (a *app) scan(plane *control.Plane) func(context.Context) error {
	return func(ctx context.Context) error {
		if a.advisories == "" {
			<-ctx.Done()
			return nil
		}
		tick := time.NewTicker(scanEvery)
		defer tick.Stop()
		for {
			s, err := plane.Scan(ctx, a.cfg.get("namespace"), "assay.advisories")
			switch {
			case ctx.Err() != nil:
			case err != nil:
				a.log.Error("what runs was not held against the advisories", "error", err)
			default:
				a.log.Info("what runs was held against the advisories", "advisories", s.Database.Advisories, "malformed", s.Database.Malformed,
					"opened", s.Opened, "closed", s.Closed, "open", s.Open, "not_affected", s.Dismissed, "excused", s.Excused, "problems", len(s.Problems), "unexamined", len(s.Unexamined))
			}
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	}
}

// maxEnvironments is how many environments the metrics tell apart.
const maxEnvironments = 50

// coverageMetrics measures the coverage of a namespace when it is asked, though not
// more often than every measureEvery. While it cannot be measured there is none, and
// the other metrics go on.
type coverageMetrics struct {
	plane     *control.Plane
	namespace string
	now       func() time.Time
	log       *slog.Logger

	mu       sync.Mutex
	measured time.Time
	list     []api.Coverage
}

var (
	runningDesc  = prometheus.NewDesc("assay_inventory_running_artifacts", "Different artifacts that run.", []string{"environment"}, nil)
	attestedDesc = prometheus.NewDesc("assay_inventory_attested_artifacts", "Artifacts that run with an attestation that is valid now.", []string{"environment"}, nil)
)

// Describe implements prometheus.Collector.
func (c *coverageMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- runningDesc; ch <- attestedDesc }

// Collect implements prometheus.Collector.
func (c *coverageMetrics) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.measured) >= measureEvery {
		ctx, cancel := context.WithTimeout(context.Background(), measureEvery) // a collector is given none
		defer cancel()
		list, err := c.plane.Coverage(ctx, c.namespace, "")
		if err != nil {
			c.log.Error("the coverage could not be measured, and is not among the metrics", "error", err)
			list = nil // an old figure would say that all is as it was
		}
		c.list, c.measured = list, now
	}
	for _, v := range c.list[:min(len(c.list), maxEnvironments)] {
		ch <- prometheus.MustNewConstMetric(runningDesc, prometheus.GaugeValue, float64(v.Running), v.Environment)
		ch <- prometheus.MustNewConstMetric(attestedDesc, prometheus.GaugeValue, float64(v.Attested), v.Environment)
	}
}
