package rego

import (
	"bytes"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
)

// Format returns a module in the one canonical layout; the file name is used in
// errors only. It changes nothing but layout: a module that is not Rego v1 is an error.
func Format(file string, src []byte) ([]byte, error) {
	if _, err := parseModule(file, src); err != nil {
		return nil, err
	}
	out, err := format.SourceWithOpts(file, src, format.Opts{
		RegoVersion:   ast.RegoV1,
		ParserOptions: &ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: Capabilities()},
	})
	if err != nil {
		return nil, parseError(file, src, err)
	}
	if !bytes.HasSuffix(out, []byte{'\n'}) {
		out = append(out, '\n')
	}
	return out, nil
}
