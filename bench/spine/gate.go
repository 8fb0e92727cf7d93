package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
	"assay.dev/assay/evidence"
	"assay.dev/assay/gate"
	"assay.dev/assay/policy/dir"
	"assay.dev/assay/policy/rego"
)

// Sizes of the measure of the gate.
const (
	sbomBytes  = 4 << 20
	findings   = 10_000
	wallTarget = 1000 // milliseconds
	rssTarget  = 200  // MB
	exitFailed = 3    // what the program answers for a verdict of fail
)

//go:embed policy
var policyFiles embed.FS

// subjectDigest stands for an artifact; the gate judges reports about it, not the artifact.
var subjectDigest = assay.DigestOf([32]byte{1})

// measureGate measures a verdict over a large bill of materials and many findings: by the
// program as users start it, and by the pure function alone.
func measureGate(ctx context.Context, b *run.Bench) error {
	dir, err := b.Folder()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	sbom, sarif := sbomReport(), sarifReport()
	if err := writeInputs(dir, sbom, sarif); err != nil {
		return err
	}
	if err := gateProgram(ctx, b, dir, sbom, sarif); err != nil {
		return err
	}
	return gateFunction(ctx, b, dir)
}

// writeInputs puts policy and reports where the program is started.
func writeInputs(dir string, sbom, sarif []byte) error {
	files, err := fs.Sub(policyFiles, "policy")
	if err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(dir, "policy"), files); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "sbom.json"), sbom, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "lint.sarif"), sarif, 0o600)
}

// gateProgram runs the program as a child. Both reports are read, so both of their
// digests, the policy and 10,000 findings are part of the time.
func gateProgram(ctx context.Context, b *run.Bench, dir string, sbom, sarif []byte) error {
	program, err := filepath.Abs(b.Program)
	if err != nil {
		return err
	}
	var wall, peak, scan []float64
	for n := range b.Rounds {
		l, err := command(ctx, dir, exitFailed, program, "verify", "--policy", "policy", "--name", "bench",
			"--digest", string(subjectDigest), "--evidence", "sbom.json", "--evidence", "lint.sarif", "--json", "verdict.json")
		if err != nil {
			return err
		}
		if err := checkVerdict(filepath.Join(dir, "verdict.json")); err != nil {
			return err
		}
		start := time.Now()
		if !json.Valid(sbom) || !json.Valid(sarif) {
			return fmt.Errorf("the reports are not JSON")
		}
		wall, peak, scan = append(wall, l.Millis), append(peak, float64(l.Peak)/1e6), append(scan, millis(time.Since(start)))
		b.Say("gate %d/%d: assay verify in %.0f ms, %.0f MB resident", n+1, b.Rounds, l.Millis, peak[n])
	}
	own, err := command(ctx, dir, 0, "true")
	if err != nil {
		return err
	}
	b.Rows = append(b.Rows,
		result.New(fmt.Sprintf("assay verify, %.1f MB SBOM + %d findings", float64(len(sbom))/1e6, findings), "ms", wall).
			Within(result.Median(scan)).Want("<", wallTarget),
		result.New("assay verify, peak resident", "MB", peak).Within(float64(own.Peak)/1e6).Want("<", rssTarget))
	return nil
}

// checkVerdict wants the verdict that the reports deserve, so that a gate that
// looked at less is not taken for a faster one.
func checkVerdict(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var v assay.Verdict
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	return wantVerdict(v)
}

func wantVerdict(v assay.Verdict) error {
	rules := map[string]int{}
	for _, x := range v.Violations {
		rules[x.Rule]++
	}
	const each = findings / ruleCount
	// Each of the 200 rules has 50 findings; the errors are those of every 10th rule.
	want := map[string]int{"static-analysis/max-severity": 20 * each, "bench/never": 3 * each, "bench/licence": 1}
	if rules["bench/never"] != want["bench/never"] || rules["bench/licence"] < want["bench/licence"] || len(v.Violations) < want["static-analysis/max-severity"] || v.Outcome != assay.OutcomeFail {
		return fmt.Errorf("the verdict is %s with %v, expected at least %v", v.Outcome, rules, want)
	}
	return nil
}

