package report

import (
	_ "embed"
	"html/template"
	"io"
	"time"
)

//go:embed page.html
var page string

// HTML writes a report as one page that needs nothing else: no script, no font and
// no picture from anywhere, fit to be printed.
func HTML(w io.Writer, r Report) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"time": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"state": func(s State) string {
			switch s {
			case Evidenced:
				return "Evidenced."
			case Gap:
				return "Gap."
			}
			return "Not covered by Assay."
		},
	}).Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(w, r)
}
