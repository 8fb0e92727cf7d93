package evidence

import (
	"bufio"
	"bytes"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"assay.dev/assay"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
)

// keptXMLText is how much of one run of text is handed on, in bytes. The
// output of a test may be as long as the report; nobody reads more of it.
const keptXMLText = 64 << 10

// xmlGuard stands between a report and encoding/xml, which holds every token as
// a whole: it bounds tags, leaves out comments and the rest of long texts, and
// knows the place of the last byte it handed on. The bytes it reads are UTF-8.
type xmlGuard struct {
	src   *bufio.Reader
	state xmlState
	n     int    // bytes of the current token handed on
	mark  string // the end of a comment or CDATA section that is being left out
	quote byte   // the quotation mark that is open in a tag
	nest  int    // brackets that are open in a directive
	tail  []byte // the last bytes of the token so far, to find its kind and end
	open  bool   // an entity has begun in text
	full  bool   // the rest of the text is being left out
	ready []byte // bytes to hand on before any other

	line, column int // of the last byte handed on, 1-based
}

type xmlState uint8

const (
	xmlText xmlState = iota
	xmlLess          // behind "<"
	xmlTag
	xmlQuoted // in an attribute value
	xmlBang   // behind "<!", its kind still unknown
	xmlDirective
	xmlComment
	xmlCDATA
	xmlInstruction
)

func newXMLGuard(src *bufio.Reader) *xmlGuard { return &xmlGuard{src: src, line: 1} }

// Read is what encoding/xml asks for before it finds ReadByte.
func (g *xmlGuard) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := g.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

// ReadByte hands on the next byte. encoding/xml reads no further than it needs,
// so that the guard's place is the parser's.
func (g *xmlGuard) ReadByte() (byte, error) {
	if len(g.ready) > 0 {
		b := g.ready[0]
		g.ready = g.ready[1:]
		return b, nil
	}
	for {
		b, err := g.src.ReadByte()
		if err != nil {
			return 0, err
		}
		if g.column++; b == '\n' {
			g.line, g.column = g.line+1, 0
		}
		if g.mark != "" {
			if g.leaveOut(b); g.mark == "" {
				return g.ReadByte()
			}
			continue
		}
		if g.state == xmlText && b != '<' && (g.full || g.n > keptXMLText && !g.open && utf8.RuneStart(b)) {
			g.full = true
			continue
		}
		return b, g.step(b)
	}
}

// leaveOut drops a byte of a comment or CDATA section, and hands on its end.
func (g *xmlGuard) leaveOut(b byte) {
	g.keep(b)
	if bytes.HasSuffix(g.tail, []byte(g.mark)) {
		g.ready = []byte(g.mark)
		g.mark = ""
		g.enter(xmlText)
	}
}

func (g *xmlGuard) enter(s xmlState) {
	g.state, g.n, g.quote, g.nest, g.open, g.full = s, 0, 0, 0, false, false
	g.tail = g.tail[:0]
}

// keep remembers the last bytes of a token.
func (g *xmlGuard) keep(b byte) {
	if len(g.tail) == cap(g.tail) && len(g.tail) > 16 {
		g.tail = g.tail[:copy(g.tail, g.tail[len(g.tail)-8:])]
	}
	g.tail = append(g.tail, b)
}

// step moves the state by one byte that is handed on.
func (g *xmlGuard) step(b byte) error {
	if g.n++; g.n > MaxToken && g.state != xmlText && g.state != xmlCDATA {
		return assay.Errorf(assay.CodeTooLarge, "has a tag longer than %d bytes", MaxToken)
	}
	switch g.state {
	case xmlText:
		switch b {
		case '<':
			g.enter(xmlLess)
		case '&':
			g.open = true
		case ';':
			g.open = false
		}
	case xmlLess:
		switch b {
		case '!':
			g.state = xmlBang
		case '?':
			g.state = xmlInstruction
		default:
			g.state = xmlTag
			g.inTag(b)
		}
	case xmlTag:
		g.inTag(b)
	case xmlQuoted:
		if b == g.quote {
			g.state = xmlTag
		}
	case xmlBang:
		g.inBang(b)
	case xmlDirective:
		g.inDirective(b)
	case xmlCDATA:
		g.inCDATA(b)
	case xmlInstruction:
		if g.keep(b); bytes.HasSuffix(g.tail, []byte("?>")) {
			g.enter(xmlText)
		}
	}
	return nil
}

