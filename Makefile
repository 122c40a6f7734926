# readyd: `make` builds build/readyd, `make help` lists the rest.

VERSION := 0.1.0

PREFIX ?= /usr/local
BUILD ?= build
TLS ?= 1
SANITIZE ?= 0
DEPS_CACHE ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME)/readyd,$(if $(HOME),$(HOME)/.cache/readyd,/var/tmp/readyd-cache-$(shell id -u)))

BUILD_PACKAGES := autoconf automake bison dpkg-dev flex gcc libc6-dev libtool linux-libc-dev make \
	musl-tools perl pkg-config
TEST_PACKAGES := busybox-static haproxy libcmocka-dev nginx-light openssl postgresql python3 \
	redis-server
LINT_PACKAGES := clang-format clang-tidy cppcheck
BENCH_PACKAGES := curl gcc musl-tools nginx-light openssl postgresql python3 redis-server wrk
TEST_SERVICES := haproxy nginx postgresql redis-server

.DEFAULT_GOAL := all
# as many jobs at a time as there are processors, unless -j says otherwise
ifeq ($(findstring -j,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif

# --- flags ----------------------------------------------------------------------------------------

warnings := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wcast-qual -Wwrite-strings -Wformat=2 -Wconversion -Wsign-conversion -Wvla \
	-Wundef -Werror
defines := -D_GNU_SOURCE -DREADYD_VERSION='"$(VERSION)"' -DREADYD_TLS=$(TLS)

# The sanitizer build is glibc's and dynamic, everything else is a static musl program. A static PIE
# would pay for its relocations at every start, and starting is most of what `readyd check` does.
ifeq ($(SANITIZE),1)
flavour := glibc
out := $(BUILD)/sanitize
CC := gcc
mode := -Og -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
link_mode := -fsanitize=address,undefined
else
flavour := musl
out := $(BUILD)
CC := musl-gcc -idirafter $(DEPS_CACHE)/kernel-headers
mode := -Os -g -ffunction-sections -fdata-sections -fno-pie -fno-unwind-tables \
	-fno-asynchronous-unwind-tables -fstack-protector-strong
link_mode := -static -no-pie -Wl,--gc-sections -Wl,--build-id=none
endif

# OpenSSL asks the CPU for its features before main(), by an instruction that costs tens of
# microseconds in a virtual machine. agent/tls.c puts that off until OpenSSL is first used.
ifeq ($(TLS)$(shell uname -m),1x86_64)
defines += -DREADYD_DEFER_CPUID=1
link_mode += -Wl,--wrap=OPENSSL_cpuid_setup
else
defines += -DREADYD_DEFER_CPUID=0
endif

libs := $(abspath $(out))/libs
# in the order in which a static link needs them
libraries := -lcurl -lnghttp2 -lpq -lpgcommon -lpgport -lmicrohttpd \
	$(if $(filter 1,$(TLS)),-lhiredis_ssl) -lhiredis -lcares -lyaml -lyyjson \
	$(if $(filter 1,$(TLS)),-lssl -lcrypto)

CFLAGS := -std=c17 $(warnings) $(mode) $(defines) -I. -isystem $(libs)/include
LDFLAGS := $(link_mode) -L$(libs)/lib
LIBS := $(libraries)

# --- the program ----------------------------------------------------------------------------------

sources := $(wildcard agent/*.c probes/*.c)
objects := $(sources:%.c=$(out)/obj/%.o)
program := $(out)/readyd

.PHONY: all
all: $(program)

ifeq ($(SANITIZE),1)
$(program): $(objects) $(out)/flags
	@echo "link $@"
	@$(CC) $(LDFLAGS) -o $@ $(objects) $(LIBS)
else
$(program): $(program).debug
	@strip --strip-all --remove-section=.comment -o $@ $<

$(program).debug: $(objects) $(out)/flags
	@echo "link $(program)"
	@$(CC) $(LDFLAGS) -o $@ $(objects) $(LIBS)
endif

$(out)/obj/%.o: %.c $(out)/flags | $(libs)/ready
	@echo "cc $<"
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

# Holds the flags of the last build: a change of them rebuilds everything.
flags_now = $(CC) $(CFLAGS) $(LDFLAGS) $(LIBS)
$(out)/flags: $(libs)/ready $(if $(filter-out x$(file <$(out)/flags),x$(flags_now)),FORCE)
	@mkdir -p $(@D)
	@$(file >$@,$(flags_now)):

.PHONY: FORCE
FORCE:

-include $(objects:.o=.d)

# --- the libraries --------------------------------------------------------------------------------

.PHONY: deps
deps: $(libs)/ready

$(libs)/ready: deps.mk $(if $(wildcard $(DEPS_CACHE)/$(flavour)),,FORCE)
	@:
	@mkdir -p $(@D)
	+@$(MAKE) -s --no-print-directory -f deps.mk FLAVOUR=$(flavour) TLS=$(TLS) \
		DEPS_CACHE=$(DEPS_CACHE) INTO=$(@D)
	@touch $@

.PHONY: flags
flags: $(libs)/ready
	@echo 'CC=$(CC)'
	@echo 'CFLAGS=$(subst ','\'',$(CFLAGS))'
	@echo 'LIBS=$(LDFLAGS) $(LIBS)'

