// Package simtest is a world in virtual time, for judging controllers before they
// touch a real one: services with queues and replicas that take time to start,
// databases that slow down as they fill, callers that retry, regions, tenants,
// prices, and the faults of production.
//
// # Mental model
//
// A World moves in ticks. In each tick every service in every region gets a random
// number of requests, admits what its door lets in, works off as much of its queue
// as its workers manage, and drops what no longer fits. Requests are whole numbers
// and none is lost: what arrived is what was answered, dropped, sent to the cheaper
// class, or is still waiting.
//
// Step returns two accounts of a tick. One is what telemetry shows: counts,
// histograms and gauges, late or missing when the telemetry is. The other is the
// truth, for scoring. A controller sees the first and moves levers with Apply.
//
// Inside a tick a queue is a fluid: it fills and drains at constant rates, and below
// saturation requests wait as long as in a queue with several servers and random
// arrivals on average. Ten seconds is the tick the figures are meant for. Counts
// above about a hundred are drawn from the normal approximation.
//
// A World is a function of its Config and of the calls it got: the same seed and
// the same calls give the same bytes. Arrivals and the times of faults depend on
// the seed alone, so two controllers on one seed meet the same traffic.
package simtest
