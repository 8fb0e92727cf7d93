package gameday

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// Report is what a play came to. Its JSON is that of `assay demo -o json`.
type Report struct {
	OK      bool           `json:"ok"` // every outcome came out as described
	Checks  []Check        `json:"checks"`
	Play    string         `json:"play"`
	Healthy bool           `json:"healthy"`  // the regression of v2 was switched off
	ReadyMS int64          `json:"ready_ms"` // from the start of the program to the page's answer
	Seed    uint64         `json:"seed"`
	Dir     string         `json:"dir"`
	URL     string         `json:"url"`
	PIDs    map[string]int `json:"pids"`     // of all children, by name
	RateRPS float64        `json:"rate_rps"` // requests per second that were sent, on average

	Stopped   *Stop       `json:"stopped,omitempty"` // of the bad release
	Promoted  []Promotion `json:"promoted,omitempty"`
	Peers     []Peer      `json:"peers"`
	Objective *Books      `json:"objective,omitempty"`
	Functions *Functions  `json:"functions,omitempty"` // of a burst of events

	// The figures of Stopped and of the last promotion, for scripts.
	StoppedAfter  uint64  `json:"stopped_after"`  // canary requests when it was decided
	Harmed        uint64  `json:"harmed"`         // canary requests that failed, until the traffic was back
	Floor         float64 `json:"floor"`          // canary requests that no test can do without, on average
	PromotedAfter uint64  `json:"promoted_after"` // canary requests until it was decided

	Decisions int    `json:"decisions"` // recorded ones
	Identical int    `json:"identical"` // of them, those that come out the same when made again
	Verify    string `json:"verify"`    // the command that verifies the proof of the last release, offline
	Took      string `json:"took"`
}

// Stop is how a bad release ended.
type Stop struct {
	Version     string       `json:"version"`
	Rollout     string       `json:"rollout"`
	Decision    assay.FactID `json:"decision"`
	After       uint64       `json:"after"`        // canary requests when it was decided
	Exposed     uint64       `json:"exposed"`      // canary requests until the traffic was back
	Harmed      uint64       `json:"harmed"`       // of them, failed
	Seconds     float64      `json:"seconds"`      // from its first traffic to the decision
	Weight      float64      `json:"weight"`       // share of the traffic that it had
	Floor       float64      `json:"floor"`        // for the error rates alone
	TrafficBack float64      `json:"traffic_back"` // seconds from the decision to the traffic's return
	Reason      string       `json:"reason"`
}

// Promotion is how a good release ended.
type Promotion struct {
	Version string  `json:"version"`
	Rollout string  `json:"rollout"`
	After   uint64  `json:"after"` // canary requests until it was decided
	Seconds float64 `json:"seconds"`
	Steps   []int   `json:"steps"` // shares that it had, percent
}

// Books is the service's objective as it stands at the end.
type Books struct {
	Name         string  `json:"name"`
	Target       string  `json:"target"`
	Good         uint64  `json:"good"`
	Total        uint64  `json:"total"`
	Spent        float64 `json:"spent"` // share of the window's budget
	Remaining    int64   `json:"remaining"`
	Completeness float64 `json:"completeness"`
	Burn         float64 `json:"burn"` // over the longest span of the burn table
	Known        bool    `json:"known"`
	Reason       string  `json:"reason,omitempty"`
}

// Functions is how the functions of a burst of events fared.
type Functions struct {
	Invocations uint64  `json:"invocations"`
	Failed      uint64  `json:"failed"`      // of them; their events were handed out again
	ColdStarts  uint64  `json:"cold_starts"` // invocations that waited for a function to start
	ColdShare   float64 `json:"cold_share"`
	Throttled   uint64  `json:"throttled"` // turned away, because as many worked as may
	InitMean    float64 `json:"init_mean"` // seconds from the start of a function to its first question
	InitMax     float64 `json:"init_max"`
	WriteMean   float64 `json:"write_mean"` // seconds that the database took, as functions see it
	WriteMax    float64 `json:"write_max"`
}

// report is what there is to say at any time.
func (w *World) report(play string) Report {
	return Report{
		OK: len(w.checks) > 0 && len(Failed(w.checks)) == 0, Checks: slices.Clone(w.checks), Play: play,
		ReadyMS: w.readyMS, Seed: w.cfg.Seed, Dir: w.cfg.Dir, URL: w.url, PIDs: w.Processes(), RateRPS: w.meanRate(),
		Peers: []Peer{}, Took: time.Since(w.cfg.Began).Round(100 * time.Millisecond).String(),
	}
}

// JSON writes the report for machines.
func (r Report) JSON() ([]byte, error) {
	data, err := json.MarshalIndent(r, "", "  ")
	return append(data, '\n'), err
}

// Thousands writes a count as people read it: 1,204.
func Thousands[N ~int | ~int64 | ~uint64](n N) string {
	s := fmt.Sprint(n)
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if neg {
		s = "-" + s
	}
	return s
}

// percentOf writes a rate as a percentage.
func percentOf(r assay.Rate) string {
	if r.Total == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(r.Bad)/float64(r.Total))
}

// stepsOf are the shares that a rollout had, in order, as its path says.
func stepsOf(r api.Rollout) (out []int) {
	for _, p := range r.Path {
		if p.Weight > 0 && !slices.Contains(out, p.Weight) {
			out = append(out, p.Weight)
		}
	}
	if r.Weight > 0 && !slices.Contains(out, r.Weight) {
		out = append(out, r.Weight)
	}
	return out
}
