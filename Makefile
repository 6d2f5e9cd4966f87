# make prints its targets.

GO      ?= go
BIN     := bin/keepmesh
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LANE    ?= all
CACHE   := $(CURDIR)/.cache

GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT  := mvdan.cc/gofumpt@v0.12.0

.DEFAULT_GOAL := help
.PHONY: help build test check lint fmt demo bench fuzz cover clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/keepmesh, static
	@.ci/need go
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o $(BIN) ./cmd/keepmesh

test: build ## all lanes that this user can run; LANE=unit|netns|interop runs one
	@.ci/need test
	.ci/test $(LANE)

check: ## what CI runs first: format, vet, build, lint
	@.ci/need go
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt would change:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(MAKE) --no-print-directory build lint

lint: ## golangci-lint with this repository's settings
	GOFLAGS= $(GO) run $(GOLANGCI) run ./...

fmt: ## gofumpt over everything
	GOFLAGS= $(GO) run $(GOFUMPT) -w $$(git ls-files '*.go')

demo: build ## three nodes on this machine: a failover and a blocked path to watch
	@.ci/need demo
	$(BIN) demo

bench: build ## side by side with keepalived, ratios; JSON lines in bench.jsonl; BENCHFLAGS=-quick, -only NAME
	@.ci/need test
	$(GO) run ./lab/bench -bin $(BIN) $(BENCHFLAGS)
	KEEPMESH_BENCH=1 $(GO) test -count=1 -run TestAgainstKeepalived -v ./config

fuzz: ## each fuzz target for FUZZTIME (default 30s)
	.ci/fuzz $(or $(FUZZTIME),30s)

cover: ## coverage of the unit lane, by package
	$(GO) test -coverprofile=coverage.out $$($(GO) list ./... | grep -v /e2e) && $(GO) tool cover -func=coverage.out | tail -1

clean: ## what building and testing left
	rm -rf bin coverage.out bench.jsonl $(CACHE)
