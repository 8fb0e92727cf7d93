package docs_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"assay.dev/assay/rollout"
	"assay.dev/assay/store/mem"
	"github.com/prometheus/client_golang/prometheus"
)

// liveMetrics starts a server, has it answer something of every kind, and prints /metrics.
const liveMetrics = `set -e
export ASSAY_PASSPHRASE=metrics
assay key create > key.txt
agent=$(assay token create host --role agent --expires 1h)
pipeline=$(assay token create pipeline --role developer --expires 1h)
printf 'apiVersion: assay.dev/v1alpha1\nkind: Admission\nmetadata: {name: prod}\nspec: {environment: prod, requires: [{name: r, gate: release, resourceUri: "pkg:x/y"}]}\n' > policies/admission.yaml
printf '{apiVersion: openslo/v1, kind: SLO, metadata: {name: regions, annotations: {assay.dev/regions: region}}, spec: {service: x, indicator: {metadata: {name: i}, spec: {ratioMetric: {counter: true, good: {metricSource: {type: Prometheus, spec: {query: sum(g), fallback: sum(h)}}}, total: {metricSource: {type: Prometheus, spec: {query: sum(t), fallback: sum(u)}}}}}}, timeWindow: [{duration: 28d, isRolling: true}], objectives: [{target: 0.99}]}}\n' > policies/regions.yaml
printf 'witness w %s http://127.0.0.1:9/\nquorum w\n' "$(assay ledger witness)" > witnesses.txt
printf 'quorum none\n' > logs.txt
assay serve --listen 127.0.0.1:0 --proxy http://127.0.0.1:9 --notify http://127.0.0.1:9 --witnesses witnesses.txt --witness-logs logs.txt > serve.log 2>&1 &
timeout 30 sh -c 'until grep -qs "^serving" serve.log; do sleep 0.1; done'
url=$(sed -n 's/^serving \([^ ]*\).*/\1/p' serve.log)
curl -fsS $url/readyz > ready.txt
curl -sS $url/v1/facts > refused.txt
curl -fsS -H "Authorization: Bearer $agent" -H 'Content-Type: application/json' -d '{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
  {"name":"x","gauge":{"dataPoints":[{"timeUnixNano":"'$(date +%s)000000000'","asInt":"1"}]}}]}]}]}' $url/v1/metrics > taken.txt
curl -sS -d nothing $url/witness/add-checkpoint > offered.txt
curl -fsS -H "Authorization: Bearer $pipeline" -H 'Content-Type: application/json' -d '{"images":["registry.example/x:1"]}' $url/v1/admission/check > admission.txt
curl -fsS -H "Authorization: Bearer $agent" -H 'Content-Type: application/json' -d '{"environment":"prod","sightings":[{"service":"x","image":"y:1"}]}' $url/v1/inventory > seen.txt
ASSAY_TOKEN=$pipeline assay attest greet-1.1.0.tar.gz --server $url --environment prod --evidence evidence/1.1.0/tests.json --evidence evidence/1.1.0/sbom.json > attested.txt
export url
timeout 30 sh -c 'until curl -fsS $url/metrics | grep -q ^assay_ledger_witness_answers; do sleep 0.1; done'
curl -fsS $url/metrics
kill %1`

// metricRow is a row of the table in metrics.md.
var metricRow = regexp.MustCompile("(?m)^\\| `(assay_[a-z_]+)` \\| ([a-z]+) \\|([^|]*)\\| ([^|]+) \\|$")

// underWay begins what is said of metrics that are exposed of rollouts under way, of which this
// server has none.
const underWay = "while a rollout is under way: "

var (
	metricType  = regexp.MustCompile(`(?m)^# TYPE (assay_[a-z_]+) ([a-z]+)$`)
	metricLabel = regexp.MustCompile(`([a-z_]+)="`)
)

func TestMetricsPageListsExactlyWhatAServerExposes(t *testing.T) {
	requireTools(t, "curl ")
	page, err := os.ReadFile("metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	copyExample(t, dir)
	exposed := exposedMetrics(shell(t, liveMetrics, dir, syscall.SysProcAttr{}))
	if len(exposed) == 0 {
		t.Fatal("the server exposed no metric; did it start?")
	}
	written, momentary := map[string]string{}, map[string]bool{}
	for _, m := range metricRow.FindAllStringSubmatch(string(page), -1) {
		written[m[1]] = describe(m[2], strings.FieldsFunc(m[3], func(r rune) bool { return strings.ContainsRune("`, ", r) }))
		momentary[m[1]] = strings.HasPrefix(m[4], underWay)
	}
	for name, described := range ofRollouts() {
		if momentary[name] && exposed[name] == "" {
			exposed[name] = described
		}
	}
	for _, name := range slices.Sorted(maps.Keys(exposed)) {
		switch got := written[name]; got {
		case exposed[name]:
		case "":
			t.Errorf("metrics.md has no row for %s, %s", name, exposed[name])
		default:
			t.Errorf("metrics.md says that %s is a %s; the server exposes a %s", name, got, exposed[name])
		}
	}
	for name := range written {
		if exposed[name] == "" {
			t.Errorf("metrics.md has a row for %s, which no server exposes", name)
		}
	}
}

// collected keeps what is registered.
type collected struct{ list []prometheus.Collector }

func (c *collected) Register(x prometheus.Collector) error  { c.list = append(c.list, x); return nil }
func (c *collected) MustRegister(x ...prometheus.Collector) { c.list = append(c.list, x...) }
func (c *collected) Unregister(prometheus.Collector) bool   { return false }

var described = regexp.MustCompile(`fqName: "(assay_[a-z_]+)".*variableLabels: \{([a-z_,]*)\}`)

// ofRollouts are the gauges that rollouts describe, whether or not one is under way.
func ofRollouts() map[string]string {
	var reg collected
	rollout.New(rollout.Config{Registerer: &reg, Store: mem.New(mem.Config{})})
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		for _, x := range reg.list {
			x.Describe(descs)
		}
	}()
	out := map[string]string{}
	for d := range descs {
		if m := described.FindStringSubmatch(d.String()); m != nil {
			out[m[1]] = describe("gauge", strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' }))
		}
	}
	return out
}

// exposedMetrics reads type and labels of every metric of ours.
func exposedMetrics(text string) map[string]string {
	out := map[string]string{}
	for _, m := range metricType.FindAllStringSubmatch(text, -1) {
		labels := map[string]bool{}
		samples := regexp.MustCompile(`(?m)^` + m[1] + `(?:_bucket|_sum|_count)?\{(.*)\} `)
		for _, s := range samples.FindAllStringSubmatch(text, -1) {
			for _, l := range metricLabel.FindAllStringSubmatch(s[1], -1) {
				labels[l[1]] = true
			}
		}
		delete(labels, "le")
		out[m[1]] = describe(m[2], slices.Collect(maps.Keys(labels)))
	}
	return out
}

func describe(kind string, labels []string) string {
	slices.Sort(labels)
	return fmt.Sprintf("%s with the labels %v", kind, labels)
}