func (g *xmlGuard) inTag(b byte) {
	switch b {
	case '"', '\'':
		g.state, g.quote = xmlQuoted, b
	case '>':
		g.enter(xmlText)
	}
}

// inBang tells comments, CDATA sections and directives apart.
func (g *xmlGuard) inBang(b byte) {
	g.keep(b)
	switch s := string(g.tail); {
	case s == "--":
		g.mark = "-->"
		g.tail = g.tail[:0]
	case s == "[CDATA[":
		g.enter(xmlCDATA)
	case !strings.HasPrefix("--", s) && !strings.HasPrefix("[CDATA[", s):
		g.enter(xmlDirective)
		g.inDirective(b)
	}
}

func (g *xmlGuard) inDirective(b byte) {
	switch {
	case g.quote != 0:
		if b == g.quote {
			g.quote = 0
		}
	case b == '"' || b == '\'':
		g.quote = b
	case b == '<':
		g.nest++
	case b == '>':
		if g.nest == 0 {
			g.enter(xmlText)
			return
		}
		g.nest--
	}
}

func (g *xmlGuard) inCDATA(b byte) {
	g.keep(b)
	switch {
	case bytes.HasSuffix(g.tail, []byte("]]>")):
		g.enter(xmlText)
	case g.n > keptXMLText && b < utf8.RuneSelf && b != ']':
		g.mark = "]]>"
		g.tail = g.tail[:0]
	}
}

// xmlDeclared finds the encoding that an XML declaration names.
var xmlDeclared = regexp.MustCompile(`^\s*<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z0-9._:\-]+)["']`)

// utf16XML says in which order the bytes of UTF-16 XML come, "" if head is none.
func utf16XML(head []byte) string {
	for _, m := range []struct{ magic, order string }{
		{"\xff\xfe<\x00", "utf-16le"}, {"\xfe\xff\x00<", "utf-16be"},
		{"<\x00?\x00", "utf-16le"}, {"\x00<\x00?", "utf-16be"},
	} {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.order
		}
	}
	return ""
}

// xmlReader makes UTF-8 of an XML report that starts with head. The second
// result is a note about the encoding, "" if there is nothing to say.
func xmlReader(head []byte, src *bufio.Reader) (*bufio.Reader, string, error) {
	label := utf16XML(head)
	if label == "" {
		m := xmlDeclared.FindSubmatch(skipBOM(head[:min(len(head), 1024)]))
		if m == nil {
			return src, "", nil
		}
		label = strings.ToLower(string(m[1]))
		switch {
		case label == "utf-8" || label == "utf8" || label == "us-ascii" || label == "ascii":
			return src, "", nil
		case strings.HasPrefix(label, "utf-16") || bytes.HasPrefix(head, utf8BOM):
			return src, "declares the encoding " + label + ", but is not written in it; it was read as UTF-8", nil
		}
	}
	var enc encoding.Encoding
	var err error
	switch label {
	case "utf-16le":
		enc = unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
	case "utf-16be":
		enc = unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	default:
		enc, err = htmlindex.Get(label)
	}
	if err != nil {
		return nil, "", &assay.Error{Code: assay.CodeInvalid, Msg: "is written in the encoding " + label + ", which is not known", Hint: "convert it to UTF-8"}
	}
	return bufio.NewReaderSize(&sameError{enc.NewDecoder().Reader(src)}, headBytes), "", nil
}

// sameError keeps what a decoder of text says about bad bytes an error of the report.
type sameError struct{ r io.Reader }

func (s *sameError) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		err = asError(err)
	}
	return n, err
}
