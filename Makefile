# forebay: build, try, test, measure, install.

PREFIX     ?= /usr/local
DESTDIR    ?=
CARGO      ?= cargo
TOOLS      := tests/tools
# make bench: rounds of each contender and messages a round; rows of the backlogs and rounds of their drains; rounds of reads. Rounds
# that would not end within so many minutes, for messages and for drains, are left out.
ROUNDS     ?= 3
MESSAGES   ?= 100000
BACKLOG    ?= 300000,3000000
DRAINS     ?= 3
READS      ?= 3
MINUTES    ?= 3
# make bench-batcher: seconds of each strategy over each line to a real QuestDB.
REAL_SECONDS ?= 20
# make bench-wear: seconds a measurement.
WEAR_SECONDS ?= 20
# make bench-small: seconds the database is away.
SMALL_SECONDS ?= 30

SYSCONFDIR ?= /etc
SYSUSERS   := $(PREFIX)/lib/sysusers.d/forebay.conf
TMPFILES   := $(PREFIX)/lib/tmpfiles.d/forebay.conf
SHAREDIR   := $(PREFIX)/share
ZSHDIR     := $(SHAREDIR)/zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)
# Most bytes of the installed program. The aim is 10 MB; jq programs take 0.8 MB of it.
MOST_BYTES := 11500000
# Debug symbols, kept apart from the program where gdb and the program's own backtraces look for them.
DEBUGDIR   := $(if $(filter /usr,$(PREFIX)),/usr/lib/debug/usr/bin,$(PREFIX)/bin/.debug)
OBJCOPY    ?= objcopy
# What make install takes manual pages and completion scripts from; a cross build names a program that runs here.
PROGRAM    ?= target/release/forebay
# What make install installs.
BINARY     ?= target/release/forebay
UNITDIR    ?= $(if $(filter /usr,$(PREFIX)),/usr/lib/systemd/system,$(SYSCONFDIR)/systemd/system)

.PHONY: help build program size demo test test-arm test-long unit it bench bench-long bench-batcher bench-wear bench-small openapi fmt fmt-check lint deny deps install install-files install-program install-service install-extras uninstall packages package release reproduce third-party clean

help:                ## Shows this list.
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build:               ## Builds the program for development.
	$(CARGO) build --locked

program:             ## Builds the program for use.
	$(CARGO) build --locked --release

deps:                ## Installs what demo, test and bench need (mosquitto, a JRE, QuestDB, systemd-container, clients, Telegraf).
	@env -u TMPDIR $(TOOLS)/install-deps demo test

demo:                ## Devices, mosquitto, forebay and QuestDB, live; SECONDS=20 ends by itself, else Ctrl-C.
	@env -u TMPDIR $(TOOLS)/install-deps demo
	@$(CARGO) build --locked --release
	@$(TOOLS)/demo "$(SECONDS)"

test: unit it        ## Runs every test, against the real mosquitto, QuestDB and systemd.

test-arm:            ## Runs the programs for ARM under qemu-user: ring and decoding, publish to stored, kills (half an hour).
	@env -u TMPDIR $(TOOLS)/install-deps test packages
	$(TOOLS)/arm

test-long: test-arm  ## The long mode: 50,000,000 crash images, 200 kills, and test-arm (two hours or so).
	@env -u TMPDIR $(TOOLS)/install-deps test
	FOREBAY_CRASH_IMAGES=50000000 $(CARGO) test --locked --release --lib -- ring::crash --nocapture
	FOREBAY_KILLS=200 $(TOOLS)/disk-use $(CARGO) test --locked --test it -- crash:: --nocapture

unit:                ## Runs the tests that need no server.
	$(TOOLS)/disk-use $(CARGO) test --locked --lib --bins --test house

it:                  ## Runs the tests against real servers; TEST=name picks some.
	@env -u TMPDIR $(TOOLS)/install-deps test
	$(TOOLS)/disk-use $(CARGO) test --locked --test it -- --test-threads=2 $(TEST)

bench:               ## Measures side by side within 30 minutes; ROUNDS, MESSAGES, BACKLOG, DRAINS, READS and MINUTES adjust it.
	@env -u TMPDIR $(TOOLS)/install-deps demo bench
	$(CARGO) build --locked --release
	$(CARGO) bench --locked --bench ring
	$(CARGO) bench --locked --bench readers -- --seconds 5
	$(CARGO) bench --locked --bench speed
	$(CARGO) bench --locked --bench write
	$(CARGO) bench --locked --bench e2e -- --rounds $(ROUNDS) --messages $(MESSAGES) --minutes $(MINUTES)
	$(CARGO) bench --locked --bench drain -- --backlog $(BACKLOG) --rounds $(DRAINS) --minutes $(MINUTES)
	$(CARGO) bench --locked --bench reads -- --rounds $(READS)

