package inventory

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
	"assay.dev/assay/gate"
	"assay.dev/assay/policy"
	"assay.dev/assay/store"
)

// LateRule is the rule that an exception names to live with vulnerabilities that became
// known after the gate.
const LateRule = "inventory/late-finding"

// MaxVEXFiles is how many VEX documents a folder may hold.
const MaxVEXFiles = 1000

// Standing says what becomes of a finding.
type Standing string

const (
	FindingOpen        Standing = "open"         // somebody has to act
	FindingNotAffected Standing = "not-affected" // a VEX document says that it does not matter
	FindingExcused     Standing = "excused"      // exceptions cover it wherever it runs
	FindingClosed      Standing = "closed"
)

// VEXWord is what a VEX document says about a finding.
type VEXWord struct {
	Status assay.VEXStatus `json:"status"` // not_affected or fixed
	Words  string          `json:"words"`  // status and justification
	By     string          `json:"by"`     // the document, and who vouches for it
	Time   time.Time       `json:"time,omitzero"`
}

// Excuse is an exception that covers a finding in one environment.
type Excuse struct {
	Exception   string    `json:"exception"` // id
	Environment string    `json:"environment"`
	Until       time.Time `json:"until"`
}

// FindingAssessedPayload is the payload of a finding.assessed fact, version 1.
type FindingAssessedPayload struct {
	Finding  string   `json:"finding"` // id
	Advisory string   `json:"advisory"`
	VEX      *VEXWord `json:"vex"` // null: no document says any more that it does not matter
}

// Standing says whether somebody has to act on f: not if it is closed, if a VEX
// document dismisses it, or if exceptions cover it wherever it runs.
func (f Finding) Standing() Standing {
	switch {
	case !f.open():
		return FindingClosed
	case f.VEX != nil:
		return FindingNotAffected
	case len(f.Excused) > 0:
		return FindingExcused
	}
	return FindingOpen
}

// excuses returns the exceptions by which f is lived with: one for each environment it
// runs in, or none. An exception covers it if it names LateRule, or names its advisory:
// whoever accepted a vulnerability by name did so whatever gate objected to it.
func excuses(list []assay.Exception, namespace string, f Finding, now time.Time) []Excuse {
	var out []Excuse
	seen := map[string]bool{}
	for _, p := range f.Places {
		if seen[p.Environment] {
			continue
		}
		seen[p.Environment] = true
		c := gate.Case{
			Namespace: namespace, Environment: p.Environment, Rule: LateRule,
			Subject: assay.Subject{Name: f.Name, Digest: f.Artifact}, Package: f.Package, IDs: f.ids(),
		}
		i := slices.IndexFunc(list, func(e assay.Exception) bool {
			k := c
			if len(e.Scope.Advisories) > 0 && len(e.Scope.Rules) > 0 {
				k.Rule = e.Scope.Rules[0]
			}
			return gate.Excuses(e, k, now)
		})
		if i < 0 {
			return nil
		}
		out = append(out, Excuse{list[i].ID, p.Environment, list[i].NotAfter})
	}
	return out
}

// VEXFiles reads the VEX documents of a folder: OpenVEX, CSAF, or either in an in-toto
// statement. A file that is none is a problem, which is told, and applied to nothing.
func VEXFiles(ctx context.Context, root fs.FS) (docs []assay.Evidence, problems []string, err error) {
	err = fs.WalkDir(root, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if e.IsDir() || !strings.HasSuffix(path.Ext(name), "json") {
			return nil
		}
		if len(docs)+len(problems) >= MaxVEXFiles {
			return assay.Errorf(assay.CodeTooLarge, "the folder holds more than %d VEX documents", MaxVEXFiles)
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		ev, err := evidence.Read(f, name, evidence.Options{Kind: assay.KindVEX})
		if err != nil {
			problems = append(problems, err.Error())
			return nil
		}
		docs = append(docs, ev)
		return nil
	})
	return docs, problems, err
}

// heard are the statements that the search believes about one artifact: those of the
// installation's own folder, and those its gate was given and trusts.
func (s Search) heard(p *part, now time.Time) gate.Words {
	var all []gate.Said
	for _, e := range s.VEX {
		if e.Subject == "" || e.Subject == p.digest {
			all = append(all, gate.SaidBy(e, e.Source+", of this installation", now)...)
		}
	}
	return gate.NewWords(append(all, p.said...))
}

