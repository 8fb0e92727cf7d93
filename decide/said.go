package decide

import "assay.dev/assay/infer"

// said is what one test said of its evidence, and of which. A decision says what its tests
// said before its readings and after them, and what they said after them is what they say
// before the next: it is reckoned once.
type said struct {
	of         *infer.Comparison // the test, its evidence divided by nothing
	ceiling    float64           // the tolerable rate
	phi, calm  float64           // what its evidence of harm and of safety was divided by
	evidence   *float64          // arrays of evidence are replaced and never changed
	treated    infer.Count
	control    infer.Count
	harm, safe float64
}

// before is what the test, the n-th of its plan, said before the readings: s remembers it, or
// it is said again.
func (t *test) before(s *State, n int, phi, calm float64) said {
	var was *said
	if n < len(s.said) {
		was = &s.said[n]
	}
	return t.say(&s.Watches[t.indicator].Tests[t.slot], phi, calm, was)
}

// say is what the test says of its evidence: what it said before, if that is of the same.
func (t *test) say(s *infer.State, phi, calm float64, before *said) said {
	out := said{of: t.undivided, phi: phi, calm: calm, treated: s.Treated, control: s.Control}
	if t.ceiling != nil {
		out.ceiling = t.ceiling.Rate
	}
	if len(s.LogNorm) > 0 {
		out.evidence = &s.LogNorm[0]
		if before != nil && before.of == out.of && before.evidence == out.evidence && before.phi == phi && before.calm == calm &&
			before.treated == out.treated && before.control == out.control && before.ceiling == out.ceiling {
			return *before
		}
	}
	out.harm, out.safe = t.comparison.Harm(*s), t.safe(s)
	return out
}
