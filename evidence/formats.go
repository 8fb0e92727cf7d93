package evidence

import (
	"bytes"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// Names of the formats that Read understands, as Evidence.Format and Options.Format use them.
const (
	FormatGoTest          = "go-test-json"          // go test -json (test2json events)
	FormatJUnit           = "junit-xml"             // JUnit XML, in the dialects of its many writers
	FormatSARIF           = "sarif-2.1.0"           // Static Analysis Results Interchange Format
	FormatCycloneDX       = "cyclonedx-json"        // CycloneDX, specVersion 1.4 to 1.6
	FormatCycloneDXXML    = "cyclonedx-xml"         // the same in XML
	FormatSPDX            = "spdx-json"             // SPDX 2.2 and 2.3
	FormatOSVScanner      = "osv-scanner-json"      // osv-scanner --format json
	FormatGrype           = "grype-json"            // grype -o json
	FormatTrivy           = "trivy-json"            // trivy --format json
	FormatGitleaks        = "gitleaks-json"         // gitleaks --report-format json
	FormatOpenVEX         = "openvex-json"          // OpenVEX 0.0.1 and 0.2.0
	FormatCSAF            = "csaf-json"             // CSAF 2.0, read for what it says as VEX
	FormatKubeconform     = "kubeconform-json"      // kubeconform -output json
	FormatKubectlValidate = "kubectl-validate-json" // kubectl validate -o json
	FormatManifests       = "kubernetes-manifests"  // Kubernetes objects as YAML or JSON, validated here
	FormatTerraform       = "terraform-plan-json"   // terraform show -json PLAN
	FormatGoCover         = "go-coverprofile"       // go test -coverprofile
	FormatJaCoCo          = "jacoco-xml"            // JaCoCo XML
	FormatCobertura       = "cobertura-xml"         // Cobertura XML, which many tools write
	FormatGoBench         = "go-bench"              // go test -bench, as text
	FormatBenchstat       = "benchstat-csv"         // benchstat -format csv
	FormatK6              = "k6-summary-json"       // k6 --summary-export, or the data of handleSummary
	FormatHyperfine       = "hyperfine-json"        // hyperfine --export-json
	FormatInToto          = "in-toto"               // in-toto statement, bare, in a DSSE envelope or in a Sigstore bundle
	FormatGeneric         = "generic-json"          // JSON of any tool, read by a Mapping
)

// Limits on the size of a report, in bytes, by format. Most reports are
// streamed, so that these bound time and not memory; manifests and attestations
// are held.
const (
	MaxGoTestBytes      = 256 << 20
	MaxJUnitBytes       = 640 << 20
	MaxSARIFBytes       = 256 << 20
	MaxCycloneDXBytes   = 128 << 20 // JSON and XML
	MaxSPDXBytes        = 128 << 20
	MaxOSVScannerBytes  = 256 << 20
	MaxScanBytes        = 256 << 20 // Grype, Trivy, gitleaks, and JSON read by a Mapping
	MaxVEXBytes         = 64 << 20  // OpenVEX and CSAF
	MaxValidationBytes  = 64 << 20  // kubeconform and kubectl validate
	MaxManifestBytes    = 8 << 20   // Kubernetes manifests
	MaxPlanBytes        = 256 << 20 // Terraform plans
	MaxCoverageBytes    = 256 << 20 // Go, JaCoCo and Cobertura
	MaxPerformanceBytes = 64 << 20  // Go benchmarks, benchstat, k6 and hyperfine
	MaxAttestationBytes = 16 << 20
)

// format is one report format. The first kind is the usual one, unless usual
// finds a better one in the beginning of the report.
type format struct {
	name     string
	kinds    []assay.EvidenceKind
	maxBytes int64
	read     func(*report) error
	usual    func(head []byte) assay.EvidenceKind
}

// formats are all of them, in the order that refusals list them.
var formats = []format{
	{FormatGoTest, kinds(assay.KindTests), MaxGoTestBytes, readGoTest, nil},
	{FormatJUnit, kinds(assay.KindTests), MaxJUnitBytes, readJUnit, nil},
	{FormatSARIF, kinds(assay.KindStaticAnalysis, assay.KindVulnerabilities, assay.KindSecrets, assay.KindManifests), MaxSARIFBytes, readSARIF, nil},
	{FormatCycloneDX, kinds(assay.KindSBOM, assay.KindVulnerabilities), MaxCycloneDXBytes, readCycloneDX, nil},
	{FormatCycloneDXXML, kinds(assay.KindSBOM, assay.KindVulnerabilities), MaxCycloneDXBytes, readCycloneDXXML, nil},
	{FormatSPDX, kinds(assay.KindSBOM), MaxSPDXBytes, readSPDX, nil},
	{FormatOSVScanner, kinds(assay.KindVulnerabilities), MaxOSVScannerBytes, readOSV, nil},
	{FormatGrype, kinds(assay.KindVulnerabilities), MaxScanBytes, readGrype, nil},
	{FormatTrivy, trivyKinds, MaxScanBytes, readTrivy, trivyKind},
	{FormatGitleaks, kinds(assay.KindSecrets), MaxScanBytes, readGitleaks, nil},
	{FormatOpenVEX, kinds(assay.KindVEX), MaxVEXBytes, readOpenVEX, nil},
	{FormatCSAF, kinds(assay.KindVEX), MaxVEXBytes, readCSAF, nil},
	{FormatKubeconform, kinds(assay.KindManifests), MaxValidationBytes, readKubeconform, nil},
	{FormatKubectlValidate, kinds(assay.KindManifests), MaxValidationBytes, readKubectlValidate, nil},
	{FormatManifests, kinds(assay.KindManifests), MaxManifestBytes, readManifests, nil},
	{FormatTerraform, kinds(assay.KindManifests), MaxPlanBytes, readTerraform, nil},
	{FormatGoCover, kinds(assay.KindCoverage), MaxCoverageBytes, readGoCover, nil},
	{FormatJaCoCo, kinds(assay.KindCoverage), MaxCoverageBytes, readJaCoCo, nil},
	{FormatCobertura, kinds(assay.KindCoverage), MaxCoverageBytes, readCobertura, nil},
	{FormatGoBench, kinds(assay.KindPerformance), MaxPerformanceBytes, readGoBench, nil},
	{FormatBenchstat, kinds(assay.KindPerformance), MaxPerformanceBytes, readBenchstat, nil},
	{FormatK6, kinds(assay.KindPerformance), MaxPerformanceBytes, readK6, nil},
	{FormatHyperfine, kinds(assay.KindPerformance), MaxPerformanceBytes, readHyperfine, nil},
	{FormatInToto, kinds(assay.KindAttestation, assay.KindTests, assay.KindVulnerabilities, assay.KindSBOM, assay.KindVEX), MaxAttestationBytes, readInToto, nil},
	{FormatGeneric, assay.EvidenceKinds, MaxScanBytes, readGeneric, nil},
}

func kinds(list ...assay.EvidenceKind) []assay.EvidenceKind { return list }

// Formats lists the formats that Read understands.
func Formats() []string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = f.name
	}
	return names
}

