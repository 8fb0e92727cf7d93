package gameday

import (
	"net/http"
	"time"
)

func (s *spike) prober(region string) *prober {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probes[region]
}

// prober asks a region past the proxy, as one elsewhere does.
type prober struct {
	url  string
	last []bool // whether it failed, the newest last
}

// What a prober does: it remembers three seconds.
const (
	probeTime = 150 * time.Millisecond
	probeKeep = 12
)

// ask asks once more and returns the share of the last probes that failed.
func (p *prober) ask() float64 {
	client := &http.Client{Timeout: probeTime}
	defer client.CloseIdleConnections()
	res, err := client.Post(p.url, "", nil)
	failed := err != nil
	if !failed {
		_ = res.Body.Close()
		failed = res.StatusCode >= http.StatusInternalServerError
	}
	if p.last = append(p.last, failed); len(p.last) > probeKeep {
		p.last = p.last[1:]
	}
	n := 0
	for _, f := range p.last {
		if f {
			n++
		}
	}
	return float64(n) / float64(len(p.last))
}
