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

type subtreeVector struct {
	LeafIdx  uint64   `json:"leafIdx"`
	Start    uint64   `json:"start"`
	End      uint64   `json:"end"`
	Size     uint64   `json:"size"`
	Root     []byte   `json:"root"`
	LeafHash []byte   `json:"leafHash"`
	Root1    []byte   `json:"root1"`
	Root2    []byte   `json:"root2"`
	Proof    [][]byte `json:"proof"`
	Desc     string   `json:"desc"`
	WantErr  bool     `json:"wantErr"`
}

func TestVerifierAgreesWithTheSubtreeVectors(t *testing.T) {
	root := testenv.Data(t, "vectors/merkle/testdata")
	total := 0
	for kind, verify := range map[string]func(v subtreeVector) error{
		"subtreeinclusion": func(v subtreeVector) error {
			return ledger.VerifySubtreeInclusion(v.LeafIdx, v.Start, v.End, v.LeafHash, v.Proof, v.Root)
		},
		"subtreeconsistency": func(v subtreeVector) error {
			return ledger.VerifySubtreeConsistency(v.Start, v.End, v.Size, v.Proof, v.Root1, v.Root2)
		},
	} {
		err := filepath.WalkDir(filepath.Join(root, kind), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".json") {
				return err
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			var v subtreeVector
			if err := json.Unmarshal(raw, &v); err != nil {
				return err
			}
			total++
			if err := verify(v); (err != nil) != v.WantErr {
				t.Errorf("%s (%s): error %v, want an error: %v", strings.TrimPrefix(path, root), v.Desc, err, v.WantErr)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if total != 322 {
		t.Errorf("ran %d subtree vectors, want 322", total)
	}
}
