package inventory

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"

	"assay.dev/assay"
)

// Fit returns a sighting whose names Push takes. Sources call it with names that others
// chose: Kubernetes and registries allow longer ones, and one of them must not keep a
// whole cluster from being heard. What is cut ends in a hash of all of it, so that two
// long names stay two. An image that the digest makes needless is left out.
func Fit(g Sighting) Sighting {
	g.Service, g.Place = fit(g.Service, MaxName), fit(g.Place, MaxName)
	if len(g.Image) > MaxImage && g.Digest != "" {
		g.Image = "" // the digest says what it is
	}
	if name, pin, pinned := strings.Cut(g.Image, "@"); pinned {
		if _, err := assay.ParseDigest(pin); err != nil {
			g.Image = name // pinned to something that is no digest here: it runs all the same
		} else if len(g.Image) > MaxImage {
			g.Image, g.Digest = "", assay.Digest(pin)
		}
	}
	g.Image = fit(g.Image, MaxImage)
	return g
}

// fit is a name as checkName wants it; "" stays empty.
func fit(name string, most int) string {
	const hashed = 6 // bytes of the hash that are kept
	s := strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, name))
	if len(s) <= most {
		return s
	}
	sum := sha256.Sum256([]byte(name))
	return strings.ToValidUTF8(s[:most-1-2*hashed], "") + "~" + hex.EncodeToString(sum[:hashed]) // without half a letter
}
