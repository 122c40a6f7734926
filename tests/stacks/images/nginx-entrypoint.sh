#!/bin/sh
# As the official image's: /etc/nginx/templates/NAME.template becomes /etc/nginx/conf.d/NAME, with
# the variables of the environment filled in.
set -eu
if [ "$1" = nginx ]; then
	for file in /etc/nginx/templates/*.template; do
		[ -e "$file" ] || continue
		names=$(env | sed -n 's/^\([A-Za-z_][A-Za-z_0-9]*\)=.*/\1/p')
		text=$(cat "$file")
		for name in $names; do
			eval "value=\$$name"
			text=$(printf '%s' "$text" | sed "s|\${$name}|$(printf '%s' "$value" | sed 's/[&|\\]/\\&/g')|g")
		done
		name=${file##*/}
		printf '%s\n' "$text" >"/etc/nginx/conf.d/${name%.template}"
	done
fi
exec "$@"
