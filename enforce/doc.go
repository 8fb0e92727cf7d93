// Package enforce decides which version of a service may answer a request.
//
// A Config names routes (host and path) and the versions behind each, with the
// digest of the artifact that every version runs and the attestations that speak
// for it. Build checks the attestations once and freezes everything into a
// Snapshot; per request a Snapshot says which route is meant (Match), which
// version serves this client (Choose) and whether that version may be entered at
// this instant (Enter). A State is the durable side: it moves traffic by Shift,
// fenced by a generation and idempotent by key, and never otherwise.
//
// Whose attestations are believed is not part of a Config: a trust policy is
// local to the enforcer, so that whoever may move traffic cannot admit what
// nobody signed. Nothing in a request identifies an artifact.
//
// The package reads no clock, no file and no network. Package proxy below is the
// door itself.
package enforce
