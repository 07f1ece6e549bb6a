# make            bin/tinybackup: one static binary
# make test       all tests, after installing the tools they need (see testdata/setup.sh)
# make torture    faults at every system call, power cuts, damage: half an hour, and the figures of it
# make fuzz       every parser, a minute of random input for each; FUZZTIME=10s
# make reuse      two thousand random trees, edits, damages and options: does reuse give what reading gives?
# make vm         snapshots of LVM volumes, and restored disks, in virtual machines (see testdata/vm.sh)
# make check      formatting, vet, staticcheck, man page, all platforms, size
# make demo       a backup's whole life, in a temporary directory
# make bench      one table: tinybackup beside tar, dd, dar, borg and restic, in time, size and memory (PAIRS=5)
# make bench-s3   another: how much is sent to S3 by tinybackup, restic, rclone and a plain upload
# make install    binary and man page; PREFIX=/usr/local DESTDIR=

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PREFIX  ?= /usr/local
DESTDIR ?=
GO      ?= go

# The version comes from git through the build info. Without a usable git
# (a tarball, a checkout of somebody else) the build goes on without it.
VCS := $(shell git rev-parse --verify -q HEAD >/dev/null 2>&1 && echo true || echo false)

# HTTP/2 is left out, as every server that is spoken to here knows HTTP/1.1: a third of a megabyte.
TAGS    = nethttpomithttp2
# What waits for a network, a disk or a person is compiled without inlining: 0.9 MB less. What has
# each byte in its hands keeps it.
COLD    = github.com/... gopkg.in/... go.yaml.in/... golang.org/x/crypto/ssh/... golang.org/x/net/... net/... mime/... log/... \
	crypto/tls crypto/x509/... encoding/asn1 encoding/xml math/big regexp/... text/... vendor/... tinybackup/...
HOT     = github.com/klauspost/... github.com/ulikunitz/... tinybackup/internal/archive tinybackup/internal/source
GOBUILD = CGO_ENABLED=0 $(GO) build -buildvcs=$(VCS) -trimpath -tags $(TAGS) \
	$(COLD:%=-gcflags=%=-l) $(HOT:%=-gcflags=%=) -ldflags '-s -w'

# The race detector needs a C compiler.
RACE := $(shell command -v "$$($(GO) env CC | cut -d' ' -f1)" >/dev/null 2>&1 && echo -race)

STATICCHECK = $(shell command -v staticcheck || echo '$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2')
PLATFORMS   = linux/amd64 linux/arm64 linux/arm/6 linux/arm/7 darwin/amd64 darwin/arm64 freebsd/amd64
MAX_BYTES   = 15000000

.PHONY: build test torture fuzz reuse vm check format vet staticcheck man cross size bench bench-s3 demo install clean

BIN ?= bin/tinybackup
build:
	$(GOBUILD) -o $(BIN) .

# V=1 prints every line of every test. TINYBACKUP_TEST_NO_SKIP=1 makes a skipped test a failure.
# What takes long and waits much begins first, beside the others.
test:
	@bash testdata/setup.sh
	CGO_ENABLED=$(if $(RACE),1,0) $(GO) test $(RACE) -count=1 -timeout 12m -json ./tinybackup ./... | $(GO) run testdata/summary.go $(if $(V),-v)

# What the tests break here and there is broken everywhere. The figures are those of internal/e2e.
torture:
	@bash testdata/setup.sh
	TINYBACKUP_TORTURE=1 $(GO) test -count=1 -timeout 90m -v $(if $(TORTURE),-run '$(TORTURE)') ./... | grep -E '^ *[0-9]+  |^(ok|FAIL|panic)|--- FAIL|_test\.go:'
	@$(MAKE) --no-print-directory fuzz

