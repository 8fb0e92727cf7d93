//go:build !race

package advisory

import (
	"archive/zip"
	"errors"
	"io"
	"strings"
	"testing"
)

// Sixty-four megabytes, packed and unpacked by one goroutine: the race detector would make them
// ten times as long and has nothing to watch in them.
func TestAZipBombIsReadOnlyAsFarAsARecordMayReach(t *testing.T) {
	z := archive(t, func(w *zip.Writer) error {
		f, err := w.Create("bomb.json")
		zeros := make([]byte, 1<<20)
		for range 64 {
			if err == nil {
				_, err = f.Write(zeros)
			}
		}
		good, e := w.Create("good.json")
		if e == nil {
			_, e = io.WriteString(good, osv("X", "npm", "x"))
		}
		return errors.Join(err, e)
	})
	r, err := ReadArchive(t.Context(), z, z.Size(), func(Advisory) error { return nil })
	if err != nil || r.Advisories != 1 || r.Malformed != 1 || !strings.Contains(r.Problems[0], "more than") {
		t.Errorf("%+v, %v", r, err)
	}
}
