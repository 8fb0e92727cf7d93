// Command spine measures the path that every artifact takes, from a fact in the
// store to a proof from the ledger and a verdict of the gate, beside what the same
// machine does without any of it.
//
// It prints a table, keeps the rows in out/spine.json below its folder's parent,
// and exits with 1 if a target does not hold. Run it with `make bench-spine`,
// which builds the program first, on a machine that does nothing else.
package main

import (
	"log/slog"
	"os"
	"runtime"
	"time"

	"assay.dev/assay/bench/run"
	"assay.dev/assay/ledger/posix"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == launchWord {
		os.Exit(launch(os.Args[2:]))
	}
	posix.RedirectLog(slog.New(slog.DiscardHandler))
	run.Main("spine", 5,
		run.Part{Name: "facts", Run: measureFacts},
		run.Part{Name: "sequencer", Run: measureSequencer},
		run.Part{Name: "proof", Run: measureProof},
		run.Part{Name: "gate", Run: measureGate},
		run.Part{Name: "start", Run: measureStart},
	)
}

// allocated counts what the whole process allocates while fn runs.
func allocated(fn func() error) (objects, bytes float64, err error) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	err = fn()
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs - before.Mallocs), float64(after.TotalAlloc - before.TotalAlloc), err
}

// millis is d in milliseconds.
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
