// Package decide turns a plan, what was read and what is remembered into one
// explained choice: hold, advance, finish, abort or ask. It is pure. Time, readings
// and guards are handed in, and everything that a choice rests on is in the
// Decision, so that a recorded one can be made again, byte for byte.
//
// # Mental model
//
// Next folds new readings into the State and asks three questions in this order:
//
//  1. Is harm shown? The weighted average of the e values of all known tests has
//     reached 1/α: abort.
//  2. Is safety shown? The least e value of all required tests against "at least
//     Margin times worse" has reached 1/β, every required signal is known, and the
//     step has had its minimum: advance, or finish.
//  3. Is the horizon over? Then the plan's policy, said aloud.
//
// Otherwise hold, with how many canary requests it will still take. A signal that
// is stale or incomplete is unknown; nothing is promoted while a required signal is
// unknown, and unknown signals take no part in an abort. Guards may forbid any
// action that changes the world; what they said is recorded.
//
// Next does not move the rollout: State.Applied does, once the action was read back.
//
// # Mitigations
//
// Weigh chooses between what a strategy's law proposes, doing nothing, asking and paging:
// Believe turns clues into a belief over hypotheses, each option's loss is reckoned in
// shares of the error budget under that belief and under what was Learned of it, and
// Guardrails, a function of a recorded History, say what may be done at all. Mitigate keeps
// the inputs; Replay makes either kind of decision again. Aftermath and Aftercare judge
// what an action did, and Learn remembers it. Care watches a model and says when the rules
// decide instead.
package decide
