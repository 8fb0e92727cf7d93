package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of lists about vulnerabilities.
const (
	// MaxListBytes is the largest list. The whole of EPSS is about 10 MB, CISA's catalogue 2 MB.
	MaxListBytes = 32 << 20
	// MaxListed is how many vulnerabilities a list may have.
	MaxListed = 1_000_000
)

// Lists are what a revision knows of vulnerabilities besides what scanners say. The
// maps are keyed by CVE id in upper case, and never changed.
type Lists struct {
	Exploited     map[string]Exploited  // CISA's catalogue of known exploited vulnerabilities
	ExploitedDate time.Time             // when the catalogue was released, zero if it does not say
	EPSS          map[string]Likelihood // FIRST's predictions
	EPSSDate      time.Time             // the day the scores are of, zero if the file does not say

	kevFile, epssFile string
}

// Exploited is one entry of the catalogue of known exploited vulnerabilities.
type Exploited struct {
	Name       string // in the catalogue's words
	Added      string // date
	Due        string // date by which agencies had to act
	Ransomware bool   // known to be used by ransomware
}

// Likelihood is the prediction that a vulnerability will be exploited in the next 30 days.
type Likelihood struct {
	Score      float32 // probability
	Percentile float32 // share of all scored vulnerabilities with the same or a lower score
}

func isKEV(base string) bool {
	return base == "known_exploited_vulnerabilities.json" || strings.HasSuffix(base, ".kev.json")
}

func isEPSS(base string) bool {
	return base == "epss.csv" || strings.HasPrefix(base, "epss_scores") && strings.HasSuffix(base, ".csv")
}

// add reads one list. A second one of a kind is refused: which of them held could not be told.
func (l *Lists) add(f File) error {
	if isKEV(path.Base(f.Path)) {
		if l.kevFile != "" {
			return assay.Errorf(assay.CodeInvalid, "is a second catalogue of known exploited vulnerabilities besides %s", l.kevFile).In(f.Path)
		}
		entries, released, err := ParseKEV(f.Path, f.Content)
		l.Exploited, l.ExploitedDate, l.kevFile = entries, released, f.Path
		return err
	}
	if l.epssFile != "" {
		return assay.Errorf(assay.CodeInvalid, "is a second file of EPSS scores besides %s", l.epssFile).In(f.Path)
	}
	scores, day, err := ParseEPSS(f.Path, f.Content)
	l.EPSS, l.EPSSDate, l.epssFile = scores, day, f.Path
	return err
}

// serve refuses a gate that asks a list which is not there: it would look like a check and check nothing.
func (l Lists) serve(g Gate) error {
	for i, r := range g.Spec.Requires {
		field, file := "", ""
		switch {
		case r.KnownExploited != "" && l.kevFile == "":
			field, file = "knownExploited", "known_exploited_vulnerabilities.json, as CISA publishes it"
		case r.EPSS != nil && l.epssFile == "":
			field, file = "epss", "epss.csv, as FIRST publishes it, unpacked"
		default:
			continue
		}
		e := assay.Errorf(assay.CodeInvalid, "needs a list that the policy directory does not have")
		e.File, e.Line, e.Column, e.Field = g.Place.File, g.Place.Line, 1, fmt.Sprintf("spec.requires[%d].%s", i, field)
		e.Hint = "put there " + file
		return e
	}
	return nil
}

// FindExploited returns the entry of the first of the ids that the catalogue has.
func (l Lists) FindExploited(ids []string) (id string, e Exploited, found bool) {
	for _, id := range ids {
		if e, ok := l.Exploited[strings.ToUpper(id)]; ok {
			return id, e, true
		}
	}
	return "", Exploited{}, false
}

// FindLikelihood returns the highest score that any of the ids has.
func (l Lists) FindLikelihood(ids []string) (id string, best Likelihood, found bool) {
	for _, candidate := range ids {
		if p, ok := l.EPSS[strings.ToUpper(candidate)]; ok && (!found || p.Score > best.Score) {
			id, best, found = candidate, p, true
		}
	}
	return id, best, found
}

