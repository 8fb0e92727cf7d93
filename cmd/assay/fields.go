package main

import (
	"fmt"
	"strconv"
	"strings"

	"assay.dev/assay"
	"github.com/spf13/cobra"
)

// flagOf are the flags that fill those fields of requests that are called otherwise. What is
// not listed has its flag's name, with _ for -.
var flagOf = map[string]string{
	"not_after": "until", "not_before": "from",
	"scope.rules": "rule", "scope.subjects": "subject", "scope.packages": "package", "scope.advisories": "advisory",
	"scope.environments": "environment", "scope.names": "subject-name",
	"roles": "role", "change": "changes", "subject.digest": "digest", "subject.name": "name", "overlap_seconds": "overlap",
}

// byFlag says what a control plane has against a field in terms of the flag that filled it:
// whoever typed --until never saw a not_after. What is wrong in a file keeps the file's names.
func byFlag(cmd *cobra.Command, err error) error {
	e, ok := err.(*assay.Error) // a wrapped one is about something else as well
	if !ok || e.Field == "" || e.File != "" || e.Line > 0 {
		return err
	}
	field, index, listed := strings.Cut(strings.TrimSuffix(e.Field, "]"), "[")
	name := flagOf[field]
	if name == "" {
		name = strings.ReplaceAll(field, "_", "-")
	}
	if f := cmd.Flags().Lookup(name); f == nil || !f.Changed && f.DefValue == "" {
		return err
	}
	c := *e
	c.Field = "--" + name
	if n, err := strconv.Atoi(index); listed && err == nil && n > 0 {
		c.Field += fmt.Sprintf(" (number %d)", n+1)
	}
	return &c
}