# What is found is in testdata/fuzz of its package, and from then on a part of make test. That its time is over
# go test calls an error at times, before Go 1.27 (golang/go#75804).
FUZZTIME ?= 60s
fuzz:
	@for file in $$(grep -rl '^func Fuzz' --include=*_test.go .); do \
		for f in $$(sed -n 's/^func \(Fuzz[A-Za-z]*\)(.*/\1/p' $$file); do \
			printf '%-16s ' $$f; \
			out=$$($(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file) 2>&1) || \
				{ grep -q 'context deadline exceeded' <<<"$$out" && ! grep -q 'Failing input' <<<"$$out"; } || { echo "$$out"; exit 1; }; \
			grep -o 'execs: [0-9]*' <<<"$$out" | tail -1; \
		done; \
	done

reuse:
	$(GO) test -count=1 -timeout 12m -json -run '^TestReuseIsExact$$' ./internal/archive -sequences $(or $(SEQUENCES),2000) | $(GO) run testdata/summary.go

vm: build
	bash testdata/vm.sh testdata/vm-lvm.sh bin/tinybackup
	bash testdata/vm.sh testdata/vm-restore.sh bin/tinybackup
	bash testdata/vm-card.sh bin/tinybackup

# One way to compile for all of it, so that what one step has compiled serves the next.
check: export GOFLAGS = -trimpath
check: export CGO_ENABLED = 0
check: format vet staticcheck man cross size

format:
	@bad="$$(gofmt -l .)"; [ -z "$$bad" ] || { echo "not formatted:" $$bad; exit 1; }

vet:
	$(GO) vet ./...
	$(GO) vet testdata/summary.go
	$(GO) vet testdata/count.go
	$(GO) vet -tags testclock ./...
	GOOS=darwin $(GO) vet ./...
	GOOS=freebsd $(GO) vet ./...

staticcheck:
	$(STATICCHECK) ./...
	$(STATICCHECK) -tags testclock ./...

man:
	@# mandoc also misses pages in its database, which a fresh machine has not built.
	@bad="$$(mandoc -T lint -W style man/tinybackup.1 2>&1 | grep -v 'outdated mandoc.db' || true)"; [ -z "$$bad" ] || { echo "$$bad"; exit 1; }

# Every platform builds, and none is too large.
cross:
	@out=$$(mktemp -d); trap 'rm -rf "$$out"' EXIT; \
	for p in $(PLATFORMS); do \
		IFS=/ read -r os arch arm <<<"$$p"; \
		GOOS=$$os GOARCH=$$arch GOARM=$$arm $(GOBUILD) -o "$$out/tinybackup" .; \
		bytes=$$(wc -c <"$$out/tinybackup"); \
		printf '%-16s %9d bytes\n' "$$p" "$$bytes"; \
		[ "$$bytes" -le $(MAX_BYTES) ] || { echo "$$p: more than $(MAX_BYTES) bytes"; exit 1; }; \
	done

# The binary needs nothing of the machine it is copied to. And it calls no method by a name that it reads, as
# text/template does: to do so anywhere keeps every exported method of every type in it, two megabytes of them.
size: build
	@text=$$(ldd bin/tinybackup 2>&1 || true); \
	case "$$text" in *'not a dynamic executable'*|*'statically linked'*) ;; *) echo "not static: $$text"; exit 1;; esac
	@! grep -aqF 'reflect.Value.MethodByName' bin/tinybackup || { echo "methods are called by name: go build -ldflags=-dumpdep 2>&1 | grep ReflectMethod says where"; exit 1; }
	@bytes=$$(wc -c <bin/tinybackup); echo "bin/tinybackup: static, $$bytes bytes"; [ "$$bytes" -le $(MAX_BYTES) ]

bench: build
	bash testdata/bench.sh

bench-s3: build
	bash testdata/bench-s3.sh

demo: build
	@bash testdata/demo.sh

install: build
	install -D -m 755 bin/tinybackup '$(DESTDIR)$(PREFIX)/bin/tinybackup'
	install -D -m 644 man/tinybackup.1 '$(DESTDIR)$(PREFIX)/share/man/man1/tinybackup.1'

clean:
	rm -rf bin
