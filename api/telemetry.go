package api

import (
	"time"

	"assay.dev/assay"
)

// ImportRequest begins an import of history.
type ImportRequest struct {
	Source string `json:"source"` // in words: a file's name, or a server and what it was asked
}

// ImportBegun is an import that waits for pieces.
type ImportBegun struct {
	ID string `json:"id"`
}

// ImportTaken is what became of a piece.
type ImportTaken struct {
	Accepted int            `json:"accepted"` // samples
	Refused  map[string]int `json:"refused,omitempty"`
	First    string         `json:"first,omitempty"` // the first refusal in words
}

// ImportCompletion ends an import.
type ImportCompletion struct {
	// Input is the digest of the file that the caller read, if it was one.
	Input assay.Digest `json:"input,omitempty"`
	// DryRun says what would be imported, and imports nothing.
	DryRun bool `json:"dry_run,omitempty"`
}

// Import is what an import brought. It is the payload of telemetry.imported, too.
type Import struct {
	Fact       assay.FactID   `json:"fact,omitempty"` // "" if nothing was new, or in a dry run
	DryRun     bool           `json:"dry_run,omitempty"`
	Source     string         `json:"source"`
	Input      assay.Digest   `json:"input,omitempty"` // of the file, as who sent it says
	Digest     assay.Digest   `json:"digest"`          // of the pieces as they came
	Series     int            `json:"series"`          // with new samples
	Samples    int            `json:"samples"`         // that are new
	Duplicates int            `json:"duplicates"`      // that stood already
	Refused    map[string]int `json:"refused,omitempty"`
	First      string         `json:"first,omitempty"` // the first refusal in words
	Oldest     time.Time      `json:"oldest,omitzero"` // of the new samples
	Newest     time.Time      `json:"newest,omitzero"`
	Metrics    []string       `json:"metrics"`            // with new samples, by name
	Objectives []string       `json:"objectives"`         // that count them, "slo/index"
	Services   []string       `json:"services,omitempty"` // of those objectives, whose detectors learn anew
}
