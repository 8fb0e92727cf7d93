package inventory

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/exception"
	"assay.dev/assay/store"
)

// bucketFinding holds a Finding by its ID.
const bucketFinding = "finding"

// MaxFindings is how many findings may be open in a namespace at one time.
const MaxFindings = 50_000

// Finding is a vulnerability in something that runs.
type Finding struct {
	ID        string          `json:"id"`
	Advisory  string          `json:"advisory"`
	Aliases   []string        `json:"aliases,omitempty"`
	Severity  assay.Severity  `json:"severity"`
	Summary   string          `json:"summary,omitempty"`
	Package   assay.Component `json:"package"`
	Fixed     []string        `json:"fixed,omitempty"` // versions that fix it
	Note      string          `json:"note,omitempty"`  // what makes it less than certain
	Artifact  assay.Digest    `json:"artifact"`
	Name      string          `json:"name"` // of the artifact, for people
	Places    []Place         `json:"places"`
	Database  assay.Digest    `json:"database"` // that it was found with
	Opened    time.Time       `json:"opened"`
	Fact      assay.FactID    `json:"fact"` // finding.opened
	Closed    time.Time       `json:"closed,omitzero"`
	ClosedFor string          `json:"closed_for,omitempty"` // why
	VEX       *VEXWord        `json:"vex,omitempty"`        // why it does not matter, nil if nobody says so

	// Excused are the exceptions that cover it now, one for each environment it runs
	// in; none unless all are covered. They are not kept: Findings asks anew.
	Excused []Excuse `json:"-"`
}

// Place is where an artifact with a finding runs.
type Place struct {
	Service     string `json:"service"`
	Environment string `json:"environment"`
}

// FindingOpenedPayload is the payload of a finding.opened fact, version 1.
type FindingOpenedPayload struct {
	Finding Finding `json:"finding"` // without its fact
}

// FindingClosedPayload is the payload of a finding.closed fact, version 1.
type FindingClosedPayload struct {
	Finding  string       `json:"finding"` // id
	Advisory string       `json:"advisory"`
	Reason   string       `json:"reason"`
	Database assay.Digest `json:"database,omitempty"` // that said so
}

