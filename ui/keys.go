package ui

import (
	"net/http"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
)

// signedLately is how many of the newest attestations are counted by key.
const signedLately = 200

// keyRow is a key with what it may do and what it did.
type keyRow struct {
	api.Key
	State    state
	Sentence string
	Signed   int // of the newest attestations
	Doubtful int // of those, since the key was compromised
	DryRun   string
}

// keyLists are the keys by what they may still do.
type keyLists struct {
	Rows    []keyRow
	Signs   *keyRow // nil if nothing signs here
	Revoked int
	Seen    int // attestations that were looked at
	Trouble *trouble
}

// keyNames are the installation's keys by id, for whoever wants to name a signer.
func (v *view) keyNames() map[string]keyRow {
	out := map[string]keyRow{}
	list, _ := v.s.Keys(v.ctx) // a signer without a name is named by its id
	for _, k := range list {
		out[k.ID] = v.keyRow(k)
	}
	return out
}

func (v *view) keyRow(k api.Key) keyRow {
	row := keyRow{Key: k, State: keyState(k, v.Now)}
	switch row.State.Word {
	case "revoked":
		row.Sentence = "Only what the ledger recorded before it was compromised is believed."
		row.DryRun = "assay key revoke " + shellWord(k.Name) + " --compromised-since " + k.Revoked.CompromisedSince.UTC().Format(time.RFC3339) + " --reason TEXT --dry-run"
	case "ended":
		row.Sentence = "It signs nothing any more; what it signed before its end stays good."
	case "overlapping":
		row.Sentence = "Another key signs here now; whoever still signs with this one is believed until its end."
	case "not yet valid":
		row.Sentence = "What it signs before its beginning is not believed."
	case "signs":
		row.Sentence = "It signs what is attested now."
	default:
		row.Sentence = "What it signs is believed; nothing signs with it here."
	}
	return row
}

// keyState is what may be done with a key, in a word.
func keyState(k api.Key, now time.Time) state {
	switch word := k.State(now); {
	case word == "revoked":
		return state{"bad", "revoked"}
	case word == "expired":
		return state{"quiet", "ended"}
	case word == "not yet valid":
		return state{"unknown", word}
	case word == "signs":
		return state{"ok", "signs"}
	case !k.NotAfter.IsZero():
		return state{"active", "overlapping"}
	}
	return state{"ok", "valid"}
}

// keysPage shows the keys that attestations are signed with, the newest first.
func keysPage(v *view) (page, error) {
	p := page{Title: "Keys", Nav: "/keys"}
	list, err := v.s.Keys(v.ctx)
	d := keyLists{Trouble: troubleOf(err)}
	facts, err := v.s.Facts(v.ctx, []string{assay.FactAttested}, "", signedLately)
	if err != nil && d.Trouble == nil {
		d.Trouble = troubleOf(err)
	}
	d.Seen = len(facts)
	for i := len(list) - 1; i >= 0; i-- {
		row := v.keyRow(list[i])
		for _, f := range facts {
			said, ok := payload[artifact.AttestedPayload](f)
			if !ok || said.KeyID != row.ID {
				continue
			}
			row.Signed++
			if row.Revoked != nil && !f.Recorded.Before(row.Revoked.CompromisedSince) {
				row.Doubtful++
			}
		}
		d.Rows = append(d.Rows, row)
		if row.Revoked != nil {
			d.Revoked++
		}
		if row.Signs && row.Revoked == nil {
			d.Signs = &row
		}
	}
	p.add(v, "summary", "", "keys/summary", d)
	p.add(v, "keys", "", "keys/list", d)
	p.add(v, "change", "", "keys/change", d)
	return p, nil
}

// trustFile hands out whom the installation believes, for who verifies elsewhere.
func (u *ui) trustFile(w http.ResponseWriter, r *http.Request) {
	v, err := u.look(r)
	if err != nil {
		u.unidentified(w, r, err)
		return
	}
	data, err := v.s.Trust(v.ctx)
	if err != nil {
		u.fail(w, r, v, err)
		return
	}
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Content-Disposition", `attachment; filename="assay.trust.yaml"`)
	_, _ = w.Write(data) // the client is gone if this fails
}

// trustedAt are the keys whose word counted when the ledger recorded something. It
// is an error that there are keys and none of them counted: with no key at all
// VerifyFactProof would look at no signature.
func (v *view) trustedAt(recorded time.Time) ([]attest.Key, error) {
	list, err := v.s.Keys(v.ctx)
	if err != nil {
		return nil, err
	}
	var out []attest.Key
	for _, k := range list {
		if believed(k, recorded).Tone != "ok" {
			continue
		}
		key, err := attest.ParsePublicKey([]byte(k.PublicKey))
		if err != nil {
			return nil, err
		}
		out = append(out, key)
	}
	if len(list) > 0 && len(out) == 0 {
		return nil, &assay.Error{
			Code: assay.CodeUnverified, Msg: "no key of this installation was to be believed when the ledger recorded this",
			Hint: "see the keys, their periods and revocations on the page of keys",
		}
	}
	return out, nil
}
