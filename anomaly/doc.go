// Package anomaly watches what is measured for what it has never been like, for what
// was not expected, and for measuring that stopped.
//
// The mental model is a watchman with a notebook. Every minute that has settled is read
// once from the series (signal.Source), in the order of time: requests and the share of
// bad events of each objective go to two detectors each (infer.Novelty and
// infer.Expectation), those of a service together to a third (infer.Joint), and the
// telemetry itself is watched for silence and for a change of its meaning. Runs of gates
// are watched the same way, in slots of ten minutes. What a minute is said to be depends
// on the minutes before it only.
//
// Each alarm is one fact, anomaly.found, with its indicator, its channel and its reason
// in words, written in one transaction with the notebook that it was found by. While the
// service is being changed, or the calendar plans something, the fact says so: it is
// recorded as suppressed, never left out. A lost notebook loses nothing but time: it is
// learnt anew from the series that are still kept.
//
// Load is forecast in steps of five minutes, and each forecast is held against what came.
//
// Step does a piece of the work and reads no clock; Run calls it.
package anomaly
