# readyd: `make` builds build/readyd, `make help` lists the rest.

VERSION := 0.1.0

PREFIX ?= /usr/local
BUILD ?= build
TLS ?= 1
SANITIZE ?= 0
DEPS_CACHE ?= $(or $(XDG_CACHE_HOME:%=%/readyd),$(HOME:%=%/.cache/readyd),/var/tmp/readyd-cache-$(shell id -u))

# The Debian packages that each purpose needs.
BUILD_PACKAGES := autoconf automake bison dpkg-dev flex gcc libc6-dev libtool linux-libc-dev make \
	musl-tools perl pkg-config
# Debian has Valkey since 13
TEST_PACKAGES = busybox-static chromium chromium-driver curl haproxy libcmocka-dev mmdebstrap \
	monitoring-plugins-basic nginx-light openssl postgresql procps prometheus python3 \
	python3-jsonschema python3-yaml redis-server strace \
	$(shell . /etc/os-release; [ "$${VERSION_ID:-0}" -lt 13 ] || echo valkey-server)
EXAMPLE_PACKAGES := nginx-light postgresql redis-server
LINT_PACKAGES := clang-format clang-tidy cppcheck python3
BENCH_PACKAGES := busybox-static curl nginx-light postgresql python3 redis-server wrk
# what of them must not be started by being installed
SERVICES := haproxy nginx postgresql prometheus prometheus-node-exporter redis-server valkey-server

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:

# As many jobs at a time as there are processors.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif

# --- flags ----------------------------------------------------------------------------------------

cache := $(abspath $(DEPS_CACHE))

warnings := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wcast-qual -Wwrite-strings -Wformat=2 -Wconversion -Wsign-conversion -Wvla \
	-Wundef -Werror
defines := -D_GNU_SOURCE -DREADYD_VERSION='"$(VERSION)"' -DREADYD_TLS=$(TLS)

# The sanitizer build is glibc's and dynamic, everything else is a static musl program. It is no
# PIE, because a static PIE relocates itself at every start, and starting is most of what
# `readyd check` does.
ifeq ($(SANITIZE),1)
flavour := glibc
out := $(BUILD)/sanitize
CC := gcc
mode := -Og -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
link_mode := -fsanitize=address,undefined
else
flavour := musl
out := $(BUILD)
CC := musl-gcc -idirafter $(cache)/kernel-headers
mode := -Os -g -ffunction-sections -fdata-sections -fno-pie -fno-unwind-tables \
	-fno-asynchronous-unwind-tables -fstack-protector-strong
layout := agent/layout.ld
link_mode := -static -no-pie -Wl,--gc-sections -Wl,--build-id=none -Wl,--script=$(layout)
endif

# OpenSSL asks the processor for its features before main(), with an instruction that a virtual
# machine has to trap and that so costs more than the rest of the start. agent/tls.c wraps the
# function, to put that off until OpenSSL is used.
ifeq ($(TLS)$(shell uname -m),1x86_64)
defines += -DREADYD_DEFER_CPUID=1
link_mode += -Wl,--wrap=OPENSSL_cpuid_setup
else
defines += -DREADYD_DEFER_CPUID=0
endif

# libcurl sets OpenSSL up when it is itself set up, needed or not; agent/tls.c does it when it is
# needed, so probes/http_transfer.c wraps the function.
link_mode += -Wl,--wrap=Curl_ssl_init

# libpq makes a new HMAC for each of the thousands of rounds that SCRAM takes, which is most of what a
# session costs; probes/postgres_scram.c does the rounds in one go.
ifeq ($(TLS),1)
link_mode += -Wl,--wrap=scram_SaltedPassword
endif

libs := $(abspath $(out))/libs$(if $(filter 0,$(TLS)),-without-tls)
CFLAGS := -std=c17 $(warnings) $(mode) $(defines) -I. -isystem $(libs)/include
LDFLAGS := $(link_mode) -L$(libs)/lib
# in the order in which a static link needs them
LIBS := -lcurl -lnghttp2 -lpq -lpgcommon -lpgport -lmicrohttpd \
	-lhiredis -lcares -lyaml -lyyjson \
	$(if $(filter 1,$(TLS)),-lssl -lcrypto) -lm

# --- packages -------------------------------------------------------------------------------------

# $(call require,PACKAGES) as a recipe line: installs those that are missing if we are root, and
# otherwise prints the command that does. Servers are not started: that is what RUNLEVEL is for, and
# masking where systemd runs.
installed = $(shell dpkg-query -W -f='$${Package}/$${db:Status-Status}\n' $1 2>&1 | sed -n 's,/installed$$,,p')
require = @missing='$(strip $(filter-out $(call installed,$1),$1))'; [ -z "$$missing" ] || { $(install); }
define install
[ "$$(id -u)" -eq 0 ] || { echo "sudo apt-get install -y $$missing" >&2; exit 1; }; \
echo "installing packages: $$missing"; \
mkdir -p $(cache)/log; log=$(cache)/log/packages.log; \
services() { [ ! -d /run/systemd/system ] || systemctl --quiet --runtime "$$1" $(SERVICES); }; \
attempt() { DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends \
	-o DPkg::Lock::Timeout=300 $$missing; }; \
{ services mask; attempt || { apt-get update && attempt; }; status=$$?; services unmask; } \
	>"$$log" 2>&1 </dev/null; \
