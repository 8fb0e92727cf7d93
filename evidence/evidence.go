package evidence

import (
	"fmt"
	"io"
	"slices"
	"time"

	"assay.dev/assay"
)

// Limits on what a report may hold, whatever its format.
const (
	MaxDepth      = 128       // nesting of objects and lists
	MaxMembers    = 100_000   // members of one JSON object
	MaxToken      = 8 << 20   // bytes of one JSON string, number or run of white space, or of one line
	MaxFindings   = 100_000   // findings of one report
	MaxComponents = 200_000   // components of one bill of materials
	MaxTests      = 500_000   // test cases, subtests included, of one test report
	MaxRules      = 50_000    // rules of one SARIF run
	MaxArtifacts  = 200_000   // artifacts of one SARIF run
	MaxMeasures   = 100_000   // measures of one coverage or performance report
	MaxStatements = 100_000   // statements of one VEX document, and products of one statement
	MaxBlocks     = 2_000_000 // blocks of one coverage profile
	MaxResources  = 200_000   // resources of one plan, and documents of one set of manifests
)

// Limits on texts that are kept, in bytes; what is longer is clipped, and Notes says so.
const (
	MaxMessage = 2_000 // Finding.Message and Finding.Suppressed
	MaxName    = 1_000 // ids, names, versions, file names
	MaxList    = 50    // entries of Aliases, FixedIn and Licenses
	MaxNotes   = 50    // entries of Notes
)

// Options say what Read cannot know from the report.
type Options struct {
	// Format skips recognition when it is one of Formats.
	Format string
	// Kind is the kind of evidence the caller expects. "" takes the usual kind
	// of the format. Some formats may be read as several kinds: SARIF also as
	// vulnerabilities or secrets (scanners write it), a CycloneDX document also
	// as vulnerabilities if it has that section, a Trivy report as any kind that
	// it holds, an attestation also as what its predicate is. Any other mismatch
	// is refused.
	Kind assay.EvidenceKind
	// Mapping says where the findings of a JSON report of an unknown tool are.
	// With it, recognition is skipped, and a Format other than FormatGeneric refused.
	Mapping *Mapping
	// Origin is assay.OriginLive only if the caller knows that the report was
	// made for this run; "" means assay.OriginRecorded.
	Origin assay.Origin
	// Collected is when the caller read the report.
	Collected time.Time
}

// Read reads one report to its end. source names it in errors and in the
// evidence, usually its file name as the user gave it; it is not opened and
// does not influence how the report is read. The digest and size of the
// evidence are of the bytes read, a byte order mark included. On error the
// evidence is empty; the error is always an *assay.Error.
func Read(r io.Reader, source string, opts Options) (assay.Evidence, error) {
	ev, err := read(r, source, opts)
	if err != nil {
		return assay.Evidence{}, asError(err).In(source)
	}
	return ev, nil
}

func read(r io.Reader, source string, opts Options) (assay.Evidence, error) {
	in := newInput(r)
	f, head, err := recognise(in, opts)
	if err != nil {
		return assay.Evidence{}, err
	}
	kind, err := f.kindFor(head, opts)
	if err != nil {
		return assay.Evidence{}, err
	}
	in.limit(f.maxBytes, f.name)
	rep := &report{in: in, head: head, asked: opts.Kind, mapping: opts.Mapping, ev: assay.Evidence{
		Kind:      kind,
		Format:    f.name,
		Source:    clean(source, MaxName).s,
		Origin:    opts.Origin,
		Collected: opts.Collected,
	}}
	if rep.ev.Origin == "" {
		rep.ev.Origin = assay.OriginRecorded
	}
	if err := f.read(rep); err != nil {
		return assay.Evidence{}, err
	}
	rep.finish()
	return rep.ev, nil
}

// Recognise returns the kind of evidence that a report seems to be by its
// beginning, as Read would take it without Options, or "" if it is in no known
// format. It says nothing about whether Read can read the report.
func Recognise(r io.Reader) assay.EvidenceKind {
	f, head, err := recognise(newInput(r), Options{})
	if err != nil {
		return ""
	}
	kind, _ := f.kindFor(head, Options{}) // nothing is asked that could be refused
	return kind
}

// report is the evidence of one Read while it grows.
type report struct {
	in      *input
	head    []byte             // the beginning, for those who must know it before they read
	asked   assay.EvidenceKind // "" if the caller takes the usual kind
	mapping *Mapping
	ev      assay.Evidence
	prints  fingerprints
	clipped int // texts longer than their limit
	dropped int // notes and list entries above their limit
}

// note tells the reader of the evidence something that the evidence does not show.
func (r *report) note(format string, args ...any) {
	n := clean(fmt.Sprintf(format, args...), MaxName).s
	if slices.Contains(r.ev.Notes, n) {
		return
	}
	if len(r.ev.Notes) >= MaxNotes {
		r.dropped++
		return
	}
	r.ev.Notes = append(r.ev.Notes, n)
}

// text makes s from outside harmless and clips it.
func (r *report) text(s string, limit int) string {
	c := clean(s, limit)
	if c.clipped {
		r.clipped++
	}
	return c.s
}

// produced keeps the oldest of the times a report states: evidence is as old as its oldest part.
func (r *report) produced(t time.Time) {
	if !t.IsZero() && (r.ev.Produced.IsZero() || t.Before(r.ev.Produced)) {
		r.ev.Produced = t.UTC()
	}
}

// timestamp parses an RFC 3339 time; another form is noted, and age then counts from collection.
func (r *report) timestamp(field, s string) {
	if s == "" {
		return
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		r.note("%s %q is not an RFC 3339 time and was not used", field, s)
		return
	}
	r.produced(t)
}

// finding adds f, or refuses it above MaxFindings.
func (r *report) finding(f assay.Finding) error {
	if len(r.ev.Findings) >= MaxFindings {
		return assay.Errorf(assay.CodeTooLarge, "has more than %d findings", MaxFindings)
	}
	r.ev.Findings = append(r.ev.Findings, f)
	return nil
}

// list appends s to list unless it is there, empty or above MaxList.
func (r *report) list(list []string, s string) []string {
	if s == "" || slices.Contains(list, s) {
		return list
	}
	if len(list) >= MaxList {
		r.dropped++
		return list
	}
	return append(list, s)
}

func (r *report) finish() {
	if r.clipped > 0 {
		r.ev.Notes = append(r.ev.Notes, fmt.Sprintf("%s longer than the limit and clipped", plural(r.clipped, "text was", "texts were")))
	}
	if r.dropped > 0 {
		r.ev.Notes = append(r.ev.Notes, fmt.Sprintf("%s left out above the limit", plural(r.dropped, "note or list entry was", "notes or list entries were")))
	}
	r.ev.Digest, r.ev.Size = r.in.digest()
}
