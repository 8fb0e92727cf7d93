package gate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
	"assay.dev/assay/internal/codeowners"
	"assay.dev/assay/internal/golden"
	"assay.dev/assay/policy"
	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
)

func owners(t *testing.T, text string) codeowners.Rules {
	t.Helper()
	rules, err := codeowners.Parse("CODEOWNERS", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// scenes are the verdicts that the report tests show.
func scenes(t *testing.T) map[string]assay.Verdict {
	t.Helper()
	fail := inputs()
	fail.Evidence = []assay.Evidence{tests(400, 2, 1), vulnerabilities(cve("CVE-2", assay.SeverityCritical))}
	fail.Evidence[0].Notes = []string{"1 line was not JSON"}
	fail.Evidence[0].Findings = []assay.Finding{{Rule: "example.com/cart.TestAdd", Severity: assay.SeverityMedium, Location: assay.Location{File: "cart/cart_test.go", Line: 9}}}
	fail.History, fail.Suite = []evidence.History{{Test: "example.com/cart.TestAdd", Runs: 39, Flaked: 3}}, evidence.History{Runs: 40, Flaked: 4}
	fail.Owners = owners(t, "* @all\n/cart/ @shop @example/qa\n")
	fail.Ledger = &assay.LedgerHead{Origin: "assay.dev/ledger", Size: 17, RootHash: "q83vEjRWeJA="}
	denied := answers{"rules": {{Rule: "no-friday", Message: "it is Friday", Severity: assay.SeverityLow,
		Location: assay.Location{File: "main.go", Line: 3, Column: 7}}, {Rule: "note", Message: "consider a smaller image", Advice: true}}}

	missing := inputs()
	missing.Evidence = missing.Evidence[1:]

	unreadable := missing
	unreadable.Refused = []assay.Refusal{{Location: assay.Location{File: "go-test.json", Line: 412, Column: 17}, Digest: digest(7), Kind: assay.KindTests, Reason: "is cut off: the JSON ends before its value does"}}

	pardoned := fail
	pardoned.Exceptions = []assay.Exception{exception("vulns/severity"), exception("tests/failed"), exception("rules/no-friday")}
	for i := range pardoned.Exceptions {
		pardoned.Exceptions[i].ID = fmt.Sprintf("0199-%c", 'a'+i)
	}

	dryRun := fail
	dryRun.Gate.Spec.Mode = assay.ModeDryRun
	dryRun.Policies = []policy.Policy{fail.Policies[0]}
	dryRun.Policies[0].Spec.Mode = assay.ModeDryRun

	return map[string]assay.Verdict{
		"pass": mustCheck(t, inputs(), nil), "fail": mustCheck(t, fail, denied), "absent": mustCheck(t, missing, nil),
		"unreadable": mustCheck(t, unreadable, nil),
		"excused":    mustCheck(t, pardoned, denied), "dry-run": mustCheck(t, dryRun, denied),
	}
}

func TestReports(t *testing.T) {
	colours := lipgloss.NewRenderer(io.Discard)
	colours.SetColorProfile(termenv.ANSI)
	for name, v := range scenes(t) {
		for suffix, write := range map[string]func(io.Writer) error{
			".md":     func(w io.Writer) error { return Markdown(w, v) },
			".json":   func(w io.Writer) error { return JSON(w, v) },
			".txt":    func(w io.Writer) error { return Text(w, v, nil) },
			".styled": func(w io.Writer) error { return Text(w, v, colours) },
			".sarif":  func(w io.Writer) error { return SARIF(w, v) },
			".xml":    func(w io.Writer) error { return JUnit(w, v) },
			".gitlab": func(w io.Writer) error { return GitLab(w, v) },
			".github": func(w io.Writer) error { return Annotations(w, v) },
		} {
			t.Run(name+suffix, func(t *testing.T) {
				var b bytes.Buffer
				if err := write(&b); err != nil {
					t.Fatal(err)
				}
				golden.Equal(t, "testdata/reports/"+name+suffix, b.Bytes())
			})
		}
	}
}

var ansi = regexp.MustCompile("\x1b\\[[0-9;]*m")

func TestStyledReportSaysWhatThePlainOneSays(t *testing.T) {
	colours := lipgloss.NewRenderer(io.Discard)
	colours.SetColorProfile(termenv.ANSI)
	for name, v := range scenes(t) {
		var plain, styled bytes.Buffer
		if err := Text(&plain, v, nil); err != nil {
			t.Fatal(err)
		}
		if err := Text(&styled, v, colours); err != nil {
			t.Fatal(err)
		}
		if got := ansi.ReplaceAllString(styled.String(), ""); got != plain.String() || got == styled.String() {
			t.Errorf("%s: the styled report without its colours is\n%s\nand the plain one\n%s", name, got, plain.String())
		}
	}
}

func TestJSONReportIsTheVerdict(t *testing.T) {
	for name, v := range scenes(t) {
		var b bytes.Buffer
		if err := JSON(&b, v); err != nil {
			t.Fatal(err)
		}
		var back assay.Verdict
		if err := json.Unmarshal(b.Bytes(), &back); err != nil {
			t.Fatal(err)
		}
		want, _ := json.Marshal(v)
		if got, _ := json.Marshal(back); !bytes.Equal(got, want) {
			t.Errorf("%s: read back it is %s, not %s", name, got, want)
		}
	}
}

func TestEveryFailureSaysWhatToDo(t *testing.T) {
	var b bytes.Buffer
	if err := Text(&b, scenes(t)["fail"], nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"FAIL  gate release for production: assay (sha256:010000000000)", "3 rules object",
		"rules/no-friday  blocks", "at main.go:3:7", "fix: read the handbook",
		`or:  assay exception request --rule rules/no-friday --subject ` + string(subject.Digest) + ` --reason "why this may ship" --until 2026-11-28`,
		"critical: CVE-2: overflow", "at left-pad 1.0.0", "fix: update left-pad to 1.0.1", "RECORDED",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, b.String())
		}
	}
	order := regexp.MustCompile(`(?s)FAIL.*Why.*Evidence.*What to do`)
	if !order.MatchString(b.String()) {
		t.Error("the report is not in the order verdict, reason, evidence, action")
	}
}

