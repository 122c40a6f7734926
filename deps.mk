# The third-party libraries, built as static archives from Debian's source packages.
#
# Used by the Makefile as `make -f deps.mk FLAVOUR=… TLS=… DEPS_CACHE=DIR INTO=DIR`: afterwards
# INTO/include and INTO/lib hold links to what each library has installed in the cache.
#
# To add a library, write one stanza:
#   <name>.source    Debian source package, and the version series that we expect of it
#   <name>.pinned    a file of that package with its SHA-256, its .dsc or upstream's archive: what is
#                    built when the mirror has none of the versions that its index lists
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
openssl.pinned := openssl_3.5.7-1~deb13u2.dsc 25904642004d30c5c3da4642a72a7d09f8d9eb6e5ce62dab53c0371114faf8f2
openssl.seconds := 100
define openssl.build
# 0.7 MB of AES for AVX-512: gigabits that no probe transfers
sed -i 's/^if (\$avx512vaes.*) {/if (0) {/' crypto/modes/asm/aes-gcm-avx512.pl \
    crypto/aes/asm/aesni-xts-avx512.pl
# On arm64 it would not believe that musl has getauxval(), and provoke signals at every start instead.
sed -i '1i #define OSSL_IMPLEMENT_GETAUXVAL\n#include <sys/auxv.h>' crypto/armcap.c
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
nghttp2.pinned := nghttp2_1.64.0-1.1+deb13u1.dsc 11f4603a9f417bc3d195be36cb462bb9df0657f52b72dd9276453a31bc0227c7
nghttp2.seconds := 20
define nghttp2.build
autoreconf -fi
./configure --prefix=/ --enable-lib-only --disable-shared
make -C lib install DESTDIR="$OUT"
endef

curl.source := curl 8.14
curl.pinned := curl_8.14.1-2+deb13u5.dsc 9a9a2c95cdc8b5d76892c70858f25eaf2dc0b0a475a1e43e0b4ad428414752df
curl.needs := nghttp2 $(with_tls)
curl.seconds := 50
define curl.build
# Not --disable-verbose: it takes the texts of curl_easy_strerror() along.
disabled='alt-svc ares aws cookies dateparse digest-auth dict docs doh file form-api ftp
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
libpq.pinned := postgresql-17_17.11-0+deb13u1.dsc bf148ae423a982707c3f60672c3a072ef62b701bd9f5df847d9f4b8c9b3e3b18
libpq.needs := $(with_tls)
libpq.seconds := 50
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
libmicrohttpd.pinned := libmicrohttpd_1.0.1-4.dsc 4c5ee2a49beb5b9b667fa6816acdc99f3fb0686b6abdfbe1303e304128cff055
libmicrohttpd.seconds := 20
define libmicrohttpd.build
disabled='bauth curl dauth doc examples heavy-tests https httpupgrade messages nls postprocessor
    shared thread-names tools'
# It is to prepare itself when it is used, not before main(): `readyd check` does not use it. And it
# is what answers under load: 16 KiB more make that as fast as nginx.
./configure --prefix=/ $(printf ' --disable-%s' $disabled) --enable-epoll CFLAGS="$CFLAGS -O2" \
    CPPFLAGS="$CPPFLAGS -D_GNUC_ATTR_CONSTR_NOT_SUPPORTED"
make -C src/include install DESTDIR="$OUT"
make -C src/microhttpd install DESTDIR="$OUT"
endef

hiredis.source := hiredis 1.2
hiredis.pinned := hiredis_1.2.0-6.dsc 9e14f474f15d92c7ad1c9cb7c9ad0f1f8cc202492503103973f1fc08361d1cc6
hiredis.seconds := 5
define hiredis.build
# without its TLS: agent/tls.c does that for every probe
make static PREFIX=/ CC="$CC" OPTIMIZATION= DEBUG_FLAGS= WARNINGS= CFLAGS="$CFLAGS"
install -d "$OUT/include/hiredis" "$OUT/lib"
cp hiredis.h async.h read.h sds.h alloc.h sockcompat.h "$OUT/include/hiredis"
cp libhiredis*.a "$OUT/lib"
endef

c-ares.source := c-ares 1.34
c-ares.pinned := c-ares_1.34.5.orig.tar.gz 7d935790e9af081c25c495fd13c2cfcda4792983418e96358ef6e7320ee06346
c-ares.seconds := 25
define c-ares.build
./configure --prefix=/ --disable-shared --disable-tests --disable-cares-threads
make install DESTDIR="$OUT"
endef

libyaml.source := libyaml 0.2
libyaml.pinned := libyaml_0.2.5-2.dsc c1c3dab54fe7b355753f46a8c783b74a0a6e1099fb3878f4963a175691351477
libyaml.seconds := 10
define libyaml.build
autoreconf -fi
./configure --prefix=/ --disable-shared
make -C include install DESTDIR="$OUT"
make -C src install DESTDIR="$OUT"
endef

