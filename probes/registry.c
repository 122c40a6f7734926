#include "probes/probe.h"

#include <string.h>
#include <strings.h>

/* Each type is defined in the file of its name. */
extern const struct probe_type probe_http;
extern const struct probe_type probe_exec;
extern const struct probe_type probe_tcp;
extern const struct probe_type probe_postgres;
extern const struct probe_type probe_redis;
extern const struct probe_type probe_notify;

const struct probe_type *const probe_types[] = {
	&probe_http, &probe_exec, &probe_tcp, &probe_postgres, &probe_redis, &probe_notify, NULL,
};

const struct probe_type *probe_type_by_key(const char *key, bool *ret_kubernetes_form)
{
	for (size_t i = 0; probe_types[i]; i++) {
		const struct probe_type *type = probe_types[i];
		/* "exec" is spelt alike in both worlds and means the same. */
		bool own = strcmp(type->name, key) == 0;

		if (!own && (!type->kubernetes_name || strcmp(type->kubernetes_name, key) != 0))
			continue;
		if (ret_kubernetes_form)
			*ret_kubernetes_form = !own;
		return type;
	}
	return NULL;
}

const struct probe_type *probe_type_by_scheme(const char *scheme, size_t len)
{
	for (size_t i = 0; probe_types[i]; i++) {
		for (const char *const *own = probe_types[i]->schemes; *own; own++) {
			if (strlen(*own) == len && strncasecmp(*own, scheme, len) == 0)
				return probe_types[i];
		}
	}
	return NULL;
}
