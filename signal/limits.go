package signal

import "time"

// Limits on what comes in. They hold for every road.
const (
	// MaxBody is one request's body as sent, bytes.
	MaxBody = 4 << 20
	// MaxDecoded is one request's body after decompression, bytes.
	MaxDecoded = 16 << 20
	// MaxSamples is how many samples one batch may hold.
	MaxSamples = 120_000
	// MaxBodyTime is how long a sender may take over one body.
	MaxBodyTime = 10 * time.Second
	// MaxInFlight is how many bodies are read and decoded at once; more wait for
	// nothing and are told to come back.
	MaxInFlight = 8
	// MaxAhead is how far in the future a sample may be dated. The clocks of
	// senders may differ from ours by this much.
	MaxAhead = 10 * time.Minute
	// MaxBehind is how late a sample may come: the out-of-order window.
	MaxBehind = 30 * time.Minute
	// MaxLabels is how many labels a series may have, the namespace included.
	MaxLabels = 40
	// MaxLabelName is the length of a label's name, bytes.
	MaxLabelName = 128
	// MaxLabelValue is the length of a label's value, bytes.
	MaxLabelValue = 1024
	// MaxSeriesPerSource is how many series one sender may have at a time. A proxy has 26 of
	// each version, so 106,496 of as many routes as it may have with two.
	MaxSeriesPerSource = 120_000
	// MaxSources is how many senders are told apart.
	MaxSources = 1000
)

// seriesLife is how long a series counts against its sender's limit after its
// last sample.
const seriesLife = time.Hour
