package strict_test

import (
	"testing"

	"assay.dev/assay/internal/strict"
)

func TestItemsOfAListKeepTheirPlaces(t *testing.T) {
	docs, err := strict.Documents([]byte("- name: a\n- name: b\n  colour: blue\n---\nname: c\n"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range docs {
		for _, item := range d.Items() {
			names = append(names, item.String("name"))
		}
	}
	if len(names) != 3 || names[0] != "a" || names[1] != "b" || names[2] != "c" {
		t.Errorf("names %q, want a, b, c", names)
	}
	refused(t, "second item", docs[0].Items()[1].Decode(new(struct {
		Name string `json:"name"`
	})), `line 3, column 3: colour is not a known key (known keys: name)`)
}
