package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"assay.dev/assay"
)

// Upcast turns the payload of one version of a kind into the next version's.
// It is pure and accepts every payload that was ever valid for its version.
type Upcast func(payload json.RawMessage) (json.RawMessage, error)

// KindVersions is one kind of fact with its history: Steps[0] turns version 1
// into 2, Steps[1] turns 2 into 3, and so on. The newest version is one more
// than there are steps.
type KindVersions struct {
	Kind  string
	Steps []Upcast
}

// Newest is the version that readers get.
func (k KindVersions) Newest() int { return len(k.Steps) + 1 }

// Upcasters lets readers see facts of every version ever written as the newest
// one. Adapters get one in their Config and apply it in Reader, never in
// Outbox. Kinds it does not list pass unchanged. The zero value lists none.
type Upcasters struct {
	kinds map[string]KindVersions
}

// NewUpcasters refuses an empty kind, a kind listed twice and a missing step.
func NewUpcasters(kinds ...KindVersions) (Upcasters, error) {
	u := Upcasters{kinds: make(map[string]KindVersions, len(kinds))}
	for _, k := range kinds {
		if err := name("kind", k.Kind, true); err != nil {
			return Upcasters{}, err
		}
		if _, twice := u.kinds[k.Kind]; twice {
			return Upcasters{}, invalid("kind", "%q is listed twice", k.Kind)
		}
		for i, step := range k.Steps {
			if step == nil {
				return Upcasters{}, invalid("kind", "%q has no upcaster from version %d to %d", k.Kind, i+1, i+2)
			}
		}
		u.kinds[k.Kind] = k
	}
	return u, nil
}

// BuiltinUpcasters knows every kind of fact this program writes.
func BuiltinUpcasters() Upcasters {
	u := Upcasters{kinds: map[string]KindVersions{}}
	for _, kind := range []string{
		assay.FactVerdict, assay.FactAttested, assay.FactStatementSigned,
		assay.FactExceptionRequested, assay.FactExceptionApproved, assay.FactExceptionRevoked, assay.FactExceptionUsed,
		assay.FactExceptionEndorsed, assay.FactExceptionBypassed, assay.FactExceptionExpiring, assay.FactExceptionExpired,
		assay.FactTestsObserved, assay.FactInventoryObserved, assay.FactInventoryScanned,
		assay.FactFindingOpened, assay.FactFindingClosed, assay.FactFindingAssessed,
		assay.FactKeyCreated, assay.FactKeyRotated, assay.FactKeyRevoked, assay.FactTokenCreated, assay.FactTokenRevoked,
		assay.FactLedgerEpoch, assay.FactLedgerHalted, assay.FactLedgerAudited, assay.FactPayloadExpired,
		assay.FactRolloutStarted, assay.FactRolloutDecided, assay.FactRolloutActed, assay.FactRolloutRefused,
		assay.FactRolloutCommanded, assay.FactRolloutEnded, assay.FactRolloutJudged, assay.FactRolloutRenewed,
		assay.FactMitigationDecided, assay.FactMitigationActed, assay.FactMitigationRefused, assay.FactMitigationTold, assay.FactMitigationJudged, assay.FactMitigationFrozen,
		assay.FactAdmissionDenied, assay.FactAdmissionAllowed, assay.FactAnomalyFound, assay.FactDivergenceJudged,
		assay.FactModelRefitted, assay.FactModelDemoted, assay.FactModelPromoted, assay.FactModelRolledBack, assay.FactTelemetryImported,
		assay.FactAutomationHalted, assay.FactAutomationLifted,
	} {
		u.kinds[kind] = KindVersions{Kind: kind}
	}
	u.kinds[assay.FactRolloutStarted] = KindVersions{Kind: assay.FactRolloutStarted, Steps: []Upcast{plainCanary}}
	u.kinds[assay.FactExceptionApproved] = KindVersions{Kind: assay.FactExceptionApproved, Steps: []Upcast{unsigned}}
	return u
}

// unsigned turns the approval of an exception from version 1 into 2, which may name
// a signed statement: approvals of version 1 have none.
func unsigned(payload json.RawMessage) (json.RawMessage, error) { return payload, nil }

// plainCanary turns the start of a rollout from version 1 into 2, which may name a
// strategy, its rules and a watch: those of version 1 were canaries without any.
func plainCanary(payload json.RawMessage) (json.RawMessage, error) { return payload, nil }

// Kinds returns the listed kinds in order.
func (u Upcasters) Kinds() []string { return slices.Sorted(maps.Keys(u.kinds)) }

// Newest returns the newest known version of a kind, false if the kind is not listed.
func (u Upcasters) Newest(kind string) (int, bool) {
	k, ok := u.kinds[kind]
	return k.Newest(), ok
}

// Fact returns f with its payload in the newest version of its kind. A version
// newer than that is assay.CodeUnavailable: this program is too old for it.
func (u Upcasters) Fact(f assay.Fact) (assay.Fact, error) {
	k, ok := u.kinds[f.Kind]
	if !ok || f.Version == k.Newest() {
		return f, nil
	}
	if f.Version > k.Newest() {
		return assay.Fact{}, &assay.Error{Code: assay.CodeUnavailable,
			Msg:  fmt.Sprintf("fact %s is %s/v%d, written by a newer assay; this one reads up to v%d", f.ID, f.Kind, f.Version, k.Newest()),
			Hint: "upgrade this assay"}
	}
	for f.Version < k.Newest() {
		next, err := k.Steps[f.Version-1](f.Payload)
		if err != nil {
			return assay.Fact{}, &assay.Error{Code: assay.CodeInternal,
				Msg: fmt.Sprintf("fact %s: upcast of %s from v%d to v%d: %v", f.ID, f.Kind, f.Version, f.Version+1, err), Err: err}
		}
		f.Payload = next
		f.Version++
	}
	return f, nil
}