// hostile puts s wherever evidence can put text.
func hostile(t *testing.T, s string) assay.Verdict {
	t.Helper()
	in := inputs()
	f := cve(s, assay.SeverityCritical)
	f.Message, f.Package.Name, f.Package.Version, f.Location.File, f.FixedIn = s, s, s, s, []string{s}
	in.Evidence = []assay.Evidence{tests(0, 0, 0), vulnerabilities(f)}
	for i := range in.Evidence {
		e := &in.Evidence[i]
		e.Source, e.Format, e.Tool, e.Notes = s, s, assay.Tool{Name: s, Version: s}, []string{s}
	}
	in.Subject.Name = s
	return mustCheck(t, in, answers{"rules": {{Rule: "r", Message: s, Remedy: s, Component: assay.Component{Name: s}}}})
}

func TestMarkdownKeepsEvidenceInsideCodeSpans(t *testing.T) {
	for _, attack := range []string{
		"<img src=x onerror=alert(1)>", "[click](https://evil.example)", "![x](https://evil.example/x.png)", "@everyone #1",
		"https://evil.example", "a\n\n# heading\n", "``` `` `", "`<b>`", "</code><script>", "|a|b|", "\u202egnp.exe", "\x1b[31mred", "$(rm -rf /)",
	} {
		t.Run(attack, func(t *testing.T) {
			var b bytes.Buffer
			if err := Markdown(&b, hostile(t, attack)); err != nil {
				t.Fatal(err)
			}
			if strings.ContainsAny(b.String(), "\x1b\u202e") {
				t.Error("control or direction characters come through")
			}
			outside := withoutCode(b.String())
			for _, bad := range []string{"<", "](", "http", "@", "|", "heading", "gnp", "rm -rf"} {
				if strings.Contains(outside, bad) {
					t.Errorf("%q stands outside code spans:\n%s", bad, outside)
				}
			}
		})
	}
}

// withoutCode removes code spans as CommonMark finds them: a run of backticks
// opens a span that the next run of the same length closes.
func withoutCode(s string) string {
	var out strings.Builder
	for line := range strings.Lines(s) {
		for line != "" {
			i := strings.IndexByte(line, '`')
			if i < 0 {
				break
			}
			out.WriteString(line[:i])
			n := len(line[i:]) - len(strings.TrimLeft(line[i:], "`"))
			rest, closed := line[i+n:], -1
			for j := 0; j < len(rest); {
				if rest[j] != '`' {
					j++
					continue
				}
				m := len(rest[j:]) - len(strings.TrimLeft(rest[j:], "`"))
				if m == n {
					closed = j + m
					break
				}
				j += m
			}
			if closed < 0 {
				out.WriteString(line[i : i+n])
				line = rest
				continue
			}
			line = rest[closed:]
		}
		out.WriteString(line)
	}
	return out.String()
}

func TestTextReportCannotDriveTheTerminal(t *testing.T) {
	var b bytes.Buffer
	if err := Text(&b, hostile(t, "\x1b]0;pwned\x07\u009b31m\r\nFAKE PASS\u2028\u202e"), nil); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.String() {
		if r != '\n' && (r < 0x20 || r >= 0x7f && r < 0xa0) || r == 0x2028 || r == 0x202e {
			t.Fatalf("the report holds %U", r)
		}
	}
	if strings.Contains(b.String(), "\nFAKE") {
		t.Error("evidence starts a line of its own")
	}
}

func TestCommandInTheReportQuotesTheRule(t *testing.T) {
	v := scenes(t)["fail"]
	v.Violations[0].Rule = "a; rm -rf '/'"
	var b bytes.Buffer
	if err := Text(&b, v, nil); err != nil {
		t.Fatal(err)
	}
	if want := `--rule 'a; rm -rf '\''/'\''' --subject`; !strings.Contains(b.String(), want) {
		t.Errorf("the report lacks %s:\n%s", want, b.String())
	}
}

func TestReportsForPeopleStayShort(t *testing.T) {
	in := inputs()
	var list []assay.Finding
	for i := range 10_000 {
		list = append(list, cve(fmt.Sprintf("CVE-%05d", i), assay.SeverityCritical))
	}
	in.Evidence[1] = vulnerabilities(list...)
	v := mustCheck(t, in, nil)
	if len(v.Violations) != 10_000 {
		t.Fatalf("%d violations", len(v.Violations))
	}
	var b bytes.Buffer
	if err := Markdown(&b, v); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 10_000 || !strings.Contains(b.String(), "and 9990 more") {
		t.Errorf("the report has %d bytes and does not say that 9990 more exist", b.Len())
	}
}
