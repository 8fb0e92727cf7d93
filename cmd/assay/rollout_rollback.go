package main

import (
	"fmt"

	"assay.dev/assay/api"
	"assay.dev/assay/internal/term"
	"github.com/spf13/cobra"
)

func (a *app) rolloutRollbackCmd() *cobra.Command {
	var req api.RollbackRequest
	var watch bool
	cmd := &cobra.Command{
		Use:   "rollback SERVICE|ROLLOUT --reason TEXT",
		Short: "Go back to the version before, once a rollout has ended",
		Long: `Go back to the version before, once a rollout has ended: the last version that had all
the traffic of the service gets it again, if the enforcer still lets it in. One that was
itself taken back, or may not be entered, is passed over, and the answer says why; --to
names another. Of a rollout that is named, its version must have all the traffic.

It is a rollout of the older version with its own id: recorded, watched and judged. It
asks nobody else. While a rollout of the service runs or watches, take its version back
with 'assay rollout abort'.

Asks --server, which changes its state and the enforcer's. Reads nothing here. Needs the
role operator or approver; a fact tells who did it and why. With --watch it stays until
the rollback has ended.

Exit codes: 0 started, or done with --watch · 1 refused or error · 2 usage ·
3 given up, taken back or refused entry, with --watch.`,
		Example: `  assay rollout rollback shop --reason 'payments fail since ten' --watch
  assay rollout rollback shop --to v1 --reason 'v2 has the same fault'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ops, err := a.connect(cmd.Context(), stateNeeded)
			if err != nil {
				return err
			}
			defer ops.close()
			req.Of = args[0]
			r, err := ops.RollbackRollout(cmd.Context(), req)
			if err != nil {
				return err
			}
			if watch {
				return a.watchRollout(cmd.Context(), ops, r.ID)
			}
			return a.print(r, func() {
				fmt.Fprintf(a.out, "started  %s  %s %s → %s\n", r.ID, r.Service, r.Plan.Control, r.Plan.Canary)
				a.passedOver(r)
				fmt.Fprintln(a.out, "follow it with: assay rollout watch "+r.ID)
			})
		},
	}
	cmd.Flags().StringVar(&req.Reason, "reason", "", "why; kept in the fact")
	cmd.Flags().StringVar(&req.To, "to", "", "version to go back to; the last one that had all the traffic if left out")
	cmd.Flags().BoolVar(&watch, "watch", false, "follow it until it has ended")
	_ = cmd.MarkFlagRequired("reason") // fails only for a flag that does not exist
	return cmd
}

// passedOver says which versions a rollback does not go to.
func (a *app) passedOver(r api.Rollout) {
	if r.Back == nil {
		return
	}
	for _, p := range r.Back.Passed {
		fmt.Fprintf(a.out, "%s: %s is passed over: %s\n", a.out.Paint(term.Amber, "note"), p.Version, p.Reason)
	}
}
