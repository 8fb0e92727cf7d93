package evidence

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"assay.dev/assay"
)

// headBytes is how much of a report recognition may look at.
const headBytes = 64 << 10

// input digests, counts and limits what is read from a report, and turns byte
// offsets into places. It keeps only the bytes that its consumer has taken but
// not yet consumed, which is never more than one token and one buffer.
type input struct {
	raw *digester
	buf *bufio.Reader

	consumed  func() int64 // offset behind the last consumed token; offsets start behind a byte order mark
	window    []byte       // what was handed out at and after windowOff
	windowOff int64
	lines     int   // line feeds before windowOff
	lineStart int64 // offset of the line that windowOff lies in
}

func newInput(r io.Reader) *input {
	raw := &digester{r: r, sum: sha256.New(), limit: 1 << 62}
	return &input{raw: raw, buf: bufio.NewReaderSize(raw, headBytes)}
}

// peek returns the first bytes without consuming them; whole means there are no more.
func (in *input) peek() (head []byte, whole bool, err error) {
	head, err = in.buf.Peek(headBytes)
	if err == io.EOF {
		return head, true, nil
	}
	return head, false, err
}

func (in *input) skipBOM() {
	if head, _ := in.buf.Peek(len(utf8BOM)); bytes.HasPrefix(head, utf8BOM) {
		_, _ = in.buf.Discard(len(utf8BOM)) // just peeked at
	}
}

// limit sets the size above which reading fails, and what the failure calls the report.
func (in *input) limit(n int64, format string) { in.raw.limit, in.raw.format = n, format }

func (in *input) digest() (assay.Digest, int64) {
	return assay.DigestOf([32]byte(in.raw.sum.Sum(nil))), in.raw.n
}

// Read hands bytes to a JSON decoder whose progress consumed reports.
func (in *input) Read(p []byte) (int, error) {
	in.forget(in.consumed())
	if len(in.window) > MaxToken {
		return 0, assay.Errorf(assay.CodeTooLarge, "has a single value longer than %d bytes", MaxToken)
	}
	n, err := in.buf.Read(p)
	in.window = append(in.window, p[:n]...)
	return n, err
}

// forget drops the window before off, and counts its lines.
func (in *input) forget(off int64) {
	drop := int(min(max(off-in.windowOff, 0), int64(len(in.window))))
	if drop == 0 {
		return
	}
	if n := bytes.Count(in.window[:drop], newline); n > 0 {
		in.lines += n
		in.lineStart = in.windowOff + int64(bytes.LastIndexByte(in.window[:drop], '\n')) + 1
	}
	in.window = in.window[:copy(in.window, in.window[drop:])]
	in.windowOff += int64(drop)
}

// place returns the 1-based line and column of an offset at or after the last consumed token.
func (in *input) place(off int64) (line, column int) {
	head := in.window[:min(max(off-in.windowOff, 0), int64(len(in.window)))]
	off = in.windowOff + int64(len(head))
	start := in.lineStart
	if i := bytes.LastIndexByte(head, '\n'); i >= 0 {
		start = in.windowOff + int64(i) + 1
	}
	return in.lines + bytes.Count(head, newline) + 1, int(off-start) + 1
}

var (
	newline = []byte{'\n'}
	utf8BOM = []byte("\xef\xbb\xbf")
)

func skipBOM(b []byte) []byte { return bytes.TrimPrefix(b, utf8BOM) }

// digester is the only place that reads from outside.
type digester struct {
	r      io.Reader
	sum    hash.Hash
	n      int64
	limit  int64
	format string
}

func (d *digester) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	d.sum.Write(p[:n]) // a hash never fails
	d.n += int64(n)
	if d.n > d.limit {
		return 0, assay.Errorf(assay.CodeTooLarge, "is larger than %d bytes, the limit for %s", d.limit, d.format)
	}
	if err != nil && err != io.EOF {
		return n, assay.Errorf(assay.CodeUnavailable, "cannot be read: %w", err)
	}
	return n, err
}

// asError returns the *assay.Error in err; every path of this package makes one.
func asError(err error) *assay.Error {
	if e, ok := errors.AsType[*assay.Error](err); ok {
		return e
	}
	return assay.Errorf(assay.CodeInvalid, "cannot be read: %w", err)
}
