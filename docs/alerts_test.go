package docs_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay/signal"
	"assay.dev/assay/signal/tsdb"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// alertRow is a row of the table of alerts in metrics.md: an expression, and how long it
// must hold.
var alertRow = regexp.MustCompile("(?m)^\\| `([^`]+)`(?: for [0-9]+ minutes)? \\| [^|]+ \\|$")

// alerts are the expressions that metrics.md says to alert on.
func alerts(t *testing.T) (out []string, page string) {
	t.Helper()
	data, err := os.ReadFile("metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, found := strings.Cut(string(data), "## What to alert on")
	if !found {
		t.Fatal("metrics.md has no section of alerts")
	}
	for _, m := range alertRow.FindAllStringSubmatch(strings.ReplaceAll(list, `\|`, "\x00"), -1) {
		out = append(out, strings.ReplaceAll(m[1], "\x00", "|"))
	}
	if rows := strings.Count(list, "\n| `"); len(out) != rows || rows < 10 {
		t.Fatalf("%d of %d rows were understood", len(out), rows)
	}
	return out, string(data)
}

// unsound says what of an expression is no PromQL or asks for what no server exposes,
// known being the labels of each metric.
func unsound(expr string, known map[string][]string) (out []string) {
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return []string{err.Error()}
	}
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		name := v.Name
		for _, part := range []string{"_bucket", "_count", "_sum"} {
			if known[name] == nil {
				name = strings.TrimSuffix(name, part)
			}
		}
		if known[name] == nil {
			out = append(out, "there is no metric "+v.Name)
			return nil
		}
		for _, m := range v.LabelMatchers {
			if m.Name != model.MetricNameLabel && !slices.Contains(known[name], m.Name) {
				out = append(out, name+" has no label "+m.Name)
			}
		}
		return nil
	})
	return out
}

func TestAlertsOfTheMetricsPageAskForMetricsAndLabelsThatExist(t *testing.T) {
	list, page := alerts(t)
	known := map[string][]string{}
	for _, m := range metricRow.FindAllStringSubmatch(page, -1) {
		known[m[1]] = append([]string{"le"}, strings.FieldsFunc(m[3], func(r rune) bool { return strings.ContainsRune("`, ", r) })...)
	}
	for _, expr := range list {
		for _, why := range unsound(expr, known) {
			t.Errorf("%s: %s", expr, why)
		}
	}
	for _, wrong := range []string{`assay_gate_verdict_total > 0`, `assay_gate_verdicts_total{result="fail"} > 0`, `sum(assay_gate_verdicts_total`} {
		if len(unsound(wrong, known)) != 1 {
			t.Errorf("%s is not refused", wrong)
		}
	}
}

func TestTheAlertForGatesThatRefuseTooMuchFiresAndStaysQuiet(t *testing.T) {
	list, _ := alerts(t)
	i := slices.IndexFunc(list, func(expr string) bool { return strings.Contains(expr, `blocks="yes"`) })
	if i < 0 {
		t.Fatal("metrics.md has no alert for gates that refuse too much")
	}
	const shop = "shop"
	for name, c := range map[string]struct {
		passed, refused, absent float64 // gate runs of an hour
		fires                   bool
	}{
		"a frozen policy refuses everything":         {passed: 0, refused: 60, fires: true},
		"most runs are refused":                      {passed: 20, refused: 60, fires: true},
		"reports are missing everywhere":             {passed: 10, absent: 60, fires: true},
		"some runs are refused, as on any day":       {passed: 200, refused: 60},
		"a quiet night with one artifact that fails": {passed: 0, refused: 4},
		"all runs pass":                              {passed: 100},
	} {
		t.Run(name, func(t *testing.T) {
			db, err := tsdb.Open(t.TempDir(), tsdb.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			end := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
			for minute := range 61 {
				at := end.Add(time.Duration(minute-60) * time.Minute)
				part := float64(minute) / 60
				count := func(blocks, outcome string, n float64) signal.Sample {
					return signal.Sample{Time: at.UnixMilli(), Value: n * part, Labels: labels.FromStrings(
						model.MetricNameLabel, "assay_gate_verdicts_total", "blocks", blocks, "outcome", outcome, signal.NamespaceLabel, shop)}
				}
				res, err := db.Append(t.Context(), []signal.Sample{count("no", "pass", c.passed), count("yes", "fail", c.refused), count("yes", "absent", c.absent)}, at)
				if err != nil || res.Accepted != 3 {
					t.Fatalf("%+v, %v", res, err)
				}
			}
			got, err := db.Instant(t.Context(), shop, list[i], end)
			if err != nil {
				t.Fatal(err)
			}
			if fires := len(got.Lines) > 0; fires != c.fires {
				t.Errorf("%s gives %+v", list[i], got.Lines)
			}
		})
	}
}
