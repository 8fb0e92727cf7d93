// Package webhook moves levers that live elsewhere, such as replicas, spend, cost
// classes and retention, by asking a receiver over HTTP.
//
// The receiver is a few lines that a platform team writes; docs/doors.md has the
// contract and a receiver that runs. It is asked for a desired state, never for a
// step: PUT says where one lever of one service shall stand, with an idempotency key
// and the fence of the owner, and GET says where all levers stand. What PUT answers is
// not believed alone: Apply returns once GET shows the lever where it should be.
//
// An answer that is lost is asked for again with the same key. A refusal is of one of
// the kinds that act.Actuator knows; that of a fence is *act.Deposed.
package webhook
