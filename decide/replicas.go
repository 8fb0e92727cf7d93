package decide

import (
	"slices"
	"strconv"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// checkReplicas says what is wrong with an indicator whose replicas are told apart.
func (i *Indicator) checkReplicas(p *Plan, bad func(field, format string, args ...any) error) error {
	switch {
	case !i.Replicas:
		return nil
	case i.plain() || i.Clusters:
		return bad("indicators", "%s: replicas are compared by their bad requests, and this counts something else", i.Name)
	case p.Certainty == assay.Exact:
		return bad("indicators", "%s: an exact plan learns nothing of replicas", i.Name)
	}
	return nil
}

// readReplicas refuses replicas that cannot be parts of a reading.
func readReplicas(r *assay.Reading) error {
	if len(r.Replicas) > assay.MaxReplicas {
		return assay.Errorf(assay.CodeTooLarge, "reading %s has %d replicas, at most %d are read", r.Indicator, len(r.Replicas), assay.MaxReplicas)
	}
	for i, p := range r.Replicas {
		if i > 0 && p.Name <= r.Replicas[i-1].Name {
			return assay.Errorf(assay.CodeInvalid, "reading %s: its replica %q does not come after %q", r.Indicator, p.Name, r.Replicas[i-1].Name)
		}
		if err := r.Of(p).Check(); err != nil {
			return err
		}
	}
	return nil
}

// besides are what the replicas of the old version counted in one interval, by test and then
// by replica in the order of their names, and these names; none if there are fewer than two to
// be compared. A replica that had none of a stratum's requests is not in it.
func besides(ind *Indicator, tests []test, indicator int, parts []pair) (out []infer.Slot, names []string, why string) {
	if !ind.Replicas {
		return nil, nil, ""
	}
	for _, part := range parts {
		for _, r := range part[1].Replicas {
			if i, found := slices.BinarySearch(names, r.Name); !found {
				names = slices.Insert(names, i, r.Name)
			}
		}
	}
	if len(names) < 2 || len(names) > infer.MaxArms {
		return nil, nil, ""
	}
	out = make([]infer.Slot, ind.slots())
	for i := range tests {
		t := &tests[i]
		if t.indicator != indicator {
			continue
		}
		row := make(infer.Slot, len(names))
		for _, part := range parts {
			for _, p := range part[1].Replicas {
				r, carry := part[1].Of(p), 0.0
				c, why := count(ind, t, &r, &carry)
				if why != "" {
					return nil, nil, why
				}
				n, _ := slices.BinarySearch(names, p.Name)
				row[n].Events, row[n].Exposure = row[n].Events+c.Events, row[n].Exposure+c.Exposure
			}
		}
		out[t.slot] = row
	}
	return out, names, ""
}

// sidedBy takes up who is compared: what others counted is not added to what these count.
func (w *Watch) sidedBy(names []string, memory *memory) {
	if slices.Equal(names, w.Replicas) {
		return
	}
	w.Replicas = names
	next := taken(&memory.bursts, len(w.Bursts), memory.tests)
	for i, b := range w.Bursts {
		if b.Learned = b.Learned.Apart(); b.Stretch != nil {
			at := *b.Stretch
			at.Beside = nil
			b.Stretch = new(at)
		}
		next[i] = b
	}
	w.Bursts = next
}

// whole adds what the old version counted in a stretch of time, in all its replicas.
func (b *Bursts) whole(s infer.Slot, m *infer.Memory) error {
	d := new(infer.Dispersion)
	if b.Whole != nil {
		*d = *b.Whole
	}
	b.Whole = d
	return d.Learn(s, false, m)
}

// shared is how much more the new version's counts vary in time, as a variance-to-mean ratio,
// because of what hits both versions: what the old one's vary more by than its replicas differ,
// in proportion to the requests. 0 without replicas, which say that it hits both.
func (b *Bursts) shared(s *infer.State) float64 {
	if b.Whole == nil || s.Control.Exposure == 0 {
		return 0
	}
	all, beside := &b.Whole.Scales[0], &b.Learned.Scales[0]
	if all.Den == 0 || beside.Den == 0 {
		return 0
	}
	return max(0, all.Num/all.Den-max(1, beside.Num/beside.Den)) * float64(s.Treated.Exposure) / float64(s.Control.Exposure)
}

// from says what of the old version was compared.
func (w *Watch) from(control string) string {
	if len(w.Replicas) < 2 {
		return control
	}
	return "how " + strconv.Itoa(len(w.Replicas)) + " replicas of " + control + " differ side by side,"
}

// besides is what replicas had counted in the stretch and this row, in a row of its own: what
// was learned from points to the one before.
func (s *Stretch) besides(row infer.Slot) infer.Slot {
	if s.Beside == nil {
		return row
	}
	sum := slices.Clone(s.Beside)
	for i, c := range row {
		sum[i].Events, sum[i].Exposure = sum[i].Events+c.Events, sum[i].Exposure+c.Exposure
	}
	return sum
}
