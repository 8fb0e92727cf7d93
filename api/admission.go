package api

import (
	"time"

	"assay.dev/assay"
)

// MaxImages is how many images one AdmissionCheck may name.
const MaxImages = 512

// AdmissionCheck asks whether images may run, before anything is deployed: for a
// GitOps pre-sync step, a serverless deployment, or a person.
type AdmissionCheck struct {
	Images      []string `json:"images"`                // references, best with their digest: registry.example/shop/web@sha256:…
	Environment string   `json:"environment,omitempty"` // they are to run in; "" means of every door
	Namespace   string   `json:"namespace,omitempty"`   // of the cluster, "" outside of clusters
	Door        string   `json:"door,omitempty"`        // one Admission resource; "" means every one that guards environment and namespace
	DryRun      bool     `json:"dry_run,omitempty"`     // record nothing
}

// AdmissionAnswer is what the doors say together: everything must be let in by all of them.
type AdmissionAnswer struct {
	Allowed   bool                `json:"allowed"`
	Outcome   assay.Outcome       `json:"outcome"` // the worst: fail, then absent, then pass
	Decisions []AdmissionDecision `json:"decisions"`
}

// AdmissionDecision is the answer of one door.
type AdmissionDecision struct {
	ID          assay.FactID         `json:"id"` // of the fact that records it, or, of a plain admission, will within seconds
	Door        string               `json:"door"`
	Environment string               `json:"environment"`
	Mode        assay.Mode           `json:"mode"`
	Policy      assay.PolicyRef      `json:"policy"`
	Time        time.Time            `json:"time"`
	Outcome     assay.Outcome        `json:"outcome"`
	Allowed     bool                 `json:"allowed"`
	Skipped     string               `json:"skipped,omitempty"` // why nothing was judged
	Images      []AdmittedImage      `json:"images"`
	Violations  []assay.Violation    `json:"violations,omitempty"` // the first ones, excused ones included
	Objections  int                  `json:"objections"`           // all that nothing excuses
	Exceptions  []assay.ExceptionUse `json:"exceptions,omitempty"`
	Warnings    []string             `json:"warnings,omitempty"`
}

// AdmittedImage is one image and why it may run.
type AdmittedImage struct {
	Reference string       `json:"reference"`
	Digest    assay.Digest `json:"digest,omitempty"`
	Basis     string       `json:"basis,omitempty"` // "" if it may not
}
