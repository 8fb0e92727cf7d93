package evidence

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// Names of the formats that Read understands, as Evidence.Format and Options.Format use them.
const (
	FormatGoTest     = "go-test-json"     // go test -json (test2json events)
	FormatSARIF      = "sarif-2.1.0"      // Static Analysis Results Interchange Format
	FormatCycloneDX  = "cyclonedx-json"   // CycloneDX, specVersion 1.4 to 1.6
	FormatOSVScanner = "osv-scanner-json" // osv-scanner --format json
)

// Limits on the size of a report, in bytes, by format. Reports are streamed, so
// the limits bound time and not memory.
const (
	MaxGoTestBytes     = 256 << 20
	MaxSARIFBytes      = 256 << 20
	MaxCycloneDXBytes  = 128 << 20
	MaxOSVScannerBytes = 256 << 20
)

// Limits on what a report may hold, whatever its format.
const (
	MaxDepth      = 128     // nesting of objects and lists
	MaxMembers    = 100_000 // members of one JSON object
	MaxToken      = 8 << 20 // bytes of one JSON string, number or run of white space, or of one line
	MaxFindings   = 100_000 // findings of one report
	MaxComponents = 200_000 // components of one bill of materials
	MaxTests      = 500_000 // test cases, subtests included, of one test report
	MaxRules      = 50_000  // rules of one SARIF run
	MaxArtifacts  = 200_000 // artifacts of one SARIF run
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
	// of the format. SARIF may also be read as vulnerabilities (scanners write
	// it), and so may a CycloneDX document that has a vulnerabilities section;
	// any other mismatch is refused.
	Kind assay.EvidenceKind
	// Origin is assay.OriginLive only if the caller knows that the report was
	// made for this run; "" means assay.OriginRecorded.
	Origin assay.Origin
	// Collected is when the caller read the report.
	Collected time.Time
}

// format is one report format. The first kind is the usual one.
type format struct {
	name     string
	kinds    []assay.EvidenceKind
	maxBytes int64
	read     func(*report) error
}

var formats = []format{
	{FormatGoTest, []assay.EvidenceKind{assay.KindTests}, MaxGoTestBytes, readGoTest},
	{FormatSARIF, []assay.EvidenceKind{assay.KindStaticAnalysis, assay.KindVulnerabilities}, MaxSARIFBytes, readSARIF},
	{FormatCycloneDX, []assay.EvidenceKind{assay.KindSBOM, assay.KindVulnerabilities}, MaxCycloneDXBytes, readCycloneDX},
	{FormatOSVScanner, []assay.EvidenceKind{assay.KindVulnerabilities}, MaxOSVScannerBytes, readOSV},
}

// Formats lists the formats that Read understands.
func Formats() []string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = f.name
	}
	return names
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
	f, err := recognise(in, opts.Format)
	if err != nil {
		return assay.Evidence{}, err
	}
	kind := f.kinds[0]
	if opts.Kind != "" {
		if kind = opts.Kind; !slices.Contains(f.kinds, kind) {
			return assay.Evidence{}, assay.Errorf(assay.CodeInvalid,
				"is %s, which is evidence of kind %s; expected evidence of kind %s", f.name, f.kinds[0], kind)
		}
	}
	in.limit(f.maxBytes, f.name)
	rep := &report{in: in, asked: opts.Kind, ev: assay.Evidence{
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

// recognise finds the format of in, or takes the one that was asked for.
func recognise(in *input, asked string) (format, error) {
	head, whole, err := in.peek()
	if err != nil {
		return format{}, err
	}
	if err := refuseEncoding(head); err != nil {
		return format{}, err
	}
	name := asked
	if name == "" {
		if name, err = sniff(skipBOM(head), whole); err != nil {
			return format{}, err
		}
	}
	in.skipBOM()
	i := slices.IndexFunc(formats, func(f format) bool { return f.name == name })
	if i < 0 {
		return format{}, assay.Errorf(assay.CodeInvalid, "format %s", strict.OneOf(name, Formats()))
	}
	return formats[i], nil
}

// Recognise returns the kind of evidence that a report seems to be by its
// beginning, as Read would take it, or "" if it is in no known format. It says
// nothing about whether Read can read the report.
func Recognise(r io.Reader) assay.EvidenceKind {
	f, err := recognise(newInput(r), "")
	if err != nil {
		return ""
	}
	return f.kinds[0]
}

// report is the evidence of one Read while it grows.
type report struct {
	in      *input
	asked   assay.EvidenceKind
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

// understood ends the refusal of a report that is not in a known format.
func understood() string { return "formats understood: " + strings.Join(Formats(), ", ") }
