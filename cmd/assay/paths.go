package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// byPath says of a file that cannot be opened which flag, setting or argument named it:
// "open x.json" alone leaves whoever wrote a long command line to search it. An error that
// says more than the system's stays as it is.
func (a *app) byPath(cmd *cobra.Command, err error) error {
	bad, ok := errors.AsType[*fs.PathError](err)
	if !ok || cmd == nil || bad.Path == "" || err.Error() != bad.Error() {
		return err
	}
	name := flagNaming(cmd, bad.Path)
	if name == "" {
		name = a.settingNaming(bad.Path)
	}
	switch {
	case name != "":
		return fmt.Errorf("%s %s: %w", name, bad.Path, bad.Err)
	case slices.Contains(cmd.Flags().Args(), bad.Path):
		return fmt.Errorf("%s: %w", bad.Path, bad.Err)
	}
	return err
}

// flagNaming is the flag of a command line that names a file, "" if none does: by itself,
// as FILE=FORMAT or FORMAT=FILE, or pinned as FILE@DIGEST.
func flagNaming(cmd *cobra.Command, path string) (name string) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, v := range values {
			if v == path || strings.HasPrefix(v, path+"=") || strings.HasSuffix(v, "="+path) || strings.HasPrefix(v, path+"@") {
				name = "--" + f.Name
			}
		}
	})
	return name
}

// settingNaming is where a setting that names a file got it, "" if none does.
func (a *app) settingNaming(path string) string {
	for _, s := range settings {
		v, ok := a.cfg[s.name]
		switch {
		case !ok || v.text != path || s.secret:
		case v.origin == "environment":
			return variable(s.name)
		case v.origin == "default":
			return "--" + s.name
		default:
			return s.name + " of " + v.origin
		}
	}
	if path == a.env("ASSAY_CONFIG") {
		return "ASSAY_CONFIG"
	}
	return ""
}
