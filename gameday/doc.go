// Package gameday rehearses releases on real processes: a small shop in several
// versions, the embedded proxy in front of it, a control plane, and load.
//
// # Mental model
//
// A World is a folder and the child processes that live in it. It tests, builds
// and runs versions of the shop, and speaks to Assay as everybody else does: over
// the public API and the command line, with tokens of its own. It believes what it
// reads there and nothing else, so that whatever a rehearsal prints is a fact.
//
// A Scenario is a play on a World that asserts outcomes: a bad release is stopped,
// a healthy one is promoted, a control plane that is killed in the middle comes
// back to the same end. Demo is the long play that people watch.
//
// Faults and arrivals are drawn from one seed, which is printed. Time, load and
// scheduling are those of the machine: a rehearsal is real, so two of them differ.
package gameday
