# SPDX-License-Identifier: Apache-2.0

PREFIX ?= /usr/local
bindir = $(PREFIX)/bin
BUILD ?= bin
mandir = $(PREFIX)/share/man
vhostuserdir = $(PREFIX)/share/qemu/vhost-user
docdir = $(PREFIX)/share/doc/virtiofsd-go
unitdir = $(PREFIX)/lib/systemd/system
FUZZTIME ?= 1m
GO ?= go
.NOTPARALLEL:
arm64 = GOOS=linux GOARCH=arm64 CGO_ENABLED=0

.PHONY: build
build: ## build the daemon, one static binary, and its manual page: bin/virtiofsd-go, bin/virtiofsd-go.8
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BUILD)/virtiofsd-go ./cmd/virtiofsd-go
	$(GO) run ./internal/config/manual > $(BUILD)/virtiofsd-go.8

.PHONY: demo
demo: setup build ## boot a guest that shares files with the host, and show it
	$(GO) run ./test/guest/demo

.PHONY: test
test: setup check ## check, then run all tests with the race detector, and five fuzz targets for FUZZTIME
	$(GO) run ./test/runner
	FUZZTIME=$(FUZZTIME) test/fuzz some

.PHONY: test-all
test-all: setup check ## the same with more guests and at full sizes; takes hours
	VIRTIOFSD_GO_FULL=1 $(GO) run ./test/runner
	$(GO) run ./test/arm64
	FUZZTIME=$(FUZZTIME) test/fuzz

.PHONY: check
check: ## format, vet, staticcheck, the repository's own rules, arm64
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags backdoor ./internal/backdoor ./internal/daemon
	$(GO) tool staticcheck ./...
	$(GO) test -count=1 ./internal/lint
	$(arm64) $(GO) build ./...
	$(arm64) $(GO) vet ./...

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (default 1m)
	FUZZTIME=$(FUZZTIME) test/fuzz

.PHONY: bench
bench: setup build ## compare with the Rust and the C daemon (BENCH= options, see docs/performance.md)
	$(GO) run ./test/bench $(BENCH)

.PHONY: bench-cache
bench-cache: build ## compare the page cache with --page-cache-size=0
	$(GO) run ./test/bench --workloads randread4k,seqread1m,seqwrite1m --daemons 'ours,ours --page-cache-size=0' --reference 'ours --page-cache-size=0' --out dist/bench-cache $(BENCH)

.PHONY: bench-go
bench-go: ## run the Go benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: install
install: build ## install daemon, manual page, QEMU's description of it, an example and systemd units below PREFIX (default /usr/local)
	install -D -m 755 $(BUILD)/virtiofsd-go $(DESTDIR)$(bindir)/virtiofsd-go
	install -D -m 644 $(BUILD)/virtiofsd-go.8 $(DESTDIR)$(mandir)/man8/virtiofsd-go.8
	install -D -m 644 packaging/example.conf $(DESTDIR)$(docdir)/example.conf
	install -d $(DESTDIR)$(vhostuserdir) $(DESTDIR)$(unitdir)
	sed 's|@bindir@|$(bindir)|' packaging/50-virtiofsd-go.json.in > $(DESTDIR)$(vhostuserdir)/50-virtiofsd-go.json
	sed 's|@bindir@|$(bindir)|' packaging/virtiofsd-go@.service.in > $(DESTDIR)$(unitdir)/virtiofsd-go@.service
	sed 's|@bindir@|$(bindir)|' packaging/virtiofsd-go@.socket.in > $(DESTDIR)$(unitdir)/virtiofsd-go@.socket
	chmod 644 $(DESTDIR)$(vhostuserdir)/50-virtiofsd-go.json $(DESTDIR)$(unitdir)/virtiofsd-go@.service $(DESTDIR)$(unitdir)/virtiofsd-go@.socket

.PHONY: setup
setup: ## install what build and tests need on the host
	test/setup

.PHONY: clean
clean: ## remove what was built here (not the cache of guests)
	rm -rf bin dist

.PHONY: help
help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12
