package report

import (
	"encoding/json"
	"fmt"
	"strings"

	"assay.dev/assay"
)

// content is what lines show of the payloads of facts of all kinds: the fields
// that those kinds have in common, under the names that all of them use.
type content struct {
	Gate         string              `json:"gate"`
	Outcome      assay.Outcome       `json:"outcome"`
	Mode         assay.Mode          `json:"mode"`
	KeyID        string              `json:"key_id"`
	Subject      json.RawMessage     `json:"subject"` // a verdict's is an object, an attestation's a digest
	Requirements []assay.Requirement `json:"requirements"`
	Violations   int                 `json:"violations"`

	ID        string `json:"id"`
	Requester string `json:"requester"`
	Approver  string `json:"approver"`
	Reason    string `json:"reason"`

	Change   string          `json:"change"`
	Image    string          `json:"image"`
	Place    string          `json:"place"`
	Source   string          `json:"source"`
	Finding  json.RawMessage `json:"finding"` // of finding.opened an object, of finding.closed an id
	Advisory string          `json:"advisory"`

	Advisories int    `json:"advisories"`
	Artifacts  int    `json:"artifacts"`
	Opened     int    `json:"opened"`
	Rollout    string `json:"rollout"`
}

// read takes what it knows from a payload; the rest, or a payload that is no longer
// kept, is left empty.
func read(f assay.Fact) content {
	var c content
	if json.Unmarshal(f.Payload, &c) != nil {
		var partly struct { // a field of the same name and another type must not hide the others
			Gate    string        `json:"gate"`
			Outcome assay.Outcome `json:"outcome"`
			Reason  string        `json:"reason"`
		}
		_ = json.Unmarshal(f.Payload, &partly) // what cannot be read is not shown
		return content{Gate: partly.Gate, Outcome: partly.Outcome, Reason: partly.Reason}
	}
	return c
}

// accepts reports whether a query asks for a fact with this content.
func (q Query) accepts(c content) bool {
	if q.Outcome != "" && c.Outcome != q.Outcome {
		return false
	}
	if q.Evidence == "" {
		return true
	}
	for _, r := range c.Requirements {
		if r.Kind == q.Evidence && r.State == assay.Satisfied && r.Exception == "" {
			return true
		}
	}
	return false
}

// counted is a number of things in words.
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// summary is one line for people, made of nothing but the fact's kind and payload.
func (c content) summary(f assay.Fact) string {
	switch f.Kind {
	case assay.FactVerdict:
		var subject assay.Subject
		_ = json.Unmarshal(c.Subject, &subject) // without it the line lacks a name
		return fmt.Sprintf("%s: gate %s (%s) says %s, %s, %s", subject.Name, c.Gate, c.Mode, c.Outcome, counted(len(c.Requirements), "requirement"), counted(c.Violations, "violation"))
	case assay.FactAttested:
		return fmt.Sprintf("gate %s says %s, signed by key %s", c.Gate, c.Outcome, c.KeyID)
	case assay.FactExceptionApproved, assay.FactExceptionRequested, assay.FactExceptionUsed, assay.FactExceptionBypassed:
		return strings.TrimSpace(fmt.Sprintf("exception %s asked for by %s, approved by %s: %s", c.ID, orNobody(c.Requester), orNobody(c.Approver), c.Reason))
	case assay.FactInventoryObserved:
		return strings.TrimSpace(fmt.Sprintf("%s, seen by %s %s", c.Change, c.Source, c.Image))
	case assay.FactInventoryScanned:
		return fmt.Sprintf("advisories: %d, artifacts that run: %d, findings opened: %d", c.Advisories, c.Artifacts, c.Opened)
	case assay.FactFindingOpened:
		var opened struct {
			Advisory string          `json:"advisory"`
			Name     string          `json:"name"`
			Package  assay.Component `json:"package"`
		}
		_ = json.Unmarshal(c.Finding, &opened) // without it the line lacks names
		return fmt.Sprintf("%s in %s of %s", opened.Advisory, opened.Package.PURL, opened.Name)
	case assay.FactFindingClosed:
		return fmt.Sprintf("%s: %s", c.Advisory, c.Reason)
	}
	return strings.TrimSpace(strings.Join([]string{f.Kind, c.Rollout, c.Reason}, " "))
}

func orNobody(s string) string {
	if s == "" {
		return "nobody"
	}
	return s
}
