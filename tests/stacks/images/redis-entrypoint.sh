#!/bin/sh
# As the official image's: root becomes redis.
set -eu
case ${1:-} in -* | *.conf) set -- redis-server "$@" ;; esac
if [ "$1" = redis-server ]; then
	if [ "$(id -u)" = 0 ]; then
		chown -R redis: .
		exec setpriv --reuid redis --regid redis --init-groups -- "$0" "$@"
	fi
	# the official image is built without protected mode
	exec "$@" --protected-mode no
fi
exec "$@"
