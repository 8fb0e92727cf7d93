package report

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
)

// oscalVersion is the version of OSCAL that OSCAL writes.
const oscalVersion = "1.1.2"

// The parts of an OSCAL assessment-results document that a report fills in.
type (
	oscalFile struct {
		Results oscalResults `json:"assessment-results"`
	}
	oscalResults struct {
		UUID       string        `json:"uuid"`
		Metadata   oscalMetadata `json:"metadata"`
		ImportAP   oscalLink     `json:"import-ap"`
		Results    []oscalResult `json:"results"`
		BackMatter oscalBack     `json:"back-matter"`
	}
	oscalMetadata struct {
		Title        string      `json:"title"`
		LastModified time.Time   `json:"last-modified"`
		Version      string      `json:"version"`
		OSCAL        string      `json:"oscal-version"`
		Props        []oscalProp `json:"props,omitempty"`
	}
	oscalLink struct {
		HRef    string `json:"href"`
		Remarks string `json:"remarks,omitempty"`
	}
	oscalProp struct {
		Name  string `json:"name"`
		NS    string `json:"ns"`
		Value string `json:"value"`
	}
	oscalResult struct {
		UUID         string             `json:"uuid"`
		Title        string             `json:"title"`
		Description  string             `json:"description"`
		Start        time.Time          `json:"start"`
		End          time.Time          `json:"end"`
		Reviewed     oscalReviewed      `json:"reviewed-controls"`
		Observations []oscalObservation `json:"observations,omitempty"`
		Findings     []oscalFinding     `json:"findings,omitempty"`
	}
	oscalReviewed struct {
		Selections []oscalSelection `json:"control-selections"`
	}
	oscalSelection struct {
		Include []oscalControl `json:"include-controls"`
	}
	oscalControl struct {
		ID string `json:"control-id"`
	}
	oscalObservation struct {
		UUID        string          `json:"uuid"`
		Title       string          `json:"title"`
		Description string          `json:"description"`
		Methods     []string        `json:"methods"`
		Collected   time.Time       `json:"collected"`
		Evidence    []oscalEvidence `json:"relevant-evidence,omitempty"`
	}
	oscalEvidence struct {
		HRef        string `json:"href"`
		Description string `json:"description"`
	}
	oscalFinding struct {
		UUID        string         `json:"uuid"`
		Title       string         `json:"title"`
		Description string         `json:"description"`
		Target      oscalTarget    `json:"target"`
		Related     []oscalRelated `json:"related-observations,omitempty"`
	}
	oscalTarget struct {
		Type   string      `json:"type"`
		ID     string      `json:"target-id"`
		Status oscalStatus `json:"status"`
	}
	oscalStatus struct {
		State   string `json:"state"`
		Reason  string `json:"reason"`
		Remarks string `json:"remarks,omitempty"`
	}
	oscalRelated struct {
		UUID string `json:"observation-uuid"`
	}
	oscalBack struct {
		Resources []oscalResource `json:"resources"`
	}
	oscalResource struct {
		UUID        string      `json:"uuid"`
		Title       string      `json:"title"`
		Description string      `json:"description"`
		Base64      oscalBase64 `json:"base64"`
	}
	oscalBase64 struct {
		Filename  string `json:"filename"`
		MediaType string `json:"media-type"`
		Value     string `json:"value"`
	}
)

// oscalSpace is the namespace of the UUIDs that OSCAL derives: the same report
// always has the same ones.
var oscalSpace = uuid.MustParse("6ba7b811-9dad-11d1-80b4-00c04fd430c8") // RFC 9562, URLs

// oscalNS is the namespace of properties that OSCAL has no name for.
const oscalNS = "https://assay.dev/ns/oscal"

