# The third-party libraries, built as static archives from Debian's source packages.
#
# Used by the Makefile as `make -f deps.mk FLAVOUR=… TLS=… DEPS_CACHE=DIR INTO=DIR`: afterwards
# INTO/include and INTO/lib hold links to what each library has installed in the cache.
#
# To add a library, write one stanza:
#   <name>.source    Debian source package, and the version series that we expect of it
#   <name>.needs     libraries of this file that must be built before it
#   <name>.seconds   about how long it takes, for the progress line
#   <name>.build     shell commands, run in a fresh copy of the unpacked source; they install into
#                    $OUT/include and $OUT/lib. $CC, $CFLAGS and, for each needed library, a
#                    variable of that name with its prefix are set. ${openssl:+…} is the usual way
#                    to say "when built with TLS".
# To bump one, change its series. A change of the commands, the flags, the compiler or the version
# gives a new prefix beside the old one, so nothing is ever rebuilt in place.

DEBIAN_SUITE := trixie

FLAVOUR ?= musl
TLS ?= 1
with_tls := $(if $(filter 1,$(TLS)),openssl)

# --- the libraries --------------------------------------------------------------------------------

LIBRARIES := $(with_tls) nghttp2 curl libpq libmicrohttpd hiredis c-ares libyaml yyjson

openssl.source := openssl 3.5
openssl.seconds := 100
define openssl.build
# 0.7 MB of AES for AVX-512: gigabits that no probe transfers
sed -i 's/^if (\$avx512vaes.*) {/if (0) {/' crypto/modes/asm/aes-gcm-avx512.pl \
    crypto/aes/asm/aesni-xts-avx512.pl
disabled='aria argon2 async autoload-config bf blake2 camellia cast cmac cmp cms comp ct
    des dgram dh docs dsa dso dtls ec2m engine filenames gost http idea integrity-only-ciphers
    legacy makedepend md4 mdc2 ml-dsa ml-kem module multiblock nextprotoneg ocb ocsp pic pinshared
    psk quic rc2 rc4 rfc3779 rmd160 scrypt secure-memory seed shared siphash siv slh-dsa sm2 sm3
    sm4 srp srtp ssl-trace tests threads tls-deprecated-ec tls1 tls1_1 ts ui-console whirlpool'
./Configure --prefix=/ --libdir=lib --openssldir=/etc/ssl $(printf ' no-%s' $disabled) \
    no-apps CC="$CC" CFLAGS="$CFLAGS"
make build_libs
make install_dev DESTDIR="$OUT"
endef

nghttp2.source := nghttp2 1.64
nghttp2.seconds := 20
define nghttp2.build
autoreconf -fi
./configure --prefix=/ --enable-lib-only --disable-shared
make -C lib install DESTDIR="$OUT"
endef

curl.source := curl 8.14
curl.needs := nghttp2 $(with_tls)
curl.seconds := 30
define curl.build
# Not --disable-verbose: it takes the texts of curl_easy_strerror() along.
disabled='alt-svc ares aws cookies dateparse digest-auth dict doh file form-api ftp
    get-easy-options gopher headers-api hsts imap ipfs kerberos-auth ldap ldaps libcurl-option
    manual mime mqtt negotiate-auth netrc ntlm pop3 progress-meter proxy pthreads rtsp shared smb
    smtp socketpair sspi symbol-hiding telnet tftp threaded-resolver tls-srp versioned-symbols
    websockets'
tls=${openssl:+--with-openssl=$openssl --with-ca-fallback}
: "${tls:=--without-ssl}"
without='brotli ca-bundle ca-path gssapi libgsasl libidn2 libpsl librtmp libssh libssh2 zlib zstd'
./configure --prefix=/ $(printf ' --disable-%s' $disabled) $(printf ' --without-%s' $without) \
    --enable-http --enable-ipv6 --enable-unix-sockets --enable-basic-auth --enable-bearer-auth \
    --with-nghttp2="$nghttp2" $tls
