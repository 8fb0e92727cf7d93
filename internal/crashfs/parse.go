package crashfs

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"assay.dev/assay"
)

const (
	unfinished = "<unfinished ...>"
	detached   = "<detached ...>" // as unfinished, at the end of the log
	unknown    = "???("           // a call of a thread that died before strace could look
	resumed    = " resumed>"
)

// Parse reads a log that strace wrote with Flags. Lines that are no calls
// (signals, exits) are skipped; a call that strace reports in two lines becomes
// two events with what happened in between.
func Parse(r io.Reader) (Log, error) {
	p := parser{open: map[int]*pending{}}
	br := bufio.NewReaderSize(r, 1<<20)
	for n := 1; ; n++ {
		line, err := readLine(br)
		if err == io.EOF && line == "" {
			return p.log, nil
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		if err := p.line(strings.TrimRight(line, "\n")); err != nil {
			return nil, &assay.Error{Code: assay.CodeInvalid, Line: n, Column: 1, Field: "strace log", Msg: err.Error(), Err: err}
		}
	}
}

func readLine(br *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		part, err := br.ReadSlice('\n')
		b.Write(part)
		if b.Len() > MaxLine {
			return "", assay.Errorf(assay.CodeTooLarge, "a line of the strace log is longer than %d bytes", MaxLine)
		}
		if err != bufio.ErrBufferFull {
			return b.String(), err
		}
	}
}

type parser struct {
	log  Log
	open map[int]*pending // unfinished calls by thread
}

type pending struct {
	call *Call
	text string // "name(args" as far as it was written
}

func (p *parser) line(line string) error {
	pidText, rest, ok := strings.Cut(line, " ")
	pid, err := strconv.Atoi(pidText)
	if !ok || err != nil {
		return fmt.Errorf("does not begin with a process id; record it with -f and -o")
	}
	rest = strings.TrimLeft(rest, " ")
	switch {
	case rest == "" || strings.HasPrefix(rest, "+++") || strings.HasPrefix(rest, "---") || strings.HasPrefix(rest, unknown):
		return nil
	case strings.HasPrefix(rest, "<... ") && strings.HasSuffix(rest, detached):
		return nil // still not finished
	case strings.HasSuffix(rest, detached):
		return p.begin(pid, strings.TrimRight(strings.TrimSuffix(rest, detached), " "))
	case strings.HasPrefix(rest, "<... "):
		return p.resume(pid, rest)
	case strings.HasSuffix(rest, unfinished):
		return p.begin(pid, strings.TrimRight(strings.TrimSuffix(rest, unfinished), " "))
	}
	c := &Call{PID: pid}
	if err := c.finish(rest); err != nil {
		return err
	}
	p.log = append(p.log, Event{Call: c}, Event{Call: c, Returns: true})
	return nil
}

// begin takes the first half of a call. Its arguments are complete, as far as
// the kernel only reads them.
func (p *parser) begin(pid int, text string) error {
	c := &Call{PID: pid}
	name, args, ok := strings.Cut(text, "(")
	if !ok {
		return fmt.Errorf("has no call before %q", unfinished)
	}
	c.Name = name
	var err error
	if c.Args, err = splitArgs(strings.TrimSuffix(args, ",")); err != nil {
		return err
	}
	p.open[pid] = &pending{call: c, text: text}
	p.log = append(p.log, Event{Call: c})
	return nil
}

func (p *parser) resume(pid int, rest string) error {
	half, ok := p.open[pid]
	if !ok {
		return nil // of a call that began before the recording
	}
	delete(p.open, pid)
	_, tail, ok := strings.Cut(rest, resumed)
	if !ok {
		return fmt.Errorf("resumes a call without %q", strings.TrimSpace(resumed))
	}
	if err := half.call.finish(half.text + tail); err != nil {
		return err
	}
	p.log = append(p.log, Event{Call: half.call, Returns: true})
	return nil
}

