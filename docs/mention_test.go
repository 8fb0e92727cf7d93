package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mention is a command of the program that a page names and no test runs, because it
// needs a cluster, a registry or hours: at least it and its flags must exist.
type mention struct {
	line int // of the page, 1-based
	args []string
}

var (
	// programCall is "assay" where a command begins, or the path of such a program,
	// with its arguments up to the end of the command.
	programCall = regexp.MustCompile(`(?:^|[\s(])(?:[^\s'"()]*/)?assay((?:[ \t]+(?:'[^']*'|"[^"]*"|[^\s'"|;&()#>]+))+)`)
	argument    = regexp.MustCompile(`'[^']*'|"[^"]*"|[^\s'"]+`)
	codeSpan    = regexp.MustCompile("`(assay [^` ][^`]*)`")
	commandWord = regexp.MustCompile(`^[a-z]`) // and not a flag, a placeholder or an ellipsis
	flagOfHelp  = regexp.MustCompile(`(?m)^ +(?:(-[a-zA-Z]), )?(--[a-z-]+)`)
)

// mentions reads the commands of the program that a page shows in fenced blocks that are
// not run, in indented ones, and between backquotes in its text.
func mentions(page string) (out []mention) {
	block := ""
	lines := strings.Split(page, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch m := fence.FindStringSubmatch(line); {
		case block == "" && m != nil:
			if block = m[1]; block == "" {
				block = "text"
			}
			continue
		case line == "```":
			block = ""
			continue
		}
		indented := block == "" && strings.HasPrefix(line, "    ")
		if block == "sh" || block == "yaml" || indented {
			at := i + 1
			for strings.HasSuffix(line, `\`) && i+1 < len(lines) {
				i++
				line = strings.TrimSuffix(line, `\`) + " " + lines[i]
			}
			for _, call := range programCall.FindAllStringSubmatch(line, -1) {
				out = append(out, mention{at, argument.FindAllString(call[1], -1)})
			}
		} else if block == "" {
			for _, span := range codeSpan.FindAllStringSubmatch(line, -1) {
				call := programCall.FindStringSubmatch(span[1])
				out = append(out, mention{i + 1, argument.FindAllString(call[1], -1)})
			}
		}
	}
	return out
}

// tongue is the commands of the program, each asked for its help once.
type tongue struct{ help map[string]string }

func (p *tongue) of(path string) string {
	if text, ok := p.help[path]; ok {
		return text
	}
	out, err := exec.Command(filepath.Join(binDir, "assay"), append(strings.Fields(path), "--help")...).Output()
	if err != nil {
		out = nil
	}
	p.help[path] = string(out)
	return p.help[path]
}

// children are the sub-commands of a command.
func (p *tongue) children(path string) (out []string) {
	_, list, _ := strings.Cut(p.of(path), "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	for _, m := range subCommands.FindAllStringSubmatch(list, -1) {
		out = append(out, m[1])
	}
	return out
}

// untrue says what of a command does not exist, "" if all of it does.
func (p *tongue) untrue(m mention) string {
	path, rest := "", m.args
	for len(rest) > 0 {
		list := p.children(path)
		if len(list) == 0 || !commandWord.MatchString(rest[0]) || rest[0] == "help" {
			break
		}
		if !slices.Contains(list, rest[0]) {
			return fmt.Sprintf("assay%s has no command %s", path, rest[0])
		}
		path, rest = path+" "+rest[0], rest[1:]
	}
	var flags []string
	// The flags of every command are explained in the help of the program.
	for _, f := range flagOfHelp.FindAllStringSubmatch(p.of(path)+p.of(""), -1) {
		flags = append(flags, f[1], f[2])
	}
	for _, arg := range rest {
		if arg == "--" {
			break
		}
		name, _, _ := strings.Cut(arg, "=")
		if strings.HasPrefix(name, "-") && len(name) > 1 && !slices.Contains(flags, name) {
			return fmt.Sprintf("assay%s has no flag %s", path, name)
		}
	}
	return ""
}

func TestEveryCommandThatAPageNamesExistsWithItsFlags(t *testing.T) {
	list := pages(t)
	for _, pattern := range []string{"design/*.md", "../*.md", "../examples/*/README.md", "../deploy/*/README.md", "../deploy/*/*/README.md"} {
		more, err := filepath.Glob(filepath.FromSlash(pattern))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, more...)
	}
	slices.Sort(list)
	program := &tongue{help: map[string]string{}}
	seen := 0
	for _, path := range slices.Compact(list) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mentions(string(data)) {
			seen++
			if why := program.untrue(m); why != "" {
				t.Errorf("%s:%d: %s", filepath.ToSlash(path), m.line, why)
			}
		}
	}
	if seen < 150 {
		t.Errorf("the pages name %d commands; were they not recognised?", seen)
	}
}

func TestACommandThatDoesNotExistIsReportedWhereverAPageNamesIt(t *testing.T) {
	program := &tongue{help: map[string]string{}}
	for page, want := range map[string]string{
		"```sh\nassay exception request --rule a \\\n    --name b\n```":       "assay exception request has no flag --name",
		"```sh\nX=1 bin/assay verfy && echo\n```":                             "assay has no command verfy",
		"```yaml\n- run: assay ledger shout\n```":                             "assay ledger has no command shout",
		"see\n\n    assay verify app --evidense x.json\n":                     "assay verify has no flag --evidense",
		"Run `assay key turn`.":                                               "assay key has no command turn",
		"```sh\necho \"$(assay admit check x --envirnment y)\"\n```":          "assay admit check has no flag --envirnment",
		"```sh\nassay verify app --evidence a && assay attest x --prove\n```": "assay attest has no flag --prove",
	} {
		list := mentions(page)
		var why strings.Builder
		for _, m := range list {
			why.WriteString(program.untrue(m))
		}
		if why.String() != want {
			t.Errorf("%q: %q, expected %q (of %v)", page, why.String(), want, list)
		}
	}
	for _, page := range []string{
		"```sh\nassay exception request --rule a --subject-name 'b --name c' # --name\n```",
		"```console\n$ assay verfy\n```", "```sh\nassay verify app | tee --nonsense\n```", "`assay exception …`", "`assay ledger`",
	} {
		for _, m := range mentions(page) {
			if why := program.untrue(m); why != "" {
				t.Errorf("%q: %s", page, why)
			}
		}
	}
}
