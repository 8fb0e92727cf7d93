package evidence_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
)

// sumA is a SHA-256 that reports name their subject by.
const sumA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// statement wraps a predicate.
func statement(predicateType, predicate string) string {
	return `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"app","digest":{"sha256":"` + sumA + `"}}],"predicateType":"` + predicateType + `","predicate":` + predicate + `}`
}

func dsse(payload string) string {
	return `{"payloadType":"application/vnd.in-toto+json","payload":"` + base64.StdEncoding.EncodeToString([]byte(payload)) + `","signatures":[{"sig":"AAAA"}]}`
}

const (
	grypeReport = `{"matches":[{"vulnerability":{"id":"GHSA-1","severity":"High","description":"bad","fix":{"versions":["1.1"]}},"relatedVulnerabilities":[{"id":"CVE-1"},{"id":"GHSA-1"}],
		"artifact":{"name":"lib","version":"1.0","purl":"pkg:npm/lib@1.0","locations":[{"path":"/app/package-lock.json"}]}}],
		"ignoredMatches":[{"vulnerability":{"id":"CVE-2","severity":"Negligible"},"artifact":{"name":"other","version":"2"},"appliedIgnoreRules":[{"vulnerability":"CVE-2","reason":"vex"}]}],
		"source":{"type":"image","target":{"manifestDigest":"sha256:` + sumA + `","repoDigests":["reg/app@sha256:` + sumA + `"]}},
		"descriptor":{"name":"grype","version":"0.90.0","timestamp":"2026-01-02T03:04:05Z"}}`
	trivyReport = `{"SchemaVersion":2,"Trivy":{"Version":"0.60"},"CreatedAt":"2026-01-02T03:04:05Z","Metadata":{"RepoDigests":["r@sha256:` + sumA + `"]},"Results":[
		{"Target":"image (alpine 3.20)","Class":"os-pkgs","Vulnerabilities":[{"VulnerabilityID":"CVE-1","PkgName":"ssl","InstalledVersion":"3.0","FixedVersion":"3.1, 3.2","Severity":"HIGH","Title":"t"}],
		 "ExperimentalModifiedFindings":[{"Type":"vulnerability","Status":"not_affected","Statement":"vulnerable_code_not_present","Source":"vex.json","Finding":{"VulnerabilityID":"CVE-9","PkgName":"ssl","Severity":"LOW"}}]},
		{"Target":"main.tf","Class":"config","Misconfigurations":[{"ID":"AVD-1","Title":"open","Message":"port 22","Severity":"HIGH","Status":"FAIL","CauseMetadata":{"StartLine":4,"Resource":"aws_x.y"}},{"ID":"AVD-2","Status":"PASS"},{"ID":"AVD-3","Status":"EXCEPTION","Severity":"LOW"}]},
		{"Target":".env","Class":"secret","Secrets":[{"RuleID":"aws","Title":"AWS key","Severity":"CRITICAL","StartLine":2,"Match":"hidden"}]},
		{"Target":"LICENSE","Class":"license","Licenses":[{"Severity":"LOW"}]}]}`
	xmlBOM = `<?xml version="1.0"?><bom xmlns="http://cyclonedx.org/schema/bom/1.6" version="1"><metadata><timestamp>2026-01-02T03:04:05Z</timestamp>
		<tools><components><component type="application"><name>syft</name><version>1.0</version></component></components></tools>
		<component type="file"><name>app</name><hashes><hash alg="SHA-256">` + sumA + `</hash></hashes></component></metadata>
		<components><component type="library" bom-ref="a"><group>org</group><name>a</name><version>1</version><purl>pkg:maven/org/a@1</purl><licenses><license><id>MIT</id></license><expression>Apache-2.0 OR MIT</expression></licenses>
		<components><component type="library"><name>inner</name></component></components></component></components>
		<vulnerabilities><vulnerability><id>CVE-1</id><ratings><rating><score>9.8</score><method>CVSSv31</method></rating></ratings><references><reference><id>GHSA-1</id></reference></references><description>bad</description>
		<analysis><state>not_affected</state><justification>code_not_present</justification></analysis><affects><target><ref>a</ref></target></affects></vulnerability></vulnerabilities></bom>`
	spdxReport = `{"spdxVersion":"SPDX-2.3","relationships":[{"spdxElementId":"SPDXRef-DOCUMENT","relatedSpdxElement":"SPDXRef-app","relationshipType":"DESCRIBES"}],"creationInfo":{"created":"2026-01-02T03:04:05Z","creators":["Tool: syft-1.2.3","Person: x"]},
		"packages":[{"name":"app","SPDXID":"SPDXRef-app","checksums":[{"algorithm":"SHA1","checksumValue":"x"},{"algorithm":"SHA256","checksumValue":"` + sumA + `"}]},
		{"name":"dep","SPDXID":"SPDXRef-dep","versionInfo":"2","licenseConcluded":"NOASSERTION","licenseDeclared":"MIT","externalRefs":[{"referenceType":"cpe23Type","referenceLocator":"c"},{"referenceType":"purl","referenceLocator":"pkg:npm/dep@2"}]}]}`
	openVEXReport = `{"@context":"https://openvex.dev/ns/v0.2.0","author":"me","timestamp":"2026-01-02T03:04:05Z","statements":[
		{"vulnerability":{"name":"CVE-1","aliases":["GHSA-1"]},"products":[{"@id":"pkg:oci/app","subcomponents":[{"@id":"pkg:npm/lib@1"}]}],"status":"not_affected","justification":"component_not_present","impact_statement":"gone","timestamp":"2026-02-02T03:04:05Z"},
		{"vulnerability":"CVE-2","products":["pkg:npm/x",{"@id":"y","identifiers":{"purl":"pkg:npm/y"},"hashes":{"sha-256":"` + sumA + `"}}],"status":"under_investigation"},
		{"vulnerability":"CVE-3","status":"fixed"}]}`
	csafReport = `{"vulnerabilities":[{"cve":"CVE-1","ids":[{"system_name":"x","text":"X-1"}],"product_status":{"known_not_affected":["a-in-os","b"],"fixed":["c"],"recommended":["c"],"known_affected":["nobody"]},
		"flags":[{"label":"component_not_present","product_ids":["a-in-os"]},{"label":"inline_mitigations_already_exist","product_ids":["b"]}],"threats":[{"category":"impact","details":"none","product_ids":["b"]},{"category":"exploit_status","details":"x"}]}],
		"document":{"csaf_version":"2.0","publisher":{"name":"ACME"},"tracking":{"current_release_date":"2026-01-02T03:04:05Z","status":"final"}},
		"product_tree":{"branches":[{"branches":[{"product":{"product_id":"a","name":"A","product_identification_helper":{"purl":"pkg:rpm/a@1"}}}]}],"full_product_names":[{"product_id":"b","name":"B 1.0"},{"product_id":"c","name":"C"},{"product_id":"os","name":"OS 9"}],
		"relationships":[{"category":"default_component_of","product_reference":"a","relates_to_product_reference":"os","full_product_name":{"product_id":"a-in-os","name":"A in OS"}}]}}`
	planReport = `{"format_version":"1.2","terraform_version":"1.9.0","timestamp":"2026-01-02T03:04:05Z","resource_changes":[
		{"address":"aws_db_instance.main","mode":"managed","type":"aws_db_instance","change":{"actions":["delete","create"],"before":{"password":"hunter2"}},"action_reason":"replace_because_cannot_update"},
		{"address":"null_resource.x","type":"null_resource","change":{"actions":["delete"]}},
		{"address":"a.b","type":"a","change":{"actions":["create"]}},{"address":"a.c","type":"a","change":{"actions":["update"]}},{"address":"a.d","type":"a","change":{"actions":["no-op"]}},
		{"address":"data.x.y","mode":"data","type":"x","change":{"actions":["read"]}}],"resource_drift":[{}],"checks":[{"address":{"to_display":"check.up"},"status":"fail"},{"status":"pass"}],"errored":true}`
	kubeconformReport = `{"resources":[{"filename":"a.yaml","kind":"Service","name":"s","version":"v1","status":"statusInvalid","msg":"long","validationErrors":[{"path":"/spec/ports","msg":"expected array"}]},
		{"filename":"b.yaml","status":"statusError","msg":"cannot parse"},{"filename":"c.yaml","status":"statusSkipped"}],"summary":{"valid":5,"invalid":1,"errors":1,"skipped":1}}`
	kubectlReport = `{"a.yaml":[{"metadata":{},"status":"Success"},{"metadata":{},"status":"Failure","message":"x is invalid","reason":"Invalid","details":{"kind":"Service","name":"s","causes":[{"reason":"FieldValueInvalid","message":"must be integer","field":"spec.ports"}]}}]}`
	k6Exported    = `{"root_group":{"name":"","checks":{"is 200":{"name":"is 200","path":"::is 200","passes":9,"fails":1}}},"metrics":{
		"http_req_duration":{"avg":12.5,"p(95)":20,"thresholds":{"p(95)<10":true,"avg<100":false}},"http_reqs":{"count":100,"rate":9.5},"http_req_failed":{"passes":1,"fails":99,"value":0.01},"vus":{"value":3,"min":1,"max":3}}}`
	k6Handled = `{"root_group":{"checks":[{"name":"c","fails":0}],"groups":[{"checks":[{"name":"d","fails":2}]}]},"options":{},"metrics":{"my_trend":{"type":"trend","contains":"time","values":{"med":3},"thresholds":{"med<1":{"ok":false},"med<9":{"ok":true}}}}}`
	hyperfine = `{"results":[{"command":"sleep 1","mean":1.1,"median":1.0,"times":[1.0],"exit_codes":[0,1,null]},{"command":"b","mean":2}]}`
	benchText = "goos: linux\ngoarch: amd64\npkg: example.org/a\ncpu: x\nBenchmarkParse/large-8 \t 100 \t 30 ns/op \t 8 B/op\nBenchmarkParse/large-8 100 10 ns/op 8 B/op\nBenchmarkParse/large-8 100 14 ns/op 8 B/op\nBenchmarkCopy-8   100  2.5 ns/op  90.5 MB/s\n--- FAIL: BenchmarkBad\n    x_test.go:3: oops\nPASS\nok  \texample.org/a\t1.0s\n"
	statCSV   = "goos: linux\npkg: example.org/a\n,old.txt,,new.txt\n,sec/op,CI,sec/op,CI,vs base,P\nParse-8,1e-06,1%,2e-06,1%,+100.00%,p=0.000 n=10\nCopy-8,1e-06,1%,9e-07,2%,-10.00%,p=0.000 n=10\nSame-8,1e-06,1%,1e-06,2%,~,p=0.9 n=10\ngeomean,1e-06,,1.2e-06,,+20%\n\n,old.txt,,new.txt\n,B/s,CI,B/s,CI,vs base,P\nParse-8,100,1%,50,1%,-50.00%,p=0.000 n=10\n"
	cover     = "mode: set\nexample.org/a/x.go:1.2,3.4 3 1\nexample.org/a/x.go:5.2,6.4 2 0\nexample.org/a/x.go:5.2,6.4 2 1\nexample.org/a/x.go:7.1,8.2 5 0\n"
	cobertura = `<?xml version="1.0"?><!DOCTYPE coverage SYSTEM 'http://cobertura.sourceforge.net/xml/coverage-04.dtd'><coverage line-rate="0.5" branch-rate="0" lines-covered="3" lines-valid="4" branches-covered="0" branches-valid="0" version="5.5" timestamp="1700000000000"><packages/></coverage>`
)

