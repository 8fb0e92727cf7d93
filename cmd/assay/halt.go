package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/control"
	"assay.dev/assay/decide"
	"github.com/spf13/cobra"
)

// Kill switches are files in the state directory: while one exists nothing is done in
// its scope. They are read without the store, so they hold when it does not answer.
const (
	haltFile   = "halt"  // everywhere
	haltFolder = "halts" // NAMESPACE.halt and NAMESPACE.d/SERVICE.halt, names as in a URL
	haltSuffix = ".halt"
	// maxHaltReason is how much of a file is read.
	maxHaltReason = 1000
)

// haltPath is the file of a scope: everywhere without a namespace, the namespace without
// a service.
func (a *app) haltPath(namespace, service string) string {
	dir := a.cfg.get("dir")
	switch {
	case namespace == "":
		return filepath.Join(dir, haltFile)
	case service == "":
		return filepath.Join(dir, haltFolder, url.QueryEscape(namespace)+haltSuffix)
	}
	return filepath.Join(dir, haltFolder, url.QueryEscape(namespace)+".d", url.QueryEscape(service)+haltSuffix)
}

// halted are the kill switches that are pulled for a service, the widest first. A file
// that cannot be read counts as pulled.
func (a *app) halted(namespace, service string) (out []decide.Halt) {
	look := func(scope, name, path string) {
		if why, pulled := readHalt(path); pulled {
			out = append(out, decide.Halt{Scope: scope, Name: name, Reason: why})
		}
	}
	look(decide.HaltGlobal, "", a.haltPath("", ""))
	if namespace != "" {
		look(decide.HaltNamespace, namespace, a.haltPath(namespace, ""))
	}
	if namespace != "" && service != "" {
		look(decide.HaltService, service, a.haltPath(namespace, service))
	}
	return out
}

// readHalt reads one kill switch.
func readHalt(path string) (why string, pulled bool) {
	text, err := readFile(path, maxHaltReason)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", false
	case err != nil:
		return oneLine(err), true
	}
	if why := strings.Join(strings.Fields(string(text)), " "); why != "" {
		return why, true
	}
	return "no reason is given", true
}

func (a *app) haltCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "halt",
		Short: "Stop every automatic action: everywhere, in a namespace, or of a service",
		Long: `Stop every automatic action: everywhere, in a namespace, or of a service. Rollouts
and strategies go on deciding and recording, and nothing is done until it is lifted.

A kill switch is a file in the state directory of the control plane, which reads it
before each action and without its database: it holds when nothing else works. Run
these commands where that directory is, beside the running server. With --server they
are refused unless --dir names it.`,
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

// of is the scope as it is shown, and in words.
func (s *haltScope) of(a *app) (shown haltShown, words string, err error) {
	if err := a.here(); err != nil {
		return shown, "", err
	}
	namespace := a.cfg.get("namespace")
	given := 0
	for _, set := range []bool{s.everywhere, s.namespace, s.service != ""} {
		if set {
			given++
		}
	}
	if given != 1 {
		return shown, "", usageError{errors.New("give one of --everywhere, --whole-namespace and --service NAME")}
	}
	if s.everywhere {
		return shown, "everywhere", nil
	}
	if err := control.CheckNamespace(namespace); err != nil {
		return shown, "", err
	}
	shown.Namespace = namespace
	if s.namespace {
		return shown, "namespace " + namespace, nil
	}
	if len(s.service) > 100 || strings.TrimSpace(s.service) != s.service {
		return shown, "", &assay.Error{Code: assay.CodeInvalid, Field: "service", Msg: "is not a name of at most 100 bytes"}
	}
	shown.Service = s.service
	return shown, "service " + s.service + " of " + namespace, nil
}