make -C lib install DESTDIR="$OUT"
make -C include install DESTDIR="$OUT"
endef

libpq.source := postgresql-17 17
libpq.needs := $(with_tls)
libpq.seconds := 45
define libpq.build
./configure --prefix=/ --without-readline --without-zlib --without-icu --without-gssapi \
    --without-ldap ${openssl:+--with-ssl=openssl}
make -C src/backend generated-headers
make -C src/common libpgcommon_shlib.a
make -C src/port libpgport_shlib.a
make -C src/interfaces/libpq libpq.a
install -d "$OUT/include" "$OUT/lib"
cp src/interfaces/libpq/libpq-fe.h src/include/postgres_ext.h src/include/pg_config_ext.h "$OUT/include"
cp src/interfaces/libpq/libpq.a "$OUT/lib"
cp src/common/libpgcommon_shlib.a "$OUT/lib/libpgcommon.a"
cp src/port/libpgport_shlib.a "$OUT/lib/libpgport.a"
endef

libmicrohttpd.source := libmicrohttpd 1.0
libmicrohttpd.seconds := 30
define libmicrohttpd.build
disabled='bauth curl dauth doc examples heavy-tests https httpupgrade messages nls postprocessor
    shared thread-names tools'
./configure --prefix=/ $(printf ' --disable-%s' $disabled) --enable-epoll
make -C src/include install DESTDIR="$OUT"
make -C src/microhttpd install DESTDIR="$OUT"
endef

hiredis.source := hiredis 1.2
hiredis.needs := $(with_tls)
hiredis.seconds := 5
define hiredis.build
tls=${openssl:+USE_SSL=1 OPENSSL_PREFIX=$openssl}
make static PREFIX=/ CC="$CC" OPTIMIZATION= DEBUG_FLAGS= WARNINGS= CFLAGS="$CFLAGS" $tls
install -d "$OUT/include/hiredis" "$OUT/lib"
cp hiredis.h async.h read.h sds.h alloc.h sockcompat.h ${openssl:+hiredis_ssl.h} "$OUT/include/hiredis"
cp libhiredis*.a "$OUT/lib"
endef

c-ares.source := c-ares 1.34
c-ares.seconds := 30
define c-ares.build
./configure --prefix=/ --disable-shared --disable-tests --disable-cares-threads
make install DESTDIR="$OUT"
endef

libyaml.source := libyaml 0.2
libyaml.seconds := 15
define libyaml.build
autoreconf -fi
./configure --prefix=/ --disable-shared
make -C include install DESTDIR="$OUT"
make -C src install DESTDIR="$OUT"
endef

yyjson.source := yyjson 0.10
yyjson.seconds := 5
define yyjson.build
$CC $CFLAGS -DYYJSON_DISABLE_UTILS=1 -DYYJSON_DISABLE_NON_STANDARD=1 -c src/yyjson.c -o yyjson.o
install -d "$OUT/include" "$OUT/lib"
ar rcs "$OUT/lib/libyyjson.a" yyjson.o
cp src/yyjson.h "$OUT/include"
endef

# --- how they are compiled ------------------------------------------------------------------------

# No unwind tables: nothing unwinds in C, and they are a tenth of the binary.
musl.cc := musl-gcc -idirafter $(DEPS_CACHE)/kernel-headers
musl.cflags := -Os -ffunction-sections -fdata-sections -fno-pic -fno-pie -fno-unwind-tables \
	-fno-asynchronous-unwind-tables
musl.ldflags := -static -no-pie
glibc.cc := gcc
glibc.cflags := -O1 -g -fno-omit-frame-pointer

# --- the machinery: nothing below knows a library by name -----------------------------------------

.ONESHELL:
.SECONDARY:
.DELETE_ON_ERROR:
SHELL := /bin/bash
# not for the libraries' own makefiles
MAKEOVERRIDES :=
.SHELLFLAGS := -euo pipefail -c

