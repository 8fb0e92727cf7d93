package result

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
)

// Table writes the rows as text for people, one a line, columns aligned.
func Table(w io.Writer, rows []Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "measure\tours\tunit\tpeer\tratio\traw limit\ttarget\tholds\tnoise\trounds")
	for _, r := range rows {
		peer, holds := "-", "yes"
		if r.Peer != nil {
			peer = number(*r.Peer) + " " + *r.PeerName
		}
		if !r.Holds {
			holds = "NO"
		}
		if r.Target == "none" {
			holds = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t±%.0f%%\t%d\n", r.Name, number(r.Ours), r.Unit,
			peer, optional(r.Ratio), optional(r.Limit), r.Target, holds, 50*r.Noise, r.Rounds)
	}
	return t.Flush()
}

func optional(v *float64) string {
	if v == nil {
		return "-"
	}
	return number(*v)
}

// Write keeps the rows as a JSON array in the file at path, whose folder it makes.
func Write(path string, rows []Row) error {
	data, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
