package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path/filepath"

	"assay.dev/assay"
)

func readerOf(b []byte) io.Reader { return bytes.NewReader(b) }

func altered(name, why string) error {
	return &assay.Error{Code: assay.CodeUnverified, File: name, Msg: "is not what was backed up: " + why, Hint: "use another backup; nothing was restored"}
}

// read walks an archive, gives each file to take, and verifies all of it at the end.
func read(r io.Reader, take func(name string, mode fs.FileMode, content io.Reader) error) (Manifest, error) {
	in := &counted{r: r, sum: sha256.New()}
	t := tar.NewReader(in)
	found := []File{}
	for {
		h, err := t.Next()
		if err != nil {
			return Manifest{}, damaged(found, err)
		}
		if h.Name == manifestName {
			return finish(in, t, h, found)
		}
		if h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name) || filepath.Clean(h.Name) != h.Name || len(h.Name) > MaxName || len(found) == MaxFiles {
			return Manifest{}, altered(clip(h.Name), "no file with that name belongs into a backup")
		}
		sum := sha256.New()
		content := &source{r: t}
		if err := take(h.Name, fs.FileMode(h.Mode)&0o777, io.TeeReader(content, sum)); err != nil {
			if content.failed {
				return Manifest{}, altered(h.Name, "it is cut off")
			}
			return Manifest{}, err
		}
		if _, err := io.Copy(sum, t); err != nil { // what take left
			return Manifest{}, altered(h.Name, "it is cut off")
		}
		found = append(found, File{Name: h.Name, Size: h.Size, SHA256: hex.EncodeToString(sum.Sum(nil))})
	}
}

// source tells a backup that cannot be read from a target that cannot be written.
type source struct {
	r      io.Reader
	failed bool
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.failed = s.failed || err != nil && !errors.Is(err, io.EOF)
	return n, err
}

func damaged(found []File, err error) error {
	after := "the beginning"
	if len(found) > 0 {
		after = found[len(found)-1].Name
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return altered(after, "the backup ends behind it, without its manifest")
	}
	return altered(after, "the backup cannot be read behind it: "+err.Error())
}

// finish compares what was read with manifest and seal.
func finish(in *counted, t *tar.Reader, h *tar.Header, found []File) (Manifest, error) {
	data, err := io.ReadAll(io.LimitReader(t, MaxManifest+1))
	if err != nil || len(data) > MaxManifest || int64(len(data)) != h.Size {
		return Manifest{}, altered(manifestName, "it is cut off or too large")
	}
	var m Manifest // the seal covers every byte of it
	if err := json.Unmarshal(data, &m); err != nil || m.Format != format {
		return Manifest{}, altered(manifestName, "it cannot be read")
	}
	for i, f := range found {
		if i >= len(m.Files) || m.Files[i].Name != f.Name {
			return Manifest{}, altered(f.Name, "the manifest does not name it there")
		}
		if m.Files[i] != f {
			return Manifest{}, altered(f.Name, "its bytes have another digest than the manifest says")
		}
	}
	if len(m.Files) > len(found) {
		return Manifest{}, altered(m.Files[len(found)].Name, "it is missing")
	}
	// The seal was made behind the manifest's padding, which tar reads with the next header.
	if pad := -h.Size & 511; pad > 0 {
		if _, err := io.CopyN(io.Discard, in, pad); err != nil {
			return Manifest{}, altered(sealName, "it is missing")
		}
	}
	want := hex.EncodeToString(in.sum.Sum(nil))
	last := tar.NewReader(in)
	if h, err = last.Next(); err != nil || h.Name != sealName {
		return Manifest{}, altered(sealName, "it is missing")
	}
	seal, err := io.ReadAll(io.LimitReader(last, 65))
	if err != nil || string(seal) != want {
		return Manifest{}, altered(sealName, "bytes between the files were altered")
	}
	return m, nil
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
