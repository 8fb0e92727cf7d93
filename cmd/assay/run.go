package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"

	"assay.dev/assay"
	"assay.dev/assay/control"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/internal/term"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// Exit codes are a contract with scripts.
const (
	exitOK     = 0
	exitError  = 1
	exitUsage  = 2
	exitFailed = 3 // the verdict is fail, or a proof or signature does not hold
	exitAbsent = 4 // the verdict is absent or inconclusive
)

// exit is an error that only carries an exit code: what there is to say was said.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// What --output and the setting log-level may be.
var (
	outputs   = []string{"table", "json", "yaml"}
	logLevels = []string{"debug", "info", "warn", "error"}
)

// usageError is a mistake on the command line.
type usageError struct{ error }

// app is one run of the program: what it may read and write, and what was configured.
type app struct {
	now    func() time.Time
	env    func(string) string
	stdin  io.Reader
	out    *term.Writer
	err    *term.Writer
	log    *slog.Logger
	flags  *flagSource
	format string
	cfg    config

	rotation rotationFlags // of key rotate
	typed    []byte        // the passphrase, once somebody typed it

	policies func() (control.Policy, error) // set by serve, which reloads; nil means load when asked
	// advisories is the path of the database of advisories that the command named, "" if none.
	advisories string
	vex        string // documents that whoever runs the installation vouches for
	// extend adds to an installation, before its plane is made, what only some
	// commands need; may be nil.
	extend func(context.Context, *installation, *control.Config) error
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, env func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	return newApp(env, stdin, stdout, stderr).run(ctx, args)
}

func newApp(env func(string) string, stdin io.Reader, stdout, stderr io.Writer) *app {
	return &app{now: time.Now, env: env, stdin: stdin, out: term.New(stdout, env), err: term.New(stderr, env)}
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(ctx)
	err = a.byPath(cmd, err)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted") // whatever it was doing then: nothing is wrong with that
	}
	return a.code(err)
}

// code reports err to the person and returns the exit code.
func (a *app) code(err error) int {
	if err == nil {
		return exitOK
	}
	if e, ok := errors.AsType[exit](err); ok {
		return int(e)
	}
	fmt.Fprintf(a.err, "assay: %s\n", oneLine(err))
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if assay.CodeOf(err) == assay.CodeUnverified {
		return exitFailed
	}
	return exitError
}

// oneLine keeps what was in a file or an argument from moving the cursor.
func oneLine(err error) string {
	visible := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, err.Error())
	return strings.Join(strings.Fields(visible), " ")
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "assay",
		Short: "Verify what is built, attest it, and keep evidence that an auditor can check alone",
		Long: `Assay verifies what is built, attests it, and keeps evidence that an auditor can check alone.

Exit codes: 0 pass · 1 error · 2 usage · 3 failed verdict or proof · 4 absent or inconclusive.`,
		Version:           version(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.configure(cmd) },
	}
	root.SetVersionTemplate("assay {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	a.flags = addConfigFlags(root.PersistentFlags())
	root.PersistentFlags().StringVarP(&a.format, "output", "o", "table", "output format: table, json or yaml")
	root.AddCommand(
		a.verifyCmd(), a.attestCmd(), a.attestationCmd(), a.evidenceCmd(), a.policyCmd(),
		a.rolloutCmd(), a.strategyCmd(), a.decisionsCmd(), a.analyzeCmd(), a.simulateCmd(), a.sloCmd(), a.anomalyCmd(), a.divergenceCmd(), a.modelCmd(), a.telemetryCmd(), a.exceptionCmd(), a.inventoryCmd(), a.reportCmd(),
		a.ledgerCmd(), a.keyCmd(), a.tokenCmd(), a.serveCmd(),
		a.enforceCmd(), a.admitCmd(), a.haltCmd(), a.gamedayCmd(), a.demoCmd(), a.backupCmd(), a.restoreCmd(), a.doctorCmd(), a.configCmd(), a.versionCmd(),
	)
	root.SetHelpCommand(helpCmd(root))
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	wrapUsage(root)
	helpful(root)
	a.complete(root)
	return root
}