// finish reads "name(args) = ret". The return value "?" means that the thread
// did not live to see it.
func (c *Call) finish(text string) error {
	head, ret, ok := cutReturn(text)
	if !ok {
		return fmt.Errorf("is no complete call: %.60q", text)
	}
	name, args, ok := strings.Cut(head, "(")
	if !ok || name == "" {
		return fmt.Errorf("names no call: %.60q", text)
	}
	list, err := splitArgs(args)
	if err != nil {
		return err
	}
	c.Name, c.Args = name, list
	if strings.HasPrefix(ret, "?") {
		return nil
	}
	digits := strings.TrimLeft(ret, "-")
	end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(digits)
	}
	if strings.HasPrefix(ret, "0x") {
		c.Done = true // an address: no call we follow returns one
		return nil
	}
	if c.Ret, err = strconv.ParseInt(ret[:len(ret)-len(digits)+end], 10, 64); err != nil {
		return fmt.Errorf("has the return value %.20q", ret)
	}
	c.Done = true
	return nil
}

// cutReturn splits at the last ")" that is followed by spaces and "= ".
func cutReturn(text string) (head, ret string, ok bool) {
	for i := len(text); i > 0; {
		i = strings.LastIndex(text[:i], "= ")
		if i < 0 {
			return "", "", false
		}
		if before := strings.TrimRight(text[:i], " "); strings.HasSuffix(before, ")") {
			return before[:len(before)-1], text[i+2:], true
		}
	}
	return "", "", false
}

// splitArgs splits at the commas that are not inside quotes or brackets.
func splitArgs(s string) ([]string, error) {
	var args []string
	depth, start := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			end := closingQuote(s, i)
			if end < 0 {
				return nil, fmt.Errorf("has a string without an end")
			}
			i = end
		case '[', '{', '(', '<':
			depth++
		case ']', '}', ')', '>':
			depth--
		case ',':
			if depth == 0 {
				args = append(args, strings.TrimSpace(s[start:i]))
				start = i + 1
			}
		}
	}
	if last := strings.TrimSpace(s[start:]); last != "" || len(args) > 0 {
		args = append(args, last)
	}
	return args, nil
}

// closingQuote returns the place of the quote that ends the string beginning at i, or -1.
func closingQuote(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// unquote reads a string argument. One that strace cut short is an error.
func unquote(s string) ([]byte, error) {
	if strings.HasSuffix(s, "...") {
		return nil, fmt.Errorf("strace cut a string short: record with a larger -s")
	}
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return nil, fmt.Errorf("%.40q is not a string", s)
	}
	return unescape(s[1 : len(s)-1])
}

// unescape reads \xHH, octal and C escapes.
func unescape(s string) ([]byte, error) {
	out := make([]byte, 0, len(s)/4+1)
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		if i++; i == len(s) {
			return nil, fmt.Errorf("a string ends in a backslash")
		}
		from, to, base := i, i+1, 0
		switch c := s[i]; {
		case c == 'x':
			from, to, base = i+1, i+3, 16
		case c >= '0' && c <= '7':
			for base = 8; to < len(s) && to < from+3 && s[to] >= '0' && s[to] <= '7'; to++ {
			}
		default:
			j := strings.IndexByte(`ntrvfabe"\<>`, c)
			if j < 0 {
				return nil, fmt.Errorf("unknown escape \\%c", c)
			}
			out = append(out, "\n\t\r\v\f\a\b\x1b\"\\<>"[j])
			continue
		}
		if to > len(s) {
			return nil, fmt.Errorf("a string ends inside an escape")
		}
		v, err := strconv.ParseUint(s[from:to], base, 8)
		if err != nil {
			return nil, fmt.Errorf("bad escape in a string: %w", err)
		}
		out = append(out, byte(v))
		i = to - 1
	}
	return out, nil
}

// descriptor reads "3<path>" or "AT_FDCWD<path>". A deleted file's path is as it was.
func descriptor(arg string) (fd int, path string, err error) {
	num, note, _ := strings.Cut(arg, "<")
	if i := strings.LastIndexByte(note, '>'); i >= 0 {
		note = note[:i] // behind it may stand "(deleted)"
	}
	if fd = -1; num != "AT_FDCWD" {
		if fd, err = strconv.Atoi(num); err != nil {
			return 0, "", fmt.Errorf("%.40q is no file descriptor", arg)
		}
	}
	p, err := unescape(note)
	return fd, string(p), err
}
