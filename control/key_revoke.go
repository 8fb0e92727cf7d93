package control

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/policy"
	"assay.dev/assay/store"
)

// Running says where artifacts run; an inventory does.
type Running interface {
	// Running returns where each of these artifacts runs now, in words; those
	// that run nowhere, as far as it is known, are left out. At most
	// api.MaxAffected digests are asked for at once.
	Running(ctx context.Context, namespace string, digests []assay.Digest) ([]api.RunningArtifact, error)
}

// revokedKey is the payload of a key.revoked fact, version 1.
type revokedKey struct {
	KeyID            string    `json:"key_id"`
	CompromisedSince time.Time `json:"compromised_since"`
	Reason           string    `json:"reason"`
}

// requireHome refuses an admin of another namespace than the installation's own: its
// keys sign for every tenant.
func (s *Session) requireHome() error {
	home := cmp.Or(s.p.cfg.Home, policy.DefaultNamespace)
	if s.caller.Namespace == home {
		return nil
	}
	return assay.Errorf(assay.CodeDenied, "%q is an admin of namespace %q; the keys belong to the installation, whose namespace is %q", s.caller.Name, s.caller.Namespace, home)
}

// RevokeKey takes a key's word away from the instant it was compromised: what the
// ledger recorded before stays good, everything else by this key does not.
// Verifiers are told first; RevokeKey returns when the ledger has published it. A
// second revocation may only name an earlier instant.
func (s *Session) RevokeKey(ctx context.Context, req api.KeyRevocationRequest) (api.KeyRevoked, error) {
	if err := s.require(api.RoleAdmin); err != nil {
		return api.KeyRevoked{}, err
	}
	if err := s.requireHome(); err != nil {
		return api.KeyRevoked{}, err
	}
	now := s.p.cfg.Now().UTC()
	if err := checkRevocation(req, now); err != nil {
		return api.KeyRevoked{}, err
	}
	s.p.keyMu.Lock()
	defer s.p.keyMu.Unlock()
	list, err := s.p.keys(ctx)
	if err != nil {
		return api.KeyRevoked{}, err
	}
	i, err := findKey(list, req.Key)
	if err != nil {
		return api.KeyRevoked{}, err
	}
	if req.DryRun {
		out, err := s.affected(ctx, list[i].ID, req.CompromisedSince)
		out.Key = list[i]
		return out, err
	}
	// First of all nobody believes the key any more: what it affects may take long to
	// find, or not be found at all.
	key, err := s.recordRevocation(ctx, list[i].ID, req, now)
	if err != nil {
		return api.KeyRevoked{}, err
	}
	if err := s.p.publishTrust(ctx); err != nil {
		return api.KeyRevoked{Key: key}, assay.Errorf(assay.CodeUnavailable, "the key is revoked, but the trust file was not replaced; repeat the command: %w", err)
	}
	out, err := s.affected(ctx, key.ID, req.CompromisedSince)
	if err != nil {
		return api.KeyRevoked{Key: key}, assay.Errorf(assay.CodeOf(err), "the key is revoked and verifiers are told, but what that affects could not be listed: %w", err)
	}
	out.Key, out.Fact = key, key.Revoked.Fact
	if err := s.systemPublished(ctx, out.Fact); err != nil {
		return out, assay.Errorf(assay.CodeUnavailable, "the key is revoked and verifiers are told, but the ledger has not published it yet: %w", err)
	}
	return out, nil
}

func checkRevocation(req api.KeyRevocationRequest, now time.Time) error {
	if req.CompromisedSince.IsZero() {
		return &assay.Error{Code: assay.CodeInvalid, Field: "compromised_since", Msg: "is missing", Hint: "say since when somebody else may have had the key; in doubt, the day it was made"}
	}
	if req.CompromisedSince.After(now.Add(attest.MaxSkew)) {
		return &assay.Error{Code: assay.CodeInvalid, Field: "compromised_since", Msg: "lies in the future", Hint: "to end a key in good order, use: assay key rotate"}
	}
	return checkText("reason", req.Reason)
}

// findKey finds a key by its name, its id or the beginning of its id.
func findKey(list []api.Key, want string) (int, error) {
	found := -1
	for i, k := range list {
		if k.ID == want || k.Name == want {
			return i, nil
		}
		part := strings.TrimPrefix(want, "SHA256:")
		if len(part) >= 6 && strings.HasPrefix(strings.TrimPrefix(k.ID, "SHA256:"), part) {
			if found >= 0 {
				return -1, &assay.Error{Code: assay.CodeInvalid, Field: "key", Msg: "fits " + list[found].ID + " and " + k.ID + "; give more of it"}
			}
			found = i
		}
	}
	if found < 0 {
		names := make([]string, 0, len(list))
		for _, k := range list {
			names = append(names, k.Name+" ("+k.ID+")")
		}
		e := assay.Errorf(assay.CodeNotFound, "there is no key %q here; known: %s", want, orNone(names))
		e.Field = "key"
		return -1, e
	}
	return found, nil
}

