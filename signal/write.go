package signal

import (
	"fmt"
	"io"

	"assay.dev/assay"
	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
)

// UnmarshalWrite decodes a request of remote write, version 1, whole or not at all:
// CodeInvalid, or CodeTooLarge for more than MaxSamples. Series with too many labels are
// refused in res. Exemplars and metadata are passed over.
func UnmarshalWrite(data []byte, res *Result) ([]Sample, error) {
	var req prompb.WriteRequest
	if err := req.Unmarshal(data); err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "the body is no remote-write request: %w", err)
	}
	n := 0
	for _, ts := range req.Timeseries {
		n += len(ts.Samples) + len(ts.Histograms)
	}
	if n > MaxSamples {
		return nil, assay.Errorf(assay.CodeTooLarge, "the request holds %d samples; at most %d are taken at once", n, MaxSamples)
	}
	samples := make([]Sample, 0, n)
	builder := labels.NewScratchBuilder(16)
	for _, ts := range req.Timeseries {
		if len(ts.Labels) >= MaxLabels {
			res.Refuse(RefusedLabels, len(ts.Samples)+len(ts.Histograms), fmt.Sprintf("a series has %d labels; at most %d are taken", len(ts.Labels), MaxLabels-1))
			continue
		}
		ls := ts.ToLabels(&builder, nil)
		for _, s := range ts.Samples {
			samples = append(samples, Sample{Labels: ls, Time: s.Timestamp, Value: s.Value})
		}
		for _, h := range ts.Histograms {
			s := Sample{Labels: ls, Time: h.Timestamp}
			if h.IsFloatHistogram() {
				s.FH = h.ToFloatHistogram()
			} else {
				s.H = h.ToIntHistogram()
			}
			samples = append(samples, s)
		}
	}
	return samples, nil
}

// MarshalWrite encodes samples as a request of remote write, version 1, in snappy: what a
// piece of an import is. Samples that follow each other with the same labels share a series.
func MarshalWrite(samples []Sample) ([]byte, error) {
	var req prompb.WriteRequest
	last := labels.EmptyLabels()
	for _, s := range samples {
		if n := len(req.Timeseries); n == 0 || !labels.Equal(s.Labels, last) {
			last = s.Labels
			req.Timeseries = append(req.Timeseries, prompb.TimeSeries{Labels: prompb.FromLabels(s.Labels, nil)})
		}
		ts := &req.Timeseries[len(req.Timeseries)-1]
		switch {
		case s.H != nil:
			ts.Histograms = append(ts.Histograms, prompb.FromIntHistogram(s.Time, s.H))
		case s.FH != nil:
			ts.Histograms = append(ts.Histograms, prompb.FromFloatHistogram(s.Time, s.FH))
		default:
			ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: s.Time, Value: s.Value})
		}
	}
	raw, err := req.Marshal()
	if err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "samples cannot be encoded: %w", err)
	}
	return snappy.Encode(nil, raw), nil
}

// Pieces are samples as pieces of an import, each within what ReadPiece takes.
func Pieces(samples []Sample) ([][]byte, error) {
	data, err := MarshalWrite(samples)
	if err != nil {
		return nil, err
	}
	decoded, err := snappy.DecodedLen(data)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "samples cannot be encoded: %w", err)
	}
	if len(data) <= MaxBody && decoded <= MaxDecoded && len(samples) <= MaxSamples {
		return [][]byte{data}, nil
	}
	if len(samples) == 1 {
		return nil, assay.Errorf(assay.CodeTooLarge, "series %s has more labels than one piece can hold", clip(samples[0].Labels.String()))
	}
	first, err := Pieces(samples[:len(samples)/2])
	if err != nil {
		return nil, err
	}
	rest, err := Pieces(samples[len(samples)/2:])
	return append(first, rest...), err
}

// ReadPiece reads a piece of an import within MaxBody and decompresses it within
// MaxDecoded. CodeTooLarge or CodeInvalid.
func ReadPiece(r io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, MaxBody+1))
	switch {
	case err != nil:
		return nil, assay.Errorf(assay.CodeInvalid, "the piece ends early: %w", err)
	case len(raw) > MaxBody:
		return nil, assay.Errorf(assay.CodeTooLarge, "the piece has more than %d bytes", MaxBody)
	}
	return inflate(raw, "snappy")
}
