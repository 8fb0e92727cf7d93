package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"assay.dev/assay/internal/golden"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// leaves are the commands that do something, by their full name.
func leaves(t *testing.T) []*cobra.Command {
	t.Helper()
	var list []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if !c.HasSubCommands() && !strings.Contains(c.CommandPath(), "completion") {
			list = append(list, c)
		}
		for _, s := range c.Commands() {
			walk(s)
		}
	}
	walk(newApp(os.Getenv, strings.NewReader(""), io.Discard, io.Discard).root())
	return list
}

// The names of commands and flags are a contract with scripts.
func TestNamesOfCommandsAndFlagsAreAContract(t *testing.T) {
	var b strings.Builder
	for _, c := range leaves(t) {
		fmt.Fprintf(&b, "%s\n", c.UseLine())
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			fmt.Fprintf(&b, "  --%s %s\n", f.Name, f.Value.Type())
		})
	}
	golden.Equal(t, "testdata/commands.golden", []byte(b.String()))
}

// Whoever copies an example gets what it promises.
func TestExamplesOfHelpNameFilesThatExist(t *testing.T) {
	named := regexp.MustCompile(`examples/\S+`)
	for _, c := range leaves(t) {
		for _, path := range named.FindAllString(c.Example, -1) {
			if _, err := os.Stat(filepath.Join("../..", path)); err != nil {
				t.Errorf("%s: %v", c.CommandPath(), err)
			}
		}
	}
}

func TestHelpSaysWhatACommandReadsWhatItChangesAndItsExitCodes(t *testing.T) {
	for _, c := range leaves(t) {
		long := strings.ToLower(c.Long)
		for what, any := range map[string][]string{
			"what it reads or changes": {"reads ", "changes ", "writes "},
			"what becomes of state":    {"chang", "writes", "makes", "nothing is read or written"},
			"its exit codes":           {"exit codes: 0 "},
		} {
			found := false
			for _, word := range any {
				found = found || strings.Contains(long, word)
			}
			if !found {
				t.Errorf("the help of %q does not say %s", c.CommandPath(), what)
			}
		}
		if c.Args == nil {
			t.Errorf("%q accepts any arguments", c.CommandPath())
		}
	}
}

func TestEveryFlagSaysWhatItIsFor(t *testing.T) {
	for _, c := range leaves(t) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if len(f.Usage) < 8 {
				t.Errorf("%s: --%s has no description", c.CommandPath(), f.Name)
			}
		})
	}
}