// gateFunction measures what happens between read reports and a verdict.
func gateFunction(ctx context.Context, b *run.Bench, folder string) error {
	rev, err := dir.Load(ctx, filepath.Join(folder, "policy"))
	if err != nil {
		return err
	}
	engine, err := rego.Compile(ctx, rev)
	if err != nil {
		return err
	}
	g, err := rev.Gate("bench")
	if err != nil {
		return err
	}
	policies, err := rev.PoliciesOf(g)
	if err != nil {
		return err
	}
	in := gate.Inputs{
		Gate: g, Policies: policies, Revision: rev.Ref("dir:policy"),
		Subject: assay.Subject{Name: "bench", Digest: subjectDigest}, Now: time.Now().UTC(),
	}
	for _, name := range []string{"sbom.json", "lint.sarif"} {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		ev, err := evidence.Read(bytes.NewReader(data), name, evidence.Options{Origin: assay.OriginLive, Collected: in.Now})
		if err != nil {
			return err
		}
		in.Evidence = append(in.Evidence, ev)
	}
	var took, objects, size []float64
	for range b.Rounds {
		var v assay.Verdict
		start := time.Now()
		n, bytes, err := allocated(func() (err error) {
			start = time.Now()
			v, err = gate.Check(ctx, in, engine)
			took = append(took, millis(time.Since(start)))
			return err
		})
		if err != nil {
			return err
		}
		if err := wantVerdict(v); err != nil {
			return err
		}
		objects, size = append(objects, n), append(size, bytes/1e6)
	}
	b.Say("gate: the function alone %.0f ms", result.Median(took))
	b.Rows = append(b.Rows,
		result.New("gate.Check alone", "ms", took),
		result.New("gate.Check allocations", "objects", objects),
		result.New("gate.Check allocated", "MB", size))
	return nil
}

// sbomReport is a CycloneDX document like those that scanners write. One component
// in a hundred has a licence that the policy refuses.
func sbomReport() []byte {
	var b bytes.Buffer
	b.WriteString(`{"bomFormat":"CycloneDX","specVersion":"1.5","components":[`)
	for i := 0; b.Len() < sbomBytes; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		licence := "Apache-2.0"
		if i%100 == 99 {
			licence = "BUSL-1.1"
		}
		fmt.Fprintf(&b, `{"bom-ref":"ref-%[1]d","type":"library","name":"example.org/module/number/%[1]d","version":"v1.%[2]d.0",`+
			`"cpe":"cpe:2.3:a:example:number:v1.%[2]d.0:*:*:*:*:*:*:*","purl":"pkg:golang/example.org/module/number/%[1]d@v1.%[2]d.0",`+
			`"licenses":[{"license":{"id":%[3]q}}],"properties":[{"name":"syft:package:foundBy","value":"go-module-binary-cataloger"},`+
			`{"name":"syft:metadata:h1Digest","value":"h1:%043[1]d="}]}`, i, i%50, licence)
	}
	b.WriteString("]}")
	return b.Bytes()
}

// ruleCount is how many rules the analyser of sarifReport has.
const ruleCount = 200

// sarifReport has one finding in ten at level error.
func sarifReport() []byte {
	var b bytes.Buffer
	b.WriteString(`{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"bench","version":"1","rules":[`)
	for i := range ruleCount {
		if i > 0 {
			b.WriteByte(',')
		}
		level := "warning"
		if i%10 == 0 {
			level = "error"
		}
		fmt.Fprintf(&b, `{"id":"R%03d","shortDescription":{"text":"rule %d"},"help":{"text":%q},"defaultConfiguration":{"level":%q}}`,
			i, i, strings.Repeat("text ", 100), level)
	}
	b.WriteString(`]}},"results":[`)
	for i := range findings {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"ruleId":"R%03[2]d","ruleIndex":%[2]d,"message":{"text":"value of variable v%[1]d is never used"},"locations":[{"physicalLocation":{`+
			`"artifactLocation":{"uri":"src/package%[3]d/file%[4]d.go"},"region":{"startLine":%[5]d,"startColumn":5,"snippet":{"text":"\tv%[1]d := compute(%[1]d)"}}}}]}`,
			i, i%ruleCount, i/100, i/20, i+1)
	}
	b.WriteString(`]}]}`)
	return b.Bytes()
}
