package infer

import "golang.org/x/sys/cpu"

// hasVectors reports whether the processor multiplies and adds four numbers at once, and looks
// at the bits of four.
var hasVectors = cpu.X86.HasAVX2

// evaluateVectors fills out with the polynomial of n terms at all ratios.
//
//go:noescape
func evaluateVectors(terms *float64, n int, ratios, out *[lanes]float64)

// logsVectors replaces all of v by the logarithms of what they are over a number.
//
//go:noescape
func logsVectors(v *[lanes]float64, over float64)
