// Package openmetrics reads history from a file of OpenMetrics text with timestamps: what
// promtool tsdb create-blocks-from openmetrics takes.
//
// The mental model is a pipe: lines go through Prometheus' own parser a few at a time, so
// a file of any length takes the same memory. No line depends on another; when some cannot
// be understood they are tried one by one, and the error names the line.
package openmetrics

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

const (
	// MaxLine is the length of a line, bytes.
	MaxLine = 64 << 10
	// chunkLines and chunkBytes are how much is parsed at once.
	chunkLines = 50_000
	chunkBytes = 4 << 20
)

// gzipped is how every file begins that gzip wrote.
const gzipped = "\x1f\x8b"

// lastSecond is the end of the year 9999, seconds since 1970: nobody measured anything later, and
// a time of today that is counted in milliseconds is.
const lastSecond = 253_402_300_799

// eof is the line that every file ends with: one without it was cut off.
const eof = "# EOF\n"

// Reader is the samples of a file. It is a signal.History, and not safe for concurrent use.
type Reader struct {
	name   string
	in     *bufio.Reader
	digest hash.Hash
	read   int64
	line   int // that was read last, from 1
	ended  bool
	closer io.Closer
}

var _ signal.History = (*Reader)(nil)

// New reads from r, which is closed by Close if it can be; name is the file's, for errors.
func New(name string, r io.Reader) *Reader {
	out := &Reader{name: name, in: bufio.NewReaderSize(r, MaxLine), digest: sha256.New()}
	out.closer, _ = r.(io.Closer)
	return out
}

// Close implements signal.History.
func (r *Reader) Close() error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

// Bytes is how many bytes were read so far.
func (r *Reader) Bytes() int64 { return r.read }

// Digest is the SHA-256 of what was read so far: of the file, after io.EOF.
func (r *Reader) Digest() assay.Digest {
	return assay.DigestOf([sha256.Size]byte(r.digest.Sum(nil)))
}

// Next implements signal.History.
func (r *Reader) Next(ctx context.Context) ([]signal.Sample, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		first := r.line + 1
		lines, err := r.chunk()
		if err != nil {
			return nil, err
		}
		if len(lines) == 0 {
			return nil, io.EOF
		}
		samples, err := parse(lines)
		if err != nil {
			return nil, r.locate(first, lines, err)
		}
		if len(samples) > 0 { // else they were comments
			return samples, nil
		}
	}
}

// chunk is the next lines; none after the end.
func (r *Reader) chunk() (out []byte, err error) {
	for range chunkLines {
		line, err := r.in.ReadSlice('\n')
		_, _ = r.digest.Write(line) // a hash takes everything
		r.read += int64(len(line))
		r.line++
		blank := len(bytes.TrimSpace(line)) == 0
		switch {
		case r.line == 1 && bytes.HasPrefix(line, []byte(gzipped)):
			return nil, r.problem(0, "is gzip-compressed", "decompress it first: gzip -dc FILE | assay telemetry import -")
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, r.problem(r.line, fmt.Sprintf("has more than %d bytes", MaxLine), "")
		case err != nil && !errors.Is(err, io.EOF):
			return nil, &assay.Error{Code: assay.CodeUnavailable, File: r.name, Line: r.line, Msg: "cannot be read: " + err.Error(), Err: err}
		case r.ended && !blank:
			return nil, r.problem(r.line, "stands after # EOF, which ends a file", "to join files, leave out all but the last # EOF")
		case err != nil && string(line) == eof[:len(eof)-1], string(line) == eof:
			r.ended = true
		case err != nil && len(line) > 0:
			return nil, r.problem(r.line, "is the last and not # EOF: the file was cut off", "write it anew; OpenMetrics ends with # EOF")
		case err != nil && !r.ended:
			return nil, r.problem(max(r.line-1, 1), "is the last and not # EOF: the file was cut off, or is no OpenMetrics", "OpenMetrics text ends with # EOF")
		case !r.ended && !blank:
			out = append(out, line...)
		case !r.ended:
			return nil, r.problem(r.line, "is empty; OpenMetrics has no empty lines", "")
		}
		if err != nil || len(out) >= chunkBytes {
			break
		}
	}
	return out, nil
}

// parse are the samples of lines.
func parse(lines []byte) (out []signal.Sample, err error) {
	p := textparse.NewOpenMetricsParser(append(lines[:len(lines):len(lines)], eof...), labels.NewSymbolTable())
	for {
		entry, err := p.Next()
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, err
		case entry != textparse.EntrySeries:
			continue
		}
		_, at, v := p.Series()
		if at == nil {
			return nil, errors.New("the sample has no timestamp, and history needs one: seconds since 1970, after the value")
		}
		if seconds := *at / 1000; seconds > lastSecond {
			return nil, fmt.Errorf("the timestamp %d is after the year 9999: OpenMetrics counts seconds since 1970, and this looks like milliseconds", seconds)
		}
		s := signal.Sample{Time: *at, Value: v}
		p.Labels(&s.Labels)
		out = append(out, s)
	}
}

// locate finds the line that cannot be parsed.
func (r *Reader) locate(first int, lines []byte, whole error) error {
	for n := first; len(lines) > 0; n++ {
		end := bytes.IndexByte(lines, '\n') + 1
		if _, err := parse(lines[:end]); err != nil {
			return r.problem(n, err.Error(), "a line is: name{label=\"value\"} value seconds")
		}
		lines = lines[end:]
	}
	return r.problem(first, "or one after it is no OpenMetrics: "+whole.Error(), "")
}

func (r *Reader) problem(line int, msg, hint string) error {
	const most = 400
	if len(msg) > most {
		msg = msg[:most] + "…"
	}
	return &assay.Error{Code: assay.CodeInvalid, File: r.name, Line: line, Msg: msg, Hint: hint}
}
