/* `readyd config`: validates a configuration, and lists what can be configured. */

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "agent/buffer.h"
#include "agent/command.h"
#include "agent/config.h"
#include "agent/json.h"

enum { OVERRIDES_MAX = 256, FIELDS_JSON_MAX = 256 * 1024 };

extern char **environ;

static const char help[] =
	"usage: readyd config check [-o NAME=VALUE]... FILE\n"
	"       readyd config fields [--json]\n"
	"\n"
	"check   validates a configuration file (- is standard input) together with the READYD_*\n"
	"        variables of the environment, as `readyd serve` would. Prints all faults as\n"
	"        FILE:LINE:COLUMN: what is wrong, and exits with 1 if there are any.\n"
	"fields  lists every setting: its name, kind, default and meaning.\n"
	"\n"
	"  -o NAME=VALUE    one setting as for `readyd serve`, stronger than environment and file\n"
	"  --json           print JSON\n"
	"\n"
	"examples:\n"
	"  readyd config check /etc/readyd.yaml\n"
	"  docker run --rm -v ./readyd.yaml:/c:ro IMAGE /readyd config check /c\n";

static int usage_error(const char *sentence, const char *word)
{
	command_usage_error("config", sentence, word);
	return 1;
}

static int finish_output(void)
{
	return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}

/* ---- check ---- */

static void print_faults(const struct faults *faults)
{
	for (const struct fault *fault = faults->first; fault; fault = fault->next)
		fprintf(stderr, "%s%s\n", fault->warning ? "warning: " : "", fault->text);
	if (faults->errors + faults->warnings > faults->kept)
		fprintf(stderr, "and %zu more\n", faults->errors + faults->warnings - faults->kept);
}

static int check(const char *path, const struct override *overrides, size_t override_count)
{
	struct faults faults = {0};
	struct config *config = config_load(path, environ, overrides, override_count, &faults);
	size_t count = config ? config->probe_count : 0;

	print_faults(&faults);
	faults_free(&faults);
	if (!config)
		return 1;
	config_free(config);
	printf("%s: ok, %zu probe%s\n", strcmp(path, "-") == 0 ? "standard input" : path, count,
	       count == 1 ? "" : "s");
	return finish_output();
}

/* ---- fields ---- */

static const char *kind_name(enum field_kind kind)
{
	static const char *const names[] = {
		[FIELD_TEXT] = "text",
		[FIELD_SECRET] = "secret",
		[FIELD_BOOLEAN] = "boolean",
		[FIELD_INTEGER] = "integer",
		[FIELD_NUMBER] = "number",
		[FIELD_SECONDS] = "seconds",
		[FIELD_CHOICE] = "choice",
		[FIELD_TEXT_LIST] = "texts",
		[FIELD_COMMAND] = "command",
		[FIELD_PAIR_LIST] = "pairs",
		[FIELD_STATUS_RANGES] = "statuses",
	};

	return names[kind];
}

static bool has_limits(const struct field *field)
{
	return field->minimum != 0 || field->maximum != 0;
}

/* What the value may be: the kind with its limits, or the choices. */
static void describe_kind(const struct field *field, char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	if (field->kind == FIELD_CHOICE) {
		for (size_t i = 0; field->choices[i] && len < size; i++)
			len += (size_t)snprintf(text + len, size - len, "%s%s", i > 0 ? "|" : "",
						field->choices[i]);
	} else if (has_limits(field)) {
		snprintf(text, size, "%s %.15g..%.15g", kind_name(field->kind), field->minimum,
			 field->maximum);
	} else {
		snprintf(text, size, "%s", kind_name(field->kind));
	}
}

static void print_fields(const struct field *fields)
{
	for (; fields->name; fields++) {
		char kind[256];

		describe_kind(fields, kind, sizeof(kind));
		printf("  %-30s %-24s ", fields->name, kind);
		if (fields->fallback && fields->fallback[0] != '\0')
			printf("%s (default %s)\n", fields->help, fields->fallback);
		else
			printf("%s\n", fields->help);
		if (fields->kind == FIELD_SECRET)
			printf("  %sFile%*s %-24s file that holds it\n", fields->name,
			       (int)(26 - strlen(fields->name)), "", "path");
	}
}

