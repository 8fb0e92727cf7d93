package infer

import "golang.org/x/sys/cpu"

// hasVectors reports whether the processor multiplies and adds four numbers at once, looks at
// the bits of four, and rounds once where math.Exp does.
var hasVectors = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// evaluateVectors fills out with the polynomial of n terms at all ratios.
//
//go:noescape
func evaluateVectors(terms *float64, n int, ratios, out *[lanes]float64)

// logsVectors replaces all of v by the logarithms of what they are over a number.
//
//go:noescape
func logsVectors(v *[lanes]float64, over float64)

// expsVectors replaces so many times four of v, none above top, by e to the power of what lies
// between it and top, and by 0 where that is not above least, which is at least -700.
//
//go:noescape
func expsVectors(v *[lanes]float64, fours int, top, least float64)
