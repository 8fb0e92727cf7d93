package signal_test

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
)

func TestAPieceComesOutAsItWentIn(t *testing.T) {
	t.Parallel()
	a, b := labels.FromStrings("__name__", "a_total"), labels.FromStrings("__name__", "b_total", "code", "500")
	in := []signal.Sample{{Labels: a, Time: 1, Value: 1}, {Labels: a, Time: 2, Value: 2}, {Labels: b, Time: 1, Value: 7}, {Labels: a, Time: 3, Value: 3}}
	packed, err := signal.MarshalWrite(in)
	if err != nil {
		t.Fatal(err)
	}
	data, err := signal.ReadPiece(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var res signal.Result
	out, err := signal.UnmarshalWrite(data, &res)
	if err != nil || len(out) != len(in) || res.RefusedTotal() != 0 {
		t.Fatalf("%v %+v %v", out, res, err)
	}
	for i := range in {
		if !labels.Equal(in[i].Labels, out[i].Labels) || in[i].Time != out[i].Time || in[i].Value != out[i].Value {
			t.Errorf("%d: %+v", i, out[i])
		}
	}
}

func TestSamplesAreCutIntoPiecesThatAreTaken(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1000)
	var in []signal.Sample
	for i := range 40_000 { // 40 MB of labels that compress well
		in = append(in, signal.Sample{Labels: labels.FromStrings("__name__", "a_total", "i", strconv.Itoa(i), "long", long), Time: int64(i), Value: 1})
	}
	pieces, err := signal.Pieces(in)
	if err != nil || len(pieces) < 3 {
		t.Fatalf("%d pieces, %v", len(pieces), err)
	}
	got := 0
	for _, p := range pieces {
		data, err := signal.ReadPiece(bytes.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		var res signal.Result
		samples, err := signal.UnmarshalWrite(data, &res)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range samples {
			if s.Time != int64(got) {
				t.Fatalf("sample %d comes as number %d", s.Time, got)
			}
			got++
		}
	}
	if got != len(in) {
		t.Errorf("%d samples came", got)
	}
	in[0].Labels = labels.FromStrings("__name__", "a_total", "long", strings.Repeat("x", signal.MaxDecoded-10))
	if _, err := signal.Pieces(in[:1]); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("%v", err)
	}
}

func TestAPieceIsBounded(t *testing.T) {
	t.Parallel()
	for name, body := range map[string][]byte{"large": make([]byte, signal.MaxBody+1), "bomb": {0xff, 0xff, 0xff, 0x7f}} {
		if _, err := signal.ReadPiece(bytes.NewReader(body)); assay.CodeOf(err) != assay.CodeTooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHistoryEndsSoThatNoCountedMinuteLooksBackAtIt(t *testing.T) {
	t.Parallel()
	first := time.Date(2026, 11, 20, 12, 40, 59, 0, time.UTC)
	got := time.UnixMilli(signal.OwnFrom(first.UnixMilli())).UTC()
	if want := time.Date(2026, 11, 20, 12, 35, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("%s, want %s", got, want)
	}
}

func FuzzReadPiece(f *testing.F) {
	raw, err := signal.MarshalWrite([]signal.Sample{{Labels: labels.FromStrings("__name__", "x_total", "code", "500"), Time: 1, Value: 2}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, body []byte) {
		data, err := signal.ReadPiece(bytes.NewReader(body))
		if err != nil {
			return
		}
		judged(t, data)
	})
}

func FuzzUnmarshalWrite(f *testing.F) {
	whole := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:     []prompb.Label{{Name: "__name__", Value: "x_total"}},
		Samples:    []prompb.Sample{{Timestamp: 1, Value: 1}},
		Histograms: []prompb.Histogram{{Schema: 3, PositiveDeltas: []int64{1, -2}}},
	}}}
	data, err := whole.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte{0x0a, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		var res signal.Result
		if _, err := signal.UnmarshalWrite(data, &res); err == nil {
			judged(t, data)
		}
	})
}

// judged holds that what is decoded can be sifted, and that what passes is well formed.
func judged(t *testing.T, data []byte) {
	var res signal.Result
	samples, err := signal.UnmarshalWrite(data, &res)
	if err != nil {
		if code := assay.CodeOf(err); code != assay.CodeInvalid && code != assay.CodeTooLarge {
			t.Fatal(err)
		}
		return
	}
	for _, s := range signal.SiftPast(samples, "shop", 0, 1000, &res) {
		if s.Time < 0 || s.Time >= 1000 || s.H != nil || s.FH != nil || s.Labels.Get(signal.NamespaceLabel) != "shop" {
			t.Errorf("%+v passed", s)
		}
	}
}
