package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/control"
	"assay.dev/assay/decide"
	"assay.dev/assay/halt"
	"assay.dev/assay/internal/strict"
	"github.com/spf13/cobra"
)

// switches are the kill switches of the state directory.
func (a *app) switches() halt.Switches { return halt.In(a.cfg.get("dir")) }

// halted are the kill switches that are pulled for a service, the widest first. They are
// read without the store, so they hold when it does not answer.
func (a *app) halted(namespace, service string) []decide.Halt {
	return a.switches().Halted(namespace, service)
}

// addHalts lets the plane say which switches are pulled, and records what became of them
// while nobody had the store open. What is not recorded now stays written down.
func (a *app) addHalts(ctx context.Context, in *installation, cfg *control.Config) {
	in.halts = halt.NewRecorder(a.switches(), in.store, a.now, a.log, cfg.Poke)
	cfg.Halts = a.switches().List
	if err := in.halts.Record(ctx); err != nil {
		a.log.Warn("kill switches are not recorded yet", "error", err)
	}
}

func (a *app) haltCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "halt",
		Short: "Stop every automatic action: everywhere, in a namespace, or of a service",
		Long: `Stop every automatic action: everywhere, in a namespace, or of a service. Rollouts
and strategies go on deciding and recording, and nothing is done until it is lifted.

A kill switch is a file in the state directory of the control plane, which reads it
before each action and without its database: it holds when nothing else works. Run
these commands where that directory is, beside the running server. With --server only
list works, unless --dir names the directory.

Each halt and each lift becomes a fact, automation.halted and automation.lifted: at once
if a server runs, and else when the database is opened next.`,
	}
	cmd.AddCommand(a.haltSetCmd(), a.haltLiftCmd(), a.haltListCmd())
	return cmd
}

// haltScope is what a kill switch is for, as flags say it.
type haltScope struct {
	everywhere, namespace bool
	service               string
}

func (s *haltScope) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.everywhere, "everywhere", false, "every namespace")
	cmd.Flags().BoolVar(&s.namespace, "whole-namespace", false, "every service of --namespace")
	cmd.Flags().StringVar(&s.service, "service", "", "one service of --namespace")
}

// here refuses to look for a kill switch in the wrong place: it is a file beside the
// control plane, and who uses one over the network would write one beside themselves.
func (a *app) here() error {
	if a.cfg.get("server") == "" || a.cfg["dir"].origin == "flag" {
		return nil
	}
	return usageError{fmt.Errorf("a kill switch is a file in the state directory of the control plane, and server %s is set (%s): run this on its host, and name the directory with --dir",
		a.cfg.get("server"), a.cfg["server"].origin)}
}

// of is the scope that the flags name.
func (s *haltScope) of(a *app) (c halt.Scope, err error) {
	if err := a.here(); err != nil {
		return c, err
	}
	namespace := a.cfg.get("namespace")
	given := 0
	for _, set := range []bool{s.everywhere, s.namespace, s.service != ""} {
		if set {
			given++
		}
	}
	if given != 1 {
		return c, usageError{errors.New("give one of --everywhere, --whole-namespace and --service NAME")}
	}
	if s.everywhere {
		return c, nil
	}
	if err := control.CheckNamespace(namespace); err != nil {
		return c, err
	}
	if len(s.service) > 100 || strings.TrimSpace(s.service) != s.service {
		return c, &assay.Error{Code: assay.CodeInvalid, Field: "service", Msg: "is not a name of at most 100 bytes"}
	}
	return halt.Scope{Namespace: namespace, Service: s.service}, nil
}