index := $(DEPS_CACHE)/index
total := $(words $(LIBRARIES))
# "[3/9] curl": the library's place in the list, and its name
place = [$(words $(filter-out _end,$(call up_to,$1,$(LIBRARIES))))/$(total)] $1
up_to = $(if $2,$(firstword $2) $(if $(filter $1,$(firstword $2)),,$(call up_to,$1,$(wordlist 2,99,$2))))

# apt with sources of our own, so that neither root nor a change of the machine's set-up is needed.
# What it downloads is checked against the archive's signature, like everything apt downloads.
apt_options = -o Dir::Etc::sourcelist=$(index)/sources.list -o Dir::Etc::sourceparts=/dev/null \
	-o Dir::State::lists=$(index)/lists -o Dir::Cache=$(index)/cache -o APT::Get::List-Cleanup=false

.PHONY: all
all: $(LIBRARIES:%=library-%)
	@rm -rf $(INTO)/include $(INTO)/lib
	for library in $(LIBRARIES); do cp -rsT "$$(readlink $(INTO)/prefix/$$library)" $(INTO); done

$(index)/fresh:
	@mkdir -p $(index)/lists/partial $(index)/cache/archives/partial $(DEPS_CACHE)/log
	exec 9>$(index)/lock; flock 9
	[ ! -e $@ ] || exit 0
	echo "[0/$(total)] index of Debian $(DEBIAN_SUITE)'s source packages: downloading"
	log=$(DEPS_CACHE)/log/index.log
	uris=$$(apt-get indextargets --format '$$(REPO_URI)' 'Created-By: Packages' | awk '!seen[$$0]++')
	mirror=$$(grep -v -m1 security <<<"$$uris") || { echo "apt knows no Debian mirror" >&2; exit 1; }
	security=$$(grep -m1 security <<<"$$uris") || security=$${mirror%/}-security/
	by='deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
	printf '%s\n' "$$by $$mirror $(DEBIAN_SUITE) main" "$$by $$mirror $(DEBIAN_SUITE)-updates main" \
		"$$by $$security $(DEBIAN_SUITE)-security main" >$(index)/sources.list
	# An unreachable security mirror must not stop the build, so only the result counts.
	apt-get $(apt_options) update >"$$log" 2>&1 || true
	apt-cache $(apt_options) showsrc --only-source openssl >/dev/null 2>>"$$log" ||
		{ tail -n 20 "$$log" >&2; echo "the index could not be had; log: $$log" >&2; exit 1; }
	touch $@

