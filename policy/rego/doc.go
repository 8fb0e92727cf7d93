// Package rego evaluates policies written in Rego v1, in process.
//
// Compile turns a revision into a Snapshot: everything parsed, type-checked
// against the input document's schema and prepared, never changed afterwards and
// safe for concurrent use. Evaluate asks packages of a Snapshot what they object
// to. A package objects through two sets:
//
//	deny contains v if { … }   # blocks where the policy's mode is enforce
//	warn contains v if { … }   # advice, never blocks
//
// where v is a text or an object with the keys rule and msg, and optionally
// severity, remedy, kind, location {file, line, column}, package (a name, a
// package URL or {name, version, purl}) and fingerprint. Any other shape is an
// error that names the rule and its place, because an objection that nobody can
// read must not look like none.
//
// Evaluation is a function of the input: built-in functions that reach the
// network, the clock, randomness or the machine do not exist here, a failing
// built-in function is an error rather than undefined, and a reference to a rule
// or document that does not exist does not compile.
package rego
