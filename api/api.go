// Package api holds the requests and answers of the control plane: the same
// values travel over HTTP between client and server and go straight into the
// control plane when the command line works on a local directory.
//
// Every field that a client sends is untrusted. Who is calling never travels in
// a request body; the server takes it from the credential.
package api

import (
	"time"

	"assay.dev/assay"
)

// Limits of a request, stated so that a client can know them beforehand.
const (
	// MaxBody is the largest JSON request body, in bytes.
	MaxBody = 1 << 20
	// MaxEvidence is the largest single report that may be uploaded, in bytes.
	MaxEvidence = 640 << 20
	// MaxReports is how many reports one gate run may name.
	MaxReports = 256
)

// Report names one uploaded report of a gate run.
type Report struct {
	Digest assay.Digest `json:"digest"`           // of the uploaded bytes
	Source string       `json:"source"`           // file name for people
	Origin assay.Origin `json:"origin,omitempty"` // default live
	// Format names a format of package evidence where the content does not say it; default: recognised.
	Format string `json:"format,omitempty"`
	// Mapping is the text of a mapping that says where the findings of a JSON report are.
	Mapping string `json:"mapping,omitempty"`
	// Kind says what the report is evidence of, where its format can be several things; "" is the usual one.
	Kind assay.EvidenceKind `json:"kind,omitempty"`
	// Baseline reports are what measures are compared with; they are no evidence.
	Baseline bool `json:"baseline,omitempty"`
}

// CheckRequest asks a gate for its verdict about one artifact.
type CheckRequest struct {
	Gate        string        `json:"gate,omitempty"` // may be empty if the policy has exactly one gate
	Environment string        `json:"environment,omitempty"`
	Subject     assay.Subject `json:"subject"`
	Reports     []Report      `json:"reports"`
	Owners      string        `json:"owners,omitempty"` // a CODEOWNERS file: whose the flaky tests are; at most MaxOwners bytes
}

// Attested is the answer to a request for an attestation.
type Attested struct {
	Verdict      assay.Verdict `json:"verdict"`
	BundleDigest assay.Digest  `json:"bundle_digest"`
	Bundle       []byte        `json:"bundle"` // Sigstore bundle, JSON
	Fact         assay.FactID  `json:"fact"`   // the attest.signed fact; its proof is the attestation's proof
}

// Publication says how far an audit fact has come on its way into the ledger.
type Publication struct {
	Fact      assay.FactID `json:"fact"`
	Recorded  bool         `json:"recorded"`            // committed with its outbox row
	Published bool         `json:"published"`           // covered by a signed checkpoint
	Index     uint64       `json:"index,omitempty"`     // position in the ledger, if published
	TreeSize  uint64       `json:"tree_size,omitempty"` // of the newest signed checkpoint
}

// Head is the newest signed checkpoint of the ledger.
type Head struct {
	Origin     string `json:"origin"`
	Size       uint64 `json:"size"`
	RootHash   string `json:"root_hash"`  // base64
	Checkpoint string `json:"checkpoint"` // the signed note, C2SP tlog-checkpoint
	Verifier   string `json:"verifier"`   // the ledger's public key, C2SP vkey

	Witnessed *Witnessed `json:"witnessed,omitempty"` // absent if nobody cosigned a head yet
}

// Witnessed is the newest head that witnesses cosigned.
type Witnessed struct {
	Size       uint64   `json:"size"`
	Checkpoint string   `json:"checkpoint"` // the signed note with the cosignatures
	Quorum     bool     `json:"quorum"`     // the policy of this installation is met; false without a policy
	Witnesses  []string `json:"witnesses"`  // of the policy, that cosigned it
}

// ExceptionRequest asks for an exception.
type ExceptionRequest struct {
	Scope     assay.ExceptionScope `json:"scope"`
	Reason    string               `json:"reason"`
	Ticket    string               `json:"ticket,omitempty"`
	NotBefore time.Time            `json:"not_before,omitzero"` // default now
	NotAfter  time.Time            `json:"not_after"`           // mandatory
}

// Revocation is the reason that a person gives for revoking.
type Revocation struct {
	Reason string `json:"reason,omitempty"`
}

// Artifact is what is known of one artifact.
type Artifact struct {
	Subject    assay.Subject `json:"subject"`           // as the newest verdict describes it
	Total      int           `json:"total"`             // attestations recorded so far
	Judgements []Judgement   `json:"judgements"`        // the newest of each gate and environment
	Running    []Running     `json:"running,omitempty"` // where it runs; only in the answer about one artifact
}

// Judgement is one signed verdict about an artifact.
type Judgement struct {
	Gate         string        `json:"gate"`
	Environment  string        `json:"environment,omitempty"`
	Mode         assay.Mode    `json:"mode"`
	Outcome      assay.Outcome `json:"outcome"`
	Time         time.Time     `json:"time"`
	BundleDigest assay.Digest  `json:"bundle_digest"`
	Fact         assay.FactID  `json:"fact"` // the attest.signed fact
}

// Role is what a token's holder may do. Roles do not imply each other, except
// that every role but agent may read.
type Role string

const (
	// RoleViewer reads.
	RoleViewer Role = "viewer"
	// RoleDeveloper runs gates, asks for attestations and requests exceptions.
	RoleDeveloper Role = "developer"
	// RoleApprover approves and revokes exceptions.
	RoleApprover Role = "approver"
	// RoleOperator runs the installation: audits, keys, policies.
	RoleOperator Role = "operator"
	// RoleAdmin creates and revokes the tokens of its namespace.
	RoleAdmin Role = "admin"
	// RoleAgent sends telemetry and does nothing else: its token lies on every host.
	RoleAgent Role = "agent"
)

// Roles lists every role.
var Roles = []Role{RoleViewer, RoleDeveloper, RoleApprover, RoleOperator, RoleAdmin, RoleAgent}

// Readers lists the roles that may read.
var Readers = []Role{RoleViewer, RoleDeveloper, RoleApprover, RoleOperator, RoleAdmin}

// TokenRequest asks for a token.
type TokenRequest struct {
	Name      string    `json:"name"`                // the identity that facts will name as actor
	Namespace string    `json:"namespace,omitempty"` // the caller's, which is the default
	Roles     []Role    `json:"roles"`
	Expires   time.Time `json:"expires"` // mandatory
}

// Token is a bearer token as the installation keeps it: without its secret.
type Token struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Namespace string    `json:"namespace"`
	Roles     []Role    `json:"roles"`
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires"`
	Revoked   time.Time `json:"revoked,omitzero"`
}

// NewToken is the answer to a TokenRequest, and the only place where the secret appears.
type NewToken struct {
	Token  Token  `json:"token"`
	Secret string `json:"secret"` // the whole bearer token
}

// Problem is the body of every failed request (RFC 9457, application/problem+json).
type Problem struct {
	Title  string     `json:"title"`
	Status int        `json:"status"`
	Code   assay.Code `json:"code"`
	Detail string     `json:"detail"`
	// Field of the request that is wrong, dotted, if it is one; Detail begins with it then.
	Field string `json:"field,omitempty"`
}