// ungraded leaves out what is different for every finding.
func ungraded(fs []assay.Finding) []assay.Finding {
	out := slices.Clone(fs)
	for i := range out {
		out[i].Fingerprint = ""
	}
	return out
}

func TestEveryFormatIsReadForWhatItSays(t *testing.T) {
	for _, tt := range []struct {
		name, report, format string
		opts                 evidence.Options
		summary              string
		want                 string // findings, components, measures, VEX and notes as JSON, where there are any
	}{
		{"Grype", grypeReport, evidence.FormatGrype, evidence.Options{}, "0 critical, 1 high, 0 medium, 0 low, 1 suppressed",
			`[{"rule":"GHSA-1","aliases":["CVE-1"],"severity":"high","message":"bad","location":{"file":"/app/package-lock.json"},"package":{"name":"lib","version":"1.0","purl":"pkg:npm/lib@1.0"},"fixed_in":["1.1"],"fingerprint":""},` +
				`{"rule":"CVE-2","severity":"low","message":"the report gives no summary","package":{"name":"other","version":"2"},"fingerprint":"","suppressed":"ignored by a rule of grype: CVE-2 vex"}]`},
		{"Trivy's vulnerabilities", trivyReport, evidence.FormatTrivy, evidence.Options{}, "0 critical, 1 high, 0 medium, 0 low, 1 suppressed",
			`[{"rule":"CVE-1","severity":"high","message":"t","package":{"name":"ssl","version":"3.0"},"fixed_in":["3.1","3.2"],"fingerprint":""},` +
				`{"rule":"CVE-9","severity":"low","message":"the report gives no summary","package":{"name":"ssl"},"fingerprint":"","suppressed":"not_affected: vulnerable_code_not_present: vex.json"}]` +
				`["also holds 3 misconfigurations; read them as evidence of kind manifests","also holds 1 secret; read it as evidence of kind secrets","also holds 1 finding about a licence, which is not read"]`},
		{"Trivy's configuration", trivyReport, evidence.FormatTrivy, evidence.Options{Kind: assay.KindManifests}, "0 critical, 1 high, 0 medium, 0 low, 1 suppressed",
			`[{"rule":"AVD-1","severity":"high","message":"open: port 22","location":{"file":"main.tf","line":4},"fingerprint":""},` +
				`{"rule":"AVD-3","severity":"low","message":"AVD-3","location":{"file":"main.tf"},"fingerprint":"","suppressed":"excepted by a policy of trivy"}]` +
				`["also holds 1 vulnerability; read it as evidence of kind vulnerabilities","also holds 1 secret; read it as evidence of kind secrets","also holds 1 finding about a licence, which is not read"]`},
		{"Trivy's secrets", trivyReport, evidence.FormatTrivy, evidence.Options{Kind: assay.KindSecrets}, "1 critical, 0 high, 0 medium, 0 low",
			`[{"rule":"aws","severity":"critical","message":"AWS key","location":{"file":".env","line":2},"fingerprint":""}]` +
				`["also holds 1 vulnerability; read it as evidence of kind vulnerabilities","also holds 3 misconfigurations; read them as evidence of kind manifests","also holds 1 finding about a licence, which is not read"]`},
		{"Trivy without results", `{"SchemaVersion":2,"ArtifactName":"x"}`, evidence.FormatTrivy, evidence.Options{}, "0 critical, 0 high, 0 medium, 0 low",
			`["lists no result of this kind; the report does not say whether Trivy looked for any"]`},
		{"gitleaks without leaks", `[]`, evidence.FormatGitleaks, evidence.Options{Format: evidence.FormatGitleaks}, "0 critical, 0 high, 0 medium, 0 low",
			`["the list is empty: gitleaks found nothing, or looked at nothing"]`},
		{"CycloneDX XML", xmlBOM, evidence.FormatCycloneDXXML, evidence.Options{}, "2 components, 1 suppressed",
			`[{"rule":"CVE-1","aliases":["GHSA-1"],"severity":"critical","message":"bad","package":{"name":"org/a","version":"1","purl":"pkg:maven/org/a@1"},"fingerprint":"","suppressed":"not_affected: code_not_present"}]` +
				`[{"name":"org/a","version":"1","purl":"pkg:maven/org/a@1","licenses":["MIT","Apache-2.0 OR MIT"]},{"name":"inner"}]`},
		{"SPDX", spdxReport, evidence.FormatSPDX, evidence.Options{}, "1 component", `[{"name":"dep","version":"2","purl":"pkg:npm/dep@2","licenses":["MIT"]}]`},
		{"OpenVEX", openVEXReport, evidence.FormatOpenVEX, evidence.Options{}, "2 statements, 1 not affected, 1 under investigation",
			`[{"vulnerability":"CVE-1","aliases":["GHSA-1"],"products":["pkg:oci/app"],"components":["pkg:npm/lib@1"],"status":"not_affected","justification":"component_not_present","impact":"gone","time":"2026-02-02T03:04:05Z"},` +
				`{"vulnerability":"CVE-2","products":["pkg:npm/x","y","pkg:npm/y","sha256:` + sumA + `"],"status":"under_investigation","time":"2026-01-02T03:04:05Z"}]["a statement about CVE-3 names no product; it was left out"]`},
		{"CSAF", csafReport, evidence.FormatCSAF, evidence.Options{}, "3 statements, 2 not affected, 1 fixed",
			`[{"vulnerability":"CVE-1","aliases":["X-1"],"products":["OS 9"],"components":["pkg:rpm/a@1"],"status":"not_affected","justification":"component_not_present","time":"2026-01-02T03:04:05Z"},` +
				`{"vulnerability":"CVE-1","aliases":["X-1"],"products":["B 1.0"],"status":"not_affected","justification":"inline_mitigations_already_exist","impact":"none","time":"2026-01-02T03:04:05Z"},` +
				`{"vulnerability":"CVE-1","aliases":["X-1"],"products":["C"],"status":"fixed","time":"2026-01-02T03:04:05Z"}]["1 product id is not in the product tree; what is said about them was left out"]`},
		{"Terraform", planReport, evidence.FormatTerraform, evidence.Options{}, "1 to create, 1 to update, 1 to replace, 1 to destroy, 1 critical, 1 high, 0 medium, 1 low, 1 none",
			`[{"rule":"terraform-replace","severity":"low","message":"replace aws_db_instance.main, whose type may hold data: replace because cannot update","package":{"name":"aws_db_instance"},"fingerprint":""},` +
				`{"rule":"terraform-destroy","severity":"none","message":"destroy null_resource.x","package":{"name":"null_resource"},"fingerprint":""},` +
				`{"rule":"terraform-check","severity":"high","message":"check of check.up has status fail","fingerprint":""},{"rule":"plan-failed","severity":"critical","message":"planning failed; the plan does not list all changes","fingerprint":""}]` +
				`[{"name":"create","unit":"1","value":1},{"name":"update","unit":"1","value":1},{"name":"replace","unit":"1","value":1},{"name":"destroy","unit":"1","value":1},{"name":"forget","unit":"1","value":0}]["1 resource changed outside of Terraform since the last apply"]`},
		{"kubeconform", kubeconformReport, evidence.FormatKubeconform, evidence.Options{}, "5 valid, 1 not validated, 0 critical, 1 high, 0 medium, 0 low, 1 of unknown severity",
			`[{"rule":"manifest-invalid","severity":"high","message":"Service s: /spec/ports expected array","location":{"file":"a.yaml"},"fingerprint":""},{"rule":"manifest-not-checked","severity":"unknown","message":"cannot parse","location":{"file":"b.yaml"},"fingerprint":""}]` +
				`[{"name":"valid","unit":"1","value":5},{"name":"not-validated","unit":"1","value":1}]["1 resource was not validated: kubeconform skipped what it has no schema for"]`},
		{"kubectl validate", kubectlReport, evidence.FormatKubectlValidate, evidence.Options{}, "1 valid, 0 critical, 1 high, 0 medium, 0 low",
			`[{"rule":"manifest-invalid","severity":"high","message":"Service s: spec.ports must be integer","location":{"file":"a.yaml"},"fingerprint":""}][{"name":"valid","unit":"1","value":1}]`},
		{"Go coverage", cover, evidence.FormatGoCover, evidence.Options{}, "50.0% of statements", `[{"name":"statements","unit":"ratio","value":0.5}]`},
		{"Cobertura", cobertura, evidence.FormatCobertura, evidence.Options{}, "75.0% of lines", `[{"name":"lines","unit":"ratio","value":0.75}]`},
		{"Cobertura of rates", `<coverage line-rate="0.9996" branch-rate="0"/>`, evidence.FormatCobertura, evidence.Options{}, "99.9% of lines, 0.0% of branches",
			`[{"name":"lines","unit":"ratio","value":0.9996},{"name":"branches","unit":"ratio","value":0}]["the report does not say how many branches there are; a rate of 0 may mean none"]`},
		{"Go benchmarks", benchText, evidence.FormatGoBench, evidence.Options{}, "4 measures, 1 finding",
			`[{"rule":"benchmark-failed","severity":"high","message":"--- FAIL: BenchmarkBad","fingerprint":""}]` +
				`[{"name":"BenchmarkParse/large","unit":"ns/op","value":14,"lower":true},{"name":"BenchmarkParse/large","unit":"B/op","value":8,"lower":true},{"name":"BenchmarkCopy","unit":"ns/op","value":2.5,"lower":true},{"name":"BenchmarkCopy","unit":"MB/s","value":90.5}]` +
				`["benchmarks ran up to 3 times; each measure is the median","1 line is no benchmark result"]`},
		{"benchstat", statCSV, evidence.FormatBenchstat, evidence.Options{}, "4 measures, 2 findings",
			`[{"rule":"performance-regression","severity":"low","message":"Parse-8 is +100% sec/op than in the compared run","fingerprint":""},{"rule":"performance-regression","severity":"low","message":"Parse-8 is -50% B/s than in the compared run","fingerprint":""}]` +
				`[{"name":"Parse-8","unit":"sec/op","value":0.000002,"lower":true},{"name":"Copy-8","unit":"sec/op","value":9e-7,"lower":true},{"name":"Same-8","unit":"sec/op","value":0.000001,"lower":true},{"name":"Parse-8","unit":"B/s","value":50}]`},
		{"k6, exported", k6Exported, evidence.FormatK6, evidence.Options{}, "6 measures, 2 findings",
			`[{"rule":"check-failed","severity":"low","message":"check is 200 failed 1 time","fingerprint":""},{"rule":"threshold-crossed","severity":"high","message":"http_req_duration does not hold p(95)<10","fingerprint":""}]` +
				`[{"name":"http_req_duration{avg}","unit":"ms","value":12.5,"lower":true},{"name":"http_req_duration{p(95)}","unit":"ms","value":20,"lower":true},{"name":"http_reqs","unit":"1","value":100},{"name":"http_reqs{rate}","unit":"1/s","value":9.5},{"name":"http_req_failed","unit":"ratio","value":0.01,"lower":true},{"name":"vus","unit":"1","value":3}]`},
		{"k6, handled", k6Handled, evidence.FormatK6, evidence.Options{}, "1 measure, 2 findings",
			`[{"rule":"check-failed","severity":"low","message":"check d failed 2 times","fingerprint":""},{"rule":"threshold-crossed","severity":"high","message":"my_trend does not hold med<1","fingerprint":""}][{"name":"my_trend{med}","unit":"ms","value":3,"lower":true}]`},
		{"hyperfine", hyperfine, evidence.FormatHyperfine, evidence.Options{}, "2 measures, 1 finding",
			`[{"rule":"command-failed","severity":"high","message":"sleep 1 failed in 2 runs of 3","fingerprint":""}][{"name":"sleep 1","unit":"s","value":1,"lower":true},{"name":"b","unit":"s","value":2,"lower":true}]["b has no median; its mean was read"]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := mustRead(t, tt.report, tt.opts)
			if e.Format != tt.format || evidence.Summary(e) != tt.summary {
				t.Errorf("%s: %q\nwant %s: %q", e.Format, evidence.Summary(e), tt.format, tt.summary)
			}
			got := ""
			for _, part := range []string{dump(t, ungraded(e.Findings)), dump(t, e.Components), dump(t, e.Measures), dump(t, e.VEX), dump(t, e.Notes)} {
				if part != "null" {
					got += part
				}
			}
			want := tt.want
			if got = strings.NewReplacer("\\u003c", "<").Replace(got); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if strings.Contains(dump(t, e), "hunter2") || strings.Contains(dump(t, e), "hidden") {
				t.Error("a secret value was read")
			}
		})
	}
}

func TestReportsThatNameTheirArtifactAreBoundToIt(t *testing.T) {
	for name, tt := range map[string]struct{ report, subject, note string }{
		"CycloneDX XML":           {xmlBOM, sumA, ""},
		"SPDX":                    {spdxReport, sumA, ""},
		"Grype":                   {grypeReport, sumA, ""},
		"Trivy":                   {trivyReport, sumA, ""},
		"a statement":             {statement("https://slsa.dev/provenance/v1", "{}"), sumA, ""},
		"several digests":         {`{"matches":[],"source":{"target":{"repoDigests":["a@sha256:` + sumA + `","a@sha256:` + strings.Repeat("b", 64) + `"]}}}`, "", "the scanned image has 2 digests, the first: sha256:" + sumA + "; the report is bound to none of them"},
		"several artifacts":       {`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + sumA + `"}},{}],"predicateType":"p","predicate":{}}`, "", "the statement is about 2 artifacts; the evidence is bound to none of them"},
		"another digest function": {`{"_type":"https://in-toto.io/Statement/v0.1","subject":[{"digest":{"sha512":"x"}}],"predicateType":"p"}`, "", "the statement names its artifact without a SHA-256; the evidence is not bound to it"},
	} {
		e := mustRead(t, tt.report, evidence.Options{})
		want := assay.Digest("")
		if tt.subject != "" {
			want = assay.Digest("sha256:" + tt.subject)
		}
		if e.Subject != want || tt.note != "" && !slices.Contains(e.Notes, tt.note) {
			t.Errorf("%s: about %q, notes %q", name, e.Subject, e.Notes)
		}
	}
}

