package analyze

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// MaxBytes bounds a CSV file; MaxSteps of infer bounds its rows.
const MaxBytes = 64 << 20

// Point is one observation; Value is NaN where the file says nothing.
type Point struct {
	Time  time.Time
	Value float64
}

// Count is what one arm of a canary counted in one stretch of time.
type Count struct {
	Time     time.Time
	Arm      string // "canary" or "control"
	Requests uint64
	Errors   uint64 // or events of work, of which one request may cause many
}

// The arms of a canary.
const (
	ArmCanary  = "canary"
	ArmControl = "control"
)

// table reads the rows of a CSV file with known columns, in any order.
type table struct {
	source  string
	r       *csv.Reader
	index   []int // of the wanted columns in a row
	columns []string
	row     []string
}

func openTable(r io.Reader, source string, columns ...string) (*table, error) {
	t := &table{source: source, r: csv.NewReader(&limited{r: r, left: MaxBytes, source: source}), columns: columns}
	t.r.ReuseRecord, t.r.TrimLeadingSpace = true, true
	header, err := t.r.Read()
	if errors.Is(err, io.EOF) {
		return nil, t.fail(1, 0, assay.CodeInvalid, "the file is empty; the first line must be "+strings.Join(columns, ","))
	}
	if err != nil {
		return nil, t.wrap(err)
	}
	header[0] = strings.TrimPrefix(header[0], "\ufeff")
	for _, c := range columns {
		at := slices.IndexFunc(header, func(h string) bool { return strings.EqualFold(strings.TrimSpace(h), c) })
		if at < 0 {
			text := "there is no column " + strconv.Quote(c) + "; the first line must be " + strings.Join(columns, ",")
			if len(header) == 1 && strings.ContainsAny(header[0], ";\t|") {
				text += ", with commas between columns"
			}
			return nil, t.fail(1, 0, assay.CodeInvalid, text)
		}
		t.index = append(t.index, at)
	}
	return t, nil
}

// next reads the next row; false at the end.
func (t *table) next() (bool, error) {
	row, err := t.r.Read()
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, t.wrap(err)
	}
	t.row = row
	return true, nil
}

// cell is the text of a wanted column, by its index in the order of openTable.
func (t *table) cell(i int) string { return strings.TrimSpace(t.row[t.index[i]]) }

// bad refuses a cell.
func (t *table) bad(i int, want string) error {
	line, column := t.r.FieldPos(t.index[i])
	return t.fail(line, column, assay.CodeInvalid, t.columns[i]+" "+strconv.Quote(clip(t.cell(i)))+" is not "+want)
}

func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

func (t *table) fail(line, column int, code assay.Code, text string) error {
	e := assay.Errorf(code, "%s", text)
	e.File, e.Line, e.Column = t.source, line, column
	return e
}

// wrap says what encoding/csv, or the file below it, complains about.
func (t *table) wrap(err error) error {
	if bad, ok := errors.AsType[*csv.ParseError](err); ok {
		if large, ok := errors.AsType[*assay.Error](bad.Err); ok {
			return large
		}
		return t.fail(bad.Line, bad.Column, assay.CodeInvalid, bad.Err.Error())
	}
	return err
}

// limited refuses to read beyond a limit.
type limited struct {
	r      io.Reader
	left   int64
	source string
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		e := assay.Errorf(assay.CodeTooLarge, "the file is larger than %d MB", MaxBytes>>20)
		e.File = l.source
		return 0, e
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// inTime is what a cell that is no time has to be.
func (t *table) inTime(i int) error {
	if n, err := strconv.ParseFloat(t.cell(i), 64); err == nil && math.Abs(n) >= 1e11 {
		return t.bad(i, "a time in seconds since 1970; divide milliseconds by 1000")
	}
	return t.bad(i, "a time; write 2026-11-22T14:00:00Z, 2026-11-22 14:00:00 or seconds since 1970")
}

// stamps are how times are written, beside seconds since 1970.
var stamps = []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"}

// parseTime reads a time; one without a zone is of the given one.
func parseTime(s string, zone *time.Location) (time.Time, bool) {
	for _, layout := range stamps {
		if at, err := time.ParseInLocation(layout, s, zone); err == nil {
			return at, true
		}
	}
	seconds, err := strconv.ParseFloat(s, 64)
	if err != nil || !(math.Abs(seconds) < 1e11) {
		return time.Time{}, false
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9)).In(zone), true
}

