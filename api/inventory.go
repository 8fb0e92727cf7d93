package api

import (
	"time"

	"assay.dev/assay"
)

// Sighting is one artifact that an agent sees running.
type Sighting struct {
	Service     string       `json:"service"`
	Environment string       `json:"environment,omitempty"` // default: the report's
	Place       string       `json:"namespace,omitempty"`   // for example a cluster's namespace
	Image       string       `json:"image,omitempty"`       // as it was configured
	Digest      assay.Digest `json:"digest,omitempty"`      // default: the one in Image
	Instances   int          `json:"instances,omitempty"`   // default 1
	Seen        time.Time    `json:"seen,omitzero"`         // default now
}

// InventoryReport is what one source sees running.
type InventoryReport struct {
	Source      string     `json:"source,omitempty"` // default: the caller's name
	Environment string     `json:"environment,omitempty"`
	Complete    bool       `json:"complete,omitempty"` // what Source reported in Environment before and does not now is gone
	Sightings   []Sighting `json:"sightings"`
}

// InventoryChange counts what a report changed.
type InventoryChange struct {
	Appeared  int `json:"appeared"`
	Refreshed int `json:"refreshed"`
	Outdated  int `json:"outdated"` // older than what was known
	Gone      int `json:"gone"`
}

// Running is an artifact that runs somewhere.
type Running struct {
	Service     string       `json:"service"`
	Environment string       `json:"environment"`
	Place       string       `json:"namespace,omitempty"`
	Image       string       `json:"image,omitempty"`
	Digest      assay.Digest `json:"digest,omitempty"` // "" if only its tag is known
	Instances   int          `json:"instances"`
	Source      string       `json:"source"` // who sees it
	First       time.Time    `json:"first"`
	Last        time.Time    `json:"last"`
	Fact        assay.FactID `json:"fact"` // that it appeared
}

// Coverage says how much of what runs in an environment is attested.
type Coverage struct {
	Environment string    `json:"environment"`
	Time        time.Time `json:"time"`     // as of
	Running     int       `json:"running"`  // different artifacts
	Attested    int       `json:"attested"` // of those, with an attestation that is valid now
	Ratio       float64   `json:"ratio"`    // Attested of Running
	Artifacts   []Covered `json:"artifacts"`
}

// Covered is one artifact in one environment.
type Covered struct {
	Artifact string       `json:"artifact"` // digest, or image if that is all that is known
	Name     string       `json:"name,omitempty"`
	Services []string     `json:"services"`
	State    string       `json:"state"` // attested, unregistered, unresolved, refused, unattested, unverified or lapsed
	Reason   string       `json:"reason"`
	Gate     string       `json:"gate,omitempty"`
	Bundle   assay.Digest `json:"bundle,omitempty"`
	Fact     assay.FactID `json:"fact,omitempty"` // attest.signed
}

// Place is where an artifact with a finding runs.
type Place struct {
	Service     string `json:"service"`
	Environment string `json:"environment"`
}

// Finding is a vulnerability in something that runs, or ran.
type Finding struct {
	ID        string          `json:"id"`
	Advisory  string          `json:"advisory"`
	Aliases   []string        `json:"aliases,omitempty"`
	Severity  assay.Severity  `json:"severity"`
	Summary   string          `json:"summary,omitempty"`
	Package   assay.Component `json:"package"`
	Fixed     []string        `json:"fixed,omitempty"`
	Note      string          `json:"note,omitempty"` // what makes it less than certain
	Artifact  assay.Digest    `json:"artifact"`
	Name      string          `json:"name"`
	Places    []Place         `json:"places"`
	Database  assay.Digest    `json:"database"`
	Opened    time.Time       `json:"opened"`
	Fact      assay.FactID    `json:"fact"` // finding.opened
	Closed    time.Time       `json:"closed,omitzero"`
	ClosedFor string          `json:"closed_for,omitempty"`
	Standing  string          `json:"standing"`          // open, not-affected, excused or closed
	VEX       *VEXWord        `json:"vex,omitempty"`     // why it does not matter
	Excused   []Excuse        `json:"excused,omitempty"` // by which exceptions, one for each environment
}

// VEXWord is what a VEX document says about a finding.
type VEXWord struct {
	Status assay.VEXStatus `json:"status"` // not_affected or fixed
	Words  string          `json:"words"`
	By     string          `json:"by"` // the document, and who vouches for it
	Time   time.Time       `json:"time,omitzero"`
}

// Excuse is an exception that covers a finding in one environment.
type Excuse struct {
	Exception   string    `json:"exception"` // id
	Environment string    `json:"environment"`
	Until       time.Time `json:"until"`
}

// Scan is what a search of everything that runs for newly known vulnerabilities found.
type Scan struct {
	Database   Database       `json:"database"`
	Artifacts  int            `json:"artifacts"`  // that run and have a digest
	Components int            `json:"components"` // that were examined
	Unexamined []Unexamined   `json:"unexamined,omitempty"`
	Skipped    map[string]int `json:"skipped,omitempty"`      // components that no advisory could name, by reason
	Doubts     []string       `json:"doubts,omitempty"`       // what could not be compared
	Problems   []string       `json:"vex_problems,omitempty"` // files that are no VEX documents
	Opened     int            `json:"opened"`                 // that somebody has to act on
	Closed     int            `json:"closed"`
	Open       int            `json:"open"`         // of Findings, that somebody has to act on
	Dismissed  int            `json:"not_affected"` // of Findings, that a VEX document dismisses
	Excused    int            `json:"excused"`      // of Findings, that exceptions cover
	Findings   []Finding      `json:"findings"`     // not closed now, the most severe first
}

// Database describes a database of advisories.
type Database struct {
	Digest     assay.Digest `json:"digest"`
	Advisories int          `json:"advisories"`
	Withdrawn  int          `json:"withdrawn"`
	Malformed  int          `json:"malformed"` // entries that were left out
	Ignored    int          `json:"ignored"`   // files that are not JSON
	Problems   []string     `json:"problems,omitempty"`
}

// Unexamined is an artifact that runs and whose contents nobody knows.
type Unexamined struct {
	Artifact string  `json:"artifact"`
	Places   []Place `json:"places"`
	Reason   string  `json:"reason"`
}

// Rebuilt says what a rebuild of the index of artifacts found.
type Rebuilt struct {
	Attestations int `json:"attestations"`
	Artifacts    int `json:"artifacts"`
	References   int `json:"references"`
	Differed     int `json:"differed"` // values that were missing, wrong or too many, and are right now
}
