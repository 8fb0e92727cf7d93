//go:build !race

// One goroutine reads the sources: the race detector has nothing to watch in that.

package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"assay.dev/assay/internal/testenv"
)

// modulePath is the import path that every package of the tree starts with.
const modulePath = "assay.dev/assay"

// tree is the whole module, parsed.
type tree struct {
	fset *token.FileSet
	pkgs []*pkg            // by path
	text map[string]string // Markdown, scripts, Makefile and Go sources by path
	dirs map[string]bool   // every folder that is not hidden, by path
	rest map[string]bool   // every other file, by path
}

// pkg is one folder with Go files.
type pkg struct {
	path  string // relative to the module, "" for the root package
	name  string // of the package clause
	files []*file
	tests []*file // external test packages included
}

// file is one parsed Go file.
type file struct {
	path  string
	name  string // base name
	lines int
	ast   *ast.File
	// imports maps the name used in the file to the import path.
	imports map[string]string
}

// problem is one broken rule: where, what, and what to do about it.
type problem struct {
	where string // "file:line" or a path
	what  string
	hint  string
}

// String formats p like every error of the project.
func (p problem) String() string {
	if p.hint == "" {
		return p.where + ": " + p.what
	}
	return p.where + ": " + p.what + " (" + p.hint + ")"
}

// load reads fsys. Hidden folders, testdata and modules of their own hold no
// packages of this module; their Markdown is read all the same.
func load(fsys fs.FS) (*tree, error) {
	t := &tree{fset: token.NewFileSet(), text: map[string]string{}, dirs: map[string]bool{}, rest: map[string]bool{}}
	byPath := map[string]*pkg{}
	var foreign []string // folders with a go.mod of their own
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(p)
		if d.IsDir() {
			if p != "." && base != ".ci" && (strings.HasPrefix(base, ".") || p == "bin" || p == "bench/out") {
				return fs.SkipDir
			}
			if p != "." && exists(fsys, path.Join(p, "go.mod")) {
				foreign = append(foreign, p)
			}
			return nil
		}
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			t.dirs[dir] = true // as version control: a folder is there when it holds a file
		}
		if !isText(p) {
			t.rest[p] = true
			return nil
		}
		src, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		t.text[p] = string(src)
		if path.Ext(p) != ".go" || strings.Contains("/"+p, "/testdata/") || under(p, foreign) {
			return nil
		}
		return t.add(byPath, p, src)
	})
	if err != nil {
		return nil, err
	}
	for _, p := range byPath {
		t.pkgs = append(t.pkgs, p)
	}
	slices.SortFunc(t.pkgs, func(a, b *pkg) int { return strings.Compare(a.path, b.path) })
	return t, nil
}

// add parses one Go file into its package.
func (t *tree) add(byPath map[string]*pkg, p string, src []byte) error {
	parsed, err := parser.ParseFile(t.fset, p, src, parser.ParseComments)
	if err != nil {
		return fmt.Errorf("%s does not parse: %w", p, err)
	}
	f := &file{path: p, name: path.Base(p), lines: strings.Count(string(src), "\n"), ast: parsed, imports: map[string]string{}}
	for _, im := range parsed.Imports {
		target, err := strconv.Unquote(im.Path.Value)
		if err != nil {
			return fmt.Errorf("%s: import %s: %w", p, im.Path.Value, err)
		}
		f.imports[importName(im, target)] = target
	}
	dir := path.Dir(p)
	if dir == "." {
		dir = ""
	}
	in := byPath[dir]
	if in == nil {
		in = &pkg{path: dir}
		byPath[dir] = in
	}
	if strings.HasSuffix(p, "_test.go") {
		in.tests = append(in.tests, f)
		return nil
	}
	in.files = append(in.files, f)
	in.name = parsed.Name.Name
	return nil
}

// importName is the name an import has in its file. Blank imports keep their
// path, so that two of them do not collide.
func importName(im *ast.ImportSpec, target string) string {
	if im.Name != nil {
		if im.Name.Name == "_" || im.Name.Name == "." {
			return im.Name.Name + target
		}
		return im.Name.Name
	}
	base := path.Base(target)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		base = path.Base(path.Dir(target))
	}
	return base
}

// at is the place of a node, as "file:line".
func (t *tree) at(n ast.Node) string {
	pos := t.fset.Position(n.Pos())
	return pos.Filename + ":" + strconv.Itoa(pos.Line)
}

// span is how many lines a node takes.
func (t *tree) span(n ast.Node) int {
	return t.fset.Position(n.End()).Line - t.fset.Position(n.Pos()).Line + 1
}

// pkg finds a package by its path, or nil.
func (t *tree) pkg(path string) *pkg {
	for _, p := range t.pkgs {
		if p.path == path {
			return p
		}
	}
	return nil
}

// label is the package's path as people write it.
func (p *pkg) label() string {
	if p.path == "" {
		return "assay (root)"
	}
	return p.path
}

// testSupport reports whether p exists for tests: its shipped files use package testing.
func (p *pkg) testSupport() bool {
	return slices.ContainsFunc(p.files, func(f *file) bool { return f.uses("testing") }) || strings.HasSuffix(p.path, "archtest")
}

// all is every file of p, tests included.
func (p *pkg) all() []*file { return slices.Concat(p.files, p.tests) }

func (f *file) uses(importPath string) bool {
	for _, target := range f.imports {
		if target == importPath {
			return true
		}
	}
	return false
}

// calls yields every call of a name that f imported, as (import path, name).
// A local variable that shadows the import is not mistaken for it.
func (f *file) calls(yield func(call *ast.CallExpr, importPath, name string)) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Obj == nil {
			if target, ok := f.imports[x.Name]; ok {
				yield(call, target, sel.Sel.Name)
			}
		}
		return true
	})
}

func isText(p string) bool {
	switch path.Ext(p) {
	case ".go", ".md", ".sh", ".yaml", ".yml", ".rego", ".txtar":
		return true
	}
	return p == "Makefile" || p == ".ci/run"
}

func exists(fsys fs.FS, p string) bool {
	_, err := fs.Stat(fsys, p)
	return err == nil
}

func under(p string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return strings.HasPrefix(p, d+"/") })
}

// module is the tree of this module, read once for all tests; nobody changes it.
var module struct {
	sync.Once
	tree *tree
	err  error
}

// loadModule reads the module that this test belongs to.
func loadModule(t *testing.T) *tree {
	t.Helper()
	root := testenv.ModuleRoot(t)
	module.Do(func() { module.tree, module.err = load(os.DirFS(root)) })
	if module.err != nil {
		t.Fatal(module.err)
	}
	tr := module.tree
	if len(tr.pkgs) < 5 || tr.pkg("") == nil || tr.pkg("store") == nil {
		t.Fatalf("only %d packages found: the rules below would pass on nothing", len(tr.pkgs))
	}
	return tr
}

// check fails t with every problem, one a line.
func check(t *testing.T, problems []problem) {
	t.Helper()
	slices.SortFunc(problems, func(a, b problem) int { return strings.Compare(a.String(), b.String()) })
	for _, p := range problems {
		t.Error(p)
	}
}
