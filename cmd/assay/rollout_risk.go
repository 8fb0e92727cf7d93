package main

import (
	"fmt"
	"io"
	"os"

	"assay.dev/assay/api"
	"assay.dev/assay/mitigate"
)

// changeOf is what is said about a change: its size from the output of git diff
// --numstat, nil if nothing is.
func (a *app) changeOf(stdin io.Reader, path string, about api.Change) (*api.Change, error) {
	in := stdin
	switch path {
	case "":
		if about.Irreversible || about.Repairs {
			return nil, usageError{fmt.Errorf("--irreversible and --repairs are said of a change: say how large it is with --changes")}
		}
		return nil, nil
	case "-":
	default:
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	size, err := mitigate.ParseChanges(in)
	if err != nil {
		return nil, fmt.Errorf("--changes: %w", err)
	}
	about.Lines, about.Files = size.Lines, size.Files
	return &about, nil
}

// riskBlock tells how a rollout's change was scored.
func (a *app) riskBlock(r api.Rollout) {
	if r.Risk == nil {
		return
	}
	a.riskTable(*r.Risk)
	switch {
	case r.Unapproved():
		fmt.Fprintf(a.out, "it waits for a yes: assay rollout approve %s --reason TEXT\n", r.ID)
	case r.Approval != nil && r.Approval.By != "":
		fmt.Fprintf(a.out, "%s said yes: %s\n", r.Approval.By, r.Approval.Reason)
	}
}
