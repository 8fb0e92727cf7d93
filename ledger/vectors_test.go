package ledger_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay.dev/assay/internal/testenv"
	"assay.dev/assay/ledger"
)

type vector struct {
	LeafIdx  uint64   `json:"leafIdx"`
	TreeSize uint64   `json:"treeSize"`
	Root     []byte   `json:"root"`
	LeafHash []byte   `json:"leafHash"`
	Size1    uint64   `json:"size1"`
	Size2    uint64   `json:"size2"`
	Root1    []byte   `json:"root1"`
	Root2    []byte   `json:"root2"`
	Proof    [][]byte `json:"proof"`
	Desc     string   `json:"desc"`
	WantErr  bool     `json:"wantErr"`
}

func TestVerifierAgreesWithTheRFC6962Vectors(t *testing.T) {
	root := testenv.Data(t, "vectors/merkle/testdata")
	ran := map[string]int{}
	for _, kind := range []string{"inclusion", "consistency"} {
		err := filepath.WalkDir(filepath.Join(root, kind), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".json") {
				return err
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			var v vector
			if err := json.Unmarshal(raw, &v); err != nil {
				return err
			}
			ran[kind]++
			if kind == "inclusion" {
				err = ledger.VerifyInclusion(v.LeafIdx, v.TreeSize, v.LeafHash, v.Proof, v.Root)
			} else {
				err = ledger.VerifyConsistencySizes(v.Size1, v.Size2, v.Proof, v.Root1, v.Root2)
			}
			if (err != nil) != v.WantErr {
				t.Errorf("%s (%s): error %v, want an error: %v", strings.TrimPrefix(path, root), v.Desc, err, v.WantErr)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if ran["inclusion"] != 98 || ran["consistency"] != 98 {
		t.Errorf("ran %v vectors, want 98 of each, 196 in all", ran)
	}
}