# The unpacked source, with Debian's patches where the mirror has the whole source package.
# ready says what it is.
$(DEPS_CACHE)/source/%/ready: | $(index)/fresh
	@mkdir -p $(DEPS_CACHE)/source $(DEPS_CACHE)/log
	exec 9>$(DEPS_CACHE)/source/$*.lock; flock 9
	[ ! -e $@ ] || exit 0
	read -r package series <<<"$($(firstword $(subst :, ,$*)).source)"
	log=$(DEPS_CACHE)/log/$*.source.log; : >"$$log"
	echo "$(call place,$*): downloading the source"
	work=$(DEPS_CACHE)/source/$*.partial
	rm -rf "$$work"; mkdir -p "$$work"; cd "$$work"
	download()
	{
		rm -f ./*
		apt-get $(apt_options) source --download-only "$$@" >>"$$log" 2>&1
	}
	versions=$$(apt-cache $(apt_options) showsrc --only-source "$$package" 2>>"$$log" |
		sed -n 's/^Version: //p' | grep -F "$$series" | sort -rVu)
	obtain()
	{
		local upstream version
		for upstream in $$(sed 's/-[^-]*$$//' <<<"$$versions" | uniq); do
			for version in $$(grep -F -e "$$upstream-" <<<"$$versions"); do
				if download "$$package=$$version"; then
					origin="$$version"
					dpkg-source --no-copy -x ./*.dsc tree >>"$$log" 2>&1
					return
				fi
			done
			version=$$(grep -F -m1 -e "$$upstream-" <<<"$$versions")
			if download --tar-only "$$package=$$version"; then
				origin="$$upstream (upstream's, Debian's patches could not be had)"
				mkdir tree
				tar -x --strip-components=1 -C tree -f ./*.orig.tar.[gxb]z*
				return
			fi
		done
		return 1
	}
	if ! obtain; then
		tail -n 20 "$$log" >&2
		echo "$$package $$series could not be downloaded; log: $$log" >&2
		exit 1
	fi
	rm -f ./*.tar.* ./*.dsc
	echo "$$origin" >ready
	rm -rf $(DEPS_CACHE)/source/$*
	mv "$$work" $(DEPS_CACHE)/source/$*

# musl-gcc does not see the kernel's headers, and must not see glibc's beside them.
$(DEPS_CACHE)/kernel-headers:
	@mkdir -p $(DEPS_CACHE)
	partial=$$(mktemp -d $(DEPS_CACHE)/kernel-headers.XXXXXX)
	ln -s /usr/include/linux /usr/include/asm-generic "$$partial"
	ln -s /usr/include/$$(gcc -print-multiarch)/asm "$$partial"
	mv -T "$$partial" $@ 2>/dev/null || rm -rf "$$partial"

define library_rules
library-$1: $$($1.needs:%=library-%) $(DEPS_CACHE)/source/$1/ready | $(DEPS_CACHE)/kernel-headers
endef
$(foreach library,$(LIBRARIES),$(eval $(call library_rules,$(library))))

library-%:
	+@build()
	{
		$(value $*.build)
	}
	origin=$$(<$(DEPS_CACHE)/source/$*/ready)
	includes=
	libraries=
	flags=(CC='$($(FLAVOUR).cc)' CFLAGS='$($(FLAVOUR).cflags)')
	for need in $($*.needs); do
		prefix=$$(readlink $(INTO)/prefix/$$need)
		includes+=" -I$$prefix/include"
		libraries+=" -L$$prefix/lib"
		flags+=("$$need=$$prefix")
	done
	flags+=(CPPFLAGS="$$includes" LDFLAGS='$($(FLAVOUR).ldflags)'"$$libraries")
	key=$$({ declare -f build; $($(FLAVOUR).cc) --version; echo "$$origin" "$${flags[@]}"; } |
		sha256sum | cut -c1-12)
	prefix=$(DEPS_CACHE)/$(FLAVOUR)/$*-$${origin%% *}-$$key
	mkdir -p $(DEPS_CACHE)/$(FLAVOUR) $(DEPS_CACHE)/log $(INTO)/prefix
	if [ ! -e "$$prefix" ]; then
		exec 9>"$$prefix.lock"; flock 9
	fi
	if [ ! -e "$$prefix" ]; then
		log=$(DEPS_CACHE)/log/$*.$(FLAVOUR).log
		echo "$(call place,$*) $$origin: building for $(FLAVOUR) (about $($*.seconds) s)"
		work=$$prefix.partial
		rm -rf "$$work"; mkdir -p "$$work"
		cp -a $(DEPS_CACHE)/source/$*/tree "$$work/tree"
		# A clean environment, so that nothing of the caller's ends up in the library.
		if ! (cd "$$work/tree"; exec env -i PATH="$$PATH" LC_ALL=C MAKEFLAGS="$$MAKEFLAGS" \
			OUT="$$work/out" "$${flags[@]}" bash -euxc "$$(declare -f build); build") \
			>"$$log" 2>&1 </dev/null; then
			tail -n 20 "$$log" >&2
			echo "$* did not build; the whole log: $$log" >&2
			exit 1
		fi
		find "$$work/out" ! -type d ! -path '*/include/*' ! -name '*.a' -delete
		find "$$work/out" -type d -empty -delete
		mv "$$work/out" "$$prefix"
		rm -rf "$$work"
	fi
	ln -sfn "$$prefix" $(INTO)/prefix/$*
