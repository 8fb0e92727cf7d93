package assay

import (
	"errors"
	"fmt"
	"strings"
)

// Code says what the caller of a failed operation should do.
type Code string

const (
	// CodeInvalid means the input is wrong and must be changed; HTTP 400, exit 1.
	CodeInvalid Code = "invalid"
	// CodeTooLarge means the input is above a stated limit; HTTP 413, exit 1.
	CodeTooLarge Code = "too_large"
	// CodeNotFound means the named thing does not exist; HTTP 404, exit 1.
	CodeNotFound Code = "not_found"
	// CodeConflict means the state changed or forbids this now; HTTP 409, exit 1.
	CodeConflict Code = "conflict"
	// CodeUnauthenticated means no valid credential came with the request; HTTP 401, exit 1.
	CodeUnauthenticated Code = "unauthenticated"
	// CodeDenied means the caller may not do this; HTTP 403, exit 1.
	CodeDenied Code = "denied"
	// CodeUnverified means a signature, proof or digest does not hold; HTTP 422, exit 3.
	CodeUnverified Code = "unverified"
	// CodeUnavailable means retry later; HTTP 503, exit 1.
	CodeUnavailable Code = "unavailable"
	// CodeInternal means a fault of ours; HTTP 500, exit 1.
	CodeInternal Code = "internal"
)

// Error is a failure that a person can act on: where it is, what was found and
// what to do. Its text is always one line.
type Error struct {
	Code   Code
	File   string // path or URL of the input, "" if it has none
	Line   int    // 1-based, 0 if unknown
	Column int    // 1-based, in bytes, 0 if unknown
	Field  string // dotted path inside the document, "" if it has none
	Msg    string // what was found and what was expected
	Hint   string // what to do, "" if Msg says it
	Err    error  // wrapped cause, may be nil
}

// Errorf returns an Error with a formatted message. A %w verb is kept as the cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Msg: err.Error(), Err: errors.Unwrap(err)}
}

// Error formats "file:line:column: field message (hint)" on one line.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
			if e.Column > 0 {
				fmt.Fprintf(&b, ":%d", e.Column)
			}
		}
		b.WriteString(": ")
	} else if e.Line > 0 {
		fmt.Fprintf(&b, "line %d, column %d: ", e.Line, e.Column)
	}
	if e.Field != "" {
		b.WriteString(e.Field)
		b.WriteString(" ")
	}
	b.WriteString(e.Msg)
	if e.Hint != "" {
		fmt.Fprintf(&b, " (%s)", e.Hint)
	}
	return oneLine(b.String())
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// In returns a copy of e that names the file it happened in.
func (e *Error) In(file string) *Error {
	c := *e
	c.File = file
	return &c
}

// CodeOf returns the code of the first Error in err's chain, CodeInternal for
// any other error and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// oneLine replaces every control character, so that outside input can neither
// break the line nor drive a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, s)
}
