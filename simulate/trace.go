package simulate

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"encoding/csv"
	"errors"
	"io"
	"strconv"

	"assay.dev/assay"
	"assay.dev/assay/internal/simtest"
)

// ParseTrace reads traffic that was once measured, in one of three forms:
//
//   - CSV with a header, of which the last column counts;
//   - numbers between white space, compressed with bzip2;
//   - an archive of tar, compressed with bzip2, whose first file has such numbers: the
//     form in which public traces of a value a second are given out.
//
// No number is negative. CodeTooLarge above MaxTraceBytes, MaxTraceUnpacked or
// MaxTraceValues.
func ParseTrace(data []byte) ([]float64, error) {
	if len(data) > MaxTraceBytes {
		return nil, assay.Errorf(assay.CodeTooLarge, "%d bytes; a trace has at most %d", len(data), MaxTraceBytes)
	}
	read := readColumn
	if bytes.HasPrefix(data, []byte("BZh")) {
		read = readPacked
	}
	out, err := read(data)
	if err != nil {
		return nil, err
	}
	if len(out) < 2 {
		return nil, assay.Errorf(assay.CodeInvalid, "%d values; a trace needs two", len(out))
	}
	return out, nil
}

// readColumn reads the last column of CSV with a header.
func readColumn(data []byte) (out []float64, err error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.ReuseRecord = true
	for line := 1; ; line++ {
		row, err := r.Read()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, assay.Errorf(assay.CodeInvalid, "%v", err)
		}
		if line == 1 {
			continue
		}
		if out, err = traceValue(out, row[len(row)-1], "line", line); err != nil {
			return nil, err
		}
	}
}

// traceValue adds a number of requests to a trace.
func traceValue(out []float64, text, what string, n int) ([]float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || !(v >= 0 && v <= 1e12):
		return nil, assay.Errorf(assay.CodeInvalid, "%s %d: %q is not a number of requests", what, n, clip(text))
	case len(out) >= MaxTraceValues:
		return nil, assay.Errorf(assay.CodeTooLarge, "a trace has at most %d values", MaxTraceValues)
	}
	return append(out, v), nil
}

// readPacked reads what bzip2 packed: numbers, or an archive with them.
func readPacked(data []byte) (out []float64, err error) {
	// One byte more than is allowed shows that there is more.
	limit := &io.LimitedReader{R: bzip2.NewReader(bytes.NewReader(data)), N: MaxTraceUnpacked + 1}
	text := bufio.NewReaderSize(limit, tarBlock)
	var from io.Reader = text
	if head, err := text.Peek(tarBlock); err == nil && string(head[257:262]) == "ustar" {
		archive := tar.NewReader(text)
		for {
			h, err := archive.Next()
			if err != nil {
				return nil, assay.Errorf(assay.CodeInvalid, "the archive has no file with numbers: %v", err)
			}
			if h.Typeflag == tar.TypeReg {
				break
			}
		}
		from = archive
	}
	words := bufio.NewScanner(from)
	words.Split(bufio.ScanWords)
	for n := 1; words.Scan(); n++ {
		if out, err = traceValue(out, words.Text(), "value", n); err != nil {
			return nil, err
		}
	}
	switch err := words.Err(); {
	case limit.N <= 0:
		return nil, assay.Errorf(assay.CodeTooLarge, "a trace has at most %d bytes when it is unpacked", MaxTraceUnpacked)
	case errors.Is(err, bufio.ErrTooLong):
		return nil, assay.Errorf(assay.CodeInvalid, "value %d is not a number of requests", len(out)+1)
	case err != nil:
		return nil, assay.Errorf(assay.CodeInvalid, "it cannot be unpacked: %v", err)
	}
	return out, nil
}

// tarBlock is the size of an archive's header, which has a mark at byte 257.
const tarBlock = 512

// coarse brings a trace that is finer than the ticks of the world to means over one
// tick: a world that took one value of ten would have their variance, not the sum's.
func coarse(values []float64, step, tick simtest.Duration) ([]float64, simtest.Duration) {
	n := int(tick / step)
	if n < 2 || len(values) < 2*n {
		return values, step
	}
	return thin(values, n), step * simtest.Duration(n)
}
