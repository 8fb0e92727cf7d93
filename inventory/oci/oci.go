// Package oci is a registry as a source of the inventory: which images lie in it.
//
// What lies in a registry does not run; it may be run at any moment. So a registry is
// an environment of its own, and its coverage says what of that has an attestation.
// Each tag counts under the digest that it stands for now.
package oci

import (
	"context"
	"strings"

	"assay.dev/assay/inventory"
	"assay.dev/assay/registry"
)

// Client lists what lies in a registry; a registry.Client does.
type Client interface {
	// Images returns the tagged images below a place, HOST or HOST/REPOSITORY.
	Images(ctx context.Context, place string) ([]registry.Tagged, error)
}

// Registry is a place in a registry. It implements inventory.Source.
type Registry struct {
	Client      Client
	Place       string // HOST or HOST/REPOSITORY
	Environment string
	Source      string // who says so
}

// Observe implements inventory.Source.
func (r Registry) Observe(ctx context.Context) ([]inventory.Report, error) {
	images, err := r.Client.Images(ctx, r.Place)
	if err != nil {
		return nil, err
	}
	host, _, _ := strings.Cut(r.Place, "/")
	var all []inventory.Sighting
	for _, i := range images {
		all = append(all, inventory.Fit(inventory.Sighting{
			Service: i.Repository, Place: host, Image: host + "/" + i.Repository + ":" + i.Tag, Digest: i.Digest,
		}))
	}
	var out []inventory.Report
	for len(all) > inventory.MaxSightings { // none of several is the complete one
		out = append(out, inventory.Report{Source: r.Source, Environment: r.Environment, Sightings: all[:inventory.MaxSightings]})
		all = all[inventory.MaxSightings:]
	}
	return append(out, inventory.Report{Source: r.Source, Environment: r.Environment, Sightings: all, Complete: len(out) == 0}), nil
}
