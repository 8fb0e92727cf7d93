package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
)

// violation is why a request was refused before it was one.
type violation struct {
	status int
	detail string
}

func bad(format string, args ...any) *violation {
	return &violation{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// phase is where in a connection's bytes the framer stands.
type phase int

const (
	inHead phase = iota
	inBody
	inChunkSize
	inChunk
	inTrailer
)

// framer finds where requests begin and end in the bytes of a connection, and
// refuses every request whose end two servers could see at different places. It
// is stricter than RFC 9112 demands: a proxy's clients are programs, and those
// that mean well frame plainly.
type framer struct {
	maxHead, maxFields int

	phase phase
	left  int64 // bytes of inBody or inChunk still to come
	seen  int   // bytes of an unfinished line or head that were searched before
	tail  int   // bytes of the trailer so far
}

// Lines between chunks, and trailers, need no more than this.
const (
	maxChunkLine = 256
	maxTrailer   = 8 << 10
)

// next examines in, which begins where the last call ended. It returns how many
// bytes may be handed on: 0 means that more are needed to know.
func (f *framer) next(in []byte) (int, *violation) {
	switch f.phase {
	case inHead:
		return f.head(in)
	case inBody, inChunk:
		n := min(int64(len(in)), f.left)
		f.left -= n
		switch {
		case f.left == 0 && f.phase == inBody:
			f.phase = inHead
		case f.left == 0:
			f.phase = inChunkSize
		}
		return int(n), nil
	case inChunkSize:
		line, v := f.line(in, maxChunkLine)
		if line == nil || v != nil {
			return 0, v
		}
		return len(line), f.chunk(line[:len(line)-2])
	default:
		line, v := f.line(in, maxTrailer)
		if line == nil || v != nil {
			return 0, v
		}
		if f.tail += len(line); f.tail > maxTrailer {
			return 0, bad("the trailer is larger than %d bytes", maxTrailer)
		}
		if len(line) == 2 {
			f.phase, f.tail = inHead, 0
			return 2, nil
		}
		_, _, v = field(line[:len(line)-2])
		return len(line), v
	}
}

// line returns the line that in begins with, its CRLF included; nil if it has not ended.
func (f *framer) line(in []byte, limit int) ([]byte, *violation) {
	i := bytes.IndexByte(in[f.seen:], '\n')
	if i < 0 {
		f.seen = len(in)
		if len(in) > limit {
			return nil, bad("a line of the body's framing is longer than %d bytes", limit)
		}
		return nil, nil
	}
	i += f.seen
	f.seen = 0
	if i == 0 || in[i-1] != '\r' || bytes.IndexByte(in[:i-1], '\r') >= 0 {
		return nil, bad("a line of the body's framing does not end in CRLF")
	}
	return in[:i+1], nil
}

// chunk reads the line before a chunk. Extensions are refused: nobody needs
// them, and parsers differ about them.
func (f *framer) chunk(line []byte) *violation {
	var n int64
	if len(line) == 0 || len(line) > 15 {
		return bad("a chunk has no plain size")
	}
	for _, c := range line {
		d := strings.IndexByte("0123456789abcdef", c|0x20)
		if d < 0 || c < '0' {
			return bad("a chunk has no plain size")
		}
		n = n<<4 | int64(d)
	}
	if n == 0 {
		f.phase = inTrailer
		return nil
	}
	f.phase, f.left = inChunk, n+2 // its CRLF included; net/http checks that it is one
	return nil
}

// head waits for the whole head of a request and judges it.
func (f *framer) head(in []byte) (int, *violation) {
	from := max(0, f.seen-3)
	i := bytes.Index(in[from:], []byte("\r\n\r\n"))
	if i < 0 {
		f.seen = len(in)
		switch {
		case bytes.Contains(in[from:], []byte("\n\n")) || bytes.Contains(in[from:], []byte("\n\r\n")):
			return 0, bad("a line of the request's head ends without CR") // and would else be waited for
		case len(in) > f.maxHead:
			return 0, &violation{http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("the request's head is larger than %d bytes", f.maxHead)}
		}
		return 0, nil
	}
	end := from + i + 4
	f.seen = 0
	if end > f.maxHead {
		return 0, &violation{http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("the request's head is larger than %d bytes", f.maxHead)}
	}
	return end, f.judge(in[:end-4])
}

// judge reads a head without its last two CRLF and sets how the body is framed.
func (f *framer) judge(head []byte) *violation {
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	old, v := requestLine(line)
	if v != nil {
		return v
	}
	fr := framing{old: old, length: -1}
	for n := 0; len(rest) > 0; n++ {
		if n == f.maxFields {
			return &violation{http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("the request has more than %d header fields", f.maxFields)}
		}
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		if v := fr.add(line); v != nil {
			return v
		}
	}
	switch {
	case fr.chunked && fr.length >= 0:
		return bad("the request has both Content-Length and Transfer-Encoding")
	case fr.chunked:
		f.phase = inChunkSize
	case fr.length > 0:
		f.phase, f.left = inBody, fr.length
	}
	if !old && fr.hosts != 1 {
		return bad("the request has %d Host headers; expected one", fr.hosts)
	}
	return nil
}

// framing collects what a head says about its body.
type framing struct {
	old     bool // HTTP/1.0
	length  int64
	chunked bool
	hosts   int
}

func (fr *framing) add(line []byte) *violation {
	name, value, v := field(line)
	if v != nil {
		return v
	}
	switch {
	case is(name, "host"):
		fr.hosts++
	case is(name, "content-length"):
		if fr.length >= 0 {
			return bad("the request has more than one Content-Length")
		}
		if fr.length = decimal(value); fr.length < 0 {
			return bad("the request's Content-Length is not a plain number")
		}
	case is(name, "transfer-encoding"):
		switch {
		case fr.chunked:
			return bad("the request has more than one Transfer-Encoding")
		case fr.old:
			return bad("an HTTP/1.0 request has a Transfer-Encoding")
		case !is(value, "chunked"):
			return bad("the request's Transfer-Encoding is not exactly \"chunked\"")
		}
		fr.chunked = true
	case is(name, "content_length"), is(name, "transfer_encoding"):
		return bad("the request has a header that some servers read as another")
	}
	return nil
}

// requestLine accepts "METHOD /path HTTP/1.1" and HTTP/1.0.
func requestLine(line []byte) (old bool, v *violation) {
	method, rest, ok := bytes.Cut(line, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	switch {
	case !ok || !ok2 || !token(method):
		return false, bad("the request line is not \"METHOD /path HTTP/1.1\"")
	case string(version) != "HTTP/1.1" && string(version) != "HTTP/1.0":
		return false, bad("the request is not HTTP/1.1")
	case string(method) == http.MethodConnect:
		return false, bad("CONNECT is not served")
	case len(target) == 0 || target[0] != '/':
		return false, bad("the request target is not a path; a reverse proxy takes no other form")
	case bytes.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return false, bad("the request target holds a control character")
	}
	return string(version) == "HTTP/1.0", nil
}

// field splits one header line.
func field(line []byte) (name, value []byte, v *violation) {
	if len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
		return nil, nil, bad("a header is folded over two lines")
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || !token(name) {
		return nil, nil, bad("a header has no plain name")
	}
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, nil, bad("a header holds a control character")
		}
	}
	return name, bytes.Trim(value, " \t"), nil
}

// token reports whether b is a token of RFC 9110.
func token(b []byte) bool {
	for _, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return len(b) > 0
}

// is compares without regard to case; lower is in lower case.
func is(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// decimal reads digits only; -1 for everything else and for what no body can be.
func decimal(b []byte) (n int64) {
	if len(b) == 0 || len(b) > 18 {
		return -1
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int64(c-'0')
	}
	return n
}
