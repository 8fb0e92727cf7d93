package anomaly

import (
	"encoding/json"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// Channels of alarms about telemetry, beside those of the detectors in infer.
const (
	ChannelSilence  infer.Channel = "silence"      // data stopped coming
	ChannelMeaning  infer.Channel = "meaning"      // what comes can no longer be counted, or lost its version label
	ChannelComplete infer.Channel = "completeness" // many of the series stopped reporting
)

// foundVersion is the version of Found as a fact's payload.
const foundVersion = 1

// Found is one alarm, and the payload of the fact anomaly.found.
type Found struct {
	Service   string        `json:"service,omitempty"`   // "" for what belongs to no service, such as gates
	Objective string        `json:"objective,omitempty"` // "slo/index", "" for several together and for gates
	Indicator string        `json:"indicator"`           // requests, bad share, telemetry, together, gate runs, gate failures
	Channel   infer.Channel `json:"channel"`             // in which view it shows
	Words     string        `json:"words"`               // why it is an alarm, in one line
	Time      time.Time     `json:"time"`                // of the minute, or slot, that it was found in
	Score     float64       `json:"score"`               // how far beyond the record, as a share of its range, or what betting against the forecast won
	Value     *float64      `json:"value,omitempty"`     // what was observed
	Expected  *float64      `json:"expected,omitempty"`  // the forecast for it
	Low       *float64      `json:"low,omitempty"`       // of the band that 9 of 10 observations are expected in
	High      *float64      `json:"high,omitempty"`
	Certainty string        `json:"certainty"` // exact or calibrated
	Basis     string        `json:"basis"`     // what the bound on false alarms rests on
	// Late is that it was found more than an hour after its time, as after an outage.
	Late bool `json:"late,omitempty"`
	// Suppressed is the known change that explains it, "" if there is none: nobody is to
	// be woken by it.
	Suppressed string `json:"suppressed,omitempty"`
}

// fact is the alarm as it is recorded.
func (f Found) fact(namespace string) (assay.Fact, error) {
	payload, err := json.Marshal(f)
	if err != nil {
		return assay.Fact{}, assay.Errorf(assay.CodeInternal, "an anomaly cannot be written: %w", err)
	}
	return assay.Fact{
		Kind: assay.FactAnomalyFound, Version: foundVersion, Time: f.Time, Namespace: namespace, Service: f.Service,
		Actor: actor, Retention: assay.RetainOperational, Payload: payload,
	}, nil
}

// actor stands in the facts of this package.
const actor = "assay.anomaly"

// DecodeFound reads the payload of a fact anomaly.found; CodeInvalid if it is none.
func DecodeFound(payload []byte) (Found, error) {
	var f Found
	if err := json.Unmarshal(payload, &f); err != nil {
		return Found{}, assay.Errorf(assay.CodeInvalid, "a fact is no anomaly: %w", err)
	}
	if f.Indicator == "" || f.Channel == "" || f.Time.IsZero() {
		return Found{}, assay.Errorf(assay.CodeInvalid, "a fact is no anomaly: it names no indicator, channel or time")
	}
	return f, nil
}
