// Command supply measures the supply chain: what recording and publishing an
// attestation costs, how fast a bundle is verified, how soon the cluster's door
// answers, what reading a large test report holds, and how long it takes to find who
// is concerned by a new advisory database.
//
// It prints a table, keeps the rows in out/supply.json and exits with 1 if a target
// does not hold. Run it with `make bench-supply` on a machine that does nothing else.
package main

import (
	"fmt"
	"log/slog"
	"os"

	"assay.dev/assay/bench/run"
	"assay.dev/assay/ledger/posix"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == bareWord {
		if err := serveBare(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	posix.RedirectLog(slog.New(slog.DiscardHandler))
	run.Main("supply", 3,
		run.Part{Name: "ledger", Run: benchLedger},
		run.Part{Name: "verify", Run: benchVerify},
		run.Part{Name: "admission", Run: benchAdmission},
		run.Part{Name: "junit", Run: benchJUnit},
		run.Part{Name: "discovery", Run: benchDiscovery},
	)
}
