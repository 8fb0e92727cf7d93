# Everything here runs from a fresh clone with Go and a C compiler (the race
# detector needs one). GO=… selects another go command.
GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS   = -s -w -X main.release=$(VERSION)
FUZZTIME ?= 2s
TOOL      = $(GO) tool -modfile=tools/go.mod
# Tables for debuggers take an eighth of a compiler's work; the program is stripped of them
# anyway, and traces of a panic need none.
LEAN      = -gcflags=all=-dwarf=false
# Checks compile what `make build` compiles, so that both share the build cache.
FLAGS     = GOFLAGS='-trimpath -buildvcs=false $(LEAN)'
SAME      = CGO_ENABLED=0 $(FLAGS)
SIGNER    = CGO_ENABLED=1 $(FLAGS)
# Compilers end soon, nearly all of them before a gigabyte is full: without collecting garbage
# until then they have a tenth less work than with GOGC=400. Not for what is measured or played.
SHORT     = GOGC=off GOMEMLIMIT=1GiB
# staticcheck has more than that in use: it collects a quarter as often as usual.
LARGE     = GOGC=400

.DEFAULT_GOAL := help
.PHONY: help build test test-watched test-unwatched test-modules test-compile test-compute test-tools test-servers vet-tool lint fuzz self-verify demo demo-repeat gamedays screenshots bench-spine bench-detect bench-loop bench-anomaly bench-forecast bench-supply bench-decisions bench-operations licenses clean
N        ?= 10
HEALTHY  ?=
DEEP     ?=

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

build: ## Build bin/assay: static, stripped, reproducible
	$(SHORT) $(SAME) $(GO) build -ldflags '$(LDFLAGS)' -o bin/assay ./cmd/assay

# The race detector watches everything but three packages of sums that share no
# memory of ours: SQLite translated from C with its C library, and scrypt. They
# are a tenth as fast when watched, and most of the time of the tests was theirs.
UNRACED   = -race=false -dwarf=false
UNWATCHED = '-gcflags=modernc.org/sqlite/lib=$(UNRACED)' '-gcflags=modernc.org/libc=$(UNRACED)' '-gcflags=golang.org/x/crypto/scrypt=$(UNRACED)'

# Kubernetes' types are the largest of what is compiled to be watched, and hardly run: without
# inlining they take a fifth less of a compiler's work.
UNINLINED = '-gcflags=k8s.io/...=-l -dwarf=false'

# A program that is watched sleeps for a second before it ends, in case another
# thread still finds a race; the tests start thousands of programs.
WATCHED = CGO_ENABLED=1 GORACE=atexit_sleep_ms=20

# Debuggers have no use of what is built to run once, and `make lint` vets: to do so for
# every configuration reads every dependency again.
LIGHT = -vet=off -ldflags='-s -w'

RACE = $(WATCHED) $(GO) test -race $(LEAN) $(UNWATCHED) $(UNINLINED) $(LIGHT) -timeout 40m

# The plays are left out (`make gamedays`). A run of the benchmarks' own tests has a limit
# in time that the race detector would not meet. Tests of the program wait for processes and
# clocks more than they compute: those of a package without the race detector run beside as
# many packages with it as there are processors.
test: test-tools ## Install what tests need and run the tests, the program's with the race detector
	+$(MAKE) --no-print-directory -j2 test-watched test-unwatched test-modules

test-watched:
	$(RACE) ./...

test-unwatched:
	$(PLAIN) -p 1 -timeout 40m -run '$(STARTED)' $(STARTS)
	$(PLAIN) -p 1 $(SUMS)

# The other modules come after the tests without the race detector and beside those with it.
test-modules:
	cd signer && $(WATCHED) $(GO) test -race $(LEAN) $(LIGHT) -p 1 ./...
	cd bench && $(SAME) $(GO) test $(LIGHT) -p 1 ./...

# What the tests are linked from, into the build cache.
test-compile:
	$(SHORT) $(WATCHED) $(GO) list -race $(LEAN) $(UNWATCHED) $(UNINLINED) -export -deps -test ./... >/dev/null

# Packages with files of tests that are work of one goroutine, minutes of it when watched
# ("//go:build !race"). internal/archtest holds this list against the files.
SUMS = ./advisory ./anomaly ./attest ./decide ./diverge ./evidence ./infer ./internal/archtest ./mitigate ./simulate
# Packages with tests that start a program hundreds of times, or open a ledger as often, and
# which of their tests do. Each start takes several times the processor when watched: all are
# tried without the race detector, and a sample with it. internal/archtest holds the names
# against the files ("//go:build !race").
STARTS = ./ledger/posix
STARTED = ^Test(Nothing|Unsynced|PowerFails|NoHead)
PLAIN = $(SAME) $(GO) test $(LIGHT)

# What computes for long and watches no clock: it may run beside other work, at any priority,
# and `make test` has its results from the build cache.
COMPUTE = ./advisory ./analyze ./anomaly ./artifact ./attest/... ./control ./decide ./evidence ./gate ./infer ./internal/simtest ./mitigate ./peer ./policy/... ./rollout ./signal/openmetrics ./signal/tsdb ./simulate
test-compute: test-compile
	$(RACE) $(COMPUTE)
	$(PLAIN) $(SUMS)

# Debian packages that tests use: gcc for the race detector, strace to kill the
# program at each system call of the crash tests, curl for the commands in the
# documentation, Chromium to look at the pages, a registry without the referrers
# API, a PKCS#11 token in software. Root on a Debian machine gets them installed;
# anybody else is told, and tests that need one are skipped. The servers that are
# built from their modules (kube-apiserver, etcd, cosign) are built by the first
# test that needs one and kept in the user's cache directory, by version.
TEST_TOOLS = gcc strace curl chromium docker-registry softhsm2-util
test-tools:
	@missing=''; \
	for tool in $(TEST_TOOLS); do command -v $$tool >/dev/null || missing="$$missing $${tool%-util}"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing$$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing libc6-dev >/dev/null; \
	else \
		echo "not installed:$$missing; tests that need them are skipped (without gcc the race detector cannot be built)" >&2; \
	fi

