// Package slo turns objectives and counts into budgets and burn rates.
//
// The mental model is an accountant. An Objective says which share of events
// must be good within a window. A Ring keeps, for each minute of that window,
// how many events there were and how many were good: whole numbers, so that the
// books always balance. From a sum of minutes come the Budget (what may still
// go wrong) and the Burn (how fast it is being spent).
//
// A minute without data is unknown. It is neither good nor bad: it lowers the
// completeness of every answer that covers it, and an answer that is less
// complete than its caller demands is unknown too. No events in a minute that
// was seen is something else: it is known, and it spends nothing.
//
// The package is pure: it reads no clock and no file. Objectives come from
// OpenSLO v1 documents (Parse, Resolve).
package slo