// OSCAL writes a report as an OSCAL assessment-results document. What Assay does
// not cover is "not-satisfied" for the reason "other": OSCAL has no word for it.
// Proofs are in the back matter, as files.
func OSCAL(w io.Writer, r Report) error {
	o := &oscalWriter{report: r, kept: map[string]bool{}, back: []oscalResource{}}
	result := oscalResult{
		UUID: o.id("result"), Title: r.Title, Description: "Evidence of namespace " + r.Namespace + ", each line proved by the ledger " + r.Head.Origin + ".",
		Start: r.From, End: r.To, Reviewed: oscalReviewed{[]oscalSelection{{}}},
	}
	for _, a := range r.Controls {
		sel := &result.Reviewed.Selections[0]
		sel.Include = append(sel.Include, oscalControl{oscalToken(a.ID)})
		finding := oscalFinding{
			UUID: o.id("finding", a.ID), Title: a.Title, Description: a.Text,
			Target: oscalTarget{Type: "objective-id", ID: oscalToken(a.ID), Status: oscalStatusOf(a)},
		}
		for i, f := range a.Found {
			obs := o.observation(a, i, f)
			result.Observations = append(result.Observations, obs)
			finding.Related = append(finding.Related, oscalRelated{obs.UUID})
		}
		result.Findings = append(result.Findings, finding)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(oscalFile{oscalResults{
		UUID: o.id("document"),
		Metadata: oscalMetadata{
			Title: r.Title, LastModified: r.Made, Version: r.Made.Format(time.RFC3339), OSCAL: oscalVersion,
			Props: []oscalProp{{"ledger-origin", oscalNS, r.Head.Origin}, {"ledger-size", oscalNS, fmt.Sprint(r.Head.Size)}, {"ledger-root", oscalNS, r.Head.RootHash}},
		},
		ImportAP: oscalLink{HRef: r.Source, Remarks: "There is no assessment plan: the controls are those of " + r.Title + " " + r.Version + "."},
		Results:  []oscalResult{result}, BackMatter: oscalBack{o.back},
	}})
}

type oscalWriter struct {
	report Report
	kept   map[string]bool // proofs that are in back already
	back   []oscalResource
}

func (o *oscalWriter) id(parts ...string) string {
	name := fmt.Sprintf("%s %s %s %s %q", o.report.Framework, o.report.Namespace, o.report.Head.RootHash, o.report.Made, parts)
	return uuid.NewSHA1(oscalSpace, []byte(name)).String()
}

func (o *oscalWriter) observation(a Answer, i int, f Found) oscalObservation {
	obs := oscalObservation{
		UUID: o.id("observation", a.ID, fmt.Sprint(i)), Title: f.Title, Methods: []string{"EXAMINE"}, Collected: o.report.Made,
		Description: fmt.Sprintf("%s in the period, %d shown, %d of them not in the ledger yet.", counted(f.Total, "fact"), len(f.Lines), f.Unproved),
	}
	if f.Coverage {
		obs.Description = "Coverage when the report was made:"
		for _, c := range o.report.Coverage {
			obs.Description += fmt.Sprintf(" %s %d of %s attested;", c.Environment, c.Attested, counted(c.Running, "artifact"))
		}
	}
	for _, l := range f.Lines {
		if !l.Proved {
			continue
		}
		id := o.id("proof", string(l.Fact))
		obs.Evidence = append(obs.Evidence, oscalEvidence{HRef: "#" + id, Description: l.Time.UTC().Format(time.RFC3339) + " " + l.Summary})
		if o.kept[id] {
			continue
		}
		o.kept[id] = true
		o.back = append(o.back, oscalResource{
			UUID: id, Title: l.Kind + " " + string(l.Fact), Description: "Proof that the ledger holds the fact, leaf " + fmt.Sprint(l.Index) + ".",
			Base64: oscalBase64{string(l.Fact) + ".proof.json", "application/json", base64.StdEncoding.EncodeToString(l.Proof)},
		})
	}
	return obs
}

func oscalStatusOf(a Answer) oscalStatus {
	switch a.State {
	case Evidenced:
		return oscalStatus{"satisfied", "pass", "Evidence was found: " + a.Reason + " " + a.Limits}
	case Gap:
		return oscalStatus{"not-satisfied", "fail", a.Reason}
	}
	return oscalStatus{"not-satisfied", "other", "Not covered by Assay: " + a.Reason}
}

// oscalToken makes a control's id one of OSCAL's tokens.
func oscalToken(id string) string {
	out := []byte(id)
	for i, c := range out {
		if c == '/' || c == ' ' {
			out[i] = '.'
		}
	}
	return string(out)
}
