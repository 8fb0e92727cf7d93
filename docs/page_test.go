package docs_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// command is one "$ " line of a console block and what the page says of it.
type command struct {
	line int // of the page, 1-based
	text string
	want []string // lines of output
	exit int
	file string // not a command but a file that the page shows: its name
}

// fence is the first line of a fenced block.
var fence = regexp.MustCompile("^```([a-z]*)(?: +file=([A-Za-z0-9._/-]+))?\\s*$")

// exitMark is the last line below a command that does not end with 0.
var exitMark = regexp.MustCompile(`^\(exit (\d+)\)$`)

// commands reads a page: its commands and files, in order.
func commands(page string) (out []command, err error) {
	lines := strings.Split(page, "\n")
	for i := 0; i < len(lines); i++ {
		m := fence.FindStringSubmatch(lines[i])
		if m == nil {
			if strings.HasPrefix(lines[i], "```") {
				return nil, fmt.Errorf("line %d: a fence that is not understood: %s", i+1, lines[i])
			}
			continue
		}
		start := i + 1
		for i++; i < len(lines) && lines[i] != "```"; i++ {
		}
		if i == len(lines) {
			return nil, fmt.Errorf("line %d: the block has no end", start)
		}
		switch body := lines[start:i]; {
		case m[2] != "":
			out = append(out, command{line: start, text: strings.Join(body, "\n") + "\n", file: m[2]})
		case m[1] == "console":
			list, err := session(body, start+1)
			if err != nil {
				return nil, err
			}
			out = append(out, list...)
		}
	}
	return out, nil
}

// session reads the body of a console block whose first line is the page's line at.
func session(body []string, at int) (out []command, err error) {
	for i := 0; i < len(body); i++ {
		text, ok := strings.CutPrefix(body[i], "$ ")
		if !ok {
			if len(out) == 0 {
				return nil, fmt.Errorf("line %d: output before the first command", at+i)
			}
			c := &out[len(out)-1]
			if m := exitMark.FindStringSubmatch(body[i]); m != nil {
				c.exit, _ = strconv.Atoi(m[1]) // digits
				continue
			}
			c.want = append(c.want, body[i])
			continue
		}
		c := command{line: at + i, text: text}
		for strings.HasSuffix(c.text, `\`) && i+1 < len(body) {
			i++
			c.text += "\n" + body[i]
		}
		out = append(out, c)
	}
	return out, nil
}

// A unit separator ends the output of each command, followed by its exit code
// and a record separator. No program here prints either.
const (
	unitSeparator   = "\x1f"
	recordSeparator = "\x1e"
)

// script is the one shell program of a page. Commands run in the shell itself,
// so that variables and background jobs live on; jobs end with the page.
func script(list []command, files string) (string, error) {
	var b strings.Builder
	b.WriteString("exec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\n")
	for i, c := range list {
		if c.file == "" {
			fmt.Fprintf(&b, "%s\nprintf '\\037%%d\\036' $?\n", c.text)
			continue
		}
		kept := filepath.Join(files, strconv.Itoa(i))
		if err := os.WriteFile(kept, []byte(c.text), 0o600); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "mkdir -p '%s' && cat '%s' > '%s'\nprintf '\\037%%d\\036' $?\n", filepath.Dir(c.file), kept, c.file)
	}
	return b.String(), nil
}

// pageTime is how long the commands of one page may take together.
const pageTime = 3 * time.Minute

// runPage runs a page in the folder dir and reports where it is not true.
func runPage(t *testing.T, page, dir string) (problems []string) {
	t.Helper()
	return runPageIn(t, page, dir, syscall.SysProcAttr{})
}

// runPageIn runs a page in a process with these attributes.
func runPageIn(t *testing.T, page, dir string, attr syscall.SysProcAttr) (problems []string) {
	t.Helper()
	list, err := commands(page)
	if err != nil {
		return []string{err.Error()}
	}
	program, err := script(list, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	out := shell(t, program, dir, attr)
	results := strings.Split(out, recordSeparator)
	for i, c := range list {
		if i >= len(results)-1 {
			return append(problems, fmt.Sprintf("line %d: the shell ended before or in: %s\n%s", c.line, c.text, results[len(results)-1]))
		}
		got, code, _ := strings.Cut(results[i], unitSeparator)
		if code != strconv.Itoa(c.exit) {
			problems = append(problems, fmt.Sprintf("line %d: exit code %s, the page says %d: %s\n%s", c.line, code, c.exit, c.text, got))
			continue
		}
		if c.file == "" && !expected(c.want).MatchString(got) {
			problems = append(problems, fmt.Sprintf("line %d: %s\nprinted\n%s\nthe page says\n%s\n", c.line, c.text, got, strings.Join(c.want, "\n")))
		}
	}
	return problems
}

// shell runs a program and returns what it printed. Output goes to a file: a
// pipe would be held open by what runs in the background.
func shell(t *testing.T, program, dir string, attr syscall.SysProcAttr) string {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	ctx, cancel := context.WithTimeout(t.Context(), pageTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", program)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.Env = []string{
		"PATH=" + binDir + string(os.PathListSeparator) + os.Getenv("PATH"),
		"HOME=" + dir, "TMPDIR=" + os.TempDir(), "LANG=C.UTF-8", "NO_COLOR=1",
	}
	// The page's whole process group ends with it, whatever it left in the background.
	attr.Setpgid = true
	cmd.SysProcAttr = &attr
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	_ = cmd.Run() // the exit codes that count are in the output
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	data, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// column is the space between two columns of a table, whose widths depend on ids.
var column = regexp.MustCompile(` {2,}`)

// expected is the pattern of the lines that a page shows. White space at the
// end of a line does not count: editors remove it from pages. Two or more spaces
// stand for any number from two.
func expected(lines []string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`\A`)
	for _, line := range lines {
		if line == "…" {
			b.WriteString(`(?:.*\n)*?`)
			continue
		}
		parts := strings.Split(strings.TrimRight(line, " "), "…")
		for i, p := range parts {
			parts[i] = column.ReplaceAllString(regexp.QuoteMeta(p), " {2,}")
		}
		b.WriteString(strings.Join(parts, `.*`) + `[ ]*\n`)
	}
	b.WriteString(`\z`)
	return regexp.MustCompile(b.String())
}

// copyExample fills dir with examples/first-gate.
func copyExample(t *testing.T, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "examples", "first-gate"))); err != nil {
		t.Fatal(err)
	}
}