func TestAttestationsAreReadBareEnvelopedAndBundled(t *testing.T) {
	const predicate = "https://in-toto.io/attestation/test-result/v0.1"
	bare := statement(predicate, `{"result":"FAILED","configuration":[],"passedTests":["a","b"],"warnedTests":["c"],"failedTests":["d"]}`)
	enveloped := dsse(bare)
	bundled := `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{},"dsseEnvelope":` + enveloped + `}`
	urlSafe := strings.NewReplacer("+", "-", "/", "_").Replace(base64.RawStdEncoding.EncodeToString([]byte(bare)))
	for name, report := range map[string]string{"bare": bare, "enveloped": enveloped, "bundled": bundled,
		"in the other alphabet": `{"payloadType":"application/vnd.in-toto+json","payload":"` + urlSafe + `","signatures":[{}]}`} {
		e := mustRead(t, report, evidence.Options{})
		if e.Kind != assay.KindAttestation || e.Predicate != predicate || e.Producer != "" || string(e.Subject) != "sha256:"+sumA || e.Format != evidence.FormatInToto {
			t.Errorf("%s: %+v", name, e)
		}
		if unverified := slices.Contains(e.Notes, "1 signature was not verified by this reader"); unverified == (name == "bare") {
			t.Errorf("%s: notes %q", name, e.Notes)
		}
		e = mustRead(t, report, evidence.Options{Kind: assay.KindTests})
		if *e.Tests != (assay.TestCounts{Passed: 3, Failed: 1}) || len(e.Findings) != 1 || e.Findings[0].Rule != "d" || string(e.Subject) != "sha256:"+sumA || int(e.Size) != len(report) {
			t.Errorf("%s as tests: %+v %+v", name, *e.Tests, e)
		}
	}
}

