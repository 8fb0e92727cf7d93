package rollout

import (
	"fmt"
	"slices"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/store"
)

const (
	// maxLooked is how many of a namespace's ended rollouts are looked through for those of
	// a service, newest first, and maxPast how many of those are read.
	maxLooked = 5000
	maxPast   = 20
	// lookedPage is how many facts are read at a time.
	lookedPage = 500
)

// pastOf are the newest rollouts of a service that have ended, newest first, and the fact
// that tells of the end of the newest.
func pastOf(tx store.Reader, namespace, service string) (out []record, newest assay.FactID, err error) {
	q := store.Query{Namespace: namespace, Kinds: []string{assay.FactRolloutEnded}, Newest: true, Limit: lookedPage}
	for looked := 0; looked < maxLooked; {
		rows, err := tx.Facts(q)
		if err != nil || len(rows) == 0 {
			return out, newest, err
		}
		for _, row := range rows {
			q.After = row.Commit
			if looked++; row.Fact.Service != service {
				continue
			}
			if newest == "" {
				newest = row.Fact.ID
			}
			v, err := tx.Get(store.Key{Namespace: namespace, Bucket: bucket, Name: row.Fact.DeploymentID})
			if err != nil {
				return nil, "", err
			}
			r, err := parseRecord(v)
			if err != nil {
				return nil, "", err
			}
			if out = append(out, r); len(out) == maxPast {
				return out, newest, nil
			}
		}
	}
	return out, newest, nil
}

// bearer is a version that had all the traffic of a service, or was about to.
type bearer struct {
	version string
	digest  assay.Digest // of the artifact that had it; "" if no rollout brought it
	why     string       // it is not gone back to unless somebody names it; "" if it may be
}

// lineage are the versions that had all the traffic before the one that has it now, the
// last one first. The newest that is known of a version counts: who was taken back after a
// promotion is not gone back to.
func lineage(past []record, now string) (out []bearer) {
	add := func(version string, digest assay.Digest, why string) {
		i := slices.IndexFunc(out, func(b bearer) bool { return b.version == version })
		switch {
		case version == now:
		case i < 0:
			out = append(out, bearer{version, digest, why})
		case out[i].digest == "" && why == "":
			out[i].digest = digest // an earlier rollout brought it
		}
	}
	for _, r := range past {
		o := r.Rollout
		if o.Began.IsZero() {
			continue // it never had a request, which says nothing of the version
		}
		switch o.Status {
		case api.RolloutPromoted:
			add(o.Plan.Canary, o.Digest, "")
			why := ""
			if o.Back != nil {
				why = fmt.Sprintf("rollback %s took it back", o.ID)
			}
			add(o.Plan.Control, "", why)
		case api.RolloutAborted, api.RolloutReverted:
			add(o.Plan.Canary, o.Digest, fmt.Sprintf("rollout %s was %s", o.ID, o.Status))
		}
	}
	return out
}