// numbers say in words what the types of flags take whose own errors name functions of Go.
var numbers = map[string]string{
	"int": "a whole number", "int64": "a whole number", "uint64": "a whole number of 0 or more", "uint": "a whole number of 0 or more",
	"float64": "a decimal number such as 0.05", "duration": "a duration such as 30s, 5m or 1h30m", "bool": "true or false",
}

// flagError marks mistakes in flags as usage errors, with the flag that was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		if s := strict.Suggest(unknown.GetSpecifiedName(), known); s != "" {
			err = fmt.Errorf("%w (did you mean --%s?)", err, s)
		}
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if want := numbers[invalid.GetFlag().Value.Type()]; want != "" {
			err = fmt.Errorf("--%s %q is not %s", invalid.GetFlag().Name, invalid.GetValue(), want)
		}
	}
	return usageError{fmt.Errorf("%w; see: %s --help", err, cmd.CommandPath())}
}

// helpCmd is cobra's, but a topic that does not exist is a mistake.
func helpCmd(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Args:  cobra.ArbitraryArgs,
		Short: "Print the help of a command",
		Long:  "Print the help of a command.\n\nReads and changes nothing.\n\nExit codes: 0 printed · 2 no such command.",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil {
				return usageError{err}
			}
			if len(rest) > 0 {
				return usageError{fmt.Errorf("%s %s; see: %s --help", cmd.CommandPath(), strict.OneOf(rest[0], names(cmd)), cmd.CommandPath())}
			}
			return cmd.Help()
		},
	}
}

func names(cmd *cobra.Command) []string {
	var list []string
	for _, s := range cmd.Commands() {
		if s.IsAvailableCommand() {
			list = append(list, s.Name())
		}
	}
	return list
}

// wrapUsage marks mistakes in arguments and missing flags as usage errors, and
// an unknown command of a group as well, which cobra would answer with help. What is wrong
// with a field of a request is said of the flag that filled it.
func wrapUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			if check(c, args) == nil {
				return nil
			}
			form, _ := strings.CutSuffix(c.UseLine(), " [flags]")
			wrong := "an argument is missing"
			if len(args) > 0 {
				wrong = "too many or too few arguments: " + strings.Trim(fmt.Sprintf("%q", args), "[]")
			}
			return usageError{fmt.Errorf("%s; write: %s; see: %s --help", wrong, form, c.CommandPath())}
		}
	}
	if cmd.RunE != nil {
		cmd.PreRunE = func(c *cobra.Command, _ []string) error {
			if err := c.ValidateRequiredFlags(); err != nil {
				return usageError{fmt.Errorf("%w; see: %s --help", err, c.CommandPath())}
			}
			return nil
		}
		do := cmd.RunE
		cmd.RunE = func(c *cobra.Command, args []string) error { return byFlag(c, do(c, args)) }
	}
	if cmd.HasSubCommands() && cmd.RunE == nil {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return usageError{fmt.Errorf("command %s; see: %s --help", strict.OneOf(args[0], names(c)), c.CommandPath())}
		}
	}
	for _, sub := range cmd.Commands() {
		wrapUsage(sub)
	}
}

// configure resolves the configuration before any command runs.
func (a *app) configure(cmd *cobra.Command) error {
	if !slices.Contains(outputs, a.format) {
		return usageError{fmt.Errorf("--output %s", strict.OneOf(a.format, outputs))}
	}
	cfg, err := loadConfig(a.flags, cmd.Flags().Changed, a.env)
	if err != nil {
		return err
	}
	a.cfg = cfg
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.get("log-level"))); err != nil {
		return usageError{fmt.Errorf("log-level %s", strict.OneOf(cfg.get("log-level"), logLevels))}
	}
	a.log = slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
	return nil
}

// print writes v in the chosen format; table writes it for people.
func (a *app) print(v any, table func()) error {
	switch a.format {
	case "json":
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	case "yaml":
		// Through JSON, so that both formats have the same names.
		data, err := json.Marshal(v)
		if err != nil {
			return err
		}
		var tree any
		if err := yaml.Unmarshal(data, &tree); err != nil {
			return err
		}
		enc := yaml.NewEncoder(a.out)
		enc.SetIndent(2)
		return enc.Encode(tree)
	default:
		table()
		return nil
	}
}
