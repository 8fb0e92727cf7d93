package inventory

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/advisory"
	"assay.dev/assay/artifact"
	"assay.dev/assay/evidence"
	"assay.dev/assay/gate"
	"assay.dev/assay/policy"
	"assay.dev/assay/store"
)

// Database calls each with every advisory of a database; advisory.ReadDir and
// advisory.ReadArchive do it.
type Database func(ctx context.Context, each func(advisory.Advisory) error) (advisory.Report, error)

// Search says where Discover looks.
type Search struct {
	Store     store.Store
	Blobs     store.Blobs
	Namespace string
	Actor     string
	TTL       time.Duration // of sightings; 0 means DefaultTTL

	// VEX are documents that whoever runs the installation vouches for.
	VEX []assay.Evidence
	// TrustVEX says whose VEX a gate believes, nil for nobody's. It is asked about the
	// documents that the gate was given with an artifact; may be nil.
	TrustVEX func(gate string) *policy.VEXTrust
}

// Discovered is what a search found.
type Discovered struct {
	Database   advisory.Report
	Artifacts  int            // that run and have a digest
	Unexamined []Unexamined   // artifacts that run and could not be examined
	Components int            // that were examined
	Skipped    map[string]int // components that no advisory could name, by reason
	Doubts     []string       // what could not be compared, at most MaxDoubts
	Opened     int            // that somebody has to act on
	Closed     int
	Open       []Finding // all that are not closed now, the most severe first; Standing tells them apart
}

// MaxDoubts is how many doubts a search spells out.
const MaxDoubts = 20

// Unexamined is an artifact that runs and whose contents nobody knows.
type Unexamined struct {
	Artifact string // digest, or image if that is all that is known
	Places   []Place
	Reason   string
}

// Discover holds the stored bills of materials of everything that runs against a
// database of advisories: what it finds is opened as a finding, once; a finding is
// closed when its artifact no longer runs, its advisory was withdrawn, or the
// database no longer says that this version is affected. A database that does not
// have an advisory says nothing about it: its findings stay open.
func Discover(ctx context.Context, s Search, db Database, now time.Time) (Discovered, error) {
	var out Discovered
	list, err := List(ctx, s.Store, s.Namespace, Filter{TTL: s.TTL}, now)
	if err != nil {
		return out, err
	}
	parts := groupByArtifact(list)
	out.Unexamined = s.load(ctx, parts, now)
	if err := ctx.Err(); err != nil {
		return out, err
	}
	index := advisory.NewPackages()
	for i, p := range parts {
		if p.digest != "" {
			out.Artifacts++
		}
		for _, c := range p.components {
			index.Add(i, c)
		}
		p.components = nil
	}
	var doubts []string
	for _, p := range parts {
		doubts = append(doubts, p.doubts[:min(len(p.doubts), MaxDoubts-len(doubts))]...)
	}
	m := &matching{index: index, parts: parts, doubts: doubts, found: map[string][]*Finding{}, seen: map[string]verdict{}}
	if out.Database, err = db(ctx, m.each); err != nil {
		return out, err
	}
	out.Components, out.Skipped, out.Doubts = index.Len(), index.Skipped(), m.doubts
	err = s.Store.Update(ctx, func(tx store.Tx) (err error) {
		if out.Opened, out.Closed, err = s.settle(tx, m, out.Database.Digest, now); err != nil {
			return err
		}
		return s.scanned(tx, out, now)
	})
	if err != nil {
		return out, err
	}
	out.Open, err = Findings(ctx, s.Store, s.Namespace, false, now)
	return out, err
}

// ScannedPayload is the payload of an inventory.scanned fact, version 1: that
// somebody looked, also when nothing was found.
type ScannedPayload struct {
	Database   assay.Digest `json:"database"`
	Advisories int          `json:"advisories"`
	Malformed  int          `json:"malformed"`
	Artifacts  int          `json:"artifacts"`
	Components int          `json:"components"`
	Unexamined int          `json:"unexamined"`
	Opened     int          `json:"opened"`
	Closed     int          `json:"closed"`
}

func (s Search) scanned(tx store.Tx, d Discovered, now time.Time) error {
	payload, err := json.Marshal(ScannedPayload{
		Database: d.Database.Digest, Advisories: d.Database.Advisories, Malformed: d.Database.Malformed, Artifacts: d.Artifacts,
		Components: d.Components, Unexamined: len(d.Unexamined), Opened: d.Opened, Closed: d.Closed,
	})
	if err != nil {
		return assay.Errorf(assay.CodeInternal, "%s cannot be encoded: %w", assay.FactInventoryScanned, err)
	}
	_, err = tx.Append(assay.Fact{
		Kind: assay.FactInventoryScanned, Version: 1, Time: now, Namespace: s.Namespace, Actor: s.Actor, Retention: assay.RetainAudit, Payload: payload,
	})
	return err
}

