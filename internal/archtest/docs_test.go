//go:build !race

package archtest

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maps of the folders that must be complete.
var folderMaps = []string{"README.md", "ARCHITECTURE.md"}

// folderName is a folder as documents write it: `store/` or `store/sqlite/`.
var folderName = regexp.MustCompile("`((?:[a-z0-9.-]+/)+)`")

// sumsLine lists the packages that the Makefile tests without the race detector too.
var sumsLine = regexp.MustCompile(`(?m)^SUMS = .*$`)

// startsLines list the packages of which it tests some without, and their names.
var startsLines = regexp.MustCompile(`(?m)^STARTS = (.*)\nSTARTED = (.*)$`)

var testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// foldersAreMapped checks that the two maps name folders that exist, and all
// top-level folders.
func foldersAreMapped(t *tree) (out []problem) {
	for _, doc := range folderMaps {
		text, ok := t.text[doc]
		if !ok {
			out = append(out, problem{doc, "does not exist", ""})
			continue
		}
		named := map[string]bool{}
		for n, line := range strings.Split(text, "\n") {
			for _, m := range folderName.FindAllStringSubmatch(line, -1) {
				dir := strings.TrimSuffix(m[1], "/")
				named[strings.Split(dir, "/")[0]] = true
				if !t.dirs[dir] {
					out = append(out, problem{fmt.Sprintf("%s:%d", doc, n+1), "names the folder " + dir + "/, which does not exist", ""})
				}
			}
		}
		for dir := range t.dirs {
			if dir != ".ci" && !strings.Contains(dir, "/") && !named[dir] {
				out = append(out, problem{doc, "does not name the folder " + dir + "/", "add it to the map with its one job"})
			}
		}
	}
	return out
}

// prose blanks the lines inside fenced code, so that line numbers stay.
func prose(text string) []string {
	lines := strings.Split(text, "\n")
	fenced := false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fenced || fence {
			lines[i] = ""
		}
		fenced = fenced != fence
	}
	return lines
}

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)(?:\s+"[^"]*")?\)`)
	heading  = regexp.MustCompile(`(?m)^#{1,6}\s+(.*?)\s*$`)
	makeUse  = regexp.MustCompile(`\bmake ([a-z][a-z-]*)`)
	makeRule = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
	// machinePath matches absolute paths that exist on one machine only.
	machinePath = regexp.MustCompile("(?m)(?:^|[\\s\"'`(=:])(/(?:root|home|work|Users)/[^\\s\"'`)]*)")
)

// linksResolve checks every relative link of every Markdown file, anchors included.
func linksResolve(t *tree) (out []problem) {
	for doc, text := range t.text {
		if path.Ext(doc) != ".md" || strings.Contains("/"+doc, "/testdata/") {
			continue
		}
		for n, line := range prose(text) {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				if why := t.broken(doc, m[1]); why != "" {
					out = append(out, problem{fmt.Sprintf("%s:%d", doc, n+1), "links to " + m[1] + ", " + why, ""})
				}
			}
		}
	}
	return out
}

// broken says why a link of doc leads nowhere, "" if it resolves or leaves the project.
func (t *tree) broken(doc, target string) string {
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return ""
	}
	file, anchor, _ := strings.Cut(target, "#")
	p := doc
	if file != "" {
		p = path.Join(path.Dir(doc), file)
	}
	if strings.HasPrefix(file, "/") || strings.HasPrefix(p, "..") {
		return "which is outside the project"
	}
	text, isFile := t.text[p]
	if !isFile && !t.dirs[p] && !t.rest[p] {
		return "which does not exist"
	}
	if anchor != "" && isFile && path.Ext(p) == ".md" && !slices.Contains(anchors(text), anchor) {
		return "which has no such heading"
	}
	return ""
}

// anchors are the fragment names of a Markdown text's headings.
func anchors(text string) (out []string) {
	for _, m := range heading.FindAllStringSubmatch(strings.Join(prose(text), "\n"), -1) {
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 0x7f:
				return r
			}
			return -1
		}, strings.ToLower(m[1]))
		out = append(out, slug)
	}
	return out
}

// documentsNameRules checks that every `make X` in a document is a rule of the Makefile.
func documentsNameRules(t *tree) (out []problem) {
	have := map[string]bool{}
	for _, m := range makeRule.FindAllStringSubmatch(t.text["Makefile"], -1) {
		have[m[1]] = true
	}
	code := regexp.MustCompile("`[^`]*`")
	for doc, text := range t.text {
		if path.Ext(doc) != ".md" {
			continue
		}
		fenced := false
		for n, line := range strings.Split(text, "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				fenced = !fenced
				continue
			}
			if !fenced && !strings.HasPrefix(line, "    ") { // outside code only what is marked as code
				line = strings.Join(code.FindAllString(line, -1), " ")
			}
			for _, m := range makeUse.FindAllStringSubmatch(line, -1) {
				if !have[m[1]] {
					out = append(out, problem{fmt.Sprintf("%s:%d", doc, n+1), "says make " + m[1] + ", which is not in the Makefile", ""})
				}
			}
		}
	}
	return out
}

// unwatchedTestsRun checks that the Makefile tests what a file leaves out of the race detector
// without it: its whole package, or tests of these names in it. Nobody else would run them.
func unwatchedTestsRun(t *tree) (out []problem) {
	sums := strings.Fields(sumsLine.FindString(t.text["Makefile"]))
	var starts []string
	started := regexp.MustCompile(`^\z`)
	if m := startsLines.FindStringSubmatch(t.text["Makefile"]); m != nil {
		starts, started = strings.Fields(m[1]), regexp.MustCompile(m[2])
	}
	for name, text := range t.text {
		dir := "./" + path.Dir(name)
		if !strings.HasSuffix(name, "_test.go") || !strings.HasPrefix(text, "//go:build !race\n") || slices.Contains(sums, dir) {
			continue
		}
		for _, m := range testFunction.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(starts, dir) || !started.MatchString(m[1]) {
				out = append(out, problem{name, m[1] + " is run by nothing: `make test` runs " + dir + " with the race detector only", "add " + dir + " to SUMS in the Makefile, or to STARTS and the test to STARTED"})
			}
		}
	}
	return out
}

// noMachinePaths checks that nothing names a place on one person's machine.
func noMachinePaths(t *tree) (out []problem) {
	for name, text := range t.text {
		for _, m := range machinePath.FindAllStringSubmatchIndex(text, -1) {
			line := strings.Count(text[:m[2]], "\n") + 1
			out = append(out, problem{fmt.Sprintf("%s:%d", name, line), "names " + text[m[2]:m[3]] + ", a place on one machine", "use a relative path or a variable"})
		}
	}
	return out
}

func TestFolderMapsAreTrue(t *testing.T)          { check(t, foldersAreMapped(loadModule(t))) }
func TestLinksResolve(t *testing.T)               { check(t, linksResolve(loadModule(t))) }
func TestUnwatchedTestsAreRun(t *testing.T)       { check(t, unwatchedTestsRun(loadModule(t))) }
func TestDocumentsNameMakefileRules(t *testing.T) { check(t, documentsNameRules(loadModule(t))) }
func TestNothingNamesOneMachine(t *testing.T)     { check(t, noMachinePaths(loadModule(t))) }
