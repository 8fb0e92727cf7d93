package peer

// Failover is the health check of DNS services like Amazon's Route 53, with its
// defaults of three checks in a row: an endpoint that fails them is taken out, and one
// that passes them comes back at once with all of its share. Start from NewFailover.
type Failover struct {
	Bad       float64 // share of failed probes above which a check fails
	Threshold int     // checks in a row
}

// NewFailover has the defaults; a check fails when most of its probes do.
func NewFailover() Failover { return Failover{Bad: 0.5, Threshold: 3} }

// FailoverState is what the check remembers. The zero value is an endpoint that is well.
type FailoverState struct {
	Out bool // it is taken out
	Row int  // checks in a row that speak for the other state
}

// Next takes one check: the share of its probes that failed. s is not changed.
func (f Failover) Next(s FailoverState, failed float64) FailoverState {
	if failed > f.Bad == s.Out {
		s.Row = 0
		return s
	}
	if s.Row++; s.Row >= f.Threshold {
		s = FailoverState{Out: !s.Out}
	}
	return s
}