// part is one artifact that runs.
type part struct {
	digest     assay.Digest
	name       string
	places     []Place
	facts      []assay.FactID // that it appeared, at most maxCauses
	uri        string         // that its attestations name
	examined   bool
	components []assay.Component
	said       []gate.Said // by documents that its gate was given and trusts
	doubts     []string    // about those
}

const maxCauses = 16

func groupByArtifact(list []Running) []*part {
	by := map[string]*part{}
	for _, v := range list {
		p := by[v.Artifact()]
		if p == nil {
			p = &part{digest: v.Digest, name: v.Image}
			by[v.Artifact()] = p
		}
		if at := (Place{v.Service, v.Environment}); !slices.Contains(p.places, at) {
			p.places = append(p.places, at)
		}
		if len(p.facts) < maxCauses {
			p.facts = append(p.facts, v.Fact)
		}
	}
	parts := make([]*part, 0, len(by))
	for _, k := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, by[k])
	}
	return parts
}

// load reads the components of all parts, and returns those that have none to read.
func (s Search) load(ctx context.Context, parts []*part, now time.Time) []Unexamined {
	reasons := make([]string, len(parts))
	work := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range work {
				if why := s.examine(ctx, parts[i], now); why != nil {
					reasons[i] = why.Error()
				}
			}
		})
	}
	for i := range parts {
		work <- i
	}
	close(work)
	wg.Wait()
	var out []Unexamined
	for i, p := range parts {
		if reasons[i] != "" {
			name := string(p.digest)
			if name == "" {
				name = p.name
			}
			out = append(out, Unexamined{name, p.places, reasons[i]})
		}
	}
	return out
}

// examine reads the bills of materials that the newest verdict with any was given.
func (s Search) examine(ctx context.Context, p *part, now time.Time) error {
	if p.digest == "" {
		return assay.Errorf(assay.CodeNotFound, "only its tag is known; report its digest")
	}
	sum, err := artifact.Get(ctx, s.Store, s.Namespace, p.digest)
	if assay.CodeOf(err) == assay.CodeNotFound {
		return assay.Errorf(assay.CodeNotFound, "no gate has judged it")
	}
	if err != nil {
		return err
	}
	p.name, p.uri = sum.Subject.Name, sum.Subject.URI
	var newest artifact.Attestation
	var boms, vex []assay.EvidenceRef
	for _, a := range sum.Judgements {
		if a.Time.Before(newest.Time) {
			continue
		}
		bills, words, err := s.presented(ctx, a.Document)
		if err != nil {
			return err
		}
		if len(bills) > 0 {
			newest, boms, vex = a, bills, words
		}
	}
	if len(boms) == 0 {
		return assay.Errorf(assay.CodeNotFound, "no gate was given a bill of materials of it")
	}
	for _, ref := range boms {
		ev, err := s.bill(ctx, ref)
		if err != nil {
			return err
		}
		p.components = append(p.components, ev.Components...)
	}
	p.examined = true
	p.doubts = s.vouched(ctx, p, newest.Gate, vex, now)
	return nil
}

