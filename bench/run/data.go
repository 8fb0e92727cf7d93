package run

import (
	"fmt"
	"os"
	"path/filepath"
)

// Data is the path of a folder or file of the public data that stands beside the
// project, or below ASSAY_SHARED if that is set. It is never copied into the project.
func (b *Bench) Data(elem ...string) (string, error) {
	root := os.Getenv("ASSAY_SHARED")
	if root == "" {
		root = filepath.Join(b.Root, "..", "shared")
	}
	path := filepath.Join(append([]string{root, "data"}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("public data: %w; set ASSAY_SHARED to the folder that holds data/", err)
	}
	return path, nil
}
