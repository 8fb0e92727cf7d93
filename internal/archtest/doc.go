// Package archtest keeps the shape of the code and the promises of its
// documents true, by test.
//
// The mental model is a tree read once: load parses every Go file and every
// text file of the module into plain values, a rule is a function from that
// tree to problems, and a test prints the problems with what to do. Nothing is
// type-checked or built, so the whole suite runs in about a second and still
// runs when the code does not compile.
//
// The tables that a rule reads (ranks, allowances, forbidden imports) stand
// beside it. An allowance carries its reason, and one that is no longer needed
// is itself a problem, so the lists only shrink. Every rule is also fed a small
// tree that breaks it: a rule that cannot fail is a defect.
package archtest
