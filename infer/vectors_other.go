//go:build !amd64

package infer

const hasVectors = false

func evaluateVectors(*float64, int, *[lanes]float64, *[lanes]float64) {}

func logsVectors(*[lanes]float64, float64) {}

func expsVectors(*[lanes]float64, int, float64, float64) {}
