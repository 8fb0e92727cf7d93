package protocol_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"assay.dev/assay/signer/protocol"
)

// memory is a key in memory.
type memory struct {
	crypto.Signer
	fails error
}

func (m memory) Sign(input []byte) ([]byte, error) {
	if m.fails != nil {
		return nil, m.fails
	}
	if _, whole := m.Signer.(ed25519.PrivateKey); whole {
		return m.Signer.Sign(nil, input, crypto.Hash(0))
	}
	return m.Signer.Sign(rand.Reader, input, crypto.SHA256)
}

func serve(t testing.TB, key protocol.Key, openError error, lines ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := protocol.Serve(strings.NewReader(strings.Join(lines, "\n")+"\n"), &out, func(string) (protocol.Key, error) { return key, openError })
	return out.String(), err
}

func TestRequestsAreAnsweredOneByOne(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const describe = `{"id":1,"op":"describe","key":"k"}`
	digest := `{"id":2,"op":"sign","digest":"` + base64.StdEncoding.EncodeToString(make([]byte, 32)) + `"}`
	message := `{"id":2,"op":"sign","message":"aGk="}`
	for name, c := range map[string]struct {
		key   memory
		open  error
		lines []string
		want  string // in the last answer
	}{
		"P-256":                     {memory{Signer: p256}, nil, []string{describe, digest}, `{"id":2,"signature":"`},
		"Ed25519":                   {memory{Signer: ed}, nil, []string{describe, message}, `{"id":2,"signature":"`},
		"P-256 and a message":       {memory{Signer: p256}, nil, []string{describe, message}, "signs a SHA-256 digest"},
		"Ed25519 and a digest":      {memory{Signer: ed}, nil, []string{describe, digest}, "signs a message"},
		"a digest that is none":     {memory{Signer: p256}, nil, []string{describe, `{"id":2,"op":"sign","digest":"aGk="}`}, "signs a SHA-256 digest"},
		"sign before describe":      {memory{Signer: p256}, nil, []string{digest}, "describe comes first"},
		"describe twice":            {memory{Signer: p256}, nil, []string{describe, `{"id":2,"op":"describe","key":"k"}`}, "open already"},
		"another curve":             {memory{Signer: p384}, nil, []string{describe}, "is ECDSA P-384"},
		"another operation":         {memory{Signer: p256}, nil, []string{`{"id":2,"op":"decrypt"}`}, "is not known"},
		"no such key":               {memory{}, errors.New("no\nsuch key"), []string{describe}, `"error":"no such key"`},
		"a service that is away":    {memory{}, protocol.Temporary{Err: errors.New("away")}, []string{describe}, `"retry":true`},
		"a token that is taken out": {memory{Signer: p256, fails: errors.New("CKR_DEVICE_REMOVED")}, nil, []string{describe, digest}, "CKR_DEVICE_REMOVED"},
	} {
		out, err := serve(t, c.key, c.open, c.lines...)
		answers := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		if err != nil || len(answers) != len(c.lines) || !strings.Contains(answers[len(answers)-1], c.want) {
			t.Errorf("%s: %q, %v; want %q", name, answers, err, c.want)
		}
	}
}

func TestWhatIsNoRequestEndsTheProgram(t *testing.T) {
	for name, line := range map[string]string{
		"no JSON":       "hello",
		"unknown field": `{"id":1,"op":"sign","pin":"1234"}`,
		"too long":      `{"id":1,"key":"` + strings.Repeat("x", protocol.MaxRequest) + `"}`,
	} {
		if out, err := serve(t, memory{}, nil, line); err == nil || out != "" {
			t.Errorf("%s: %q, %v; want an error", name, out, err)
		}
	}
	var out bytes.Buffer
	if err := protocol.Serve(strings.NewReader(`{"id":1}`), &out, nil); err == nil {
		t.Error("a request without an end was answered")
	}
}

func FuzzServe(f *testing.F) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("{\"id\":1,\"op\":\"describe\"}\n{\"id\":2,\"op\":\"sign\",\"message\":\"\"}")
	f.Fuzz(func(t *testing.T, in string) {
		out, _ := serve(t, memory{Signer: ed}, nil, in)
		if got, most := strings.Count(out, "\n"), strings.Count(in, "\n")+1; got > most {
			t.Errorf("%d answers to at most %d requests", got, most)
		}
	})
}