// kevEntry is what is read of an entry; the catalogue has more, and may get more.
type kevEntry struct {
	CVE        string `json:"cveID"`
	Name       string `json:"vulnerabilityName"`
	Added      string `json:"dateAdded"`
	Due        string `json:"dueDate"`
	Ransomware string `json:"knownRansomwareCampaignUse"`
}

// ParseKEV reads CISA's catalogue of known exploited vulnerabilities. Members it
// does not know are passed over; an entry without an id, or one that stands there
// twice, is an error with its line.
func ParseKEV(file string, data []byte) (map[string]Exploited, time.Time, error) {
	if len(data) > MaxListBytes {
		return nil, time.Time{}, assay.Errorf(assay.CodeTooLarge, "is %d bytes; a list has at most %d", len(data), MaxListBytes).In(file)
	}
	if err := strict.CheckJSON(data); err != nil {
		return nil, time.Time{}, inFile(file, err)
	}
	p := kev{dec: jsontext.NewDecoder(bytes.NewReader(data)), data: data, out: map[string]Exploited{}}
	if err := p.document(); err != nil {
		return nil, time.Time{}, inFile(file, err)
	}
	if !p.seen {
		e := assay.Errorf(assay.CodeInvalid, "has no list of vulnerabilities").In(file)
		e.Hint = "expected CISA's catalogue of known exploited vulnerabilities, JSON"
		return nil, time.Time{}, e
	}
	return p.out, p.released, nil
}

type kev struct {
	dec      *jsontext.Decoder
	data     []byte
	out      map[string]Exploited
	released time.Time
	seen     bool
}

