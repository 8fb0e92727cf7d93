package advisory

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"strings"

	"assay.dev/assay"
)

// Limits of a database; above them nothing of it is used, and it is assay.CodeTooLarge.
const (
	// MaxArchive is the size of a zip file, in bytes.
	MaxArchive = 1 << 30
	// MaxExpanded is the size of all records together, in bytes: what a small archive may grow to.
	MaxExpanded = 8 << 30
	// MaxAdvisories is how many files a database may have.
	MaxAdvisories = 2_000_000
	// MaxProblems is how many problems a Report spells out; it counts them all.
	MaxProblems = 20
)

// Report says what was found in a database.
type Report struct {
	Digest     assay.Digest `json:"digest"` // of the names and contents of its records, in the order they were read
	Advisories int          `json:"advisories"`
	Withdrawn  int          `json:"withdrawn"`
	Malformed  int          `json:"malformed"` // entries that were left out
	Ignored    int          `json:"ignored"`   // files that are not JSON
	Problems   []string     `json:"problems,omitempty"`
}

// ReadDir calls each with every record of a folder of OSV files, in the order of their
// paths. An entry that is not an OSV record is left out, counted and said; a
// database without any record is assay.CodeInvalid. An error of each ends it.
func ReadDir(ctx context.Context, dir fs.FS, each func(Advisory) error) (Report, error) {
	d := newDatabase(ctx, each)
	err := fs.WalkDir(dir, ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return assay.Errorf(assay.CodeInvalid, "%s cannot be read: %w", name, err)
		case e.IsDir():
			return nil
		case !e.Type().IsRegular():
			d.report.Ignored++ // a link could lead out, a pipe would wait
			return nil
		}
		return d.entry(name, func() (io.ReadCloser, error) { return dir.Open(name) })
	})
	return d.end(err)
}

// ReadArchive is ReadDir for a zip file, as osv.dev publishes them. Nothing is
// unpacked to a disk; an entry whose name would lead out of the archive is refused.
func ReadArchive(ctx context.Context, r io.ReaderAt, size int64, each func(Advisory) error) (Report, error) {
	d := newDatabase(ctx, each)
	if size > MaxArchive {
		return Report{}, assay.Errorf(assay.CodeTooLarge, "the archive has %d bytes; at most %d are read", size, int64(MaxArchive))
	}
	z, err := zip.NewReader(r, size)
	if err != nil {
		return Report{}, assay.Errorf(assay.CodeInvalid, "is not a zip file: %w", err)
	}
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		if !fs.ValidPath(f.Name) || strings.ContainsRune(f.Name, '\\') {
			d.problem(f.Name, "its name leads out of the archive")
			continue
		}
		if err := d.entry(f.Name, f.Open); err != nil {
			return d.end(err)
		}
	}
	return d.end(nil)
}

// database is one that is being read.
type database struct {
	ctx      context.Context
	each     func(Advisory) error
	report   Report
	hash     hash.Hash
	files    int
	expanded int64
	buf      bytes.Buffer
}

func newDatabase(ctx context.Context, each func(Advisory) error) *database {
	return &database{ctx: ctx, each: each, hash: sha256.New()}
}

func (d *database) entry(name string, open func() (io.ReadCloser, error)) error {
	if err := d.ctx.Err(); err != nil {
		return err
	}
	if !strings.EqualFold(path.Ext(name), ".json") {
		d.report.Ignored++
		return nil
	}
	if d.files++; d.files > MaxAdvisories {
		return assay.Errorf(assay.CodeTooLarge, "has more than %d files", MaxAdvisories)
	}
	data, why := d.read(open)
	if d.expanded > MaxExpanded {
		return assay.Errorf(assay.CodeTooLarge, "has more than %d bytes of records", int64(MaxExpanded))
	}
	if why != "" {
		d.problem(name, why)
		return nil
	}
	sum := sha256.Sum256(data)
	fmt.Fprintf(d.hash, "%s %q\n", hex.EncodeToString(sum[:]), name)
	a, err := ParseAdvisory(data)
	if err != nil {
		d.problem(name, err.Error())
		return nil
	}
	d.report.Advisories++
	if !a.Withdrawn.IsZero() {
		d.report.Withdrawn++
	}
	return d.each(a)
}

// read returns the bytes of one entry, valid until the next one, or why there are none.
func (d *database) read(open func() (io.ReadCloser, error)) (data []byte, why string) {
	f, err := open()
	if err != nil {
		return nil, "cannot be opened: " + err.Error()
	}
	defer f.Close()
	d.buf.Reset()
	n, err := d.buf.ReadFrom(io.LimitReader(f, MaxAdvisory+1))
	d.expanded += n
	switch {
	case err != nil:
		return nil, "cannot be read: " + err.Error()
	case n > MaxAdvisory:
		return nil, fmt.Sprintf("has more than %d bytes", MaxAdvisory)
	}
	return d.buf.Bytes(), ""
}

func (d *database) problem(name, why string) {
	d.report.Malformed++
	if len(d.report.Problems) < MaxProblems {
		d.report.Problems = append(d.report.Problems, fmt.Sprintf("%.200q: %s", name, why))
	}
}

func (d *database) end(err error) (Report, error) {
	if err != nil {
		return Report{}, err
	}
	if d.report.Advisories == 0 {
		e := assay.Errorf(assay.CodeInvalid, "holds no OSV record (%d malformed entries, %d other files)", d.report.Malformed, d.report.Ignored)
		e.Hint = "give a folder of OSV JSON files, or a zip file of them as osv.dev publishes it"
		if len(d.report.Problems) > 0 {
			e.Msg += "; the first: " + d.report.Problems[0]
		}
		return Report{}, e
	}
	d.report.Digest = assay.DigestOf([32]byte(d.hash.Sum(nil)))
	return d.report, nil
}
