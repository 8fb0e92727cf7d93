// Package simulate judges controllers on a world in virtual time: the strategies and
// rollouts of a policy directory, the loops of other tools, nothing at all, and an
// oracle that knew beforehand what would go wrong.
//
// # Mental model
//
// A Scenario is a file: a world with its traffic and faults, the controller under
// test, others to compare it with, and what is expected. Run plays it once for each
// seed and each controller; on one seed all of them meet the same arrivals and the
// same faults. What a controller sees is the telemetry of the world, late and
// incomplete as that may be. What it is judged by is the truth.
//
// Strategies are decided by mitigate.Next and rollouts by decide.Next: the functions
// that production runs, without its stores and leases.
package simulate
