package main

import (
	"context"
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/internal/term"
	"github.com/spf13/cobra"
)

// rollouts is what the rollout and decision commands need of a control plane.
type rollouts interface {
	rolloutReads
	rolloutOrders
	StartRollout(ctx context.Context, req api.RolloutRequest) (api.Rollout, error)
}

type rolloutOrders interface {
	PromoteRollout(ctx context.Context, id string, cmd api.RolloutCommand) (api.Rollout, error)
	AbortRollout(ctx context.Context, id string, cmd api.RolloutCommand) (api.Rollout, error)
	ApproveRollout(ctx context.Context, id string, cmd api.RolloutCommand) (api.Rollout, error)
	RollbackRollout(ctx context.Context, req api.RollbackRequest) (api.Rollout, error)
}

type rolloutReads interface {
	Rollouts(ctx context.Context, limit int) ([]api.Rollout, error)
	Rollout(ctx context.Context, id string) (api.Rollout, error)
	decisionReads
}

func (a *app) rolloutCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "Give a new version traffic step by step, while the evidence allows it",
		Long: `Give a new version traffic step by step, while the evidence allows it.

What is watched, in which steps and with which error bounds stands in a Rollout
resource of the policy directory. Rollouts are carried out by a control plane with
an enforcer (assay serve --proxy URL); the others of these commands also read a
state directory that no server uses.`,
	}
	cmd.AddCommand(a.rolloutStartCmd(), a.rolloutListCmd(), a.rolloutWatchCmd(), a.rolloutExplainCmd(),
		a.rolloutTellCmd("approve", "Say yes to a risky change before its first request"),
		a.rolloutTellCmd("promote", "Give the new version all the traffic now, whatever the evidence says"),
		a.rolloutTellCmd("abort", "Take all the traffic from the new version now"),
		a.rolloutRollbackCmd())
	return cmd
}

func (a *app) rolloutStartCmd() *cobra.Command {
	var req api.RolloutRequest
	var digest, changes string
	var about api.Change
	var watch bool
	cmd := &cobra.Command{
		Use:   "start --canary VERSION --digest DIGEST",
		Short: "Start a rollout",
		Long: `Start a rollout: the enforcer learns the version with the attestations of its
artifact, gives it the first share if one of them holds, and the evidence decides
from then on.

Where the Rollout resource has a risk, the change is scored, and the score sets the
gate and the steps: say how large it is with --changes, which takes what
'git diff --numstat' prints. A change that nothing is said about counts as large.

Asks --server, which changes its state and the enforcer's. Reads the file of
--changes. With --watch it stays until the rollout has ended.

Exit codes: 0 started, or promoted with --watch · 1 refused or error · 2 usage ·
3 aborted, taken back or refused entry, with --watch.`,
		Example: `  assay rollout start --canary v2 --digest sha256:… --backend http://127.0.0.1:8002 --watch
  git diff --numstat v1 v2 | assay rollout start --canary v2 --digest sha256:… --changes -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if req.Digest, err = assay.ParseDigest(digest); err != nil {
				return usageError{fmt.Errorf("--digest: %w", err)}
			}
			if req.Change, err = a.changeOf(cmd.InOrStdin(), changes, about); err != nil {
				return err
			}
			ops, err := a.connect(cmd.Context(), stateNeeded)
			if err != nil {
				return err
			}
			defer ops.close()
			r, err := ops.StartRollout(cmd.Context(), req)
			if err != nil {
				return err
			}
			if a.format == "table" {
				a.rolloutNotes(r)
			}
			if watch {
				return a.watchRollout(cmd.Context(), ops, r.ID)
			}
			return a.print(r, func() {
				fmt.Fprintf(a.out, "started  %s  %s %s\n", r.ID, r.Service, r.Plan.Canary)
				a.riskBlock(r)
				fmt.Fprintln(a.out, "follow it with: assay rollout watch "+r.ID)
			})
		},
	}
	startFlags(cmd, &req, &digest, &watch)
	cmd.Flags().StringVar(&changes, "changes", "", "file with the output of git diff --numstat, or - for standard input")
	aboutFlags(cmd, &about)
	return cmd
}

func (a *app) rolloutListCmd() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List rollouts, newest first",
		Long: `List rollouts, newest first.

Reads the state directory or asks --server; changes nothing.

Exit codes: 0 listed · 1 error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > maxFacts {
				return usageError{fmt.Errorf("--limit %d is not from 1 to %d", limit, maxFacts)}
			}
			ops, err := a.connect(cmd.Context(), stateNeeded)
			if err != nil {
				return err
			}
			defer ops.close()
			list, err := ops.Rollouts(cmd.Context(), limit)
			if err != nil {
				return err
			}
			return a.print(list, func() { a.rolloutTable(list) })
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "how many at most")
	return cmd
}

