# Everything a contributor types. `make run` and `make test` are the two commands of the README;
# `make check` is exactly what CI runs.
SWIFT ?= swift
FLAGS  = --explicit-target-dependency-import-check error
RELEASE = -c release --static-swift-stdlib -Xlinker -z -Xlinker relro -Xlinker -z -Xlinker now
# Seconds per fuzzer in `make fuzz`.
SECONDS ?= 60
FUZZERS = smtp imap pop3 mime interchange sasl password tokens network wire config
# `mailctl dev` options, for example: make run DEV="--ports 3000 --dir /tmp/mail"
DEV ?=

run: packages release
	.build/release/mailctl dev $(DEV)

test: packages test-tools
	tools/test-all

packages:      ; tools/install-packages build
test-tools:    ; tools/install-packages test
build:         ; $(SWIFT) build $(FLAGS)
unit:          ; $(SWIFT) test $(FLAGS)
release:       ; $(SWIFT) build $(FLAGS) $(RELEASE)
end-to-end:    ; Tests/EndToEnd/run --bin .build/release
crash:         ; Tests/EndToEnd/run --bin .build/release --only crash --rounds 1000 --seconds 0
scale:         ; Tests/Scale/run --bin .build/release --times
views:         ; MARTLET_VIEW_SECONDS=60 MARTLET_VIEW_SESSIONS=50 Tests/EndToEnd/run --bin .build/release --only test_views
attack:        ; Tests/Scale/attack --bin .build/release --times
units:         ; tools/check-units
system:        ; Tests/System/systemd.sh .build/release
package:       ; Tests/System/package.sh .build/release
fmt:           ; $(SWIFT) format --in-place --parallel --recursive Package.swift Sources Tests Examples/Sources
lint:          ; tools/lint
check:         ; .ci/run
hooks:         ; git config core.hooksPath tools/hooks
clean:         ; rm -rf .build

fuzz:
	for core in $(FUZZERS); do \
	  FUZZ=1 $(SWIFT) build --sanitize=fuzzer --scratch-path .build/fuzz \
	    --product fuzz-$$core || exit 1; done
	tools/fuzz $(SECONDS) $(FUZZERS)

deb: release
	debian/rules clean
	debian/rules binary

install: release
	systemd/install-tree.sh .build/release "$(DESTDIR)"

.PHONY: run test packages test-tools build unit release end-to-end crash scale attack views units system package fmt lint deb \
  check hooks clean fuzz install