yyjson.source := yyjson 0.10
yyjson.pinned := yyjson_0.10.0+ds.orig.tar.xz ae6fde69a193e10afab426ef13f113d6903446405f9db9ee98bfb572bd6c961a
yyjson.seconds := 5
define yyjson.build
$CC $CFLAGS -DYYJSON_DISABLE_NON_STANDARD=1 -c src/yyjson.c -o yyjson.o
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
.SHELLFLAGS := -euo pipefail -c
# Variables of our command line are not for the libraries' own makefiles.
MAKEOVERRIDES :=

index := $(DEPS_CACHE)/$(DEBIAN_SUITE)/index
logs := $(DEPS_CACHE)/log
built := $(DEPS_CACHE)/$(FLAVOUR)
source_of = $(DEPS_CACHE)/$(DEBIAN_SUITE)/$(subst $(eval) ,_,$($1.source))
sources := $(foreach library,$(LIBRARIES),$(call source_of,$(library))/ready)

.PHONY: all FORCE
all: $(LIBRARIES:%=library-%)
	@cd $(INTO)
	exec 9>lock; flock 9
	# Left alone when nothing has changed: another make may be reading it.
	linked=$$(readlink $(LIBRARIES:%=prefix/%))
	[ "$$linked" != "$$(cat linked 2>/dev/null)" ] || exit 0
	rm -rf include lib
	for prefix in $$linked; do cp -rsT "$$prefix" .; done
	echo "$$linked" >linked

# apt with sources of our own, so that neither root nor a change of the machine's set-up is needed.
# What it downloads is checked against the archive's signature, like everything that apt downloads.
apt_options := -o Dir::State::lists=$(index)/lists -o Dir::Cache=$(index)/cache \
	-o Dir::Etc::sourcelist=$(index)/sources.list -o Dir::Etc::sourceparts=/dev/null

# Looked at only when a source is missing, and then not older than an hour.
$(index)/fresh: $(if $(filter-out $(wildcard $(sources)),$(sources)),FORCE)
	@mkdir -p $(index)/{lists,machine}/partial $(index)/cache/archives/partial $(logs)
	exec 9>$(index)/lock; flock 9
	[ -z "$$(find $(index) -name fresh -mmin -60)" ] || exit 0
	echo "index of Debian $(DEBIAN_SUITE)'s sources: downloading"
	log=$(logs)/index.log
	mirrors()
	{
		apt-get "$$@" indextargets --format '$$(LABEL) $$(REPO_URI)' 'Created-By: Packages' \
			'Origin: Debian'
	}
	uris=$$(mirrors)
	if [ -z "$$uris" ]; then # the machine has thrown its lists away
		machine="-o Dir::State::lists=$(index)/machine -o Dir::Cache=$(index)/cache"
		apt-get $$machine update >"$$log" 2>&1 || true
		uris=$$(mirrors $$machine)
	fi
	mirror=$$(sed -n 's/^Debian //p' <<<"$$uris" | head -n 1)
	security=$$(sed -n 's/^Debian-Security //p' <<<"$$uris" | head -n 1)
	[ -n "$$mirror" ] || { echo "apt has no Debian mirror among its sources" >&2; exit 1; }
	{
		echo "$$mirror $(DEBIAN_SUITE)"
		echo "$$mirror $(DEBIAN_SUITE)-updates"
		echo "$${security:-$${mirror%/}-security/} $(DEBIAN_SUITE)-security"
	} | sed 's,.*,deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] & main,' \
		>$(index)/sources.list
	# Of the three only the first has to be reachable.
	apt-get $(apt_options) update >>"$$log" 2>&1 || true
	if ! apt-get $(apt_options) indextargets 'Created-By: Sources' 'Codename: $(DEBIAN_SUITE)' |
		grep -q .; then
		tail -n 20 "$$log" >&2
		echo "Debian $(DEBIAN_SUITE)'s index could not be had; the log: $$log" >&2
		exit 1
	fi
	touch $@

# The source package as downloaded: the newest of the series that the mirror has whole, because
# Debian's fixes are in it; or else upstream's part of it; or else the one that is pinned here.
# Writes into `ready` which one it is.
define source_rules
$(call source_of,$1)/ready: library := $1
$(call source_of,$1)/ready: | $(index)/fresh
endef