func (a *app) rolloutTable(list []api.Rollout) {
	if len(list) == 0 {
		fmt.Fprintln(a.out, "no rollouts; start one with: assay rollout start --canary VERSION --digest DIGEST")
		return
	}
	var rows [][]string
	for _, r := range list {
		rows = append(rows, []string{
			r.ID, r.Service, r.Plan.Control + " → " + r.Plan.Canary, a.status(r.Status), fmt.Sprintf("%d %%", r.Weight),
			r.Created.Format(time.RFC3339), r.Reason,
		})
	}
	a.out.Table([]string{"ROLLOUT", "SERVICE", "VERSIONS", "STATUS", "SHARE", "CREATED", "REASON"}, rows)
}

// status is a status in its colour.
func (a *app) status(s api.RolloutStatus) string {
	switch s {
	case api.RolloutPromoted:
		return a.out.Paint(term.Green, string(s))
	case api.RolloutAborted, api.RolloutReverted, api.RolloutRefused, api.RolloutFailed:
		return a.out.Paint(term.Vermilion, string(s))
	case api.RolloutAsking:
		return a.out.Paint(term.Purple, string(s))
	}
	return a.out.Paint(term.Amber, string(s))
}

func (a *app) rolloutTellCmd(verb, short string) *cobra.Command {
	var say api.RolloutCommand
	needs := "operator or approver"
	if verb == "approve" {
		needs = "approver, and is not for whoever asked for the rollout"
	}
	cmd := &cobra.Command{
		Use:   verb + " ID --reason TEXT",
		Short: short,
		Long: short + `.

Asks --server, which changes its state and the enforcer's. Reads nothing here. Needs
the role ` + needs + `; a fact tells who did it and why.

Exit codes: 0 accepted · 1 refused or error · 2 usage.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ops, err := a.connect(cmd.Context(), stateNeeded)
			if err != nil {
				return err
			}
			defer ops.close()
			tell := map[string]func(context.Context, string, api.RolloutCommand) (api.Rollout, error){
				"abort": ops.AbortRollout, "promote": ops.PromoteRollout, "approve": ops.ApproveRollout,
			}[verb]
			r, err := tell(cmd.Context(), args[0], say)
			if err != nil {
				return err
			}
			return a.print(r, func() { fmt.Fprintf(a.out, "accepted; see: assay rollout watch %s\n", r.ID) })
		},
	}
	cmd.Flags().StringVar(&say.Reason, "reason", "", "why; kept in the fact")
	_ = cmd.MarkFlagRequired("reason") // fails only for a flag that does not exist
	return cmd
}

func (a *app) rolloutWatchCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "watch [ID]",
		Short: "Follow a rollout until it has ended",
		Long: `Follow a rollout, the newest one if none is named, until it has ended.

On a terminal it draws the path of the evidence, up to where harm stops the rollout
and down to where safety lets it go on; piped, it prints a line when something
changes. The last line is the outcome and how to look further.

Asks --server; reads nothing here and changes nothing.

Exit codes: 0 promoted · 1 error, or it could not be carried out · 2 usage ·
3 aborted, taken back or refused entry.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.followsAServer("rollout watch"); err != nil {
				return err
			}
			ops, err := a.connect(cmd.Context(), stateNeeded)
			if err != nil {
				return err
			}
			defer ops.close()
			id, err := rolloutID(cmd.Context(), ops, args)
			if err != nil {
				return err
			}
			return a.watchRollout(cmd.Context(), ops, id)
		},
	}
}