// recordRevocation writes the revocation and its fact. The same one again changes nothing.
func (s *Session) recordRevocation(ctx context.Context, id string, req api.KeyRevocationRequest, now time.Time) (out api.Key, err error) {
	since := req.CompromisedSince.UTC()
	err = s.p.cfg.Store.Update(ctx, func(tx store.Tx) error {
		list, err := s.p.readKeys(tx)
		if err != nil {
			return err
		}
		i, err := findKey(list, id)
		if err != nil {
			return err
		}
		if old := list[i].Revoked; old != nil && !since.Before(old.CompromisedSince) {
			if since.Equal(old.CompromisedSince) {
				out = list[i]
				return nil
			}
			return assay.Errorf(assay.CodeConflict, "key %s is revoked since %s already; a revocation can only be made to begin earlier", id, old.CompromisedSince.Format(time.RFC3339))
		}
		fact, err := s.appendSystem(tx, assay.FactKeyRevoked, revokedKey{id, since, req.Reason})
		if err != nil {
			return err
		}
		list[i].Revoked = &api.KeyRevocation{Time: now, CompromisedSince: since, Reason: req.Reason, Actor: s.caller.Name, Fact: fact}
		out = list[i]
		return putKeys(tx, list)
	})
	return out, err
}

// affected lists what the key signed in the caller's namespace, and where it runs.
func (s *Session) affected(ctx context.Context, id string, since time.Time) (api.KeyRevoked, error) {
	out := api.KeyRevoked{Affected: []api.AffectedAttestation{}, Running: []api.RunningArtifact{}}
	var after int64
	for {
		var rows []store.Row
		err := s.p.cfg.Store.View(ctx, func(r store.Reader) (err error) {
			rows, err = r.Facts(store.Query{
				Namespace: s.caller.Namespace, Kinds: []string{assay.FactAttested, assay.FactStatementSigned, assay.FactExceptionApproved}, After: after, Limit: store.MaxLimit,
			})
			return err
		})
		if err != nil {
			return out, err
		}
		for _, row := range rows {
			after = row.Commit
			a, signedBy := s.signedBy(ctx, row.Fact)
			switch {
			case signedBy != id:
			case row.Fact.Time.Before(since):
				out.Good++
			default:
				if out.Total++; len(out.Affected) < api.MaxAffected {
					out.Affected = append(out.Affected, a)
				}
			}
		}
		if len(rows) < store.MaxLimit {
			return out, s.running(ctx, &out)
		}
	}
}

// signedBy describes what a fact says was signed, and by which key.
func (s *Session) signedBy(ctx context.Context, f assay.Fact) (api.AffectedAttestation, string) {
	a := api.AffectedAttestation{Subject: f.Subject, Time: f.Time, Fact: f.ID}
	if f.Kind == assay.FactAttested {
		said, err := payload[artifact.AttestedPayload](f)
		if err != nil {
			return a, ""
		}
		a.Bundle, a.Gate, a.Name = said.BundleDigest, said.Gate, said.ResourceURI
		return a, said.KeyID
	}
	if f.Kind == assay.FactStatementSigned {
		said, err := payload[StatementPayload](f)
		if err != nil {
			return a, ""
		}
		a.Bundle, a.Name = said.BundleDigest, said.PredicateType
		return a, said.KeyID
	}
	said, err := payload[assay.Exception](f)
	if err != nil || said.Statement == "" {
		return a, ""
	}
	data, err := artifact.ReadBundle(ctx, s.p.cfg.Blobs, said.Statement)
	if err != nil {
		return a, ""
	}
	b, err := attest.ParseBundle(data)
	if err != nil {
		return a, ""
	}
	a.Name, a.Bundle = "exception "+said.ID, said.Statement
	return a, b.Hint
}

// running asks everybody who knows where artifacts run.
func (s *Session) running(ctx context.Context, out *api.KeyRevoked) error {
	digests := make([]assay.Digest, 0, len(out.Affected))
	for _, a := range out.Affected {
		if a.Subject != "" {
			digests = append(digests, a.Subject)
		}
	}
	slices.Sort(digests)
	digests = slices.Compact(digests)
	list, err := s.p.cfg.Running.Running(ctx, s.caller.Namespace, digests)
	if err != nil {
		return err
	}
	out.Running = append(out.Running, list...)
	if s.p.cfg.Enforcer != nil {
		// An enforcer that does not answer must not keep a key from being revoked.
		if status, err := s.p.cfg.Enforcer.Status(ctx); err == nil {
			for _, route := range status.Routes {
				for _, v := range route.Versions {
					if _, hit := slices.BinarySearch(digests, v.Digest); hit && v.Percent > 0 {
						out.Running = append(out.Running, api.RunningArtifact{Digest: v.Digest, Where: "route " + route.Name + ", version " + v.Name})
					}
				}
			}
		}
	}
	slices.SortFunc(out.Running, func(a, b api.RunningArtifact) int {
		return cmp.Or(strings.Compare(string(a.Digest), string(b.Digest)), strings.Compare(a.Where, b.Where))
	})
	return nil
}

func payload[T any](f assay.Fact) (T, error) {
	var v T
	err := json.Unmarshal(f.Payload, &v)
	return v, err
}
