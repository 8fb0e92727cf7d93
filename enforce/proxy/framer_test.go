package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"
)

// FuzzFramer holds the guard against net/http: whatever the guard takes for one
// whole request, net/http must read as exactly that request, to the byte.
func FuzzFramer(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\nHost: x\n\n", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		f.Add([]byte(s), 1)
		f.Add([]byte(s), 1000)
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece int) {
		piece = max(1, min(piece, 4096))
		ends := frame(t, stream, piece)
		if again := frame(t, stream, len(stream)+1); len(again) != len(ends) {
			t.Fatalf("in pieces of %d the stream has %d requests, as a whole %d", piece, len(ends), len(again))
		}
		r := &counter{Reader: bytes.NewReader(stream)}
		br := bufio.NewReader(r)
		for i, end := range ends {
			req, err := http.ReadRequest(br)
			if err != nil {
				return // net/http may be stricter still; then nothing is forwarded
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			if at := r.n - br.Buffered(); at != end {
				t.Fatalf("request %d ends at byte %d for net/http and at %d for the guard", i, at, end)
			}
		}
	})
}

type counter struct {
	io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

// frame feeds a stream in pieces and returns where the whole requests end.
func frame(t *testing.T, stream []byte, piece int) (ends []int) {
	t.Helper()
	fr := framer{maxHead: 8 << 10, maxFields: 50}
	done, have := 0, 0
	for {
		began := fr.phase
		n, v := fr.next(stream[done:have])
		if v != nil {
			return ends
		}
		if n < 0 || n > have-done {
			t.Fatalf("of %d bytes the framer took %d", have-done, n)
		}
		done += n
		if n > 0 && fr.phase == inHead {
			ends = append(ends, done)
		}
		if n == 0 && began == fr.phase {
			if have == len(stream) {
				return ends
			}
			have = min(len(stream), have+piece)
		}
	}
}
