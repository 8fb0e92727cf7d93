package mitigate

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// Limits of what says how large a change is.
const (
	MaxChangedFiles = 100_000
	MaxChangedLines = 100_000_000 // of one file, added or removed
)

// ParseChanges reads how large a change is from what `git diff --numstat` prints: lines
// added, lines removed and the file, with tabs between them; a file that is no text has
// dashes and counts as a file alone. CodeInvalid with the line that is none of it,
// CodeTooLarge above MaxChangedFiles.
func ParseChanges(r io.Reader) (c api.Change, err error) {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimRight(lines.Text(), "\r")
		if text == "" {
			continue
		}
		bad := func(what string) error {
			e := assay.Errorf(assay.CodeInvalid, "%s", what)
			e.Line, e.Hint = n, "write it with: git diff --numstat OLD NEW"
			return e
		}
		fields := strings.SplitN(text, "\t", 3)
		if len(fields) != 3 || fields[2] == "" {
			return api.Change{}, bad("is not added, removed and a file with tabs between them")
		}
		for _, f := range fields[:2] {
			if f == "-" {
				continue
			}
			v, err := strconv.Atoi(f)
			if err != nil || v < 0 || v > MaxChangedLines {
				return api.Change{}, bad(strconv.Quote(f) + " is no number of lines")
			}
			c.Lines += v
		}
		if c.Files++; c.Files > MaxChangedFiles {
			return api.Change{}, assay.Errorf(assay.CodeTooLarge, "the change has more than %d files", MaxChangedFiles)
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return api.Change{}, assay.Errorf(assay.CodeTooLarge, "a line of the change is longer than %d bytes", bufio.MaxScanTokenSize)
	} else if err != nil {
		return api.Change{}, err
	}
	return c, nil
}
