package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/gate"
	"assay.dev/assay/internal/strict"
)

// summaryFormat is Markdown that is added to the end of a file, as GitHub wants its step summary.
const summaryFormat = "summary"

// reportFile is one --report FORMAT=FILE.
type reportFile struct{ format, path string }

// parseReports reads the --report flags before anything is judged: a report that
// cannot be written must not be found out afterwards.
func parseReports(flags []string) ([]reportFile, error) {
	known := append(slices.Clone(gate.Formats), summaryFormat)
	var out []reportFile
	for _, f := range flags {
		format, path, ok := strings.Cut(f, "=")
		switch {
		case !ok || path == "":
			return nil, usageError{fmt.Errorf("--report %q names no file; write FORMAT=FILE, for example sarif=gate.sarif, or FORMAT=- for standard output", f)}
		case !slices.Contains(known, format):
			return nil, usageError{fmt.Errorf("--report %q: the format %s", f, strict.OneOf(format, known))}
		}
		out = append(out, reportFile{format, path})
	}
	return out, nil
}

// files are the reports that the flags ask for.
func (f gateFlags) files() ([]reportFile, error) {
	out, err := parseReports(f.reports)
	if f.markdown != "" {
		out = append(out, reportFile{"markdown", f.markdown})
	}
	if f.json != "" {
		out = append(out, reportFile{"json", f.json})
	}
	return out, err
}

// writable refuses those that could not be written, before anything is judged.
func (f gateFlags) writable() error {
	if _, err := parseReports(f.reports); err != nil {
		return err
	}
	for _, r := range f.reports {
		_, path, _ := strings.Cut(r, "=")
		if err := writable("--report", path); err != nil {
			return err
		}
	}
	if err := writable("--markdown", f.markdown); err != nil {
		return err
	}
	return writable("--json", f.json)
}

// write writes one report.
func (r reportFile) write(stdout io.Writer, v assay.Verdict) error {
	format := r.format
	if format == summaryFormat {
		format = "markdown"
	}
	var b strings.Builder
	if err := gate.Write(&b, format, v); err != nil {
		return err
	}
	switch {
	case r.path == "-":
		_, err := io.WriteString(stdout, b.String())
		return err
	case r.format == summaryFormat:
		return appendFile(r.path, b.String())
	}
	return writeFile(r.path, []byte(b.String()))
}

func appendFile(path, text string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
	}()
	_, err = f.WriteString(text)
	return err
}
