package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpColumns is how wide help is at most.
const helpColumns = 100

// everywhere are the settings that the help of every command explains; of the others it
// gives the names.
var everywhere = []string{"config", "dir", "namespace", "output", "policy", "server"}

// helpful gives every command below root its example and help that fits the screen.
func helpful(root *cobra.Command) {
	root.SetHelpFunc(func(c *cobra.Command, _ []string) {
		text := c.Long
		if text == "" {
			text = c.Short
		}
		fmt.Fprint(c.OutOrStdout(), wrapped(strings.TrimSpace(text), ""), "\n\n", usage(c))
	})
	root.SetUsageFunc(func(c *cobra.Command) error {
		_, err := fmt.Fprint(c.OutOrStderr(), usage(c))
		return err
	})
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if text := examples[c.CommandPath()]; text != "" && c.Example == "" {
			c.Example = "  " + strings.ReplaceAll(text, "\n", "\n  ")
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// usage is what help says besides the description.
func usage(c *cobra.Command) string {
	var b strings.Builder
	form := c.UseLine()
	if c.HasAvailableSubCommands() {
		form = c.CommandPath() + " COMMAND"
	}
	fmt.Fprintf(&b, "Usage:\n%s\n", wrapped("  "+form, "      "))
	if len(c.Aliases) > 0 {
		fmt.Fprintf(&b, "\nAliases:\n  %s\n", c.NameAndAliases())
	}
	if c.HasExample() {
		b.WriteString("\nExamples:\n")
		for line := range strings.Lines(c.Example) {
			b.WriteString(continued(strings.TrimRight(line, "\n")) + "\n")
		}
	}
	if c.HasAvailableSubCommands() {
		b.WriteString("\nAvailable Commands:\n")
		for _, s := range c.Commands() {
			if s.IsAvailableCommand() || s.Name() == "help" { // cobra holds help to be none
				line := fmt.Sprintf("  %-*s  %s", s.NamePadding(), s.Name(), s.Short)
				b.WriteString(wrapped(line, strings.Repeat(" ", s.NamePadding()+4)) + "\n")
			}
		}
	}
	if own := c.LocalFlags(); own.HasAvailableFlags() {
		b.WriteString("\nFlags:\n" + own.FlagUsagesWrapped(helpColumns))
	}
	b.WriteString(settingsUsage(c))
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\nUse \"%s COMMAND --help\" for more about a command.\n", c.CommandPath())
	}
	return b.String()
}

// settingsUsage is what help says of the flags of every command: the whole of it where all of
// them matter, which is assay serve, and else those that most commands are given.
func settingsUsage(c *cobra.Command) string {
	all := c.InheritedFlags()
	if !all.HasAvailableFlags() || c.HasAvailableSubCommands() {
		return ""
	}
	if c.CommandPath() == "assay serve" {
		return "\nGlobal Flags:\n" + all.FlagUsagesWrapped(helpColumns)
	}
	shown, others := pflag.NewFlagSet("", pflag.ContinueOnError), []string(nil)
	all.VisitAll(func(f *pflag.Flag) {
		if slices.Contains(everywhere, f.Name) {
			shown.AddFlag(f)
		} else {
			others = append(others, "--"+f.Name)
		}
	})
	return "\nGlobal Flags:\n" + shown.FlagUsagesWrapped(helpColumns) +
		wrapped("  and, see assay --help: "+strings.Join(others, " "), "  ") + "\n"
}

// wrapped breaks the lines of a text that are too long for help; what goes on begins with
// indent.
func wrapped(text, indent string) string {
	return broken(text, indent, "")
}

// continued breaks an example so that a shell still takes it, before a flag.
func continued(line string) string { return broken(line, "      ", ` \`) }

func broken(text, indent, sign string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, end := strings.CutSuffix(line, "\n")
		for utf8.RuneCountInString(line) > helpColumns {
			room := helpColumns - utf8.RuneCountInString(sign)
			at, seen := -1, 0
			for i, r := range line {
				if seen++; seen > room+1 {
					break
				}
				if r == ' ' && i > len(indent)+2 && (sign == "" || strings.HasPrefix(line[i:], " --")) {
					at = i
				}
			}
			if at < 0 {
				break // a word that is longer than a line
			}
			b.WriteString(line[:at] + sign + "\n")
			line = indent + strings.TrimLeft(line[at:], " ")
		}
		b.WriteString(line)
		if end {
			b.WriteByte('\n')
		}
	}
	return b.String()
}
