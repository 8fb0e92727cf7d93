package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

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

func TestHelpFitsAHundredColumnsAndNamesEveryFlag(t *testing.T) {
	var out strings.Builder
	root := newApp(os.Getenv, strings.NewReader(""), &out, io.Discard).root()
	root.SetOut(&out)
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		out.Reset()
		if err := c.Help(); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 100 {
				t.Errorf("%s: %d columns: %s", c.CommandPath(), n, line)
			}
		}
		text := out.String()
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(text, "--"+f.Name) {
				t.Errorf("%s: --%s is not in its help", c.CommandPath(), f.Name)
			}
		})
		for _, s := range c.Commands() {
			if s.IsAvailableCommand() && !strings.Contains(text, "\n  "+s.Name()+" ") {
				t.Errorf("%s: %s is not in its help", c.CommandPath(), s.Name())
			}
			walk(s)
		}
	}
	walk(root)
}

// Each command shows how it is called, by a line that the program takes as it stands.
func TestEveryCommandHasAnExampleWithFlagsThatItHas(t *testing.T) {
	flagWord := regexp.MustCompile(`(?:^| )(--?[a-z][a-z-]*)`)
	quoted := regexp.MustCompile(`'[^']*'|"[^"]*"`)
	shown := map[string]bool{}
	for _, c := range leaves(t) {
		if c.Name() == "help" || c.Hidden {
			continue
		}
		if !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s has no example of itself", c.CommandPath())
		}
		for line := range strings.Lines(c.Example) {
			_, line, ours := strings.Cut(quoted.ReplaceAllString(strings.TrimSpace(line), "X"), "assay ")
			if !ours || strings.HasPrefix(strings.TrimSpace(line), "-") {
				continue
			}
			line, _, _ = strings.Cut(line, " | ")
			called, _, err := c.Root().Find(strings.Fields(line))
			if err != nil || called.HasSubCommands() {
				continue // the rest of another program's line, as in kubectl -n assay-system
			}
			shown[called.CommandPath()] = true
			for _, f := range flagWord.FindAllStringSubmatch(line, -1) {
				name := strings.TrimLeft(f[1], "-")
				if called.Flags().Lookup(name) == nil && called.InheritedFlags().Lookup(name) == nil && (len(name) > 1 || called.Flags().ShorthandLookup(name) == nil && called.InheritedFlags().ShorthandLookup(name) == nil) {
					t.Errorf("%s: an example has %s, which %s does not take: %s", c.CommandPath(), f[1], called.CommandPath(), line)
				}
			}
		}
	}
	if len(shown) < 60 {
		t.Errorf("only %d commands were found in examples", len(shown))
	}
	for path := range examples {
		if !shown[path] {
			t.Errorf("the example of %q is of no command, or stands in its place already", path)
		}
	}
}

// What is cut still runs when it is pasted.
func TestALongExampleIsContinuedBeforeAFlag(t *testing.T) {
	line := "  assay x --one " + strings.Repeat("a", 60) + " --two " + strings.Repeat("b", 60)
	want := "  assay x --one " + strings.Repeat("a", 60) + " \\\n      --two " + strings.Repeat("b", 60)
	if got := continued(line); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
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
