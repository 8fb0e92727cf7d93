//go:build !amd64

package infer

const hasVectors = false

func evaluateVectors(*float64, int, *[lanes]float64, *[lanes]float64) {}

func logsVectors(*[lanes]float64, float64) {}
