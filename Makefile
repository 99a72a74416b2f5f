# The two commands of a fresh machine are `go run ./cmd/aibridged demo` and `make test`.

GO ?= go

# How long 99 in 100 small requests may take while test-memory sends large ones.
P99 ?= 250ms

# What is generated, in the order of its making.
GENERATED := proto/aibridged.pb.go proto/aibridged_drpc.pb.go aibridgedmock/aibridgedmock.go

.PHONY: check test test-postgres test-crash test-memory race format vet staticcheck gen gen-clean prices last-release bench fuzz e2e

check: format vet staticcheck gen-clean race ## Everything that must hold before a commit.

test: ## The tests.
	$(GO) test ./...

test-postgres: ## The suite of the control plane's database on a PostgreSQL server, which the tests start, and through a pooler.
	$(GO) test -race -timeout 20m ./aibridgedserver ./aibridgedserver/reports ./console -args -postgres
	$(GO) test -timeout 20m ./aibridgedserver ./aibridgedserver/reports ./console -args -postgres -pooler

test-crash: ## Processes killed under load: 200 gateways, a control plane that is away for a minute, parts of fleets; power failures at every step.
	$(GO) test -count=1 -timeout 30m -v ./internal/crashtest -args -kills=200 -away=60s -chaos=5m -losses=3 -power-kills=30

test-memory: ## Many times more bodies than fit into 1 GiB, and small requests meanwhile, on a machine that does nothing else.
	$(GO) test -count=1 -v ./internal/memorytest -args -for=4s -p99=$(P99)

# These three are left to `make test`: they are about processes of their own, and nobody reads what the detector would say there.
race:
	$(GO) test -race $$($(GO) list ./... | grep -vE '/internal/(bench|crashtest|memorytest)$$')

format:
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	if [ -n "$$unformatted" ]; then echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; fi

# The systems that a release is for, beside the one that this runs on.
SYSTEMS := darwin/arm64 windows/amd64 linux/arm64

vet: ## Also for other systems: what only they compile is seen here alone.
	$(GO) vet ./...
	@for system in $(SYSTEMS); do \
		echo "$(GO) vet ./... for $$system"; CGO_ENABLED=0 GOOS=$${system%/*} GOARCH=$${system#*/} $(GO) vet ./... || exit 1; \
	done

staticcheck:
	$(GO) tool staticcheck ./...

gen: ## Make what is generated anew.
	$(GO) run ./internal/protogen -dir proto aibridged.proto
	$(GO) tool mockgen -destination aibridgedmock/aibridgedmock.go -package aibridgedmock . DRPCClient,Pooler

gen-clean: ## Generating changes nothing.
	@before=$$(cat $(GENERATED) | sha256sum); $(MAKE) --no-print-directory gen; after=$$(cat $(GENERATED) | sha256sum); \
	if [ "$$before" != "$$after" ]; then echo "make gen changed what is committed: commit what it made"; exit 1; fi
	$(GO) mod tidy -diff

# The embedded prices. They are a target of their own since they need npm: the package that they come from is pinned beside them.
PRICES := aibridgedserver/prices/generate

prices: ## Make the embedded price table anew, from the pinned npm package.
	cd $(PRICES) && npm ci --no-audit --no-fund
	cd $(PRICES) && node generate.mjs > ../table.json.new && mv ../table.json.new ../table.json

last-release: ## After a release: have the tests hold this program against the one of this commit from now on.
	git rev-parse HEAD > cmd/aibridged/testdata/last_release

bench: ## What serve costs beside a bare ReverseProxy, and what tools cost, in up to ten minutes; then the CPU time of a record.
	$(GO) run ./internal/bench
	@GOGC=400 $(GO) test -run '^$$' -bench '^BenchmarkRecord$$' -benchtime 40000x -count 3 . | grep -E 'Benchmark|^cpu'

fuzz: ## Each fuzz target for a minute.
	@for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime 1m $$package || exit 1; \
		done; \
	done

e2e: ## Real SDKs and real clients through the program; needs node and npm.
	$(MAKE) -C e2e
