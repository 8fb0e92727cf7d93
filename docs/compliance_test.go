package docs_test

import (
	"os"
	"path/filepath"
	"testing"
)

func TestComplianceExampleIsVerifiedByAnAuditorAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "examples"))); err != nil {
		t.Fatal(err)
	}
	page := "```console\n$ OUT=out sh compliance/run.sh\n…\nprod  2 of 3 artifacts attested (66.7 %)\n…\n✓ … facts in the ledger, as the report says\n…\n" +
		"prod  1 of 3 artifacts attested (33.3 %)\n…\n$ ls out\nreport.html\nreport.json\nreport.oscal.json\n```\n"
	for _, p := range runPage(t, page, dir) {
		t.Error(p)
	}
}
