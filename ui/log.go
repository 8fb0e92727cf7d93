package ui

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/ledger"
)

// headRow is the ledger's newest signed head, checked now.
type headRow struct {
	api.Head
	State   state
	Root    string // hexadecimal
	Quorum  state  // what witnesses say
	Behind  uint64 // entries that no witness has seen
	Verdict string // what that is worth, in a sentence
}

// head reads the newest head and checks its signature.
func (v *view) head() (headRow, error) {
	h, err := v.s.Head(v.ctx)
	if err != nil {
		return headRow{}, err
	}
	row := headRow{Head: h, State: state{"ok", "signature holds"}}
	if err := checkHead(h); err != nil {
		row.State = state{"bad", "signature does not hold"}
	}
	if root, err := base64.StdEncoding.DecodeString(h.RootHash); err == nil {
		row.Root = hex.EncodeToString(root)
	}
	row.addWitnesses()
	return row, nil
}

// addWitnesses says what cosignatures are worth. Without them nobody but this
// installation says that every reader sees the same history.
func (r *headRow) addWitnesses() {
	w := r.Witnessed
	if w == nil {
		r.Quorum, r.Verdict = state{"unknown", "no witness"}, "Nobody else has seen this ledger: only its own key says that all readers get the same history."
		return
	}
	r.Behind = r.Size - min(w.Size, r.Size)
	switch {
	case w.Quorum:
		r.Quorum, r.Verdict = state{"ok", "quorum met"}, "Enough witnesses saw that this history only grows: no other one can be shown to anybody."
	default:
		r.Quorum, r.Verdict = state{"warn", "no quorum"}, "Fewer witnesses than the policy wants have cosigned it, or there is no policy."
	}
}

func checkHead(h api.Head) error {
	verifier, err := ledger.ParseVerifierFor(h.Verifier, h.Origin)
	if err != nil {
		return err
	}
	c, err := ledger.ParseCheckpoint([]byte(h.Checkpoint), h.Origin, verifier)
	if err == nil && c.Size != h.Size {
		return assay.Errorf(assay.CodeUnverified, "the head says %d entries, the checkpoint %d", h.Size, c.Size)
	}
	return err
}

// entryRow is an audit fact and how far it came on its way into the ledger.
type entryRow struct {
	assay.Fact
	Publication api.Publication
	State       state
}

// entries are the newest audit facts.
func (v *view) entries(limit int) ([]entryRow, error) {
	facts, err := v.s.Facts(v.ctx, nil, "", 4*limit)
	var out []entryRow
	for _, f := range facts {
		if f.Retention != assay.RetainAudit || len(out) == limit {
			continue
		}
		out = append(out, v.entry(f))
	}
	return out, err
}

func (v *view) entry(f assay.Fact) entryRow {
	row := entryRow{Fact: f, State: state{"unknown", "not known"}}
	if f.Retention != assay.RetainAudit {
		row.State = state{"quiet", "operational: not in the ledger"}
		return row
	}
	pub, err := v.s.Publication(v.ctx, f.ID)
	row.Publication = pub
	switch {
	case err == nil && pub.Published:
		row.State = state{"ok", "published"}
	case err == nil:
		row.State = state{"active", "on its way"}
	}
	return row
}

// logDetail is what the parts of the ledger's page show.
type logDetail struct {
	Head    headRow
	Trouble *trouble
	Entries table[entryRow]
	Audit   auditRow
}

// auditRow is the newest audit that the installation made of itself.
type auditRow struct {
	State   state
	Time    time.Time // zero if there was none, or who looks may not know
	Report  ledger.Report
	Trouble *trouble
}

// audit reads the newest audit. Operators and admins may.
func (v *view) audit() auditRow {
	facts, err := v.s.System().Facts(v.ctx, []string{assay.FactLedgerAudited}, "", 1)
	if err != nil || len(facts) == 0 {
		return auditRow{State: state{"unknown", "not known"}, Trouble: troubleOf(err)}
	}
	row := auditRow{State: state{"bad", "audit failed"}, Time: facts[0].Time}
	var ok bool
	if row.Report, ok = payload[ledger.Report](facts[0]); ok && row.Report.OK {
		row.State = state{"ok", "store and ledger agree"}
	}
	return row
}