// Findings lists the findings that are not closed: those that somebody has to act on
// first, the most severe of them before the others; with closed also those
// that were closed. Exceptions are held against them as of now.
func Findings(ctx context.Context, s store.Store, namespace string, closed bool, now time.Time) ([]Finding, error) {
	list := []Finding{}
	excs, err := exception.Active(ctx, s, namespace, now)
	if err != nil {
		return nil, err
	}
	err = s.View(ctx, func(r store.Reader) error {
		return eachOf(r, findingKey(namespace, ""), func(_ string, f Finding) {
			if f.open() {
				f.Excused = excuses(excs, namespace, f, now)
			}
			if closed || f.open() {
				list = append(list, f)
			}
		})
	})
	slices.SortFunc(list, func(a, b Finding) int {
		return cmp.Or(settled(a)-settled(b), cmp.Compare(b.Severity.Rank(), a.Severity.Rank()), strings.Compare(a.Advisory, b.Advisory),
			strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	return list, err
}

// settled sorts what nobody has to act on behind the rest.
func settled(f Finding) int {
	if f.Standing() == FindingOpen {
		return 0
	}
	return 1
}

func (f Finding) open() bool { return f.Closed.IsZero() }

// ids are all the names of the vulnerability.
func (f Finding) ids() []string { return append([]string{f.Advisory}, f.Aliases...) }

// same reports whether two findings are of one vulnerability in one place of one artifact.
func (f Finding) same(o Finding) bool {
	return f.Artifact == o.Artifact && f.Package.PURL == o.Package.PURL &&
		slices.ContainsFunc(f.ids(), func(id string) bool { return slices.Contains(o.ids(), id) })
}

func findingID(f Finding) string {
	sum := sha256.Sum256([]byte(f.Advisory + "\x00" + string(f.Artifact) + "\x00" + f.Package.PURL))
	return hex.EncodeToString(sum[:16])
}

func findingKey(namespace, id string) store.Key {
	return store.Key{Namespace: namespace, Bucket: bucketFinding, Name: id}
}

// books are the findings of a namespace while they are changed.
type books struct {
	tx        store.Tx
	namespace string
	actor     string
	now       time.Time
	all       map[string]Finding
	of        map[assay.Digest][]string // ids of open findings by artifact
}

func openBooks(tx store.Tx, namespace, actor string, now time.Time) (*books, error) {
	b := &books{tx: tx, namespace: namespace, actor: actor, now: now, all: map[string]Finding{}, of: map[assay.Digest][]string{}}
	err := eachOf(tx, findingKey(namespace, ""), func(id string, f Finding) {
		b.all[id] = f
		if f.open() {
			b.of[f.Artifact] = append(b.of[f.Artifact], id)
		}
	})
	return b, err
}

// note opens a finding, or brings the open one up to date; it returns its id.
// causes are facts that say that the artifact runs.
func (b *books) note(f Finding, causes []assay.FactID) (id string, opened bool, err error) {
	for _, id := range b.of[f.Artifact] {
		old := b.all[id]
		if !old.same(f) {
			continue
		}
		f.ID, f.Opened, f.Fact, f.VEX = id, old.Opened, old.Fact, old.VEX
		before, err1 := json.Marshal(old)
		after, err2 := json.Marshal(f)
		if err := cmp.Or(err1, err2); err != nil || string(before) == string(after) {
			return id, false, err
		}
		b.all[id] = f
		return id, false, put(b.tx, findingKey(b.namespace, id), f, store.AnyVersion)
	}
	f.ID, f.Opened = findingID(f), b.now
	fact, err := b.append(assay.FactFindingOpened, f, FindingOpenedPayload{f}, causes)
	if err != nil {
		return "", false, err
	}
	f.Fact = fact
	b.all[f.ID] = f
	b.of[f.Artifact] = append(b.of[f.Artifact], f.ID)
	return f.ID, true, put(b.tx, findingKey(b.namespace, f.ID), f, store.AnyVersion)
}

// close ends a finding.
func (b *books) close(id, why string, database assay.Digest) error {
	f := b.all[id]
	_, err := b.append(assay.FactFindingClosed, f, FindingClosedPayload{id, f.Advisory, why, database}, []assay.FactID{f.Fact})
	if err != nil {
		return err
	}
	f.Closed, f.ClosedFor = b.now, why
	b.all[id] = f
	return put(b.tx, findingKey(b.namespace, id), f, store.AnyVersion)
}

func (b *books) append(kind string, f Finding, payload any, causes []assay.FactID) (assay.FactID, error) {
	data, err := json.Marshal(payload)
	if err != nil {
		return "", assay.Errorf(assay.CodeInternal, "%s cannot be encoded: %w", kind, err)
	}
	fact := assay.Fact{
		Kind: kind, Version: 1, Time: b.now, Namespace: b.namespace, Subject: f.Artifact, Actor: b.actor,
		Causes: causes, Retention: assay.RetainAudit, Payload: data,
	}
	if len(f.Places) == 1 {
		fact.Service, fact.Environment = f.Places[0].Service, f.Places[0].Environment
	}
	return b.tx.Append(fact)
}

// closeGone closes the findings of artifacts that run nowhere.
func (b *books) closeGone(runs map[assay.Digest]bool) (closed int, err error) {
	for artifact, ids := range b.of {
		if runs[artifact] {
			continue
		}
		for _, id := range ids {
			if f := b.all[id]; !f.open() {
				continue
			}
			if err := b.close(id, "the artifact no longer runs", ""); err != nil {
				return closed, err
			}
			closed++
		}
	}
	return closed, nil
}

// settle closes what became void because artifacts stopped running.
func settle(ctx context.Context, s store.Store, namespace, actor string, now time.Time) error {
	open, err := Findings(ctx, s, namespace, false, now)
	if err != nil || len(open) == 0 {
		return err
	}
	return s.Update(ctx, func(tx store.Tx) error {
		runs := map[assay.Digest]bool{}
		if err := each(tx, namespace, "", func(_ string, v Running) { runs[v.Digest] = true }); err != nil {
			return err
		}
		b, err := openBooks(tx, namespace, actor, now)
		if err != nil {
			return err
		}
		_, err = b.closeGone(runs)
		return err
	})
}