// kindFor is the kind of evidence that a report of this format is read as.
func (f format) kindFor(head []byte, opts Options) (assay.EvidenceKind, error) {
	usual := f.kinds[0]
	switch {
	case opts.Mapping != nil:
		usual = opts.Mapping.Kind
	case f.usual != nil:
		usual = f.usual(head)
	}
	if opts.Kind == "" || opts.Kind == usual {
		return usual, nil
	}
	if opts.Mapping != nil || !slices.Contains(f.kinds, opts.Kind) {
		return "", assay.Errorf(assay.CodeInvalid,
			"is %s, which is evidence of kind %s; expected evidence of kind %s", f.name, usual, opts.Kind)
	}
	return opts.Kind, nil
}

// recognise finds the format of in, or takes the one that was asked for. It
// also returns the beginning of the report.
func recognise(in *input, opts Options) (format, []byte, error) {
	head, whole, err := in.peek()
	if err != nil {
		return format{}, nil, err
	}
	head = bytes.Clone(head)
	if err := refuseEncoding(head); err != nil {
		return format{}, nil, err
	}
	name := opts.Format
	switch {
	case opts.Mapping != nil && name == "":
		name = FormatGeneric
	case (opts.Mapping != nil) != (name == FormatGeneric):
		return format{}, nil, assay.Errorf(assay.CodeInvalid, "format %s and a mapping belong together; the mapping says where the findings are", FormatGeneric)
	case name == "":
		if name, err = sniff(skipBOM(head), whole); err != nil {
			return format{}, nil, err
		}
	}
	in.skipBOM()
	i := slices.IndexFunc(formats, func(f format) bool { return f.name == name })
	if i < 0 {
		return format{}, nil, assay.Errorf(assay.CodeInvalid, "format %s", strict.OneOf(name, Formats()))
	}
	return formats[i], head, nil
}

// understood ends the refusal of a report that is not in a known format.
func understood() string { return "formats understood: " + strings.Join(Formats(), ", ") }
