package api

import "assay.dev/assay/diverge"

// Divergence is a verdict about a region with the fact that it was recorded as.
type Divergence = diverge.Recorded

// ComparedRegions is an SLO whose indicator is compared between regions.
type ComparedRegions = diverge.Compared

// MaxDivergences is how many verdicts about regions one answer has.
const MaxDivergences = 1000