func TestPredicatesAreReadAsTheReportsTheyAre(t *testing.T) {
	for _, tt := range []struct {
		predicateType, predicate string
		kind                     assay.EvidenceKind
		summary                  string
	}{
		{"https://in-toto.io/attestation/vulns/v0.2", `{"scanner":{"uri":"pkg:x","version":"1","result":[{"id":"CVE-1","severity":[{"method":"CVSS_V3","score":"9.8"}]},{"id":"CVE-2","severity":[{"method":"nvd","score":"medium"}]},{"id":"CVE-3"}]}}`, assay.KindVulnerabilities, "1 critical, 0 high, 1 medium, 0 low, 1 of unknown severity"},
		{"https://cyclonedx.org/bom", `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"name":"a"}]}`, assay.KindSBOM, "1 component"},
		{"https://spdx.dev/Document/v2.3", `{"spdxVersion":"SPDX-2.3","packages":[{"name":"a"}]}`, assay.KindSBOM, "1 component"},
		{"https://openvex.dev/ns/v0.2.0", openVEXReport, assay.KindVEX, "2 statements, 1 not affected, 1 under investigation"},
	} {
		e := mustRead(t, dsse(statement(tt.predicateType, tt.predicate)), evidence.Options{Kind: tt.kind})
		if evidence.Summary(e) != tt.summary || e.Kind != tt.kind || e.Predicate != tt.predicateType {
			t.Errorf("%s: %q, want %q", tt.predicateType, evidence.Summary(e), tt.summary)
		}
	}
}

