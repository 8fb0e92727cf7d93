package assay

import "time"

// Outcome is the answer of a gate. Absent is not a kind of fail: it means the
// gate could not know, because required evidence is missing, stale or unreadable.
type Outcome string

const (
	OutcomePass   Outcome = "pass"
	OutcomeFail   Outcome = "fail"
	OutcomeAbsent Outcome = "absent"
)

// Mode says what a policy or gate does with its answer.
type Mode string

const (
	ModeOff     Mode = "off"     // evaluates nothing
	ModeDryRun  Mode = "dry-run" // evaluates and records, and never blocks
	ModeWarn    Mode = "warn"    // evaluates, records and tells the caller, and never blocks
	ModeEnforce Mode = "enforce" // blocks
)

// Modes lists every mode, weakest first.
var Modes = []Mode{ModeOff, ModeDryRun, ModeWarn, ModeEnforce}

// RequirementState is the state of one piece of required evidence.
type RequirementState string

const (
	// Satisfied means present, fresh, of the accepted origin, and no rule objects to it.
	Satisfied RequirementState = "satisfied"
	// Violated means present and a rule or threshold objects to it.
	Violated RequirementState = "violated"
	// Missing means not presented, stale, or of an origin that the gate does not accept.
	Missing RequirementState = "absent"
)

// Requirement is one required piece of evidence and what became of it.
type Requirement struct {
	Name      string           `json:"name"`
	Kind      EvidenceKind     `json:"kind"`
	State     RequirementState `json:"state"`
	Reason    string           `json:"reason"`              // one sentence, always set
	Evidence  []Digest         `json:"evidence,omitempty"`  // what was considered
	Exception string           `json:"exception,omitempty"` // id of the exception that excuses its absence
}

// Violation is one objection of a rule.
type Violation struct {
	Rule        string       `json:"rule"` // "policy/rule", for example "release/no-critical-vulnerabilities"
	Severity    Severity     `json:"severity"`
	Message     string       `json:"message"`
	Remedy      string       `json:"remedy,omitempty"` // how to fix it
	Kind        EvidenceKind `json:"kind,omitempty"`   // the evidence it is about
	Location    Location     `json:"location,omitzero"`
	Package     Component    `json:"package,omitzero"`
	Fingerprint string       `json:"fingerprint,omitempty"`
	Mode        Mode         `json:"mode"`                // enforce blocks, others only report
	Exception   string       `json:"exception,omitempty"` // id of the exception that excuses it
}

// PolicyRef names the exact policy a verdict used.
type PolicyRef struct {
	URI    string `json:"uri"`
	Digest Digest `json:"digest"`
}

// ExceptionUse records that an exception excused something in a verdict.
type ExceptionUse struct {
	ID         string    `json:"id"`
	Digest     Digest    `json:"digest"` // of the exception's canonical form
	Rules      []string  `json:"rules"`  // the rules it excused here
	Requester  string    `json:"requester"`
	Approver   string    `json:"approver"`            // who gave the last approval, "" for a bypass
	Approvers  []string  `json:"approvers,omitempty"` // all, where it took more than one
	Emergency  bool      `json:"emergency,omitempty"` // a bypass that nobody approved
	ValidUntil time.Time `json:"valid_until"`
}

// FlakyTest is a test that failed and passed on the same code. It proves nothing either way.
type FlakyTest struct {
	Test        string   `json:"test"`
	Location    Location `json:"location,omitzero"`
	Probability float64  `json:"probability"` // that a run of it is flaky: mean of the posterior
	Low         float64  `json:"low"`         // 90 % credible interval
	High        float64  `json:"high"`
	Runs        int      `json:"runs"`   // that the history knows, this one included
	Flaked      int      `json:"flaked"` // of them
	Owners      []string `json:"owners,omitempty"`
}

// LedgerHead is the ledger's newest signed checkpoint when a verdict was made. A
// report that names it shows later whether the ledger's past was changed.
type LedgerHead struct {
	Origin   string `json:"origin"`
	Size     uint64 `json:"size"`
	RootHash string `json:"root_hash"` // base64
}

// EvidenceRef is what a verdict keeps of each piece of evidence.
type EvidenceRef struct {
	Kind       EvidenceKind `json:"kind"`
	Format     string       `json:"format"`
	Source     string       `json:"source"`
	Digest     Digest       `json:"digest"`
	Tool       Tool         `json:"tool"`
	Origin     Origin       `json:"origin"`
	Summary    string       `json:"summary"`     // for example "412 passed, 0 failed"
	AgeSeconds int64        `json:"age_seconds"` // at the time of the verdict
	Producer   string       `json:"producer,omitempty"`
	Baseline   bool         `json:"baseline,omitempty"` // what measures were compared with, not evidence of its own
	Notes      []string     `json:"notes,omitempty"`
}

// Refusal is a report that was presented to a gate and could not be read.
type Refusal struct {
	Location Location     `json:"location"`         // its name as the user gave it, and the place of what is wrong
	Digest   Digest       `json:"digest,omitempty"` // of its bytes
	Kind     EvidenceKind `json:"kind,omitempty"`   // what its beginning says that it is, "" if that cannot be read either
	Reason   string       `json:"reason"`           // one line
}

// Verdict is the explained answer of one gate about one subject. It is a pure
// function of the gate's inputs: the same inputs give the same bytes.
type Verdict struct {
	Gate         string         `json:"gate"`
	Mode         Mode           `json:"mode"`
	Environment  string         `json:"environment,omitempty"`
	Subject      Subject        `json:"subject"`
	Outcome      Outcome        `json:"outcome"` // what the evidence says, whatever the mode
	Time         time.Time      `json:"time"`    // the instant the verdict is about
	Policy       PolicyRef      `json:"policy"`
	Levels       []string       `json:"levels,omitempty"` // VSA levels granted on pass
	Requirements []Requirement  `json:"requirements"`
	Violations   []Violation    `json:"violations"` // all of them, excused ones included
	Warnings     []Violation    `json:"warnings,omitempty"`
	Exceptions   []ExceptionUse `json:"exceptions,omitempty"`
	Flaky        []FlakyTest    `json:"flaky,omitempty"`  // tests that neither passed nor failed
	Ledger       *LedgerHead    `json:"ledger,omitempty"` // nil without a ledger
	Evidence     []EvidenceRef  `json:"evidence"`
	Refused      []Refusal      `json:"refused,omitempty"` // reports that could not be read; with one the outcome is never pass
}

// Blocks reports whether the caller must stop: the outcome is not pass and the gate enforces.
func (v Verdict) Blocks() bool { return v.Outcome != OutcomePass && v.Mode == ModeEnforce }
