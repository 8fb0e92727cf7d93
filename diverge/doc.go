// Package diverge compares the regions (clusters, clouds) of a service: is an indicator of
// one of them worse than that of the rest by more than an SLO declares?
//
// # Mental model
//
// Every minute that has settled is read once from the series (signal.Source), by region.
// Each region is held against all others together, over four spans that begin anew by the
// clock: ten minutes, an hour, four and a day. The difference of the two bad shares has an
// interval that may be looked at every minute (infer.Difference), divided by how far bad
// events come in bursts (infer.Dispersion, of the rest today and of both on the day
// before: what is judged is no part of it). The rest's minutes are weighted like the
// region's, so that an incident that hit all of them while one had its day and the others
// their night is no difference. The error of an SLO, 1 % a day, is shared by its regions,
// spans and beginnings.
//
// A region diverges when an interval lies above the bound, also without its worst minute.
// It has ended when one that began later lies below. In between nothing is said but the
// interval. A region whose telemetry stops is silent, which is neither.
//
// Each such verdict is one fact, divergence.judged, written in one transaction with the
// notebook it rests on. It holds the Input that Judge made it of: Replay makes it again.
//
// Judge is pure. Step does a piece of the work and reads no clock; Run calls it.
package diverge