func TestReadRefusesBadReportsOfTheNewFormats(t *testing.T) {
	for _, tt := range []struct {
		name, report, want string
		opts               evidence.Options
	}{
		{"an empty list", "[]", "is an empty JSON list, which several tools write when they find nothing (name its format, for example gitleaks-json)", evidence.Options{}},
		{"a list of something", "[1]", "is a JSON list, which is not understood yet" + hint, evidence.Options{}},
		{"SPDX 3", `{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld"}`, "is SPDX 3 JSON, which is not understood yet" + hint, evidence.Options{}},
		{"Trivy of another schema", `{"SchemaVersion":1}`, "r:1:18: SchemaVersion is not understood; expected 2", evidence.Options{}},
		{"Trivy without an id", `{"SchemaVersion":2,"Results":[{"Vulnerabilities":[{}]}]}`, "r:1:53: Results[0].Vulnerabilities[0] has no VulnerabilityID", evidence.Options{}},
		{"Grype without matches", `{"matches":null}`, "matches is missing; expected a list", evidence.Options{Format: evidence.FormatGrype}},
		{"a Terraform state", `{"format_version":"1.0","terraform_version":"1.9.0","values":{}}`, "values is a state, not a plan (write the plan: terraform show -json PLANFILE)", evidence.Options{}},
		{"OpenVEX of a bad status", `{"@context":"https://openvex.dev/ns","statements":[{"vulnerability":"x","status":"fine"}]}`, `r:1:82: statements[0].status "fine" is not one of not_affected, affected, fixed, under_investigation (did you mean "fixed"?)`, evidence.Options{}},
		{"a coverage block cut off", "mode: set\na.go:1.2,3.4 1", "r:2:1: line is no coverage block; expected FILE:LINE.COLUMN,LINE.COLUMN STATEMENTS COUNT", evidence.Options{}},
		{"a benchmark with a bad number", "pkg: a\nBenchmarkX 10 fast ns/op\n", `r:2:1: line has "fast" where a number of ns/op is expected`, evidence.Options{}},
		{"benchmarks without a result", "goos: linux\nPASS\n", "holds no benchmark result; expected the output of go test -bench", evidence.Options{}},
		{"hyperfine without times", `{"results":[{"command":"x"}]}`, "r:1:28: results[0] has no command with a median or mean", evidence.Options{}},
		{"an envelope of something else", `{"payloadType":"text/plain","payload":"AAAA"}`, `payloadType "text/plain" is not understood; expected "application/vnd.in-toto+json"`, evidence.Options{}},
		{"an envelope that is not base64", `{"payloadType":"application/vnd.in-toto+json","payload":"***"}`, "r:1:57: payload is not base64", evidence.Options{}},
		{"an envelope around junk", dsse("junk"), "payload.document is not valid JSON: invalid character 'j' at start of value", evidence.Options{}},
		{"a bundle that signs a file", `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","messageSignature":{}}`, "r:1:81: messageSignature signs a file, not a statement; a bundle of that kind is no evidence", evidence.Options{}},
		{"a statement about nothing", `{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"x"}`, "subject is missing; expected at least one artifact", evidence.Options{}},
		{"a predicate of another kind", statement("https://slsa.dev/provenance/v1", "{}"), `predicateType "https://slsa.dev/provenance/v1" is not evidence of kind test-results (predicates that are read as reports start with https://in-toto.io/attestation/test-result/, https://in-toto.io/attestation/vulns/, https://cyclonedx.org/bom, https://spdx.dev/Document, https://openvex.dev/ns)`, evidence.Options{Kind: assay.KindTests}},
		{"an SBOM about another artifact than its statement", statement("https://cyclonedx.org/bom", `{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{"component":{"hashes":[{"alg":"SHA-256","content":"`+strings.Repeat("b", 64)+`"}]}}}`), "predicate.metadata.component.hashes[0] names another artifact than sha256:" + sumA + ", which the document names as well", evidence.Options{Kind: assay.KindSBOM}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := evidence.Read(strings.NewReader(tt.report), "r", tt.opts)
			want := tt.want
			if !strings.HasPrefix(want, "r:") {
				want = "r: " + want
			}
			refused(t, err, assay.CodeInvalid, want)
		})
	}
}

