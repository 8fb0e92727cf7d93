// Package mitigate owns one standing objective: it watches a service for as long as
// there is one, and moves a lever when that is expected to save error budget.
//
// # Mental model
//
// A Strategy (a policy resource) declares a law: scale, throttle, divert and so on. A
// law is a pure function of what is known now: it reads Inputs, compares them with the
// declared bounds and proposes options, each a move of one lever with what it should
// do for which explanation of the trouble. It knows one thing well and decides
// nothing.
//
//	inputs ─▶ law ─▶ damping ─▶ options + clues ─▶ decide.Weigh ─▶ guards ─▶ Decision
//	             └─ want ──▶ how far, how fast, how often
//
// Damping stands between every law and every lever: dead bands, windows, rates, dead
// times, a detector of oscillation and a budget of moves. Laws say where a lever should
// be; damping says where it may go now. The direction that takes harm away (protect) is
// quick, the one that gives back (relax) is slow.
//
// Two rules hold for every law. What is stale, incomplete or missing is unknown: it
// never relaxes anything and is never acted upon automatically. And a hard cap rests on
// no model: it is a rule, and rules are asked before beliefs.
//
// Next is the whole decision as a function of values, which the simulator and the
// Controller run alike; Record keeps one and Replay makes it again.
package mitigate
