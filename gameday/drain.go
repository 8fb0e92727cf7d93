package gameday

import (
	"fmt"
	"time"

	"assay.dev/assay"
)

// announce has the platform say that it will take a region away; "" takes that back.
func (s *spike) announce(region string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = region
}

// announced is 1 for the region that will be taken away.
func (s *spike) announced(region string) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving == region {
		return 1
	}
	return 0
}

// leaves takes the machines of us away after a notice, and asserts that nobody notices.
func (s *spike) leaves() error {
	d := s.d
	return d.step("notice", "the robots have gone home, and the machines of us will be taken back", func() (bool, string, error) {
		s.callers["robots"].stop()
		s.callers["careful"].stop()
		if err := d.pause(2 * time.Second); err != nil { // eu has room for all once that is seen
			return false, "", err
		}
		before := s.look()
		s.announce("us")
		took, empty, err := d.until(2*reactTime, func() (bool, error) {
			at, err := d.lever(depot, assay.LeverRegion, "us")
			return at.Value == 0, err
		})
		if err != nil {
			return false, "", err
		}
		d.check("us is emptied while it is well", empty, "after %s: %s", took.Round(time.Millisecond), s.reasons("depot-divert"))
		if err := d.pause(2 * depotTimeout); err != nil { // what it was asked before is answered
			return false, "", err
		}
		s.sites["us"].process.stop()
		if err := d.pause(2 * time.Second); err != nil {
			return false, "", err
		}
		x := s.since(before)
		all := x.eager()
		d.check("its end harms nobody", all.served() >= buyersServe && all.Requests > 200, "%.2f %% of %d served", 100*all.served(), all.Requests)
		return empty, fmt.Sprintf("empty after %.1f s and gone %.1f s later: %.2f %% of %d served", took.Seconds(), (2 * depotTimeout).Seconds(), 100*all.served(), all.Requests), nil
	})
}

// returns starts us anew, and asserts that it gets its probe before anything else.
func (s *spike) returns() error {
	d := s.d
	return d.step("return", "us has new machines", func() (bool, string, error) {
		if err := s.site("us", usWorkers); err != nil {
			return false, "", err
		}
		if err := s.point(); err != nil {
			return false, "", err
		}
		s.announce("")
		var first float64
		took, back, err := d.until(2*reactTime, func() (bool, error) {
			at, err := d.lever(depot, assay.LeverRegion, "us")
			first = at.Value
			return first > 0, err
		})
		if err != nil {
			return false, "", err
		}
		d.check("it gets a tenth of its traffic before more", back && first == 4, "%.3g %% after %s: %s", first, took.Round(time.Millisecond), s.reasons("depot-divert"))
		return back, fmt.Sprintf("%.3g %% after %.1f s", first, took.Seconds()), nil
	})
}