// followsAServer refuses to wait for what a state directory cannot do: while a
// command holds it, no server works on it.
func (a *app) followsAServer(command string) error {
	if a.cfg.get("server") != "" {
		return nil
	}
	return usageError{fmt.Errorf("%s follows a control plane: name it with --server; a state directory without one does not change", command)}
}

// rolloutID is the argument, or the newest rollout.
func rolloutID(ctx context.Context, ops rolloutReads, args []string) (string, error) {
	if len(args) == 1 {
		return args[0], nil
	}
	list, err := ops.Rollouts(ctx, 1)
	if err != nil {
		return "", err
	}
	if len(list) == 0 {
		return "", &assay.Error{Code: assay.CodeNotFound, Msg: "there are no rollouts", Hint: "start one with: assay rollout start --canary VERSION --digest DIGEST"}
	}
	return list[0].ID, nil
}

// pollRollout is the time between two looks at a rollout.
const pollRollout = 500 * time.Millisecond

// patience is how long a watch asks again when the server does not answer any more: a
// rollout outlives a restart of its control plane, and so does who watches it.
const patience = time.Minute

// watchRollout prints what changes: a line replaced in place on a terminal, one
// line for each change of status, share or choice when piped.
func (a *app) watchRollout(ctx context.Context, ops rolloutReads, id string) error {
	last, drawn, silent := "", 0, time.Time{}
	tick := time.NewTicker(pollRollout)
	defer tick.Stop()
	for {
		r, err := ops.Rollout(ctx, id)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("interrupted: the rollout goes on, follow it with: assay rollout watch %s", id)
		case err != nil && (last == "" || assay.CodeOf(err) != assay.CodeUnavailable || !silent.IsZero() && a.now().Sub(silent) >= patience):
			return err
		case err != nil && silent.IsZero():
			silent, drawn = a.now(), a.redraw(drawn, nil)
			fmt.Fprintf(a.err, "%s; asking again for %s\n", oneLine(err), patience)
		case err == nil:
			silent = time.Time{}
		}
		if err == nil && r.Status.Ended() {
			a.redraw(drawn, nil)
			if err := a.print(r, func() { a.rolloutEnd(r) }); err != nil {
				return err
			}
			return endCode(r.Status)
		}
		switch {
		case err != nil || a.format != "table":
		case a.out.Live():
			drawn = a.redraw(drawn, a.rolloutBlock(r))
		case plainKey(r) != last:
			fmt.Fprintln(a.out, rolloutLine(r))
		}
		if err == nil {
			last = plainKey(r)
		}
		select {
		case <-ctx.Done(): // said above
		case <-tick.C:
		}
	}
}

func (a *app) rolloutExplainCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "explain [ID]",
		Short: "Say where a rollout stands and why",
		Long: `Say where a rollout stands and why: the newest one if none is named.

Asks --server or reads the state directory; changes nothing.

Exit codes: 0 explained · 1 error · 2 usage.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ops, err := a.connect(cmd.Context(), stateNeeded)
			if err != nil {
				return err
			}
			defer ops.close()
			id, err := rolloutID(cmd.Context(), ops, args)
			if err != nil {
				return err
			}
			r, err := ops.Rollout(cmd.Context(), id)
			if err != nil {
				return err
			}
			return a.print(r, func() {
				fmt.Fprintf(a.out, "%s  %s %s → %s  %s  %d %%\n%s\n", r.ID, r.Service, r.Plan.Control, r.Plan.Canary, a.status(r.Status), r.Weight, r.Reason)
				a.rolloutNotes(r)
				a.passedOver(r)
				a.riskBlock(r)
				if words := observedWords(r); words != "" {
					fmt.Fprintln(a.out, words)
				}
				if r.Outcome != nil {
					fmt.Fprintf(a.out, "outcome: %s: %s\n", r.Outcome.Effect, r.Outcome.Reason)
				}
				if r.Decision != nil {
					fmt.Fprintln(a.out)
					a.explain(*r.Decision)
				}
			})
		},
	}
}
