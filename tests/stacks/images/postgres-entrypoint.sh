#!/bin/bash
# As the official image's: root becomes postgres; an empty data directory is initialised, with a
# temporary server that listens on the unix socket alone, before the real one starts.
set -eu
[ "${1:-}" = postgres ] || exec "$@"
if [ "$(id -u)" = 0 ]; then
	mkdir -p "$PGDATA" /var/run/postgresql
	chown -R postgres: "$PGDATA" /var/run/postgresql
	exec setpriv --reuid postgres --regid postgres --init-groups -- "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	user=${POSTGRES_USER:-postgres} database=${POSTGRES_DB:-${POSTGRES_USER:-postgres}}
	password=${POSTGRES_PASSWORD:-}
	[ -z "${POSTGRES_PASSWORD_FILE:-}" ] || password=$(<"$POSTGRES_PASSWORD_FILE")
	if [ -z "$password" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
		echo 'Error: Database is uninitialized and superuser password is not specified.' >&2
		exit 1
	fi
	initdb --username="$user" --pwfile=<(printf '%s\n' "$password") --no-sync
	printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
	pg_ctl start --wait --options="-c listen_addresses='' -p 5432"
	query() { psql -v ON_ERROR_STOP=1 --no-psqlrc -U "$user" "$@"; }
	[ "$database" = postgres ] ||
		query -d postgres -v db="$database" <<<'create database :"db";'
	for file in /docker-entrypoint-initdb.d/*; do
		case $file in
		*.sh) . "$file" ;;
		*.sql) query -d "$database" -f "$file" ;;
		esac
	done
	pg_ctl stop --mode=fast --wait
	echo 'PostgreSQL init process complete; ready for start up.'
fi
exec "$@" -c listen_addresses='*'
