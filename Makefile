STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
SEEDS := 2000

.DEFAULT_GOAL := help
.PHONY: help short test race servers bench compare sim mutants model examples lint ci build man dist

## help: list the targets
help:
	@awk -F ': ' '/^## / { sub(/^## /, "", $$1); printf "  make %-9s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## short: run the tests that take no seconds on a real Redis
short:
	go test -short ./...

## test: run the tests; those on a real Redis are skipped where there is none
test:
	@for module in $$(.ci/modules); do (cd $$module && go test ./...) || exit 1; done

## race: run the tests under the race detector, soaks in full; a real Redis is required
race:
	PASSBUDDY_REDIS=require PASSBUDDY_SOAK=yes go test -race ./...

## servers: run the tests on a real Redis once for each redis-server and valkey-server under DIR (make servers DIR=...)
servers:
	.ci/servers $(or $(DIR),$(error make servers DIR=...: where other servers are))

## bench: run the benchmarks
bench:
	go test -run '^$$' -bench . ./lease

## compare: measure the library beside its peers (make compare FLAGS=-quick for a short run)
compare:
	cd bench && go run . $(FLAGS)

## sim: simulate a fleet for 2,000 seeds of ten minutes (make sim SEEDS=10000 for more)
sim:
	go test ./internal/sim -run TestFleetKeepsItsPromises -seeds $(SEEDS) -life 10m -timeout 0

## mutants: make one mistake in the code after the other and see a test fail
mutants:
	go run ./internal/mutants

## build: build the command line, ./passbuddy
build:
	go build -o passbuddy ./cmd/passbuddy

## man: write the command line's manual and completion files to dist/
man:
	cd cmd/passbuddy && go run ./internal/tools/papers ../../dist "$$(git describe --tags --always --dirty)"

## dist: build the command line for Linux and macOS, each as an archive with its manual, into dist/
dist:
	.ci/dist

## model: search the Spin models of the protocol in full (make model FLAGS=-small for those that CI runs)
model:
	docs/model/run $(FLAGS)

## examples: run every example once
examples:
	@for main in examples/*/main.go; do \
		echo "== $$main"; example=$${main%/main.go}; \
		if [ -f "$$example/go.mod" ]; then (cd "$$example" && go run . -demo -listen 127.0.0.1:0); else go run "./$$example"; fi || exit 1; \
	done

## lint: gofmt, go vet, staticcheck, go mod tidy
lint:
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not gofmt'ed: $$unformatted"; exit 1; }
	@for module in $$(.ci/modules); do (cd $$module && go vet ./... && go run $(STATICCHECK) ./... && go mod tidy -diff) || exit 1; done

## ci: all that CI runs
ci:
	.ci/run
