package evidence_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"assay.dev/assay/evidence"
)

// cyclonedxOf makes a bill of materials of about size bytes, with entries like those of real ones.
func cyclonedxOf(size int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"bomFormat":"CycloneDX","specVersion":"1.5","metadata":{"timestamp":"2026-11-21T10:00:00Z"},"components":[`)
	for i := 0; b.Len() < size; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"bom-ref":"pkg:golang/example.org/module/number/%d@v1.%d.0?package-id=%016x","type":"library","name":"example.org/module/number/%d","version":"v1.%d.0",`+
			`"cpe":"cpe:2.3:a:example:number:v1.%d.0:*:*:*:*:*:*:*","purl":"pkg:golang/example.org/module/number/%d@v1.%d.0","licenses":[{"license":{"id":"Apache-2.0"}}],`+
			`"properties":[{"name":"syft:package:foundBy","value":"go-module-binary-cataloger"},{"name":"syft:package:language","value":"go"},{"name":"syft:location:0:path","value":"/bin/program"},`+
			`{"name":"syft:metadata:goCompiledVersion","value":"go1.26.0"},{"name":"syft:metadata:h1Digest","value":"h1:%043d="}]}`, i, i%50, i, i, i%50, i%50, i, i%50, i)
	}
	b.WriteString("]}")
	return b.Bytes()
}

// sarifOf makes a report of n findings with a snippet each.
func sarifOf(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"bench","version":"1","rules":[`)
	for i := range 200 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"R%03d","shortDescription":{"text":"rule %d"},"help":{"markdown":%q},"defaultConfiguration":{"level":"warning"},"properties":{"tags":["a","b"]}}`, i, i, strings.Repeat("text ", 100))
	}
	b.WriteString(`]}},"results":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"ruleId":"R%03d","ruleIndex":%d,"message":{"text":"value of variable v%d is never used in function f%d"},"locations":[{"physicalLocation":{`+
			`"artifactLocation":{"uri":"src/package%d/file%d.go","uriBaseId":"%%SRCROOT%%"},"region":{"startLine":%d,"startColumn":5,"endLine":%d,"endColumn":17,"snippet":{"text":"\tv%d := compute(%d)"}}}}]}`,
			i%200, i%200, i, i/10, i/100, i/20, i+1, i+1, i, i)
	}
	b.WriteString(`]}]}`)
	return b.Bytes()
}

func benchmarkRead(b *testing.B, report []byte) {
	b.SetBytes(int64(len(report)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := evidence.Read(bytes.NewReader(report), "r.json", evidence.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadCycloneDX4MB(b *testing.B) { benchmarkRead(b, cyclonedxOf(4<<20)) }

func BenchmarkReadSARIF10kFindings(b *testing.B) { benchmarkRead(b, sarifOf(10_000)) }

func BenchmarkReadGoTest(b *testing.B) {
	var report strings.Builder
	report.WriteString(events("start"))
	for i := range 10_000 {
		report.WriteString(events(fmt.Sprintf("run T%d", i), fmt.Sprintf("output T%d", i), fmt.Sprintf("pass T%d", i)))
	}
	report.WriteString(events("pass"))
	benchmarkRead(b, []byte(report.String()))
}
