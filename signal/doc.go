// Package signal brings telemetry in and hands readings out.
//
// The mental model is a harbour. Batches arrive by several roads (OTLP,
// remote write, scraping: packages below this one); at the Intake each sample
// is checked, labelled with the namespace it came for, counted, and only then
// stored through a Sink. Whoever decides asks a Source for Readings: whole
// numbers of good and total events in an interval, one per version, each with
// the time of its newest event and the share of series that reported.
//
// Three things are never mixed up: no events (a reading with zero total), stale
// data (a reading whose newest event is old) and no data (no reading at all).
//
// Series are Prometheus series: labels.Labels and histogram.Histogram are the
// values that all roads meet in, so that nothing is converted twice.
package signal
