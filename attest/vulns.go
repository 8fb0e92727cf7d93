package attest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"assay.dev/assay"
)

// Vulns is the predicate of a vulnerability scan: in-toto's vulns v0.2 (v0.1 has
// the same shape) and, as far as it goes, cosign's vuln v1, whose result is the
// scanner's own report.
type Vulns struct {
	Scanner  Scanner      `json:"scanner"`
	Metadata ScanMetadata `json:"metadata"`
}

// Scanner says what scanned, with which database, and what it found.
type Scanner struct {
	URI     string          `json:"uri"`
	Version string          `json:"version,omitempty"`
	DB      *ScannerDB      `json:"db,omitempty"`
	Result  []Vulnerability `json:"-"`
	// Report is the scanner's own result as it stands in cosign's predicate; nil in in-toto's.
	Report json.RawMessage `json:"-"`
}

// ScannerDB is the vulnerability database that was used.
type ScannerDB struct {
	URI        string    `json:"uri,omitempty"`
	Version    string    `json:"version,omitempty"`
	LastUpdate time.Time `json:"lastUpdate,omitzero"`
}

// Vulnerability is one result of a scan.
type Vulnerability struct {
	ID          string                    `json:"id"`
	Severity    []VulnerabilitySeverity   `json:"severity"`
	Annotations []VulnerabilityAnnotation `json:"annotations,omitempty"`
}

// VulnerabilitySeverity is one rating: Score in the words or numbers of Method.
type VulnerabilitySeverity struct {
	Method string `json:"method"`
	Score  string `json:"score"`
}

// VulnerabilityAnnotation says where a vulnerability is, which in-toto has no field for.
type VulnerabilityAnnotation struct {
	Package assay.Component `json:"package,omitzero"`
	Aliases []string        `json:"aliases,omitempty"`
	FixedIn []string        `json:"fixedIn,omitempty"`
	// Suppressed is the scanner's own reason not to count it, "" if it counts.
	Suppressed string `json:"suppressed,omitempty"`
}

// ScanMetadata says when the scan was.
type ScanMetadata struct {
	ScanStartedOn  time.Time `json:"scanStartedOn,omitzero"`
	ScanFinishedOn time.Time `json:"scanFinishedOn,omitzero"`
}

// vulnsJSON is in-toto's wire form.
type vulnsJSON struct {
	Scanner struct {
		Scanner
		Result []Vulnerability `json:"result"`
	} `json:"scanner"`
	Metadata ScanMetadata `json:"metadata"`
}

// ratingMethod names the words that our severities are in.
const ratingMethod = "assay"

// VulnsStatement makes the unsigned in-toto vulns v0.2 statement of one scan of an
// artifact. All findings stand in it, suppressed ones marked; a scan with more
// than fit into a statement is refused, because a shorter list would lie.
func VulnsStatement(s assay.Subject, scan assay.Evidence) ([]byte, error) {
	subjects, err := descriptors(s)
	if err != nil {
		return nil, err
	}
	if scan.Kind != assay.KindVulnerabilities {
		return nil, fieldError("evidence", "from "+quote(scan.Source)+" is "+quote(string(scan.Kind))+"; a vulns statement is made of one report of kind "+string(assay.KindVulnerabilities))
	}
	var w vulnsJSON
	w.Scanner.URI = "pkg:generic/" + url.PathEscape(strings.ToLower(scan.Tool.Name))
	if scan.Tool.Name == "" {
		return nil, fieldError("evidence", "from "+quote(scan.Source)+" does not name its scanner; in-toto demands it")
	}
	w.Scanner.Version = scan.Tool.Version
	w.Scanner.Result = make([]Vulnerability, 0, len(scan.Findings))
	for _, f := range scan.Findings {
		w.Scanner.Result = append(w.Scanner.Result, Vulnerability{
			ID: f.Rule, Severity: []VulnerabilitySeverity{{Method: ratingMethod, Score: string(f.Severity)}},
			Annotations: []VulnerabilityAnnotation{{Package: f.Package, Aliases: f.Aliases, FixedIn: f.FixedIn, Suppressed: clip(f.Suppressed, 1000)}},
		})
	}
	at := scan.Produced
	if at.IsZero() {
		at = scan.Collected // the scan was over by then
	}
	w.Metadata = ScanMetadata{ScanStartedOn: at.UTC(), ScanFinishedOn: at.UTC()}
	return marshalStatement(subjects, assay.VulnsPredicateType, w)
}

// ParseVulns reads the predicate of a scan. Fields it does not know are ignored.
func ParseVulns(predicateType string, predicate []byte) (Vulns, error) {
	var w struct {
		Scanner struct {
			Scanner
			Result json.RawMessage `json:"result"`
		} `json:"scanner"`
		Metadata ScanMetadata `json:"metadata"`
	}
	if err := decodeOpen(predicate, &w); err != nil {
		return Vulns{}, err
	}
	v := Vulns{Scanner: w.Scanner.Scanner, Metadata: w.Metadata}
	if v.Scanner.URI == "" {
		return Vulns{}, fieldError("scanner.uri", "is missing; a scan names its scanner")
	}
	if !isSet(w.Scanner.Result) {
		return Vulns{}, fieldError("scanner.result", "is missing; a scan without a result says nothing")
	}
	if predicateType == cosignVulnPredicateType {
		v.Scanner.Report = w.Scanner.Result
		return v, nil
	}
	if err := decodeOpen(w.Scanner.Result, &v.Scanner.Result); err != nil {
		return Vulns{}, fieldError("scanner.result", "is not a list of results")
	}
	for i, r := range v.Scanner.Result {
		if r.ID == "" {
			return Vulns{}, fieldError(fmt.Sprintf("scanner.result[%d].id", i), "is missing")
		}
	}
	return v, nil
}

// Describe says in one line what was found, and by what.
func (v Vulns) Describe() string {
	by := "scan by " + clip(v.Scanner.URI, 200)
	if v.Scanner.Version != "" {
		by += " " + clip(v.Scanner.Version, 60)
	}
	if v.Scanner.Report != nil {
		return fmt.Sprintf("%s, its own report of %d bytes", by, len(v.Scanner.Report))
	}
	return fmt.Sprintf("%s, %d found", by, len(v.Scanner.Result))
}
