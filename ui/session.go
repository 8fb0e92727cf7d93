package ui

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strings"
	"time"

	"assay.dev/assay"
)

// A session is what a browser keeps instead of the token: the token's id and the session's
// end, sealed with a key that only this installation has. Who reads the cookie learns
// neither, and cannot use it anywhere but at these pages; nobody can make or change one
// (authenticated encryption compares in constant time). The id is looked up at each
// request, so a session ends with its token.

// SessionKeyBytes is the length of the key that seals sessions.
const SessionKeyBytes = 32

// sessionLife is how long somebody stays signed in; the token may end earlier.
const sessionLife = 12 * time.Hour

const (
	// cookiePlain holds the session, and cookieSecure over TLS, where the prefix keeps
	// other hosts of a domain and plain HTTP from setting it.
	cookiePlain  = "assay_session"
	cookieSecure = "__Host-assay_session"
	// cookieToken held the token itself before there were sessions.
	cookieToken = "assay_token"
	// maxSession is how long a sealed session may be.
	maxSession = 256
)

// sessionPurpose keeps what is sealed for something else from being a session.
var sessionPurpose = []byte("assay ui session v1")

// sealer seals and opens sessions.
type sealer struct{ aead cipher.AEAD }

// newSealer returns a sealer with a key of SessionKeyBytes.
func newSealer(key []byte) (sealer, error) {
	if len(key) != SessionKeyBytes {
		return sealer{}, assay.Errorf(assay.CodeInvalid, "the key of sessions has %d bytes, not %d", len(key), SessionKeyBytes)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return sealer{aead}, err
}

// seal makes a session of a token that ends at a time.
func (s sealer) seal(tokenID string, end time.Time) string {
	plain := binary.BigEndian.AppendUint64(nil, uint64(end.Unix()))
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, append(plain, tokenID...), sessionPurpose))
}

// open returns the token of a session, false if it is none of ours or has ended.
func (s sealer) open(text string, now time.Time) (tokenID string, ok bool) {
	if len(text) > maxSession {
		return "", false
	}
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return "", false
	}
	plain, err := s.aead.Open(nil, nil, sealed, sessionPurpose)
	if err != nil || len(plain) < 8 || now.Unix() >= int64(binary.BigEndian.Uint64(plain)) {
		return "", false
	}
	return string(plain[8:]), true
}

// sessionOf is the cookie of a session, or of none to end it.
func sessionOf(r *http.Request, value string) *http.Cookie {
	c := &http.Cookie{Name: cookieName(r), Value: value, Path: "/", MaxAge: int(sessionLife.Seconds()), HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: encrypted(r)}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

// forgetToken removes a token that an older version left in the browser.
func forgetToken(w http.ResponseWriter, r *http.Request) {
	if _, err := r.Cookie(cookieToken); err == nil {
		http.SetCookie(w, &http.Cookie{Name: cookieToken, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: encrypted(r)})
	}
}

func cookieName(r *http.Request) string {
	if encrypted(r) {
		return cookieSecure
	}
	return cookiePlain
}

// encrypted reports whether the browser's connection is: ours, or that of the proxy
// before us, which says so.
func encrypted(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}
