package signal

import (
	"fmt"
	"hash/fnv"
	"slices"

	"assay.dev/assay"
)

// group puts the replicas of a version that has more than assay.MaxReplicas together into as
// many groups, by name: the same one is in the same group whenever it is read, whoever else
// comes and goes.
func group(arms map[armKey]*arm) {
	names := map[string]map[string]bool{}
	var keys []armKey
	for key := range arms {
		if key.replica == "" {
			continue
		}
		if names[key.version] == nil {
			names[key.version] = map[string]bool{}
		}
		names[key.version][key.replica] = true
		keys = append(keys, key)
	}
	for _, key := range keys {
		if len(names[key.version]) <= assay.MaxReplicas {
			continue
		}
		one := arms[key]
		delete(arms, key)
		h := fnv.New32a()
		h.Write([]byte(key.replica))
		key.replica = fmt.Sprintf("group %02d", h.Sum32()%assay.MaxReplicas)
		armAt(arms, key).join(one)
	}
}

// join adds what another arm counted.
func (a *arm) join(o *arm) {
	for key, n := range o.counts {
		a.counts[key] += n
	}
	for key := range o.seen {
		a.seen[key] = true
	}
	for part, at := range o.fresh {
		a.fresh[part] = max(a.fresh[part], at)
	}
	a.reported, a.alive, a.covered = a.reported+o.reported, a.alive+o.alive, a.covered+o.covered
	a.newest, a.arrived = max(a.newest, o.newest), max(a.arrived, o.arrived)
}

// replicas are what the replicas of a reading's version counted in its part of the traffic, by
// name. One that lives and reported nothing in the interval counted nothing yet; one that is
// gone is none. Counts, values and gauges are not told apart by replicas.
func replicas(arms map[armKey]*arm, of armKey, all assay.Reading, ind Indicator) (out []assay.Replica, err error) {
	if ind.ReplicaLabel == "" || ind.measures() {
		return nil, nil
	}
	for key, a := range arms {
		if key.replica == "" || key.version != of.version || key.stratum != of.stratum || a.alive == 0 {
			continue
		}
		r := all.Of(assay.Replica{})
		if err := a.fill(&r, ind); err != nil {
			return nil, err
		}
		out = append(out, assay.Replica{Name: key.replica, Good: r.Good, Total: r.Total, Buckets: r.Buckets, Classes: r.Classes})
	}
	slices.SortFunc(out, func(a, b assay.Replica) int { return compare(a.Name, b.Name) })
	return out, nil
}
