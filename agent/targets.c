#include "agent/targets.h"

#include <stdlib.h>
#include <string.h>

#include "agent/command.h"
#include "agent/url.h"

static bool is_url(const char *word)
{
	const char *colon = strchr(word, ':');

	return colon && probe_type_by_scheme(word, (size_t)(colon - word));
}

int target_take(struct target_options *options, char *word, struct target *target)
{
	const char *verb = options->verb;
	char *text = command_take_word(word);

	if (!text)
		return command_usage_error(verb, "out of memory", NULL);
	target->word = text;
	target->is_url = is_url(text);
	if (!target->is_url && (text[0] == '\0' || strlen(text) > TARGET_NAME_MAX))
		return command_usage_error(verb, "this is no name and no target", text);
	if (!target->is_url && strstr(text, ":/"))
		return command_usage_error(verb, "no probe type has the scheme of this target",
					   text);
	if (!target->is_url && !options->last && options->count > 0)
		return command_usage_error(verb, "-o is for targets, and what is after it is none",
					   text);
	target->first_option = options->last ? options->count : 0;
	target->option_count = options->count - target->first_option;
	options->last = target;
	return 0;
}

int target_take_option(struct target_options *options, char *word)
{
	struct target *last = options->last;

	if (command_add_override(options->verb, word, options->items, options->max,
				 &options->count) < 0)
		return -1;
	if (!last)
		return 0;
	if (!last->is_url)
		return command_usage_error(options->verb,
					   "-o is for targets, and what is before it is none",
					   last->word);
	last->option_count++;
	return 0;
}

static struct probe_config *out_of_memory(struct faults *faults)
{
	faults_add(faults, NULL, "out of memory");
	return NULL;
}

struct probe_config *target_configure(const struct target *target,
				      const struct target_options *options,
				      const struct override *weakest, bool short_name,
				      struct faults *faults)
{
	char name[COMMAND_WORD_SIZE];
	struct override *all = calloc(target->option_count + 1, sizeof(*all));
	struct probe_config *config;
	size_t count = 0;

	if (!all)
		return out_of_memory(faults);
	if (weakest)
		all[count++] = *weakest;
	for (size_t i = 0; i < target->option_count; i++)
		all[count++] = options->items[target->first_option + i];
	url_mask(target->word, name, sizeof(name));
	config = probe_config_from_target(name, target->word, all, count, faults);
	free(all);
	if (!config)
		return NULL;
	/* The type itself knows best what of its target is secret. */
	command_show_word(config->target, name, sizeof(name));
	free(config->name);
	config->name = strdup(short_name ? name : config->target);
	if (config->name)
		return config;
	probe_config_free(config);
	return out_of_memory(faults);
}