// logPage shows the ledger's head and its newest entries.
func logPage(v *view) (page, error) {
	p := page{Title: "Ledger", Nav: "/log"}
	head, err := v.head()
	d := logDetail{Head: head, Trouble: troubleOf(err)}
	list, err := v.entries(40)
	d.Entries = newTable(list, err)
	d.Audit = v.audit()
	p.add(v, "head", "", "log/head", d)
	p.add(v, "witnesses", "left", "log/witnesses", d)
	p.add(v, "audit", "right", "log/audit", d)
	p.add(v, "entries", "", "log/entries", d)
	return p, nil
}

// checked is a verification, step by step.
type checked struct {
	Fact    assay.FactID
	Report  attest.Report
	State   state
	Hops    []hop
	Entry   entryRow
	Trouble *trouble
}

// hop is one step of the way from a leaf to the root.
type hop struct {
	Sibling string // hexadecimal
	Side    string // where the sibling stands: left or right
	Node    string // hexadecimal, of both together
}

// verifyPage takes the proof of a fact and verifies it before the reader's eyes.
func verifyPage(v *view) (page, error) {
	if err := v.r.ParseForm(); err != nil {
		return page{}, assay.Errorf(assay.CodeInvalid, "the form cannot be read: %w", err)
	}
	id := assay.FactID(v.r.PostFormValue("fact"))
	f, err := v.s.Fact(v.ctx, id)
	if err != nil {
		return page{}, err
	}
	head, err := v.s.Head(v.ctx)
	if err != nil {
		return page{}, err
	}
	proof, err := v.s.Proof(v.ctx, id)
	if err != nil {
		return page{}, err
	}
	c := &checked{Fact: id, Entry: v.entry(f)}
	c.Report, c.Hops = v.verifyProof(proof, f, head.Verifier)
	c.State = state{"ok", "verified"}
	if !c.Report.OK() {
		c.State, c.Trouble = state{"bad", "not verified"}, troubleOf(c.Report.Err())
	}
	p := page{Title: "Verification", Nav: "/log"}
	p.add(v, "checked", "", "log/checked", c)
	return p, nil
}

// proofFile is the part of a proof file that the steps are shown of.
type proofFile struct {
	MediaType string          `json:"mediaType"`
	Bundle    json.RawMessage `json:"bundle"`
	Fact      []byte          `json:"fact"`
	Leaf      []byte          `json:"leaf"`
	TlogProof string          `json:"tlogProof"`
}

// verifyProof checks a proof file in steps that can be read one by one. The last
// one is the whole check at once, as assay ledger verify does it.
func (v *view) verifyProof(data []byte, f assay.Fact, key string) (r attest.Report, hops []hop) {
	id := f.ID
	var file proofFile
	var leaf ledger.Leaf
	var inclusion ledger.Proof
	r.Add("proof file", func() (string, error) {
		err := json.Unmarshal(data, &file)
		return fmt.Sprintf("%s bytes, %s", num(len(data)), file.MediaType), err
	})
	r.Add("leaf commits to the fact", func() (string, error) {
		var err error
		if leaf, err = ledger.ParseLeaf(file.Leaf); err != nil {
			return "", err
		}
		if sum := assay.DigestOf(sha256.Sum256(file.Fact)); leaf.Digest != sum || leaf.Fact != id {
			return "", assay.Errorf(assay.CodeUnverified, "the leaf names fact %s with digest %s; expected %s with %s", leaf.Fact, leaf.Digest, id, sum)
		}
		return fmt.Sprintf("SHA-256 of the fact is %s…, as in the leaf with sequence number %s", leaf.Digest.Short(), num(leaf.Seq)), nil
	})
	r.Add("inclusion in the tree", func() (string, error) {
		var err error
		if inclusion, err = ledger.ParseProof([]byte(file.TlogProof)); err != nil {
			return "", err
		}
		head, err := ledger.ParseHead(inclusion.Checkpoint)
		if err != nil {
			return "", err
		}
		hops = climb(file.Leaf, inclusion, head.Size)
		root := leafHash(file.Leaf)
		if len(hops) > 0 {
			root = hops[len(hops)-1].Node
		}
		if root != hex.EncodeToString(head.Root[:]) {
			return "", assay.Errorf(assay.CodeUnverified, "the way up from the leaf ends at %s…; the head says %x…", root[:12], head.Root[:6])
		}
		return fmt.Sprintf("entry %s of %s: %s lead to the root %s…", num(inclusion.Index), num(head.Size), plural(len(hops), "hash", "hashes"), root[:12]), nil
	})
	r.Add("signature of the head", func() (string, error) {
		origin, err := ledger.ProofOrigin([]byte(file.TlogProof))
		if err != nil {
			return "", err
		}
		v, err := ledger.ParseVerifierFor(key, origin)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("signed by %s", v.Name()), ledger.VerifyProof(file.Leaf, []byte(file.TlogProof), v, origin)
	})
	r.Add("the whole, as a stranger would", func() (string, error) {
		return v.verifyWhole(data, f, key)
	})
	return r, hops
}

