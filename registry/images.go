package registry

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"assay.dev/assay"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// Limits of a listing of images; above them it is assay.CodeTooLarge.
const (
	// MaxRepositories is the number of repositories of one registry.
	MaxRepositories = 2000
	// MaxTags is the number of tags of one listing.
	MaxTags = 20_000
)

// Tagged is a tag of a repository and what it stands for now.
type Tagged struct {
	Repository string       `json:"repository"` // without its registry
	Tag        string       `json:"tag"`
	Digest     assay.Digest `json:"digest"`
}

// Images lists the tags of a place, HOST/REPOSITORY, or of all repositories of a HOST
// whose registry lets them be listed, each with the digest that it stands for now.
// Tags that list attestations are left out. A tag that goes away meanwhile is too.
func (c *Client) Images(ctx context.Context, place string) ([]Tagged, error) {
	ctx, cancel := context.WithTimeout(ctx, MaxOperation)
	defer cancel()
	host, repo, _ := strings.Cut(place, "/")
	repos := []string{repo}
	if repo == "" {
		var err error
		if repos, err = c.repositories(ctx, host); err != nil {
			return nil, err
		}
	}
	out := []Tagged{}
	for _, name := range repos {
		list, err := c.tagged(ctx, host, name, MaxTags-len(out))
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// repositories lists what a registry says it has.
func (c *Client) repositories(ctx context.Context, host string) ([]string, error) {
	if err := (registry.Reference{Registry: host}).ValidateRegistry(); err != nil {
		e := assay.Errorf(assay.CodeInvalid, "place %q is not understood: %w", clip(host), err)
		e.Hint = "expected HOST or HOST/REPOSITORY, for example registry.example/team/app"
		return nil, e
	}
	r, err := c.open(host + "/all:all") // a name is needed to talk to it; none of it is asked for
	if err != nil {
		return nil, err
	}
	catalog := &remote.Registry{RepositoryOptions: remote.RepositoryOptions{
		Client: r.door, Reference: registry.Reference{Registry: host}, PlainHTTP: r.PlainHTTP, MaxMetadataBytes: MaxIndex,
	}}
	var all []string
	pages := 0
	err = catalog.Repositories(ctx, "", func(page []string) error {
		pages++
		if all = append(all, page...); len(all) > MaxRepositories || pages > MaxPages {
			return tooMany("repositories", MaxRepositories)
		}
		return nil
	})
	if answer, ok := errors.AsType[*errcode.ErrorResponse](err); ok && (answer.StatusCode == http.StatusNotFound || answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusMethodNotAllowed) {
		e := assay.Errorf(assay.CodeDenied, "registry %s does not list its repositories (%d)", host, answer.StatusCode)
		e.Hint = "name them: " + host + "/REPOSITORY"
		return nil, e
	}
	if err != nil {
		return nil, r.problem("cannot list the repositories", err)
	}
	return all, nil
}

// tagged lists the tags of one repository, at most limit.
func (c *Client) tagged(ctx context.Context, host, name string, limit int) ([]Tagged, error) {
	r, err := c.open(host + "/" + name + ":all")
	if err != nil {
		return nil, err
	}
	var tags []string
	pages := 0
	err = r.Tags(ctx, "", func(page []string) error {
		pages++
		for _, t := range page {
			if !strings.HasPrefix(t, "sha256-") { // a list of referrers
				tags = append(tags, t)
			}
		}
		if len(tags) > limit || pages > MaxPages {
			return tooMany("tags", MaxTags)
		}
		return nil
	})
	if err != nil {
		return nil, r.problem("cannot list the tags of "+name, err)
	}
	slices.Sort(tags) // registries list them as they like
	out := make([]Tagged, 0, len(tags))
	for _, t := range tags {
		r.Reference.Reference = t
		desc, err := r.subject(ctx)
		if assay.CodeOf(err) == assay.CodeNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, Tagged{name, t, assay.Digest(desc.Digest)})
	}
	return out, nil
}