// vouched reads the VEX documents that a gate was given with what it judged, and keeps
// those that the gate trusts today.
func (s Search) vouched(ctx context.Context, p *part, gateName string, refs []assay.EvidenceRef, now time.Time) (doubts []string) {
	if s.TrustVEX == nil || len(refs) == 0 {
		return nil
	}
	trust := s.TrustVEX(gateName)
	for _, ref := range refs {
		r, err := s.Blobs.Open(ctx, ref.Digest)
		if err != nil {
			doubts = append(doubts, "the VEX document "+ref.Source+" of "+p.name+" is not kept here and is not applied")
			continue
		}
		ev, err := evidence.Read(r, ref.Source, evidence.Options{Format: ref.Format, Kind: assay.KindVEX})
		_ = r.Close() // read-only
		if err != nil {
			doubts = append(doubts, "the VEX document "+ref.Source+" of "+p.name+" is not applied: "+err.Error())
			continue
		}
		ev.Producer = ref.Producer // as it was verified when the gate took it
		if gate.DistrustVEX(trust, ev, p.digest) != "" {
			continue // the gate's report said why
		}
		by := ref.Source + ", which gate " + gateName + " was given"
		if ref.Producer != "" {
			by += ", signed by " + ref.Producer
		}
		p.said = append(p.said, gate.SaidBy(ev, by, now)...)
	}
	return doubts
}

// assess writes down for every open finding what VEX says of it now. It returns how
// many of the ids in fresh do not matter.
func (s Search) assess(b *books, parts []*part, fresh map[string]bool) (dismissed int, err error) {
	by := map[assay.Digest]*part{}
	for _, p := range parts {
		if p.digest != "" {
			by[p.digest] = p
		}
	}
	words := map[assay.Digest]gate.Words{}
	for _, id := range slices.Sorted(maps.Keys(b.all)) {
		f := b.all[id]
		p := by[f.Artifact]
		if !f.open() || p == nil {
			continue
		}
		if _, known := words[f.Artifact]; !known {
			words[f.Artifact] = s.heard(p, b.now)
		}
		word := wordOf(words[f.Artifact], p.subject(), f)
		if word != nil && fresh[id] {
			dismissed++
		}
		if word.same(f.VEX) {
			continue
		}
		if err := b.assess(id, word); err != nil {
			return 0, err
		}
	}
	return dismissed, nil
}

// same compares two words, of which either may be missing.
func (w *VEXWord) same(o *VEXWord) bool {
	if w == nil || o == nil {
		return w == o
	}
	return w.Status == o.Status && w.Words == o.Words && w.By == o.By && w.Time.Equal(o.Time)
}

func wordOf(w gate.Words, subject assay.Subject, f Finding) *VEXWord {
	said, ok := w.About(subject, f.Package, f.ids())
	if !ok {
		return nil
	}
	words, ok := said.Dismisses()
	if !ok {
		return nil
	}
	word := &VEXWord{Status: said.Status, Words: words, By: said.By}
	if !said.Time.IsZero() {
		word.Time = said.Time.UTC()
	}
	return word
}

// assess writes down what VEX says of a finding.
func (b *books) assess(id string, word *VEXWord) error {
	f := b.all[id]
	_, err := b.append(assay.FactFindingAssessed, f, FindingAssessedPayload{id, f.Advisory, word}, []assay.FactID{f.Fact})
	if err != nil {
		return err
	}
	f.VEX = word
	b.all[id] = f
	return put(b.tx, findingKey(b.namespace, id), f, store.AnyVersion)
}

// subject is the artifact as VEX documents may name it.
func (p *part) subject() assay.Subject {
	return assay.Subject{Name: p.name, Digest: p.digest, URI: p.uri}
}

// Trusts is what a policy revision says about whose VEX the gates of a namespace believe.
func Trusts(rev *policy.Revision, namespace string) func(gate string) *policy.VEXTrust {
	return func(name string) *policy.VEXTrust {
		g, err := rev.Gate(namespace + "/" + name)
		if err != nil {
			return nil // a gate that is gone trusts nobody
		}
		return g.Spec.VEX
	}
}