func (a *app) haltSetCmd() *cobra.Command {
	var scope haltScope
	var reason string
	cmd := &cobra.Command{
		Use:   "set (--everywhere | --whole-namespace | --service NAME) --reason TEXT",
		Short: "Pull a kill switch",
		Long: `Pull a kill switch: from now on no rollout and no strategy in its scope does anything,
hard caps included. Writes a file into the state directory and leaves its database
alone, which a server may have open.

Exit codes: 0 pulled · 1 error · 2 usage.`,
		Example: "  assay halt set --service checkout --reason 'the numbers look wrong'",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			shown, words, err := scope.of(a)
			if err != nil {
				return err
			}
			path := a.haltPath(shown.Namespace, shown.Service)
			if text := strings.Join(strings.Fields(reason), " "); text == "" || len(text) > maxHaltReason-100 {
				return usageError{fmt.Errorf("--reason is not 1 to %d bytes", maxHaltReason-100)}
			}
			if _, err := os.Stat(a.cfg.get("dir")); err != nil {
				return &assay.Error{Code: assay.CodeNotFound, Msg: "there is no state directory " + a.cfg.get("dir"), Hint: "name that of the control plane with --dir"}
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return err
			}
			text := fmt.Sprintf("%s (%s)\n", reason, a.now().UTC().Format(time.RFC3339))
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				return err
			}
			shown.Reason, _ = readHalt(path)
			return a.print(haltChanged{shown, true}, func() { fmt.Fprintf(a.out, "halted  %s\n", words) })
		},
	}
	scope.flags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why, one line")
	_ = cmd.MarkFlagRequired("reason") // fails only for a flag that does not exist
	return cmd
}

func (a *app) haltLiftCmd() *cobra.Command {
	var scope haltScope
	cmd := &cobra.Command{
		Use:   "lift (--everywhere | --whole-namespace | --service NAME)",
		Short: "Lift a kill switch",
		Long: `Lift a kill switch: what was waiting goes on at its next look. Wider ones that are
pulled still hold. Changes the state directory: the file is removed.

Exit codes: 0 lifted · 1 it was not pulled, or error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			shown, words, err := scope.of(a)
			if err != nil {
				return err
			}
			path := a.haltPath(shown.Namespace, shown.Service)
			shown.Reason, _ = readHalt(path)
			if err := os.Remove(path); errors.Is(err, fs.ErrNotExist) {
				return &assay.Error{Code: assay.CodeNotFound, Msg: "no kill switch is pulled for " + words, Hint: "see those that are with: assay halt list"}
			} else if err != nil {
				return err
			}
			return a.print(haltChanged{shown, false}, func() { fmt.Fprintf(a.out, "lifted  %s\n", words) })
		},
	}
	scope.flags(cmd)
	return cmd
}

// haltShown is a kill switch as it is listed.
type haltShown struct {
	Namespace string `json:"namespace,omitempty"`
	Service   string `json:"service,omitempty"`
	Reason    string `json:"reason"`
}

// haltChanged is a kill switch that was pulled or lifted.
type haltChanged struct {
	haltShown
	Pulled bool `json:"pulled"`
}

func (a *app) haltListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the kill switches that are pulled",
		Long: `List the kill switches that are pulled, the widest first. Reads the state directory
without its database; changes nothing.

Exit codes: 0 listed · 1 error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := a.here(); err != nil {
				return err
			}
			list, err := a.pulledHalts()
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
					scope := "everywhere"
					switch {
					case h.Service != "":
						scope = "service " + h.Service + " of " + h.Namespace
					case h.Namespace != "":
						scope = "namespace " + h.Namespace
					}
					rows = append(rows, []string{scope, h.Reason})
				}
				a.out.Table([]string{"SCOPE", "REASON"}, rows)
			})
		},
	}
}

func (a *app) pulledHalts() ([]haltShown, error) {
	out := []haltShown{}
	if why, ok := readHalt(a.haltPath("", "")); ok {
		out = append(out, haltShown{Reason: why})
	}
	root := filepath.Join(a.cfg.get("dir"), haltFolder)
	var services []haltShown
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && (e.IsDir() || !strings.HasSuffix(path, haltSuffix)) {
			return nil
		}
		if err != nil {
			return err
		}
		why, _ := readHalt(path)
		name, err := url.QueryUnescape(strings.TrimSuffix(e.Name(), haltSuffix))
		if err != nil {
			return err
		}
		if folder := filepath.Dir(path); folder != root {
			namespace, err := url.QueryUnescape(strings.TrimSuffix(filepath.Base(folder), ".d"))
			services = append(services, haltShown{Namespace: namespace, Service: name, Reason: why})
			return err
		}
		out = append(out, haltShown{Namespace: name, Reason: why})
		return nil
	})
	return slices.Concat(out, services), err
}
