// Package rollout owns one change from proposal to outcome: it is the only
// caller of signal → decide → act.
//
// # Mental model
//
// A rollout is a record in the store and one goroutine that steps it. A step
// does one thing and writes it down before the next: propose, introduce the
// version at the door, give it its first share, evaluate, act, judge. What is to
// be done is recorded before it is done (Pending), under an idempotency key and
// the generation of the owner; so a process that dies anywhere is followed by one
// that repeats the same action, which the world answers with its first receipt,
// and nothing happens twice.
//
//	starting ─▶ running ⇄ asking ─▶ promoted | aborted ─▶ judged
//	   └▶ refused, failed
//
// Evaluations happen when data arrive, and every second as a safety net. Each
// that had data is stored with the state that it leads to; it becomes a fact when its choice,
// what a guard said, what is eligible or what is known has changed, and as a
// heartbeat. The fact names a blob with all inputs, from which decide.Replay
// makes the decision again.
//
// The packages signal, decide and act know nothing of each other; facts, leases,
// guards and people meet here.
package rollout