func TestSARIFSaysWhatMultipleRunsPlacesAndTaxonomiesHold(t *testing.T) {
	report := `{"version":"2.1.0","runs":[
		{"tool":{"driver":{"name":"one"}},"results":[{"ruleId":"a","message":{"text":"m"},"taxa":[{"id":"79","toolComponent":{"name":"CWE"}},{"id":"CWE-89","toolComponent":{"name":"CWE"}}],
		 "locations":[{"physicalLocation":{"artifactLocation":{"uri":"a.go"}}},{"physicalLocation":{"artifactLocation":{"uri":"b.go"}}}]}]},
		{"tool":{"driver":{"name":"two","version":"2"}},"invocations":[{"executionSuccessful":true,"ruleConfigurationOverrides":[{}]}],
		 "results":[{"ruleId":"b","message":{"text":"m"},"suppressions":[{"kind":"external","status":"underReview","justification":"x"}]},{"ruleId":"c","message":{"text":"m"},"suppressions":[{"kind":"external","status":"rejected"},{"kind":"inSource"}]},
		 {"ruleId":"d","message":{"text":"m"},"suppressions":[{"kind":"inSource","status":"accepted","justification":"checked"}]},{"ruleId":"e","message":{"text":"m"},"baselineState":"updated"}]}]}`
	e := mustRead(t, report, evidence.Options{})
	if evidence.Summary(e) != "0 errors, 4 warnings, 1 suppressed" || dump(t, e.Findings[0].Aliases) != `["CWE-79","CWE-89"]` || e.Findings[0].Location.File != "a.go" || e.Findings[3].Suppressed != "checked" || e.Findings[4].Known {
		t.Errorf("%s: %s", evidence.Summary(e), dump(t, e.Findings))
	}
	want := []string{"also holds a run of two 2", "1 result has more than one place; the first is shown", "levels that an invocation overrides were not read"}
	if !slices.Equal(e.Notes, want) {
		t.Errorf("notes %q, want %q", e.Notes, want)
	}
}

func TestPerformanceOfSeveralPackagesAndProcessorsKeepsNamesApart(t *testing.T) {
	e := mustRead(t, "pkg: a\nBenchmarkX 1 1 ns/op\npkg: b\nBenchmarkX-4 1 2 ns/op\n", evidence.Options{})
	if got := fmt.Sprint(e.Measures[0].Name, " ", e.Measures[1].Name); got != "a.BenchmarkX b.BenchmarkX-4" {
		t.Errorf("names %s", got)
	}
}
