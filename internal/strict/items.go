package strict

import "go.yaml.in/yaml/v3"

// Items returns the entries of a document that is a list, each as a document
// that keeps its places, and the document itself when it is anything else.
func (d Document) Items() []Document {
	if d.root.Kind != yaml.SequenceNode {
		return []Document{d}
	}
	items := make([]Document, 0, len(d.root.Content))
	for _, n := range d.root.Content {
		items = append(items, Document{n})
	}
	return items
}
