package ui

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"

	"assay.dev/assay"
)

//go:embed static
var staticFiles embed.FS

// asset is one embedded file under a name that changes with its content, so that
// a browser may keep it for ever.
type asset struct {
	name        string // with the content's hash: "app.1a2b3c4d5e6f.css"
	contentType string
	body        []byte
}

// loadAssets indexes the embedded files by their plain name.
func loadAssets() (map[string]asset, error) {
	entries, err := staticFiles.ReadDir("static")
	if err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "the static files: %w", err)
	}
	out := map[string]asset{}
	for _, e := range entries {
		body, err := staticFiles.ReadFile("static/" + e.Name())
		if err != nil {
			return nil, assay.Errorf(assay.CodeInternal, "the static files: %w", err)
		}
		sum := sha256.Sum256(body)
		ext := path.Ext(e.Name())
		out[e.Name()] = asset{
			name:        strings.TrimSuffix(e.Name(), ext) + "." + hex.EncodeToString(sum[:6]) + ext,
			contentType: mime.TypeByExtension(ext),
			body:        body,
		}
	}
	return out, nil
}

// address is where the browser finds a static file.
func (u *ui) address(name string) string { return "/static/" + u.static[name].name }

func (u *ui) asset(w http.ResponseWriter, r *http.Request) {
	for _, a := range u.static {
		if a.name != r.PathValue("file") {
			continue
		}
		w.Header().Set("Content-Type", a.contentType)
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		_, _ = w.Write(a.body) // the client is gone if this fails
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "no such file", http.StatusNotFound)
}
