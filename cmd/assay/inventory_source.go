package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"assay.dev/assay/api"
	"assay.dev/assay/inventory"
	"github.com/spf13/cobra"
)

// inventorySource says what to ask for what runs, instead of a file.
type inventorySource struct {
	kubernetes, registry string
	reach                registryFlags
}

func (f *inventorySource) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.kubernetes, "from-kubernetes", "", "kubeconfig file of a cluster to ask, or in-cluster")
	cmd.Flags().StringVar(&f.registry, "from-registry", "", "HOST or HOST/REPOSITORY to list")
	f.reach.reach(cmd.Flags())
}

// sightings are the reports that push sends: of a file, a cluster or a registry.
func (a *app) sightings(ctx context.Context, r api.InventoryReport, from inventorySource, args []string) ([]api.InventoryReport, error) {
	given := 0
	for _, s := range append([]string{from.kubernetes, from.registry}, args...) {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		return nil, usageError{fmt.Errorf("give one of FILE, --from-kubernetes and --from-registry")}
	}
	if len(args) == 1 {
		var err error
		if r.Sightings, err = a.readSightings(args[0]); err != nil || r.Complete {
			return []api.InventoryReport{r}, err // what somebody calls complete is that, or is refused
		}
		return a.fitting(r), nil
	}
	if r.Environment == "" {
		return nil, usageError{fmt.Errorf("--environment says where that runs")}
	}
	var src inventory.Source
	var err error
	if from.kubernetes != "" {
		src, err = openCluster(from.kubernetes, r.Environment, cmp.Or(r.Source, "kubernetes"))
	} else {
		src, err = a.openImages(from.reach, from.registry, r.Environment, cmp.Or(r.Source, "registry"))
	}
	if err != nil {
		return nil, err
	}
	observed, err := src.Observe(ctx)
	if err != nil {
		return nil, err
	}
	var out []api.InventoryReport
	for _, o := range observed {
		v := api.InventoryReport{Source: o.Source, Environment: o.Environment, Complete: o.Complete, Sightings: []api.Sighting{}}
		for _, g := range o.Sightings {
			v.Sightings = append(v.Sightings, api.Sighting(g))
		}
		out = append(out, a.fitting(v)...)
	}
	for i := range out {
		out[i].Complete = out[i].Complete && len(out) == 1
	}
	return out, nil
}

// fitting cuts a report into as many as a server takes, none of which is complete then.
// A state directory takes any.
func (a *app) fitting(r api.InventoryReport) []api.InventoryReport {
	if a.cfg.get("server") == "" {
		return []api.InventoryReport{r}
	}
	return fitting(r, api.MaxBody)
}

func fitting(r api.InventoryReport, most int) []api.InventoryReport {
	data, err := json.Marshal(r)
	if err != nil || len(data) <= most || len(r.Sightings) < 2 {
		return []api.InventoryReport{r} // who sends it says what is wrong with it
	}
	half := len(r.Sightings) / 2
	one, two := r, r
	one.Sightings, two.Sightings = r.Sightings[:half], r.Sightings[half:]
	one.Complete, two.Complete = false, false
	return append(fitting(one, most), fitting(two, most)...)
}

// reportAll sends reports and adds up what they changed.
func reportAll(ctx context.Context, to inventories, reports []api.InventoryReport) (sum api.InventoryChange, err error) {
	for _, r := range reports {
		one, err := to.Report(ctx, r)
		if err != nil {
			return sum, err
		}
		sum.Appeared, sum.Refreshed = sum.Appeared+one.Appeared, sum.Refreshed+one.Refreshed
		sum.Outdated, sum.Gone = sum.Outdated+one.Outdated, sum.Gone+one.Gone
	}
	return sum, nil
}

// watchedPlaces are the clusters and registries that a server asks by itself, each
// written ENVIRONMENT=PLACE.
type watchedPlaces struct {
	clusters, registries []string
	reach                registryFlags
}

func (f *watchedPlaces) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.clusters, "kubernetes", nil, "cluster to ask what runs, as ENVIRONMENT=KUBECONFIG or ENVIRONMENT=in-cluster; may be repeated")
	cmd.Flags().StringArrayVar(&f.registries, "registry", nil, "registry to ask what lies there, as ENVIRONMENT=HOST[/REPOSITORY]; may be repeated")
	f.reach.reach(cmd.Flags())
}

// sources opens what is to be asked. A source is named by what was given, so that each
// speaks for itself.
func (f *watchedPlaces) sources(a *app) (inventory.Sources, error) {
	var out inventory.Sources
	for _, list := range []struct {
		flag  string
		given []string
		open  func(place, environment, source string) (inventory.Source, error)
	}{
		{"--kubernetes", f.clusters, openCluster},
		{"--registry", f.registries, func(place, environment, source string) (inventory.Source, error) {
			return a.openImages(f.reach, place, environment, source)
		}},
	} {
		for i, given := range list.given {
			environment, place, ok := strings.Cut(given, "=")
			if !ok || environment == "" || place == "" {
				return nil, usageError{fmt.Errorf("%s %s is not of the form ENVIRONMENT=PLACE", list.flag, given)}
			}
			if slices.Index(list.given, given) != i {
				return nil, usageError{fmt.Errorf("%s %s is given twice", list.flag, given)}
			}
			src, err := list.open(place, environment, strings.TrimPrefix(list.flag, "--")+" "+place)
			if err != nil {
				return nil, err
			}
			out = append(out, src)
		}
	}
	return out, nil
}
