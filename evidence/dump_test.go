package evidence_test

import (
	"encoding/json"
	"testing"
)

// dump is v as JSON, for comparison.
func dump(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
