package replay_test

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"assay.dev/assay/signal/replay"
)

var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

var world = replay.World{Service: "shop", Errors: "errors", Latency: "latency", Bounds: []float64{0.05, 0.1, 0.5, 2}, Threshold: 0.1, Step: 10 * time.Second}

func draw(seed uint64, n int) []assay.Reading {
	return world.Draw(seed, epoch, n, replay.Arm{Version: "v1", Rate: 90, Errors: 0.01, Median: 0.06, Spread: 0.5}, replay.Arm{Version: "v2", Rate: 10, Errors: 0.04, Median: 0.09, Spread: 0.5})
}

func TestTheSameSeedDrawsTheSameWorld(t *testing.T) {
	if a, b := draw(7, 50), draw(7, 50); !reflect.DeepEqual(a, b) {
		t.Error("two draws of one seed differ")
	}
	if reflect.DeepEqual(draw(7, 50), draw(8, 50)) {
		t.Error("two seeds draw the same")
	}
}

// Over many requests the drawn rates are the declared ones, within five
// standard deviations.
func TestDrawnRatesAreTheDeclaredOnes(t *testing.T) {
	tape, err := replay.New("shop", draw(1, 2000))
	if err != nil {
		t.Fatal(err)
	}
	q := signal.Query{Namespace: "shop", Indicator: signal.Indicator{Service: "shop", Name: "errors"}, Start: epoch, End: epoch.Add(20_000 * time.Second)}
	got, err := tape.Read(t.Context(), q)
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	near := func(what string, got, mean, sd float64) {
		if math.Abs(got-mean) > 5*sd {
			t.Errorf("%s is %v, want %v ± %v", what, got, mean, sd)
		}
	}
	near("v2's requests", float64(got[1].Total), 200_000, math.Sqrt(200_000))
	near("v2's errors", float64(got[1].Bad()), 0.04*float64(got[1].Total), math.Sqrt(0.04*0.96*float64(got[1].Total)))
	near("v1's requests", float64(got[0].Total), 1_800_000, math.Sqrt(1_800_000))
	q.Indicator.Name = "latency"
	got, err = tape.Read(t.Context(), q)
	if err != nil || len(got) != 2 || len(got[1].Buckets) != 4 {
		t.Fatalf("%+v, %v", got, err)
	}
	p := 0.5 * math.Erfc(-math.Log(0.1/0.09)/(0.5*math.Sqrt2))
	n := float64(got[1].Total)
	near("v2's share below the threshold", float64(got[1].Good), p*n, math.Sqrt(p*(1-p)*n))
	if err := got[1].Check(); err != nil {
		t.Error(err)
	}
}

func TestATapeIsReadBackAsItWasWritten(t *testing.T) {
	readings := draw(3, 20)
	var b bytes.Buffer
	if err := replay.Write(&b, readings); err != nil {
		t.Fatal(err)
	}
	tape, err := replay.Read(&b, "shop")
	if err != nil || tape.Len() != len(readings) {
		t.Fatalf("%v", err)
	}
	want, err := replay.New("shop", readings)
	if err != nil || !reflect.DeepEqual(tape, want) {
		t.Errorf("the tape differs, %v", err)
	}
}

func TestOnlyWholeReadingsOfTheIntervalCount(t *testing.T) {
	one := func(second, n int, version string) assay.Reading {
		s := epoch.Add(time.Duration(second) * time.Second)
		return assay.Reading{Service: "shop", Indicator: "errors", Version: version, Good: uint64(n), Total: uint64(n), Start: s, End: s.Add(10 * time.Second), EventTime: s, Completeness: 1}
	}
	half := one(20, 5, "v1")
	half.Completeness = 0.5
	tape, err := replay.New("shop", []assay.Reading{one(30, 7, "v1"), one(0, 1, "v1"), half, one(10, 3, "v1"), one(10, 4, "v2")})
	if err != nil {
		t.Fatal(err)
	}
	q := signal.Query{Namespace: "shop", Indicator: signal.Indicator{Name: "errors"}, Start: epoch.Add(10 * time.Second), End: epoch.Add(35 * time.Second)}
	got, err := tape.Read(t.Context(), q)
	if err != nil || len(got) != 2 || got[0].Total != 8 || got[0].Completeness != 0.5 || !got[0].EventTime.Equal(epoch.Add(20*time.Second)) || got[1].Total != 4 {
		t.Errorf("%+v, %v", got, err)
	}
	q.Namespace = "bank"
	if got, err := tape.Read(t.Context(), q); err != nil || got != nil {
		t.Errorf("another namespace: %+v, %v", got, err)
	}
	q.End = q.Start
	if _, err := tape.Read(t.Context(), q); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("an empty interval: %v", err)
	}
}

func TestTapesThatCannotBeAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"indicator":"e","version":"v","good":2,"total":1,"start":"2026-11-21T12:00:00Z","end":"2026-11-21T12:00:10Z"}`: "reading e has 2 good of 1",
		`{"indicator":"e"`:  "cut off",
		"\n\n{\"bogus\":1}": "line 3",
	} {
		if _, err := replay.Read(strings.NewReader(text), "shop"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	a := assay.Reading{Indicator: "l", Buckets: []assay.Bucket{{LE: 1}}}
	b := assay.Reading{Indicator: "l", Buckets: []assay.Bucket{{LE: 2}}}
	if _, err := replay.Add(a, b); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("histograms with other bounds were added: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	if err := replay.Write(&b, draw(1, 2)); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tape, err := replay.Read(bytes.NewReader(data), "shop")
		if err != nil {
			return
		}
		_, _ = tape.Read(t.Context(), signal.Query{Namespace: "shop", Indicator: signal.Indicator{Name: "errors"}, Start: epoch, End: epoch.Add(time.Hour)})
	})
}