$(sources): %/ready:
	@mkdir -p $*.partial $(logs)
	exec 9>$*.lock; flock 9
	[ ! -e $@ ] || exit 0
	read -r package series <<<'$($(library).source)'
	echo "$($(library).place): downloading the source"
	log=$(logs)/$(library).source.log
	: >"$$log"
	cd $*.partial
	download()
	{
		rm -rf ./*
		apt-get $(apt_options) source --download-only "$$@" >>"$$log" 2>&1
	}
	mirror=$$(awk '{ print $$3; exit }' $(index)/sources.list)
	versions=$$(apt-cache $(apt_options) showsrc --only-source "$$package" 2>>"$$log" |
		sed -n 's/^Version: //p' | grep "^$$series\." | sort -rVu) || true
	obtain()
	{
		local upstream revisions version
		for upstream in $$(sed 's/-[^-]*$$//' <<<"$$versions" | uniq); do
			revisions=$$(grep -F "$$upstream-" <<<"$$versions")
			for version in $$revisions; do
				if download "$$package=$$version"; then
					echo "$$version" >ready
					return
				fi
			done
			if download --tar-only "$$package=$${revisions%%$$'\n'*}"; then
				echo "$$upstream (upstream's; Debian's patches are not on the mirror)" >ready
				return
			fi
		done
		return 1
	}
	obtain_pinned()
	{
		local file sum name letter=$${package:0:1}
		[ "$${package:0:3}" != lib ] || letter=$${package:0:4}
		fetch()
		{
			/usr/lib/apt/apt-helper download-file "$${mirror%/}/pool/main/$$letter/$$package/$$1" \
				"$$1" "SHA256:$$2" >>"$$log" 2>&1
		}
		rm -rf ./*
		read -r file sum <<<'$($(library).pinned)'
		fetch "$$file" "$$sum" || return
		if [[ $$file = *.dsc ]]; then
			while read -r sum _ name; do
				fetch "$$name" "$$sum" || return
			done < <(sed -n '/^Checksums-Sha256:/,/^[^ ]/s/^ //p' "$$file")
		fi
		file=$${file#*_}
		file=$${file%.dsc}
		echo "$${file%.orig.tar.*} (as pinned; the mirror lacks what its index lists)" >ready
	}
	if ! obtain && ! obtain_pinned; then
		tail -n 20 "$$log" >&2
		echo "$$package $$series could not be downloaded; the log: $$log" >&2
		exit 1
	fi
	rm -rf $*
	mv $*.partial $*

# musl-gcc does not see the kernel's headers, and must not see glibc's beside them.
$(DEPS_CACHE)/kernel-headers:
	@mkdir -p $(DEPS_CACHE)
	partial=$$(mktemp -d $@.XXXXXX)
	ln -s /usr/include/linux /usr/include/asm-generic "$$partial"
	ln -s /usr/include/$$(gcc -print-multiarch)/asm "$$partial"
	mv -T "$$partial" $@ 2>/dev/null || rm -rf "$$partial"

define library_rules
numbered += $1
$1.place := [$$(words $$(numbered))/$(words $(LIBRARIES))] $1
library-$1: $$($1.needs:%=library-%) $(call source_of,$1)/ready | $(DEPS_CACHE)/kernel-headers
endef

$(foreach library,$(LIBRARIES),$(eval $(call library_rules,$(library))))
$(foreach library,$(LIBRARIES),$(eval $(call source_rules,$(library))))

library-%:
	+@unpack()
	{
		if [ -e $(call source_of,$*)/*.dsc ]; then
			dpkg-source --no-check -x $(call source_of,$*)/*.dsc tree
			cd tree
		else
			mkdir tree
			cd tree
			tar -x --strip-components=1 -f $(call source_of,$*)/*.orig.tar.?z*
		fi
	}
	build()
	{
		$(value $*.build)
	}
	origin=$$(<$(call source_of,$*)/ready)
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
	key=$$({ declare -f build; $($(FLAVOUR).cc) --version; echo "$${origin%% *}" "$${flags[@]}"; } |
		sha256sum | cut -c1-12)
	prefix=$(built)/$*-$${origin%% *}-$$key
	mkdir -p $(built) $(logs) $(INTO)/prefix
	if [ ! -e "$$prefix" ]; then
		exec 9>"$$prefix.lock"; flock 9
	fi
	if [ ! -e "$$prefix" ]; then
		echo "$($*.place) $$origin: building for $(FLAVOUR) (about $($*.seconds) s)"
		log=$(logs)/$(FLAVOUR)-$${prefix##*/}.log
		work=$$prefix.partial
		rm -rf "$$work"
		mkdir "$$work"
		cd "$$work"
		# A clean environment, so that nothing of the caller's ends up in the library.
		if ! env -i PATH="$$PATH" LC_ALL=C MAKEFLAGS="$$MAKEFLAGS" OUT="$$work/out" "$${flags[@]}" \
			bash -euxc "$$(declare -f unpack build); unpack; build" >"$$log" 2>&1 </dev/null; then
			tail -n 20 "$$log" >&2
			echo "$* did not build; the whole log: $$log" >&2
			exit 1
		fi
		mkdir done
		mv out/include done
		mkdir done/lib
		mv out/lib/*.a done/lib
		mv done "$$prefix"
		rm -rf "$$work"
	fi
	ln -sfn "$$prefix" $(INTO)/prefix/$*