// ReadSeries reads a CSV file with the columns timestamp and value. A time is RFC 3339,
// "2006-01-02 15:04:05" in the zone, or seconds since 1970; an empty value, NaN or null
// is a gap. The points come back in the order of the file, the oldest first: what its
// clocks did, an hour told twice in autumn for example, is as its writer saw it.
func ReadSeries(r io.Reader, source string, zone *time.Location) ([]Point, error) {
	t, err := openTable(r, source, "timestamp", "value")
	if err != nil {
		return nil, err
	}
	var out []Point
	var lines []int
	for {
		more, err := t.next()
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		line, _ := t.r.FieldPos(0)
		if len(out) == infer.MaxSteps {
			return nil, t.fail(line, 0, assay.CodeTooLarge, "more than "+strconv.Itoa(infer.MaxSteps)+" rows")
		}
		p := Point{Value: math.NaN()}
		var ok bool
		if p.Time, ok = parseTime(t.cell(0), zone); !ok {
			return nil, t.inTime(0)
		}
		switch strings.ToLower(t.cell(1)) {
		case "", "nan", "null":
		default:
			v, err := strconv.ParseFloat(t.cell(1), 64)
			if err != nil || !(math.Abs(v) <= infer.MaxObservation) {
				return nil, t.bad(1, "a number; leave it empty where nothing was measured")
			}
			p.Value = v
		}
		out, lines = append(out, p), append(lines, line)
	}
	if len(out) == 0 {
		return nil, t.fail(2, 0, assay.CodeInvalid, "there is no row below the header")
	}
	if out[0].Time.After(out[len(out)-1].Time) {
		slices.Reverse(out)
		slices.Reverse(lines)
	}
	return out, t.sorted(out, lines)
}

// toldTwice is the hour that clocks tell twice in autumn: times without a zone go back by it.
const toldTwice = time.Hour

// sorted refuses rows that lie elsewhere in time than in the file.
func (t *table) sorted(points []Point, lines []int) error {
	for i, p := range points[1:] {
		if back := points[i].Time.Sub(p.Time); back > toldTwice {
			return t.fail(lines[i+1], 0, assay.CodeInvalid, fmt.Sprintf("the row is %s earlier than line %d; sort the file by time", back, lines[i]))
		}
	}
	return nil
}

// ReadCounts reads a CSV file with the columns time, arm, requests and errors; or with work
// instead of errors.
func ReadCounts(r io.Reader, source string, work bool) ([]Count, error) {
	counted := "errors"
	if work {
		counted = "work"
	}
	t, err := openTable(r, source, "time", "arm", "requests", counted)
	if err != nil {
		return nil, err
	}
	var out []Count
	for {
		more, err := t.next()
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		line, _ := t.r.FieldPos(0)
		if len(out) == infer.MaxSteps {
			return nil, t.fail(line, 0, assay.CodeTooLarge, "more than "+strconv.Itoa(infer.MaxSteps)+" rows")
		}
		c := Count{Arm: strings.ToLower(t.cell(1))}
		var ok bool
		if c.Time, ok = parseTime(t.cell(0), time.UTC); !ok {
			return nil, t.inTime(0)
		}
		if c.Arm == "baseline" || c.Arm == "stable" {
			c.Arm = ArmControl
		}
		if c.Arm != ArmCanary && c.Arm != ArmControl {
			return nil, t.bad(1, "an arm; write canary or control")
		}
		for i, into := range []*uint64{&c.Requests, &c.Errors} {
			if *into, err = strconv.ParseUint(t.cell(2+i), 10, 64); err != nil || *into > infer.ExposureLimit {
				return nil, t.bad(2+i, "a count of this stretch of time, 0 or more")
			}
		}
		if c.Errors > c.Requests && !work {
			return nil, t.bad(3, "at most the number of requests, "+strconv.FormatUint(c.Requests, 10))
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, t.fail(2, 0, assay.CodeInvalid, "there is no row below the header")
	}
	slices.SortStableFunc(out, func(a, b Count) int { return a.Time.Compare(b.Time) })
	return out, nil
}