func (a *app) haltSetCmd() *cobra.Command {
	var scope haltScope
	var reason string
	cmd := &cobra.Command{
		Use:   "set (--everywhere | --whole-namespace | --service NAME) --reason TEXT",
		Short: "Pull a kill switch",
		Long: `Pull a kill switch: from now on no rollout and no strategy in its scope does anything,
hard caps included. Writes a file into the state directory and leaves its database
alone, which a server may have open. Reads the policy directory, if there is one, to
warn of a service that nothing there acts on: a misspelt name stops nothing.

Exit codes: 0 pulled · 1 error · 2 usage.`,
		Example: "  assay halt set --service checkout --reason 'the numbers look wrong'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := scope.of(a)
			if err != nil {
				return err
			}
			if text := strings.Join(strings.Fields(reason), " "); text == "" || len(text) > halt.MaxReason {
				return usageError{fmt.Errorf("--reason is not 1 to %d bytes", halt.MaxReason)}
			}
			if _, err := os.Stat(a.cfg.get("dir")); err != nil {
				return &assay.Error{Code: assay.CodeNotFound, Msg: "there is no state directory " + a.cfg.get("dir"), Hint: "name that of the control plane with --dir"}
			}
			p, err := a.switches().Pull(c, a.localCaller().Name, reason, a.now())
			if err != nil {
				return err
			}
			if doubt := a.doubted(cmd.Context(), c); doubt != "" {
				fmt.Fprintf(a.err, "warning: %s\n", doubt)
			}
			return a.print(haltChanged{p, true}, func() { fmt.Fprintf(a.out, "halted  %s\n", c) })
		},
	}
	scope.flags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why, one line")
	_ = cmd.MarkFlagRequired("reason") // fails only for a flag that does not exist
	return cmd
}

// doubted says that nothing in the policy directory acts on the service of a scope, which
// then is misspelt or of another directory; "" if something does, or nothing is known. It is
// asked after the switch was pulled: whatever is wrong with the policy, it holds.
func (a *app) doubted(ctx context.Context, c halt.Scope) string {
	if c.Service == "" {
		return ""
	}
	rev, err := loadRevision(ctx, a.cfg.get("policy"))
	if err != nil {
		return ""
	}
	services := rev.Acted(c.Namespace)
	if len(services) == 0 || slices.Contains(services, c.Service) {
		return ""
	}
	return fmt.Sprintf("no rollout and no strategy in %s is of this service: service %s", a.cfg.get("policy"), strict.OneOf(c.Service, services))
}

func (a *app) haltLiftCmd() *cobra.Command {
	var scope haltScope
	var reason string
	cmd := &cobra.Command{
		Use:   "lift (--everywhere | --whole-namespace | --service NAME) [--reason TEXT]",
		Short: "Lift a kill switch",
		Long: `Lift a kill switch: what was waiting goes on at its next look. Wider ones that are
pulled still hold. Changes the state directory: the file is removed, and what there is
to say of it is kept until it is a fact.

Exit codes: 0 lifted · 1 it was not pulled, or error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := scope.of(a)
			if err != nil {
				return err
			}
			l, err := a.switches().Lift(c, a.localCaller().Name, reason, a.now())
			if err != nil {
				return err
			}
			return a.print(haltChanged{l.Halt, false}, func() { fmt.Fprintf(a.out, "lifted  %s\n", c) })
		},
	}
	scope.flags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why, one line")
	return cmd
}

// haltChanged is a kill switch that was pulled or lifted.
type haltChanged struct {
	halt.Pulled
	IsPulled bool `json:"pulled"`
}

func (a *app) haltListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the kill switches that are pulled",
		Long: `List the kill switches that are pulled, the widest first: since when, by whom and why.
Reads the state directory without its database, or asks --server for those that hold
your namespace; changes nothing.

Exit codes: 0 listed · 1 error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := a.pulledHalts(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(list, func() {
				if len(list) == 0 {
					fmt.Fprintln(a.out, "no kill switch is pulled")
					return
				}
				var rows [][]string
				for _, h := range list {
					rows = append(rows, []string{h.Scope.String(), h.Since.UTC().Format(time.RFC3339), h.By, h.Reason})
				}
				a.out.Table([]string{"SCOPE", "SINCE", "BY", "REASON"}, rows)
			})
		},
	}
}

// pulledHalts are those of the state directory, or of the server if that is where they are.
func (a *app) pulledHalts(ctx context.Context) ([]halt.Pulled, error) {
	if a.here() == nil {
		return a.switches().List()
	}
	c, err := a.remote()
	if err != nil {
		return nil, err
	}
	return c.Halts(ctx)
}
