package analyze_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/analyze"
	"assay.dev/assay/decide"
	"assay.dev/assay/internal/testenv"
)

func TestWhatIsNoSeriesIsRefusedWithItsPlace(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"empty", "", "f.csv:1: the file is empty; the first line must be timestamp,value"},
		{"no value column", "timestamp,v\n", `f.csv:1: there is no column "value"; the first line must be timestamp,value`},
		{"no rows", "timestamp,value\n", "f.csv:2: there is no row below the header"},
		{"no time", "timestamp,value\nsoon,1\n", `f.csv:2:1: timestamp "soon" is not a time; write 2026-11-22T14:00:00Z, 2026-11-22 14:00:00 or seconds since 1970`},
		{"milliseconds", "timestamp,value\n1700000000000,1\n", `f.csv:2:1: timestamp "1700000000000" is not a time in seconds since 1970; divide milliseconds by 1000`},
		{"semicolons", "timestamp;value\n1;1\n", `f.csv:1: there is no column "timestamp"; the first line must be timestamp,value, with commas between columns`},
		{"a row out of order", "timestamp,value\n2026-11-22 10:00,1\n2026-11-22 12:00,1\n2026-11-22 10:20,1\n2026-11-22 13:00,1\n", "f.csv:4: the row is 1h40m0s earlier than line 3; sort the file by time"},
		{"newest first, and a row out of order", "timestamp,value\n2026-11-22 13:00,1\n2026-11-22 10:20,1\n2026-11-22 12:00,1\n2026-11-22 10:00,1\n", "f.csv:3: the row is 1h40m0s earlier than line 4; sort the file by time"},
		{"no number", "timestamp,value\n2026-11-22,many\n", `f.csv:2:12: value "many" is not a number; leave it empty where nothing was measured`},
		{"infinite", "timestamp,value\n2026-11-22,+Inf\n", `f.csv:2:12: value "+Inf" is not a number; leave it empty where nothing was measured`},
		{"short row", "timestamp,value\n2026-11-22\n", "f.csv:2:1: wrong number of fields"},
		{"a quote that never ends", "timestamp,value\n\"2026,1\n", `f.csv:2:9: extraneous or missing " in quoted-field`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := analyze.ReadSeries(strings.NewReader(c.file), "f.csv", time.UTC)
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestWhatAreNoCountsIsRefusedWithItsPlace(t *testing.T) {
	const header = "time,arm,requests,errors\n"
	for _, c := range []struct{ name, row, want string }{
		{"another arm", "2026-11-22,blue,1,0", `f.csv:2:12: arm "blue" is not an arm; write canary or control`},
		{"negative", "2026-11-22,canary,-1,0", `f.csv:2:19: requests "-1" is not a count of this stretch of time, 0 or more`},
		{"a fraction", "2026-11-22,canary,1.5,0", `f.csv:2:19: requests "1.5" is not a count of this stretch of time, 0 or more`},
		{"more errors than requests", "2026-11-22,canary,1,2", `f.csv:2:21: errors "2" is not at most the number of requests, 1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := analyze.ReadCounts(strings.NewReader(header+c.row+"\n"), "f.csv", false)
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestAFileAboveTheLimitIsRefused(t *testing.T) {
	row := "2026-11-22T00:00:00Z,1" + strings.Repeat(" ", 1000) + "\n"
	r := strings.NewReader("timestamp,value\n" + strings.Repeat(row, analyze.MaxBytes/len(row)+2))
	_, err := analyze.ReadSeries(r, "f.csv", time.UTC)
	if assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("got %v, want too_large", err)
	}
}

func TestEveryFormOfATimeIsTheSameInstant(t *testing.T) {
	berlin := time.FixedZone("CET", 3600)
	for _, s := range []string{"2026-11-22T14:00:00Z", "2026-11-22T15:00:00+01:00", "2026-11-22 15:00:00", "2026-11-22T15:00:00", "2026-11-22 15:00", "1795356000", "1795356000.0"} {
		got, err := analyze.ReadSeries(strings.NewReader("timestamp,value\n"+s+",1\n"), "f.csv", berlin)
		if err != nil || !got[0].Time.Equal(time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)) {
			t.Errorf("%s is %v, %v", s, got, err)
		}
	}
}

// hourly is four weeks of an office: busy from nine to five, quiet at weekends.
func hourly(weeks int) []analyze.Point {
	r := rand.New(rand.NewPCG(3, 4))
	start := time.Date(2026, 10, 5, 0, 0, 0, 0, time.UTC)
	out := make([]analyze.Point, weeks*7*24)
	for i := range out {
		at := start.Add(time.Duration(i) * time.Hour)
		v := 200 + 800*math.Exp(-math.Pow(float64(at.Hour())-13, 2)/18)
		if at.Weekday() == time.Saturday || at.Weekday() == time.Sunday {
			v *= 0.3
		}
		out[i] = analyze.Point{Time: at, Value: v + 20*r.NormFloat64()}
	}
	return out
}

func TestAForecastIsCheckedOnItsOwnPastAndHoldsInTheFuture(t *testing.T) {
	all := hourly(6)
	past, future := all[:len(all)-48], all[len(all)-48:]
	r, err := analyze.Forecast(past, 48, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Trusted || r.Skill <= 0 || r.Coverage90 < 0.85 || r.Coverage90 > 0.97 || len(r.Forecast) != 48 {
		t.Fatalf("skill %.2f, coverage %.2f, trusted %v, %d steps: %s", r.Skill, r.Coverage90, r.Trusted, len(r.Forecast), r.Reason)
	}
	held := 0
	for i, s := range r.Forecast {
		if !s.Time.Equal(future[i].Time) || !(s.Q05 <= s.Q50 && s.Q50 <= s.Q95) {
			t.Fatalf("step %d is %+v, want the time %s and ordered quantiles", i, s, future[i].Time)
		}
		if s.Q05 <= future[i].Value && future[i].Value <= s.Q95 {
			held++
		}
	}
	if held < 38 {
		t.Errorf("the 90 %% intervals held %d of 48", held)
	}
}

func TestAForecastSaysWhenItIsWorthNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	walk := hourly(4)
	for i := range walk { // nothing repeats
		walk[i].Value = r.NormFloat64()
		if i > 0 {
			walk[i].Value += walk[i-1].Value
		}
	}
	short := walk[:20]
	got, err := analyze.Forecast(short, 10, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	if got.Trusted {
		t.Errorf("trusted: %s", got.Reason)
	}
	for name, points := range map[string][]analyze.Point{"two points": walk[:2], "too short for the horizon": walk[:12]} {
		if _, err := analyze.Forecast(points, 20, time.UTC); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAForecastOfWhatNeverChangesSaysSo(t *testing.T) {
	for _, v := range []float64{100, 0.1, 0} {
		points := hourly(15)
		for i := range points {
			points[i].Value = v
		}
		got, err := analyze.Forecast(points, 5, time.UTC)
		if err != nil || got.Trusted || !strings.Contains(got.Reason, "it repeats itself exactly") {
			t.Errorf("of %v always: %q, %v", v, got.Reason, err)
		}
	}
}

func TestForecastsOfStrangeSeriesAreNumbers(t *testing.T) {
	gaps, zeros, huge, constant := hourly(4), hourly(4), hourly(4), hourly(4)
	for i := range gaps {
		if i%3 == 0 || i < 30 {
			gaps[i].Value = math.NaN()
		}
		zeros[i].Value, constant[i].Value = 0, 5
		huge[i].Value *= 1e90
	}
	for name, points := range map[string][]analyze.Point{"gaps": gaps, "zeros": zeros, "huge": huge, "constant": constant} {
		r, err := analyze.Forecast(points, 24, time.UTC)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, v := range []float64{r.Skill, r.Coverage90, r.MASE, r.Sharpness, r.Forecast[0].Q05, r.Forecast[23].Q50, r.Forecast[23].Q95} {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Errorf("%s: %+v", name, r)
				break
			}
		}
	}
}

func TestACanaryIsJudgedWhereItsRolloutWouldHaveBeen(t *testing.T) {
	at := func(i int) time.Time { return time.Date(2026, 11, 22, 0, i, 0, 0, time.UTC) }
	counts := func(canaryErrors, controlErrors uint64, n int) (out []analyze.Count) {
		for i := range n {
			out = append(out, analyze.Count{Time: at(i), Arm: analyze.ArmControl, Requests: 900, Errors: controlErrors},
				analyze.Count{Time: at(i), Arm: analyze.ArmCanary, Requests: 100, Errors: canaryErrors})
		}
		return out
	}
	for _, c := range []struct {
		name    string
		counts  []analyze.Count
		work    bool
		verdict string
	}{
		{"four times as many errors", counts(4, 9, 60), false, "abort"},
		{"as many", counts(1, 9, 600), false, "promote"},
		{"too few to say", counts(1, 9, 2), false, "hold"},
		{"no control", counts(4, 0, 0), false, "hold"},
		{"twice the work", counts(600, 2700, 60), true, "abort"},
		{"as much work", counts(300, 2700, 60), true, "promote"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := analyze.Canary(c.counts, decide.NewPlan(), c.work)
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict != c.verdict || (r.DecidedAt == nil) != (c.verdict == "hold") {
				t.Errorf("%s at %v: %s; want %s", r.Verdict, r.DecidedAt, r.Reason, c.verdict)
			}
			if c.work && !strings.Contains(r.Reason, " per request against 3 of the control's") {
				t.Error(r.Reason)
			}
			if c.name == "too few to say" && (r.ETA == nil || *r.ETA < 100) {
				t.Errorf("no estimate of what is missing: %v", r.ETA)
			}
		})
	}
}

func TestAlarmsLookAtThePastOnly(t *testing.T) {
	points := hourly(4)
	points[500].Value = 5000
	whole := analyze.Anomaly(points, time.UTC)
	part := analyze.Anomaly(points[:501], time.UTC)
	for i, s := range part.Scores {
		if w := whole.Scores[i]; *s.Score != *w.Score || s.Alarm != w.Alarm || s.Why != w.Why {
			t.Fatalf("score %d is %+v with the future and %+v without", i, w, s)
		}
	}
	if !part.Scores[500].Alarm || part.Scores[500].Why == "" {
		t.Errorf("five times the highest value is no alarm: %+v", part.Scores[500])
	}
}

func TestAFileOfTheBenchmarkIsScoredRowByRow(t *testing.T) {
	path := testenv.Data(t, "NAB/data/realKnownCause/machine_temperature_system_failure.csv")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	points, err := analyze.ReadSeries(bytes.NewReader(data), path, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	r := analyze.Anomaly(points, time.UTC)
	if rows := bytes.Count(bytes.TrimSpace(data), []byte("\n")); len(r.Scores) != rows || r.Alarms == 0 || r.Alarms > rows/100 {
		t.Errorf("%d scores of %d rows, %d alarms", len(r.Scores), rows, r.Alarms)
	}
}

func FuzzReadSeries(f *testing.F) {
	f.Add("timestamp,value\n2026-11-22 15:00:00,1\n2026-11-22 15:05:00,\n")
	f.Add("value,timestamp\n1e5,1795356000\nNaN,1795356060\n")
	f.Fuzz(func(t *testing.T, s string) {
		points, err := analyze.ReadSeries(strings.NewReader(s), "f.csv", time.UTC)
		if err != nil {
			return
		}
		if len(points) > 300 {
			return
		}
		analyze.Anomaly(points, time.UTC)
		if r, err := analyze.Forecast(points, 3, time.UTC); err == nil && len(r.Forecast) != 3 {
			t.Errorf("%d steps", len(r.Forecast))
		}
	})
}

func FuzzReadCounts(f *testing.F) {
	f.Add("time,arm,requests,errors\n2026-11-22,canary,100,4\n2026-11-22,control,900,9\n")
	f.Fuzz(func(t *testing.T, s string) {
		counts, err := analyze.ReadCounts(strings.NewReader(s), "f.csv", false)
		if err != nil || len(counts) > 100 {
			return
		}
		if r, err := analyze.Canary(counts, decide.NewPlan(), false); err == nil && r.Reason == "" {
			t.Error(fmt.Sprint(r))
		}
	})
}