// verifyWhole checks a proof at once, and the statement in it by the keys that were
// to be believed when the ledger recorded the fact.
func (v *view) verifyWhole(data []byte, f assay.Fact, key string) (string, error) {
	keys, err := v.trustedAt(f.Recorded)
	if err != nil {
		return "", err
	}
	proven, err := artifact.VerifyFactProof(data, key, keys...)
	said := fmt.Sprintf("the ledger holds %s %s of %s", proven.Kind, shortID(proven.ID), proven.Actor)
	if len(proven.SignedBy) > 0 {
		said += ", and a statement of it signed by " + strings.Join(proven.SignedBy, ", ")
	}
	return said, err
}

func leafHash(leaf []byte) string {
	sum := sha256.Sum256(append([]byte{0}, leaf...))
	return hex.EncodeToString(sum[:])
}

// climb is the way from a leaf to the root by RFC 6962: at each level the node
// is joined with its sibling. It proves nothing by itself; its end is compared.
func climb(leaf []byte, p ledger.Proof, size uint64) []hop {
	node := sha256.Sum256(append([]byte{0}, leaf...))
	var out []hop
	if size == 0 {
		return nil
	}
	at, last := p.Index, size-1
	for _, sibling := range p.Hashes {
		left := at%2 == 1 || at == last
		for left && at%2 == 0 && at != 0 { // this level has no sibling: the node moves up alone
			at, last = at/2, last/2
		}
		h := hop{Sibling: hex.EncodeToString(sibling[:]), Side: "right"}
		joined := append([]byte{1}, node[:]...)
		joined = append(joined, sibling[:]...)
		if left {
			h.Side = "left"
			joined = append(append([]byte{1}, sibling[:]...), node[:]...)
		}
		node = sha256.Sum256(joined)
		h.Node = hex.EncodeToString(node[:])
		out = append(out, h)
		at, last = at/2, last/2
	}
	return out
}

// proof hands out the proof of a fact as a file, for assay ledger verify.
func (u *ui) proof(w http.ResponseWriter, r *http.Request) {
	v, err := u.look(r)
	if err != nil {
		u.unidentified(w, r, err)
		return
	}
	id := assay.FactID(r.PathValue("id"))
	data, err := v.s.Proof(v.ctx, id)
	if err != nil {
		u.fail(w, r, v, err)
		return
	}
	w.Header().Set("Content-Type", assay.ProofMediaType)
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", "proof-"+shortHex(string(id))+".json"))
	_, _ = w.Write(data) // the client is gone if this fails
}

// shortHex keeps what is safe in a file name.
func shortHex(s string) string {
	var b []byte
	for i := range len(s) {
		if c := s[i]; c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c == '-' {
			b = append(b, c)
		}
	}
	return string(b[:min(36, len(b))])
}
