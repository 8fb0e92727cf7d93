package api

import "assay.dev/assay/halt"

// Halt is a kill switch that is pulled.
type Halt = halt.Pulled
