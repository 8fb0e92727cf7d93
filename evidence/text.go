package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// cleaned is a text that is safe to print.
type cleaned struct {
	s       string
	clipped bool
}

// clean makes outside text one harmless line: white space becomes one blank,
// other control characters, characters that change the direction of text and
// invalid UTF-8 become U+FFFD. What is longer than limit bytes is cut at a
// character and ends in "…", which counts towards the limit.
func clean(s string, limit int) cleaned {
	if plain(s) && len(s) <= limit {
		return cleaned{s: s}
	}
	var b strings.Builder
	blank := false
	for _, r := range s {
		if unicode.IsSpace(r) {
			blank = b.Len() > 0
			continue
		}
		if blank {
			b.WriteByte(' ')
			blank = false
		}
		if harmful(r) {
			r = utf8.RuneError
		}
		b.WriteRune(r)
		if b.Len() > limit {
			return cleaned{s: cut(b.String(), limit), clipped: true}
		}
	}
	return cleaned{s: b.String()}
}

// plain reports whether s is printable ASCII with single blanks.
func plain(s string) bool {
	last := byte(' ')
	for i := range len(s) {
		c := s[i]
		if c < 0x20 || c > 0x7e || c == ' ' && last == ' ' {
			return false
		}
		last = c
	}
	return s == "" || last != ' '
}

// harmful reports whether r could drive a terminal or reorder what a person reads.
func harmful(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0:
		return true
	case r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return true
	}
	return r == 0xfeff || unicode.Is(unicode.Co, r) || unicode.Is(unicode.Cs, r)
}

func cut(s string, limit int) string {
	const more = "…"
	n := limit - len(more)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.TrimRight(s[:n], " ") + more
}

// fingerprints makes stable names of findings within one report.
//
// A fingerprint is "v1:" and the SHA-256 of the finding's normalised parts:
// the tool, the rule, the file, the package without its version, and the kind
// of message. Lines and columns are left out, since code moves. In a message
// every run of digits counts as one, and upper and lower case are equal. Of an
// absolute file name only the last element counts, since a checkout may lie
// anywhere. If a report holds the same finding several times, the second and
// further ones also carry their number, so that an exception made for one
// finding does not excuse a new one beside it.
type fingerprints struct {
	seen map[[sha256.Size]byte]int
}

func (f *fingerprints) of(parts ...string) string {
	if f.seen == nil {
		f.seen = map[[sha256.Size]byte]int{}
	}
	sum := sumOf(parts)
	f.seen[sum]++
	if n := f.seen[sum]; n > 1 {
		sum = sumOf(append(parts, "#"+strconv.Itoa(n)))
	}
	return "v1:" + hex.EncodeToString(sum[:])
}

func sumOf(parts []string) [sha256.Size]byte {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "%d:%s,", len(p), p) // lengths keep neighbouring parts apart
	}
	return sha256.Sum256([]byte(b.String()))
}

// messageKind is what stays equal when the same complaint is made about moved code.
func messageKind(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	digit := false
	for _, r := range s {
		if r >= '0' && r <= '9' {
			if !digit {
				b.WriteByte('0')
			}
			digit = true
			continue
		}
		digit = false
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// fileKey is the part of a file name that is equal in every checkout.
func fileKey(file string) string {
	f := strings.ReplaceAll(file, "\\", "/")
	if strings.HasPrefix(f, "/") || len(f) > 2 && f[1] == ':' && f[2] == '/' {
		return path.Base(f)
	}
	return path.Clean("/" + f)[1:]
}

// fileName makes a file name of a SARIF URI.
func fileName(uri string) string {
	rest := uri
	switch {
	case strings.HasPrefix(uri, "file://"):
		rest = strings.TrimPrefix(uri, "file://")
		rest = strings.TrimPrefix(rest, "localhost")
	case strings.HasPrefix(uri, "file:"):
		rest = strings.TrimPrefix(uri, "file:")
	case strings.Contains(uri, "://"):
		return uri
	}
	if p, err := url.PathUnescape(rest); err == nil {
		rest = p
	}
	if len(rest) > 3 && rest[0] == '/' && rest[2] == ':' && rest[3] == '/' { // file:///C:/src
		rest = rest[1:]
	}
	return clean(rest, MaxName).s
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