[ "$$status" -eq 0 ] || { tail -n 20 "$$log" >&2; echo "not installed; log: $$log" >&2; exit 1; }
endef

# --- the program ----------------------------------------------------------------------------------

sources := $(wildcard agent/*.c probes/*.c)
objects := $(sources:%.c=$(out)/obj/%.o) $(out)/obj/page/page.o
program := $(out)/readyd

.PHONY: all
all: $(program)

ifeq ($(SANITIZE),1)
$(program): $(objects) $(out)/flags
	@echo "link $@"
	@$(CC) $(LDFLAGS) -o $@ $(objects) $(LIBS)
else
# The symbols stay beside it for a debugger.
$(program): $(program).debug
	@strip --strip-all --remove-section=.comment -o $@ $<

$(program).debug: $(objects) $(out)/flags $(layout)
	@echo "link $(program)"
	@$(CC) $(LDFLAGS) -o $@ $(objects) $(LIBS)
endif

# /metrics of thousands of probes is a matter of milliseconds there.
$(out)/obj/agent/exposition.o $(out)/obj/agent/report_metrics_probe.o: CFLAGS += $(if $(filter 1,$(SANITIZE)),,-O2)

$(out)/obj/%.o: %.c $(out)/flags
	@echo "cc $<"
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

# The page that a browser gets, with its style and script in it.
page := $(addprefix agent/page/,assemble page.html page.css page.js)
$(out)/obj/page/page.c: $(page)
	@mkdir -p $(@D)
	@perl $< $(<D) >$@

$(out)/obj/page/page.o: $(out)/obj/page/page.c $(out)/flags
	@echo "cc $(page)"
	@$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

# What the last build was made with and of. When that changes, everything is built again.
now = $(CC) $(CFLAGS) $(LDFLAGS) $(LIBS) $(sources)
$(out)/flags: $(libs)/ready $(if $(subst x$(file <$(out)/flags),,x$(now)),FORCE)
	@mkdir -p $(@D)
	@printf '%s' '$(subst ','\'',$(now))' >$@

.PHONY: FORCE
FORCE:

-include $(objects:.o=.d)

.PHONY: install
install: $(program)
	install -D -m 755 $(program) $(DESTDIR)$(PREFIX)/bin/readyd

# --- the libraries --------------------------------------------------------------------------------

.PHONY: deps
deps: $(libs)/ready

# Links to what is in the cache; looked at again when deps.mk has changed or the cache has gone.
lost := $(filter-out $(wildcard $(libs)/prefix/*/lib),$(patsubst %,%/lib,$(wildcard $(libs)/prefix/*)))
$(libs)/ready: deps.mk $(if $(lost),FORCE)
	$(call require,$(BUILD_PACKAGES))
	@mkdir -p $(@D)
	+@$(MAKE) -s --no-print-directory -f deps.mk FLAVOUR=$(flavour) TLS=$(TLS) \
		DEPS_CACHE=$(cache) INTO=$(@D)
	@touch $@

.PHONY: flags
flags: $(libs)/ready
	@echo 'CC=$(CC)'
	@echo 'CFLAGS=$(subst ','\'',$(CFLAGS))'
	@echo 'LIBS=$(LDFLAGS) $(LIBS)'

# --- tests ----------------------------------------------------------------------------------------

unit_helpers := $(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c))
unit_programs := $(patsubst tests/unit/%.c,$(out)/unit/%,$(wildcard tests/unit/test_*.c))
unit_archive := $(out)/unit/readyd.a

.PHONY: unit-programs
unit-programs: $(unit_programs)

# An archive, so that a test program takes what it needs of the program, and may define the rest. In a
# group with the libraries, because some of them call functions that the program wraps.
$(unit_archive): $(filter-out %/agent/main.o,$(objects)) $(unit_helpers:%.c=$(out)/obj/%.o)
	@mkdir -p $(@D)
	@rm -f $@
	@ar rcs $@ $^

$(out)/unit/test_%: $(out)/obj/tests/unit/test_%.o $(unit_archive)
	@echo "link $@"
	@$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(unit_archive) $(LIBS) -Wl,--end-group -lcmocka

$(unit_programs) $(unit_programs:$(out)/unit/%=$(out)/obj/tests/unit/%.o) \
$(unit_helpers:%.c=$(out)/obj/%.o): | test-packages

-include $(unit_programs:$(out)/unit/%=$(out)/obj/tests/unit/%.d) $(unit_helpers:%.c=$(out)/obj/%.d)

.PHONY: test-packages
test-packages:
	$(call require,$(sort $(BUILD_PACKAGES) $(TEST_PACKAGES) $(LINT_PACKAGES)))

# Both programs, and the unit tests in the sanitizers' build, whatever SANITIZE says.
.PHONY: test-programs
test-programs: test-packages
	+@$(MAKE) --no-print-directory SANITIZE=0 all
	+@$(MAKE) --no-print-directory SANITIZE=1 all unit-programs

run_unit = $(foreach test,$(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c)), \
	'$(test)=timeout 120 $(BUILD)/sanitize/unit/$(test)')
run_integration = $(foreach program,$(BUILD)/readyd $(BUILD)/sanitize/readyd, \
	'integration of $(program)=python3 tests/integration/run.py --binary $(program)')
run_stacks = 'stacks on an engine of their own=DEPS_CACHE=$(cache) tests/stacks/engine python3 \
	tests/integration/run.py --binary $(BUILD)/readyd --jobs 4 --directory tests/stacks --timeout 900'
run_lint = $(foreach tool,clang-format clang-tidy cppcheck checks, \
	'$(tool)=$(MAKE) -s --no-print-directory SANITIZE=0 lint-$(tool)')

.PHONY: test unit integration stacks bench
test: test-programs
	+@tests/run $(run_unit) $(run_integration) $(run_stacks) $(run_lint)

unit: test-programs
	@tests/run $(run_unit)

integration: test-programs
	@tests/run $(run_integration)

stacks: test-packages $(program)
	@tests/run $(run_stacks)

bench: $(program)
	$(call require,$(sort $(BENCH_PACKAGES)))
	+@$(MAKE) --no-print-directory TLS=0 BUILD=$(BUILD)/without-tls all
	@python3 tests/bench/run.py --binary $(program) --without-tls $(BUILD)/without-tls/readyd $(BENCH)

# --- style ----------------------------------------------------------------------------------------

# what the release may have in bytes: 4.5 MiB, and 1.2 without TLS
size_limit := $(if $(filter 0,$(TLS)),1258291,4718592)
formatted := $(wildcard agent/*.[ch] probes/*.[ch] tests/unit/*.[ch]) tests/bench/*.[ch]

.PHONY: lint lint-packages lint-clang-format lint-clang-tidy lint-cppcheck lint-checks fmt
lint: lint-packages
	+@tests/run $(run_lint)

lint-packages:
	$(call require,$(sort $(BUILD_PACKAGES) $(LINT_PACKAGES)))

lint-clang-format:
	@clang-format --dry-run -Werror $(formatted)

lint-clang-tidy: $(libs)/ready
	@printf '%s\n' $(sources) | xargs -P $$(nproc) -n 1 sh -c \
		'clang-tidy --quiet "$$0" -- -std=c17 $(subst ','\'',$(defines)) -I. -isystem $(libs)/include 2>/dev/null || \
		{ echo "clang-tidy: $$0" >&2; exit 1; }'

# Suppressed is what it gets wrong, each in one of the versions that Debian has.
cppcheck_wrong := legacyUninitvar missingIncludeSystem normalCheckLevelMaxBranches \
	nullPointerOutOfMemory uninitvar
lint-cppcheck:
	@cppcheck --quiet -j $$(nproc) --std=c11 --enable=warning,performance,portability \
		--inline-suppr $(cppcheck_wrong:%=--suppress=%) --error-exitcode=1 -I. agent probes

lint-checks: $(program)
	@tests/checks $(program) $(size_limit) $(CC) $(CFLAGS)

fmt: lint-packages
	@clang-format -i $(formatted)

# --- the rest -------------------------------------------------------------------------------------

.PHONY: example clean distclean help
example: $(program)
	$(call require,$(EXAMPLE_PACKAGES))
	@conf/examples/local/start $(program)

clean:
	rm -rf $(BUILD)

# also the downloaded and built libraries
distclean: clean
	rm -rf $(cache)

help:
	@printf '%s\n' \
	'make                builds build/readyd: one static program' \
	'make install        installs it; PREFIX=/usr/local DESTDIR=' \
	'make example        starts it on an example with a real PostgreSQL, Redis and nginx' \
	'make test           runs every test; parts of it: make unit, integration, stacks, lint' \
	'make bench          measures it beside what one would use instead; BENCH=--quick' \
	'make fmt            formats the sources' \
	'make deps           builds the libraries only' \
	'make flags          prints the flags that the sources are compiled with' \
	'make clean          removes build/; make distclean the libraries in the cache too' \
	'' \
	'TLS=0               without TLS: a quarter of the size' \
	'SANITIZE=1          build/sanitize/readyd, with the address and undefined behaviour sanitizers' \
	'BUILD=DIR           builds in DIR instead of build/' \
	'DEPS_CACHE=DIR      keeps the libraries there instead of in ~/.cache/readyd'
