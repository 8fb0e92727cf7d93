//go:build !race

package archtest

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// decoderVerbs begin the names of functions that take outside bytes apart.
var decoderVerbs = []string{"Parse", "Read", "Decode", "Unmarshal", "Load", "Open"}

// standardShapes are methods of standard interfaces that move bytes and decode nothing.
var standardShapes = []string{"Read", "ReadAt", "ReadByte", "ReadFrom", "ReadRune", "Open"}

// decodersAreFuzzed checks that each exported decoder is named in the body of a
// fuzz target of its package.
func decodersAreFuzzed(t *tree) (out []problem) {
	t.funcs(func(p *pkg, f *file, d *ast.FuncDecl) {
		if !isDecoder(d) || p.testSupport() {
			return
		}
		if !fuzzed(p, d) {
			out = append(out, problem{t.at(d), funcName(d) + " reads outside bytes and no fuzz target of " + p.label() + " calls it", "add func Fuzz" + d.Name.Name + "(f *testing.F) with a few seeds"})
		}
	})
	return out
}

// isDecoder reports whether d is exported, has a decoder's name, takes bytes,
// text or a reader, and may refuse them.
func isDecoder(d *ast.FuncDecl) bool {
	name := d.Name.Name
	if !d.Name.IsExported() {
		return false
	}
	// A method of an unexported type is reached through something exported.
	if d.Recv != nil && (slices.Contains(standardShapes, name) || !ast.IsExported(baseType(d.Recv.List[0].Type))) {
		return false
	}
	verb := slices.ContainsFunc(decoderVerbs, func(v string) bool {
		rest, ok := strings.CutPrefix(name, v)
		next, _ := utf8.DecodeRuneInString(rest)
		return ok && (rest == "" || !unicode.IsLower(next))
	})
	if !verb || d.Type.Results == nil {
		return false
	}
	last := d.Type.Results.List[len(d.Type.Results.List)-1].Type
	if id, ok := last.(*ast.Ident); !ok || id.Name != "error" {
		return false
	}
	// Open with a name opens a thing; only Open of bytes decodes it.
	return slices.ContainsFunc(d.Type.Params.List, func(p *ast.Field) bool {
		place := called(p, "path", "dir", "folder", "root", "file", "name")
		return takesBytes(p.Type, !strings.HasPrefix(name, "Open") && !place) && !called(p, "passphrase")
	})
}

// called reports whether a parameter has one of the names. What says where to
// read, or with which secret, is given by the operator; what stands there
// reaches a decoder of bytes.
func called(p *ast.Field, names ...string) bool {
	return slices.ContainsFunc(p.Names, func(n *ast.Ident) bool { return slices.Contains(names, n.Name) })
}

func takesBytes(e ast.Expr, orText bool) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return orText && e.Name == "string"
	case *ast.ArrayType:
		id, ok := e.Elt.(*ast.Ident)
		return ok && e.Len == nil && id.Name == "byte"
	case *ast.SelectorExpr:
		x, ok := e.X.(*ast.Ident)
		return ok && (x.Name == "io" && strings.HasPrefix(e.Sel.Name, "Read") || x.Name == "json" && e.Sel.Name == "RawMessage")
	}
	return false
}

// fuzzed reports whether a fuzz target names the decoder. Methods of the
// encoding interfaces are reached through the decoder of the standard library,
// so there the type's name is enough.
func fuzzed(p *pkg, d *ast.FuncDecl) bool {
	want := []string{d.Name.Name}
	if d.Recv != nil && strings.HasPrefix(d.Name.Name, "Unmarshal") {
		want = append(want, baseType(d.Recv.List[0].Type))
	}
	for _, f := range p.tests {
		for _, decl := range f.ast.Decls {
			fd, ok := decl.(*ast.FuncDecl)
			if !ok || !isFuzzTarget(fd) {
				continue
			}
			found := false
			ast.Inspect(fd.Body, func(n ast.Node) bool {
				id, ok := n.(*ast.Ident)
				found = found || ok && slices.Contains(want, id.Name)
				return !found
			})
			if found {
				return true
			}
		}
	}
	return false
}

func isFuzzTarget(d *ast.FuncDecl) bool {
	if !strings.HasPrefix(d.Name.Name, "Fuzz") || d.Recv != nil || len(d.Type.Params.List) != 1 {
		return false
	}
	star, ok := d.Type.Params.List[0].Type.(*ast.StarExpr)
	return ok && baseType(star) == "F"
}

func TestExportedDecodersAreFuzzed(t *testing.T) { check(t, decodersAreFuzzed(loadModule(t))) }
