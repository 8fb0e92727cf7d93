package main

import (
	"fmt"
	"io"
	"os"

	"assay.dev/assay/api"
	"assay.dev/assay/mitigate"
	"github.com/spf13/cobra"
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

// startFlags say what is released.
func startFlags(cmd *cobra.Command, req *api.RolloutRequest, digest *string, watch *bool) {
	fs := cmd.Flags()
	fs.StringVar(&req.Rollout, "rollout", "", "name of the Rollout resource (default the only one)")
	fs.StringVar(&req.Canary, "canary", "", "version label of the new version")
	fs.StringVar(digest, "digest", "", "digest of the artifact that it runs, as the platform reports it")
	fs.StringVar(&req.Backend, "backend", "", "where it answers, http://host:port (default as the enforcer knows it)")
	fs.BoolVar(watch, "watch", false, "stay until it has ended")
	for _, name := range []string{"canary", "digest"} {
		_ = cmd.MarkFlagRequired(name) // fails only for a flag that does not exist
	}
}

// aboutFlags say what is to know of a change beside its size.
func aboutFlags(cmd *cobra.Command, about *api.Change) {
	cmd.Flags().BoolVar(&about.Irreversible, "irreversible", false, "it changes data that cannot be changed back")
	cmd.Flags().BoolVar(&about.Repairs, "repairs", false, "it ends an incident: it goes out, approved, although the error budget is spent")
}
