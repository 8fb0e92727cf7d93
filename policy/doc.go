// Package policy turns a folder of YAML resources and Rego modules into one
// immutable Revision that a gate can be judged by.
//
// The mental model: files go in, a Revision comes out or an error with file,
// line and column does. A Revision is named by its Digest, which covers every
// byte that can influence a verdict and nothing else, so the same policy has
// the same name wherever it is kept. Gates say which evidence they require and
// which policies they ask; a Policy binds a Rego package to a mode; published lists
// of vulnerabilities (CISA's catalogue, EPSS) lie beside them as they are. Finding the
// files is the work of a child (policy/dir), evaluating Rego of another
// (policy/rego); neither knows the other.
package policy