bench-long:          ## The same with more rounds, for medians (some two hours).
	@$(MAKE) --no-print-directory bench ROUNDS=9 MESSAGES=200000 BACKLOG=300000,3000000,5000000 DRAINS=7 READS=9 MINUTES=60

bench-batcher:       ## Dynamic batches against fixed ones, simulated and on a real QuestDB; REAL_SECONDS (0: none) adjusts it.
	@env -u TMPDIR $(TOOLS)/install-deps demo
	$(CARGO) build --locked --release
	$(CARGO) bench --locked --bench batcher -- --real $(REAL_SECONDS)

bench-wear:          ## Measures what reaches the disk, by the device's counters (as root: on a loop device of its own); WEAR_SECONDS adjusts it.
	@env -u TMPDIR $(TOOLS)/install-deps demo
	$(CARGO) build --locked --release
	$(CARGO) bench --locked --bench wear -- --seconds $(WEAR_SECONDS)

bench-small:         ## Measures the least machine (as root: a control group of 64 MB, a card of 1 GB); SMALL_SECONDS adjusts it.
	@env -u TMPDIR $(TOOLS)/install-deps demo test
	$(CARGO) build --locked --release
	$(CARGO) bench --locked --bench small -- --seconds $(SMALL_SECONDS)

openapi:             ## Writes the description of the HTTP interface anew, from the routes.
	FOREBAY_WRITE_OPENAPI=1 $(CARGO) test --locked --lib -- what_is_served_is_made_of_the_routes

fmt:                 ## Formats the sources.
	$(CARGO) fmt

fmt-check:
	$(CARGO) fmt --check

lint:                ## Runs clippy; a warning is an error.
	$(CARGO) clippy --locked --all-targets -- -D warnings

deny:                ## Checks licences, sources, bans and advisories of all dependencies.
	@env -u TMPDIR $(TOOLS)/install-deps deny
	@$(TOOLS)/deny

install: program     ## Installs the program, its unit, user, manual pages, completions and a first configuration under DESTDIR and PREFIX.
	$(MAKE) --no-print-directory install-files
	test -e "$(DESTDIR)$(SYSCONFDIR)/forebay/forebay.toml" || install -m 0644 conf/installed.toml "$(DESTDIR)$(SYSCONFDIR)/forebay/forebay.toml"
# A package's scripts make the user and the directories; without DESTDIR they are made at once.
ifeq ($(DESTDIR),)
	systemd-sysusers "$(SYSUSERS)"
	systemd-tmpfiles --create "$(TMPFILES)"
endif

# All that is installed but the configuration, which a package has its own way to keep. Packages are made of this, too.
install-files: install-program install-service install-extras

# Output becomes a file by a rename: a link in its place, as the mask that a removed package leaves (to /dev/null), is replaced.
put = > "$(1).new" && chmod 0644 "$(1).new" && mv -f "$(1).new" "$(1)"

# Unit, user and directories.
install-service:
	install -d "$(DESTDIR)$(UNITDIR)" "$(DESTDIR)$(SYSCONFDIR)/forebay/conf.d"
	sed 's|/usr/bin/forebay|$(PREFIX)/bin/forebay|g' systemd/forebay.service $(call put,$(DESTDIR)$(UNITDIR)/forebay.service)
	install -D -m 0644 systemd/forebay.sysusers "$(DESTDIR)$(SYSUSERS)"
	install -D -m 0644 systemd/forebay.tmpfiles "$(DESTDIR)$(TMPFILES)"

# The program without its debug symbols, and those beside it. A cross build names its own OBJCOPY.
install-program:
	@command -v "$(OBJCOPY)" >/dev/null || { echo "make install needs $(OBJCOPY) (Debian: apt-get install binutils) to strip the program" >&2; exit 1; }
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(DEBUGDIR)"
	"$(OBJCOPY)" --only-keep-debug --compress-debug-sections=zlib "$(BINARY)" "$(DESTDIR)$(DEBUGDIR)/forebay.debug"
	chmod 0644 "$(DESTDIR)$(DEBUGDIR)/forebay.debug"
	"$(OBJCOPY)" --strip-all --add-gnu-debuglink="$(DESTDIR)$(DEBUGDIR)/forebay.debug" "$(BINARY)" "$(DESTDIR)$(PREFIX)/bin/.forebay.new"
	chmod 0755 "$(DESTDIR)$(PREFIX)/bin/.forebay.new"
	mv -f "$(DESTDIR)$(PREFIX)/bin/.forebay.new" "$(DESTDIR)$(PREFIX)/bin/forebay"

