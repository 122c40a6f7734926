#include "probes/postgres_place.h"

void postgres_keyword_add(struct postgres_keywords *list, const char *keyword, const char *value)
{
	if (!value || list->count == POSTGRES_KEYWORDS_MAX)
		return;
	list->keywords[list->count] = keyword;
	list->values[list->count++] = value;
}

void postgres_place_add(struct postgres_keywords *list, const struct postgres_place *place)
{
	postgres_keyword_add(list, "host", place->host);
	postgres_keyword_add(list, "hostaddr", place->address);
	postgres_keyword_add(list, "port", place->port);
	postgres_keyword_add(list, "password", place->password);
	postgres_keyword_add(list, "target_session_attrs", "any");
	if (place->ignores_passfile)
		postgres_keyword_add(list, "passfile", "/dev/null/none");
	if (place->bundle) {
		postgres_keyword_add(list, "sslrootcert", place->bundle);
		postgres_keyword_add(list, "sslmode", "verify-full");
	}
}
