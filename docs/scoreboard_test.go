package docs_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// table is a Markdown table: its head and its rows, cell by cell.
type table struct {
	line int // of the head, 1-based
	head []string
	rows [][]string
}

// tables reads the tables of a page. A row with another number of cells than its
// head is a problem.
func tables(page string) (out []table, problems []int) {
	var open *table
	for n, line := range strings.Split(page, "\n") {
		if !strings.HasPrefix(line, "|") {
			open = nil
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case open == nil:
			out = append(out, table{line: n + 1, head: cells})
			open = &out[len(out)-1]
		case len(cells) != len(open.head):
			problems = append(problems, n+1)
		case strings.Trim(strings.Join(cells, ""), "-:") == "":
		default:
			open.rows = append(open.rows, cells)
		}
	}
	return out, problems
}

// The scoreboard is written by a program. What is checked here is that the page is one
// that it wrote: whole tables, a seed to repeat them with, and no figure left out.
func TestScoreboardNamesItsSeedAndItsTablesParse(t *testing.T) {
	data, err := os.ReadFile("scoreboard.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	if !regexp.MustCompile(`(?m)^Seed \d+; the same seed gives the same figures\.`).MatchString(page) {
		t.Error("the page does not name its seed")
	}
	for _, want := range []string{"make bench-decisions", "Where we are worse:", "Declared costs", "of the class "} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	all, problems := tables(page)
	if len(problems) > 0 {
		t.Errorf("lines %v have another number of cells than their table", problems)
	}
	if len(all) < 8 {
		t.Errorf("%d tables, the command writes at least 8", len(all))
	}
	for _, tab := range all {
		if len(tab.rows) == 0 {
			t.Errorf("line %d: a table without rows", tab.line)
		}
		for _, row := range tab.rows {
			if slices.Contains(row, "") || strings.Contains(strings.Join(row, " "), "NaN") || strings.Contains(strings.Join(row, " "), "Inf") {
				t.Errorf("table of line %d: a row lacks a figure: %v", tab.line, row)
			}
		}
	}
	for _, controller := range []string{"Assay", "Argo Rollouts", "Argo tuned", "Flagger", "Flagger tuned", "Kayenta", "Kayenta tuned", "oracle"} {
		if !slices.ContainsFunc(all, func(tab table) bool { return slices.Contains(tab.head, controller) }) {
			t.Errorf("no table has a column of %s", controller)
		}
	}
}

func TestATableThatIsCutIsSeen(t *testing.T) {
	if _, problems := tables("| a | b |\n| --- | --- |\n| 1 |\n| 1 | 2 |\n"); !slices.Equal(problems, []int{3}) {
		t.Errorf("problems in lines %v, want 3", problems)
	}
	all, _ := tables("| a | b |\n| --- | --- |\n| 1 | 2 |\ntext\n| c |\n| --- |\n")
	if len(all) != 2 || len(all[0].rows) != 1 || len(all[1].rows) != 0 || all[1].line != 5 {
		t.Errorf("read %+v", all)
	}
}