size: program        ## Checks that the program as it is installed has less than MOST_BYTES.
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	$(MAKE) --no-print-directory --silent install-program DESTDIR="$$dir" && \
	bytes=$$(stat -c %s "$$dir$(PREFIX)/bin/forebay") && echo "the installed program has $$bytes bytes, less than $(MOST_BYTES) are meant" && \
	[ "$$bytes" -lt $(MOST_BYTES) ]

# Manual pages, completion scripts, alerts, dashboard, ready-made sources, the example configuration and the documentation, which
# messages point to where a gateway may be offline.
install-extras:
	"$(PROGRAM)" man "$(DESTDIR)$(SHAREDIR)/man/man1"
	install -d "$(DESTDIR)$(SHAREDIR)/bash-completion/completions" "$(DESTDIR)$(ZSHDIR)" "$(DESTDIR)$(SHAREDIR)/fish/vendor_completions.d"
	"$(PROGRAM)" completions bash $(call put,$(DESTDIR)$(SHAREDIR)/bash-completion/completions/forebay)
	"$(PROGRAM)" completions zsh $(call put,$(DESTDIR)$(ZSHDIR)/_forebay)
	"$(PROGRAM)" completions fish $(call put,$(DESTDIR)$(SHAREDIR)/fish/vendor_completions.d/forebay.fish)
	install -D -m 0644 -t "$(DESTDIR)$(SHAREDIR)/forebay" conf/alerts/forebay.rules.yml conf/alerts/forebay.test.yml conf/grafana/forebay.json
	install -D -m 0644 -t "$(DESTDIR)$(SHAREDIR)/forebay/devices" conf/devices/*.toml
	install -D -m 0644 -t "$(DESTDIR)$(SHAREDIR)/doc/forebay" conf/forebay.toml README.md THIRD-PARTY
	install -D -m 0644 -t "$(DESTDIR)$(SHAREDIR)/doc/forebay/docs" docs/*.md

uninstall:           ## Removes the program and its unit; configuration, data and user stay.
	rm -f "$(DESTDIR)$(SHAREDIR)"/man/man1/forebay.1 "$(DESTDIR)$(SHAREDIR)"/man/man1/forebay-*.1
	rm -f "$(DESTDIR)$(SHAREDIR)/bash-completion/completions/forebay" "$(DESTDIR)$(ZSHDIR)/_forebay"
	rm -f "$(DESTDIR)$(SHAREDIR)/fish/vendor_completions.d/forebay.fish"
	rm -rf "$(DESTDIR)$(SHAREDIR)/forebay" "$(DESTDIR)$(SHAREDIR)/doc/forebay"
	rm -f "$(DESTDIR)$(DEBUGDIR)/forebay.debug"
	rmdir "$(DESTDIR)$(DEBUGDIR)" 2>/dev/null || true
	rm -f "$(DESTDIR)$(PREFIX)/bin/forebay" "$(DESTDIR)$(UNITDIR)/forebay.service" "$(DESTDIR)$(SYSUSERS)" "$(DESTDIR)$(TMPFILES)"
	rmdir "$(DESTDIR)$(PREFIX)/lib/sysusers.d" "$(DESTDIR)$(PREFIX)/lib/tmpfiles.d" "$(DESTDIR)$(ZSHDIR)" "$(DESTDIR)$(SHAREDIR)/zsh" \
		"$(DESTDIR)$(SHAREDIR)/bash-completion/completions" "$(DESTDIR)$(SHAREDIR)/bash-completion" \
		"$(DESTDIR)$(SHAREDIR)/fish/vendor_completions.d" "$(DESTDIR)$(SHAREDIR)/fish" 2>/dev/null || true

package:             ## Makes the .deb of the program that is built here, in target/debian, and has lintian check it.
	@env -u TMPDIR $(TOOLS)/install-deps package
	@$(MAKE) --no-print-directory program
	@packaging/deb target/debian $$(rustc -vV | sed -n 's/^host: //p') target/release/forebay
	@packaging/lint target/debian

packages:            ## Makes .debs for amd64, arm64 and armhf, and tarballs of static programs for x86-64 and aarch64, in target/dist.
	@env -u TMPDIR $(TOOLS)/install-deps packages
	@packaging/all target/dist

release: packages    ## The same with a list of what is linked in (CycloneDX) and checksums: what is published.
	@packaging/publish target/dist

reproduce: packages  ## Builds twice, in two directories, and compares the bytes of amd64's .deb and the static x86-64 tarball.
	@packaging/again target/dist

third-party:         ## Writes THIRD-PARTY: what is linked in, and its licences.
	@packaging/linked notices

clean:               ## Removes everything that was built.
	$(CARGO) clean
