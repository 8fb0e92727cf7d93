//go:build !race

package testenv

// RaceDetector says that the test was built with it: what only measures, or fills
// a store, may do less then.
const RaceDetector = false
