package infer

import "golang.org/x/sys/cpu"

// hasVectors reports whether the processor multiplies and adds four numbers at once.
var hasVectors = cpu.X86.HasAVX

// evaluateVectors fills out with the polynomial of n terms at all ratios.
//
//go:noescape
func evaluateVectors(terms *float64, n int, ratios, out *[lanes]float64)
