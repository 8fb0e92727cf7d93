package ledger

import (
	"encoding/base64"
	"errors"
)

var errInexact = errors.New("not in the exact form of base64")

// exactBase64 decodes the one form that encodes a value (RFC 4648, section 4). The library's
// decoder passes over line ends and, unless told, over the unused bits of the last character:
// the same value would then have many forms, and files that differ would be the same proof.
func exactBase64(text string) ([]byte, error) {
	data, err := base64.StdEncoding.DecodeString(text)
	if err == nil && base64.StdEncoding.EncodeToString(data) != text {
		err = errInexact
	}
	return data, err
}
