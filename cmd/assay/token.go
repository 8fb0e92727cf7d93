package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"assay.dev/assay/api"
	"github.com/spf13/cobra"
)

// tokens is what the token commands need of a control plane.
type tokens interface {
	CreateToken(ctx context.Context, req api.TokenRequest) (api.NewToken, error)
	RevokeToken(ctx context.Context, id string) (api.Token, error)
	Tokens(ctx context.Context) ([]api.Token, error)
}

func (a *app) tokenCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Create, revoke and list bearer tokens"}
	cmd.AddCommand(a.tokenCreateCmd(), a.tokenRevokeCmd(), a.tokenListCmd())
	return cmd
}

func (a *app) tokenCreateCmd() *cobra.Command {
	var roles []string
	var expires string
	cmd := &cobra.Command{
		Use:   "create NAME --role ROLE",
		Short: "Create a token for a person or a machine; its secret is printed once",
		Long: `Create a token for a person or a machine; its secret is printed once.

Roles: viewer reads · developer runs gates and asks for exceptions · approver
approves and revokes exceptions · operator runs the installation · admin creates
and revokes the tokens of its namespace · agent sends telemetry and reads nothing.

Writes the token's hash into the state directory (no other process may use it
meanwhile) or on --server; a fact tells who made it for whom.

Exit codes: 0 created · 1 refused or error · 2 usage.`,
		Example: `  assay token create alice --role developer --expires 720h`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			until, err := parseTime(expires, a.now())
			if err != nil {
				return usageError{fmt.Errorf("--expires: %w", err)}
			}
			req := api.TokenRequest{Name: args[0], Expires: until}
			if a.cfg.chosen("namespace") {
				req.Namespace = a.cfg.get("namespace") // else the caller's
			}
			for _, r := range roles {
				req.Roles = append(req.Roles, api.Role(r))
			}
			t, err := ask(cmd.Context(), a, stateNeeded, func(ops *operations) (api.NewToken, error) {
				return ops.CreateToken(cmd.Context(), req)
			})
			if err != nil {
				return err
			}
			return a.print(t, func() { fmt.Fprintln(a.out, t.Secret) })
		},
	}
	cmd.Flags().StringArrayVar(&roles, "role", nil, "viewer, developer, approver, operator, admin or agent; may be repeated")
	cmd.Flags().StringVar(&expires, "expires", "2160h", "end: RFC 3339, or a duration from now, at most 366 days")
	_ = cmd.MarkFlagRequired("role") // fails only for a flag that does not exist
	return cmd
}

func (a *app) tokenRevokeCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "End a token at once",
		Long: `End a token at once; the next request with it is refused.

Changes the token in the state directory (no other process may use it meanwhile)
or on --server; a fact tells who revoked it.

Exit codes: 0 done · 1 refused or error · 2 usage.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := ask(cmd.Context(), a, stateNeeded, func(ops *operations) (api.Token, error) {
				return ops.RevokeToken(cmd.Context(), args[0])
			})
			if err != nil {
				return err
			}
			return a.print(t, func() { fmt.Fprintf(a.out, "token %s of %s is revoked\n", t.ID, t.Name) })
		},
	}
}

func (a *app) tokenListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List tokens, without their secrets",
		Long: `List the tokens of the namespace, without their secrets.

Reads the state directory (no other process may use it meanwhile) or asks
--server; changes nothing.

Exit codes: 0 listed · 1 error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask(cmd.Context(), a, stateNeeded, func(ops *operations) ([]api.Token, error) {
				return ops.Tokens(cmd.Context())
			})
			if err != nil {
				return err
			}
			return a.print(list, func() {
				if len(list) == 0 {
					fmt.Fprintln(a.out, "no tokens; create one with: assay token create NAME --role developer")
					return
				}
				var rows [][]string
				for _, t := range list {
					rows = append(rows, []string{t.ID, t.Name, t.Namespace, tokenRoles(t), t.Expires.Format(time.RFC3339), tokenState(t, a.now())})
				}
				a.out.Table([]string{"ID", "NAME", "NAMESPACE", "ROLES", "EXPIRES", "STATE"}, rows)
			})
		},
	}
}

func tokenRoles(t api.Token) string {
	var list []string
	for _, r := range t.Roles {
		list = append(list, string(r))
	}
	return strings.Join(list, ",")
}

func tokenState(t api.Token, now time.Time) string {
	switch {
	case !t.Revoked.IsZero():
		return "revoked"
	case !now.Before(t.Expires):
		return "expired"
	default:
		return "active"
	}
}