test-servers: ## Build the servers of the tests that come from Go modules, where they are missing
	$(SAME) $(GO) test $(LIGHT) -count=1 -timeout 40m -run TestServersThatAreBuiltFromTheirModulesStart ./internal/testenv

# `go vet` that reports what `go fix` would rewrite as well: see tools/vet. The go command
# keeps results by the name and the Go version of a tool, so the name tells what was added.
VET = $(CURDIR)/bin/vet-$(shell cksum <tools/vet/fix.go | cut -d ' ' -f 1)
vet-tool:
	@mkdir -p bin
	@printf '{"Replace": {"%s/src/cmd/vet/fix.go": "%s/tools/vet/fix.go"}}' "$$($(GO) env GOROOT)" '$(CURDIR)' >bin/vet.json
	$(SHORT) $(SAME) $(GO) build -overlay bin/vet.json -ldflags='-s -w' -o $(VET) cmd/vet

lint: vet-tool ## Check format, vet, modern idioms and staticcheck
	@unformatted=$$(find . -name '*.go' -not -path '*/testdata/*' -not -path './.*' -exec gofmt -l {} +); \
	if [ -n "$$unformatted" ]; then echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; fi
	$(SHORT) $(SAME) $(GO) vet -vettool=$(VET) ./...
	$(LARGE) $(SAME) $(TOOL) staticcheck ./...
	cd bench && $(SHORT) $(SAME) $(GO) vet -vettool=$(VET) ./...
	cd bench && $(LARGE) $(SAME) $(GO) tool -modfile=../tools/go.mod staticcheck ./...
	cd signer && $(SHORT) $(SIGNER) $(GO) vet -vettool=$(VET) ./...
	cd signer && $(LARGE) $(SIGNER) $(GO) tool -modfile=../tools/go.mod staticcheck ./...

fuzz: ## Fuzz every decoder for FUZZTIME each (default 2s; FUZZTIME=1h DEEP=1 to search)
	@GO='$(GO)' DEEP='$(DEEP)' $(SAME) .ci/fuzz $(FUZZTIME)

self-verify: build ## Verify, attest, record and prove the binary just built, then try to cheat
	./examples/self-verify/run.sh

demo: build ## The whole loop on this machine: a bad release caught, a good one promoted (Ctrl-C ends it)
	bin/assay demo --dir bin/demo

# Each run starts from nothing, on ports and with faults of its own.
demo-repeat: build ## Run the demo N times (default 10) to its end; HEALTHY=1 without the bad release
	@set -eu; for i in $$(seq $(N)); do \
		echo "=== demo $$i of $(N)"; \
		dir=$$(mktemp -d); \
		bin/assay demo --once $(if $(HEALTHY),--healthy) --dir "$$dir/demo" --listen 127.0.0.1:0 || { code=$$?; echo "logs: $$dir/demo/logs" >&2; exit $$code; }; \
		rm -rf "$$dir"; \
	done; echo "$(N) of $(N) demos came out as described"

# The tests that play: each wants the machine for itself, so `make test` skips them.
gamedays: test-tools ## Play the demo and every game day, and check that a demo writes below its folder only and leaves no process
	$(SAME) ASSAY_DEMO=1 $(GO) test $(LIGHT) -count=1 -timeout 30m -v -run 'Demo|GameDay' ./cmd/assay

screenshots: test-tools ## Take pictures of every page in Chromium into bin/screenshots, light and dark, wide and narrow
	ASSAY_SCREENSHOTS=$(CURDIR)/bin/screenshots $(GO) test -count=1 -run TestPagesLookRight ./ui
	@echo "see bin/screenshots"

bench-spine: build ## Measure store, ledger, proofs and gate against the raw limits of this machine
	cd bench && $(GO) run ./spine

bench-detect: ## Measure how soon bad releases are stopped against the floor, and how often good ones are
	cd bench && $(GO) run ./detect

bench-anomaly: ## Score the detector of records on the Numenta Anomaly Benchmark, causally
	cd bench && $(GO) run ./anomaly

bench-forecast: ## Score the blend of forecasts on M4-hourly's test part, and the care of models on recorded loads
	cd bench && $(GO) run ./forecast --final

bench-supply: build ## Measure attestations, admission, large reports, late discovery
	cd bench && $(GO) run ./supply

bench-decisions: ## Compare decisions with Argo's, Flagger's, Kayenta's and an oracle's over a grid; WRITE=1 renews docs/scoreboard.md, PRICE=1 with it only what a lower loss would cost
	cd bench && $(GO) run ./decisions $(if $(WRITE),--write ../docs/scoreboard.md) $(if $(PRICE),--price)

bench-operations: ## Compare strategies with the rules of others and an oracle over kinds of faults; WRITE=1 renews docs/scoreboard-operations.md
	cd bench && $(GO) run ./operations $(if $(WRITE),--write ../docs/scoreboard-operations.md)

bench-loop: build ## Measure the proxy's overhead, how fast data moves traffic, the demo's start, idle memory
	cd bench && $(GO) run ./loop

licenses: ## List every dependency of the program with its detected licence (bin/licenses.cdx.json)
	@mkdir -p bin
	$(TOOL) cyclonedx-gomod app -json -licenses -noserial -main cmd/assay -output bin/licenses.cdx.json .

clean: ## Remove what the build made
	rm -rf bin