// presented returns the bills of materials and the VEX documents among the evidence of
// a recorded verdict.
func (s Search) presented(ctx context.Context, document assay.Digest) (bills, vex []assay.EvidenceRef, err error) {
	r, err := s.Blobs.Open(ctx, document)
	if err != nil {
		return nil, nil, assay.Errorf(assay.CodeOf(err), "the verdict %s cannot be read: %w", document.Short(), err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, artifact.MaxVerdict+1))
	if err != nil {
		return nil, nil, err
	}
	var v struct {
		Evidence []assay.EvidenceRef `json:"evidence"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, nil, assay.Errorf(assay.CodeInternal, "the verdict %s cannot be read: %w", document.Short(), err)
	}
	for _, e := range v.Evidence {
		switch e.Kind {
		case assay.KindSBOM:
			bills = append(bills, e)
		case assay.KindVEX:
			vex = append(vex, e)
		}
	}
	return bills, vex, nil
}

func (s Search) bill(ctx context.Context, ref assay.EvidenceRef) (assay.Evidence, error) {
	r, err := s.Blobs.Open(ctx, ref.Digest)
	if err != nil {
		return assay.Evidence{}, assay.Errorf(assay.CodeOf(err), "its bill of materials %s is not kept here: %w", ref.Source, err)
	}
	defer r.Close()
	ev, err := evidence.Read(r, ref.Source, evidence.Options{Format: ref.Format, Kind: assay.KindSBOM})
	if err != nil {
		return ev, fmt.Errorf("its bill of materials cannot be read: %w", err)
	}
	return ev, nil
}

// verdict is what a database says about an advisory: that it stands, or not.
type verdict struct{ withdrawn bool }

// matching collects what a database says about what runs.
type matching struct {
	index  *advisory.Packages
	parts  []*part
	found  map[string][]*Finding // by artifact and package
	seen   map[string]verdict    // advisories of the database that findings may be about
	doubts []string
	count  int
}

func (m *matching) each(a advisory.Advisory) error {
	m.seen[a.ID] = verdict{withdrawn: !a.Withdrawn.IsZero()}
	hits, doubts := m.index.Match(a)
	for _, d := range doubts {
		if d = a.ID + ": " + d; len(m.doubts) < MaxDoubts {
			m.doubts = append(m.doubts, d)
		}
	}
	for _, h := range hits {
		for _, holder := range h.Holders {
			if m.count++; m.count > 4*MaxFindings {
				return assay.Errorf(assay.CodeTooLarge, "the database finds more than %d flaws in what runs", 4*MaxFindings)
			}
			m.add(a, h, m.parts[holder])
		}
	}
	return nil
}

// add notes a hit. Several databases call one vulnerability by several names: those
// that know each other's are one finding.
func (m *matching) add(a advisory.Advisory, h advisory.Hit, p *part) {
	f := &Finding{
		Advisory: a.ID, Aliases: a.Aliases, Severity: a.Severity, Summary: a.Summary, Package: h.Component, Fixed: h.Fixed, Note: h.Note,
		Artifact: p.digest, Name: p.name, Places: p.places,
	}
	k := string(p.digest) + "\x00" + h.Component.PURL
	for _, old := range m.found[k] {
		if !old.same(*f) {
			continue
		}
		for _, id := range f.ids() {
			if id != old.Advisory && !slices.Contains(old.Aliases, id) {
				old.Aliases = append(slices.Clone(old.Aliases), id)
			}
		}
		if f.Severity != assay.SeverityUnknown && (old.Severity == assay.SeverityUnknown || f.Severity.Rank() > old.Severity.Rank()) {
			old.Severity = f.Severity
		}
		for _, v := range f.Fixed {
			if !slices.Contains(old.Fixed, v) {
				old.Fixed = append(slices.Clone(old.Fixed), v)
			}
		}
		return
	}
	m.found[k] = append(m.found[k], f)
}

// settle makes the findings those that the database and what runs say.
func (s Search) settle(tx store.Tx, m *matching, database assay.Digest, now time.Time) (opened, closed int, err error) {
	b, err := openBooks(tx, s.Namespace, s.Actor, now)
	if err != nil {
		return 0, 0, err
	}
	facts, runs, examined := map[assay.Digest][]assay.FactID{}, map[assay.Digest]bool{}, map[assay.Digest]bool{}
	for _, p := range m.parts {
		facts[p.digest], runs[p.digest], examined[p.digest] = p.facts, true, p.examined
	}
	still, fresh := map[string]bool{}, map[string]bool{}
	for _, k := range slices.Sorted(maps.Keys(m.found)) {
		for _, f := range m.found[k] {
			f.Database = database
			id, isNew, err := b.note(*f, facts[f.Artifact])
			if err != nil {
				return 0, 0, err
			}
			still[id] = true
			if isNew {
				fresh[id] = true
			}
		}
	}
	if n := len(still); n > MaxFindings {
		return 0, 0, assay.Errorf(assay.CodeTooLarge, "%d findings would be open; at most %d are kept", n, MaxFindings)
	}
	if closed, err = b.closeGone(runs); err != nil {
		return 0, 0, err
	}
	for id, f := range b.all {
		if still[id] || !f.open() || !examined[f.Artifact] {
			continue
		}
		why := m.why(f)
		if why == "" {
			continue
		}
		if err := b.close(id, why, database); err != nil {
			return 0, 0, err
		}
		closed++
	}
	dismissed, err := s.assess(b, m.parts, fresh)
	return len(fresh) - dismissed, closed, err
}

// why returns the reason to close a finding that the database does not make again,
// "" if it says nothing about its advisory.
func (m *matching) why(f Finding) string {
	var withdrawn []string
	known := false
	for _, id := range f.ids() {
		v, seen := m.seen[id]
		known = known || seen
		if seen && v.withdrawn {
			withdrawn = append(withdrawn, id)
		}
	}
	switch {
	case !known:
		return ""
	case len(withdrawn) > 0:
		return "withdrawn: " + strings.Join(withdrawn, ", ")
	}
	return "the advisory no longer names this version"
}