func (p *kev) document() error {
	if t, err := p.dec.ReadToken(); err != nil || t.Kind() != '{' {
		return assay.Errorf(assay.CodeInvalid, "is not an object at its top level")
	}
	for p.dec.PeekKind() != '}' {
		name, err := p.dec.ReadToken()
		if err != nil {
			return err
		}
		switch key := name.String(); {
		case key == "dateReleased" && p.dec.PeekKind() == '"':
			t, err := p.dec.ReadToken()
			if err != nil {
				return err
			}
			if p.released, err = time.Parse(time.RFC3339, t.String()); err != nil {
				return p.errorf("dateReleased %q is not a time", t.String())
			}
		case key == "vulnerabilities" && p.dec.PeekKind() == '[':
			if err := p.entries(); err != nil {
				return err
			}
		default:
			if err := p.dec.SkipValue(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *kev) entries() error {
	p.seen = true
	if _, err := p.dec.ReadToken(); err != nil {
		return err
	}
	for p.dec.PeekKind() != ']' {
		var e kevEntry
		if err := json.UnmarshalDecode(p.dec, &e); err != nil {
			return p.errorf("an entry has the wrong form: %v", errors.Unwrap(err))
		}
		id := strings.ToUpper(e.CVE)
		switch {
		case !isCVE(id):
			return p.errorf("cveID %q is not a CVE id such as CVE-2021-44228", e.CVE)
		case p.out[id] != (Exploited{}):
			return p.errorf("%s is listed twice", e.CVE)
		case len(p.out) >= MaxListed:
			return assay.Errorf(assay.CodeTooLarge, "lists more than %d vulnerabilities", MaxListed)
		}
		for _, day := range []string{e.Added, e.Due} {
			if _, err := time.Parse(time.DateOnly, day); day != "" && err != nil {
				return p.errorf("%s has the date %q; expected for example 2021-12-10", e.CVE, day)
			}
		}
		if e.Added == "" {
			return p.errorf("%s has no dateAdded", e.CVE)
		}
		p.out[id] = Exploited{Name: e.Name, Added: e.Added, Due: e.Due, Ransomware: strings.EqualFold(e.Ransomware, "known")}
	}
	_, err := p.dec.ReadToken()
	return err
}

// errorf is an error at the end of what was read last.
func (p *kev) errorf(format string, args ...any) error {
	e := assay.Errorf(assay.CodeInvalid, format, args...)
	off := min(int(p.dec.InputOffset()), len(p.data))
	e.Line = 1 + bytes.Count(p.data[:off], []byte("\n"))
	return e
}

// ParseEPSS reads the scores that FIRST publishes, unpacked: an optional first line
// "#model_version:…,score_date:…", the header "cve,epss,percentile", and one line
// for each vulnerability. A malformed line is an error with its number.
func ParseEPSS(file string, data []byte) (map[string]Likelihood, time.Time, error) {
	var day time.Time
	if len(data) > MaxListBytes {
		return nil, day, assay.Errorf(assay.CodeTooLarge, "is %d bytes; a list has at most %d", len(data), MaxListBytes).In(file)
	}
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		e := assay.Errorf(assay.CodeInvalid, "is packed with gzip").In(file)
		e.Hint = "unpack it with gunzip"
		return nil, day, e
	}
	out := make(map[string]Likelihood, bytes.Count(data, []byte("\n")))
	header := false
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text := strings.TrimRight(string(line), "\r\n")
		var err error
		switch {
		case strings.HasPrefix(text, "#") && n == 1:
			day = scoreDate(text)
		case !header:
			header = true
			if text != "cve,epss,percentile" {
				err = assay.Errorf(assay.CodeInvalid, "is not the header; expected cve,epss,percentile")
			}
		case len(out) >= MaxListed:
			err = assay.Errorf(assay.CodeTooLarge, "lists more than %d vulnerabilities", MaxListed)
		default:
			err = addScore(out, text)
		}
		if e, ok := errors.AsType[*assay.Error](err); ok {
			e.File, e.Line = file, n
			return nil, day, e
		}
	}
	if !header || len(out) == 0 {
		return nil, day, assay.Errorf(assay.CodeInvalid, "holds no EPSS scores: %w", io.ErrUnexpectedEOF).In(file)
	}
	return out, day, nil
}

// scoreDate reads the comment line; a date it does not understand is as none.
func scoreDate(text string) time.Time {
	_, rest, _ := strings.Cut(text, "score_date:")
	rest, _, _ = strings.Cut(rest, ",")
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05-0700", time.DateOnly} {
		if t, err := time.Parse(layout, rest); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

func addScore(out map[string]Likelihood, text string) error {
	cve, rest, ok := strings.Cut(text, ",")
	score, percentile, ok2 := strings.Cut(rest, ",")
	if !ok || !ok2 {
		return assay.Errorf(assay.CodeInvalid, "%.60q is not three values: cve,epss,percentile", text)
	}
	id := strings.ToUpper(cve)
	if !isCVE(id) {
		return assay.Errorf(assay.CodeInvalid, "%.60q is not a CVE id such as CVE-2021-44228", cve)
	}
	if _, twice := out[id]; twice {
		return assay.Errorf(assay.CodeInvalid, "%s is listed twice", cve)
	}
	p, err1 := probability(score)
	q, err2 := probability(percentile)
	if err := errors.Join(err1, err2); err != nil {
		return assay.Errorf(assay.CodeInvalid, "%s has the scores %.40q; expected two numbers from 0 to 1", cve, rest)
	}
	out[id] = Likelihood{Score: p, Percentile: q}
	return nil
}

func probability(s string) (float32, error) {
	v, err := strconv.ParseFloat(s, 32)
	if err == nil && !within(v, 0, 1) {
		err = strconv.ErrRange
	}
	return float32(v), err
}

// isCVE reports whether s is "CVE-", four digits, "-" and four to nineteen digits.
func isCVE(s string) bool {
	rest, ok := strings.CutPrefix(s, "CVE-")
	year, number, cut := strings.Cut(rest, "-")
	digits := func(s string) bool { return strings.Trim(s, "0123456789") == "" }
	return ok && cut && len(year) == 4 && len(number) >= 4 && len(number) <= 19 && digits(year) && digits(number)
}
