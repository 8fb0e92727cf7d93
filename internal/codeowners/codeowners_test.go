package codeowners

import (
	"slices"
	"strings"
	"testing"

	"assay.dev/assay"
)

// example is the one of GitHub's documentation, with one rule more.
const example = `# comments and blank lines are passed over

*       @global-owner1 @global-owner2
*.js    @js-owner #This is an inline comment.
*.go docs@example.com
*.txt @octo-org/octocats
/build/logs/ @doctocat
docs/* docs@example.com
apps/ @octocat
/docs/ @doctocat
/scripts/ @doctocat @octocat
**/logs @octocat
/apps/ @octocat
/apps/github
with\ blank/ @octocat
`

func TestTheLastRuleThatMatchesCounts(t *testing.T) {
	rules, err := Parse("CODEOWNERS", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"LICENSE":                   "@global-owner1 @global-owner2",
		"a/b/c.js":                  "@js-owner",
		"x.go":                      "docs@example.com",
		"build/logs/a/b":            "@octocat", // **/logs stands later
		"build/x":                   "@global-owner1 @global-owner2",
		"docs/getting-started.md":   "@doctocat",
		"docs/build-app/trouble.md": "@doctocat",
		"scripts/a":                 "@doctocat @octocat",
		"deep/logs":                 "@octocat",
		"deep/logs/x":               "@octocat",
		"apps/x":                    "@octocat",
		"apps/github":               "",
		"apps/github/x.go":          "",
		"lib/apps/x":                "@octocat",
		"with blank/x":              "@octocat",
	} {
		if got := strings.Join(rules.Of(path), " "); got != want {
			t.Errorf("%s is owned by %q, want %q", path, got, want)
		}
	}
}

func TestAStarAtTheEndOfAFolderIsNotAboutFoldersBelow(t *testing.T) {
	rules, err := Parse("CODEOWNERS", []byte("docs/* @a\n"))
	if err != nil || !slices.Equal(rules.Of("docs/x.md"), []string{"@a"}) || rules.Of("docs/sub/x.md") != nil {
		t.Errorf("%v %v (%v)", rules.Of("docs/x.md"), rules.Of("docs/sub/x.md"), err)
	}
}

func TestTestsAreOwnedByTheirFileOrTheirPackage(t *testing.T) {
	rules, err := Parse("CODEOWNERS", []byte("* @all\n/cart/ @shop\n/pay/card/ @pay\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ test, file, want string }{
		{"example.com/shop/cart.TestAdd", "", "@shop"},
		{"example.com/shop/pay/card.TestAdd/sub.case", "", "@pay"}, // the name of a subtest may hold anything
		{"example.com/shop/pay/card.TestAdd", "", "@pay"},
		{"example.com/shop.TestMain", "", "@all"},
		{"com.example.CartTest.adds", "cart/CartTest.java", "@shop"},
		{"adds", "", "@all"},
	} {
		if got := strings.Join(rules.OfTest(c.test, c.file), " "); got != c.want {
			t.Errorf("%s (%s) is owned by %q, want %q", c.test, c.file, got, c.want)
		}
	}
}

func TestMalformedLinesAreRefusedWithFileAndLine(t *testing.T) {
	for text, want := range map[string]string{
		"* @a\n!x @b\n":           "CODEOWNERS:2: starts with !",
		"* @a\n\nsrc/[ab]/ @b\n":  "CODEOWNERS:3: has a character range",
		"* owner\n":               `CODEOWNERS:1: "owner" is not an owner (write @user`,
		"a b.go @x\n":             `"b.go" is not an owner`,
		"a***b @x\n":              "three stars",
		"* @a\n\x1b[31m @b\n":     "CODEOWNERS:2: holds a control character",
		"* \xff\n":                "CODEOWNERS:1: holds a control character or is not UTF-8",
		"* @a/\n":                 "is not an owner",
		strings.Repeat("x", 1001): "has a pattern of 1001 bytes",
	} {
		_, err := Parse("CODEOWNERS", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := Parse("CODEOWNERS", make([]byte, MaxBytes+1)); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("a huge file: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example), "a/b.go")
	f.Add([]byte("**/a/**/b?/* @x\n"), "a/b")
	f.Add([]byte("\\ \\ @a/b\n"), "")
	f.Fuzz(func(t *testing.T, data []byte, path string) {
		rules, err := Parse("f", data)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("error is not one clean line: %q", err)
			}
			return
		}
		rules.Of(path)
		rules.OfTest(path, "")
	})
}