static void print_all_fields(void)
{
	printf("settings of the top level:\n");
	print_fields(config_fields);
	printf("\nsettings of every probe:\n");
	print_fields(probe_common_fields);
	for (size_t i = 0; probe_types[i]; i++) {
		const struct probe_type *type = probe_types[i];

		printf("\n%s%s%s: %s, such as %s\n", type->name,
		       type->kubernetes_name ? " or " : "",
		       type->kubernetes_name ? type->kubernetes_name : "", type->summary,
		       type->example);
		print_fields(type->fields);
	}
	printf("\nEach has a variable: READYD_LOG_FORMAT, READYD_DRAIN_DELAY_SECONDS, and of a "
	       "probe\n"
	       "READYD_READINESS_NAME for its target and READYD_READINESS_NAME__PERIOD_SECONDS for "
	       "a\n"
	       "setting.\n");
}

static void write_field(struct json_writer *json, const struct field *field)
{
	json_object_begin(json, NULL);
	json_text(json, "name", field->name);
	json_text(json, "kind", kind_name(field->kind));
	if (field->fallback)
		json_text(json, "default", field->fallback);
	if (has_limits(field)) {
		json_number(json, "minimum", field->minimum);
		json_number(json, "maximum", field->maximum);
	}
	if (field->kind == FIELD_CHOICE) {
		json_array_begin(json, "choices");
		for (size_t i = 0; field->choices[i]; i++)
			json_text(json, NULL, field->choices[i]);
		json_array_end(json);
	}
	json_text(json, "help", field->help);
	json_object_end(json);
}

static void write_fields(struct json_writer *json, const char *name, const struct field *fields)
{
	json_array_begin(json, name);
	for (; fields->name; fields++)
		write_field(json, fields);
	json_array_end(json);
}

static void write_type(struct json_writer *json, const struct probe_type *type)
{
	json_object_begin(json, NULL);
	json_text(json, "name", type->name);
	if (type->kubernetes_name)
		json_text(json, "kubernetesName", type->kubernetes_name);
	json_array_begin(json, "schemes");
	for (const char *const *scheme = type->schemes; *scheme; scheme++)
		json_text(json, NULL, *scheme);
	json_array_end(json);
	json_text(json, "summary", type->summary);
	json_text(json, "example", type->example);
	write_fields(json, "fields", type->fields);
	json_object_end(json);
}

static void print_json_fields(void)
{
	struct json_writer json;
	struct buffer buffer;

	buffer_init(&buffer, FIELDS_JSON_MAX);
	json_begin(&json, &buffer);
	json_object_begin(&json, NULL);
	write_fields(&json, "settings", config_fields);
	write_fields(&json, "probe", probe_common_fields);
	json_array_begin(&json, "types");
	for (size_t i = 0; probe_types[i]; i++)
		write_type(&json, probe_types[i]);
	json_array_end(&json);
	json_object_end(&json);
	printf("%s\n", buffer.data ? buffer.data : "");
	buffer_free(&buffer);
}

/* ---- command line ---- */

struct arguments {
	const char *verb, *path;
	bool json, help;
	struct override overrides[OVERRIDES_MAX];
	size_t override_count;
};

static int take_words(struct arguments *arguments, int count, char **words)
{
	if (count == 0)
		return usage_error("check or fields is missing", NULL);
	arguments->verb = words[0];
	if (strcmp(words[0], "fields") == 0)
		return count == 1 ? 0 : usage_error("unexpected argument", words[1]);
	if (strcmp(words[0], "check") != 0)
		return usage_error("expected check or fields, not", words[0]);
	if (count == 1)
		return usage_error("the file to check is missing", NULL);
	if (count > 2)
		return usage_error("unexpected argument", words[2]);
	arguments->path = words[1];
	return 0;
}

static int parse(struct arguments *arguments, int argc, char **argv)
{
	static const struct option options[] = {{"help", no_argument, NULL, 'h'},
						{"json", no_argument, NULL, 'j'},
						{NULL, 0, NULL, 0}};
	int letter;

	opterr = 0;
	while ((letter = getopt_long(argc, argv, ":ho:", options, NULL)) != -1) {
		switch (letter) {
		case 'h':
			arguments->help = true;
			return 0;
		case 'j':
			arguments->json = true;
			break;
		case 'o':
			if (command_add_override("config", optarg, arguments->overrides,
						 OVERRIDES_MAX, &arguments->override_count) < 0)
				return -1;
			break;
		default:
			command_option_error("config", letter, argv);
			return 1;
		}
	}
	return take_words(arguments, argc - optind, argv + optind);
}

int cmd_config(int argc, char **argv)
{
	struct arguments arguments = {0};

	if (parse(&arguments, argc, argv) != 0)
		return 1;
	if (arguments.help)
		fputs(help, stdout);
	else if (arguments.path)
		return check(arguments.path, arguments.overrides, arguments.override_count);
	else if (arguments.json)
		print_json_fields();
	else
		print_all_fields();
	return finish_output();
}
