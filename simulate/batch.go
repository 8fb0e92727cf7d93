package simulate

import "runtime/debug"

// batchPercent is how much garbage a process that only simulates lets come together.
const batchPercent = 800

// Batch prepares a process that does nothing but simulate: a world is a few megabytes,
// so that a collector which keeps the heap at twice of that would run all the time.
func Batch() { debug.SetGCPercent(batchPercent) }
