#include "agent/tls_files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_SIZE_MAX = 4 * 1024 * 1024 };

static bool is_set(const char *text)
{
	return text && text[0] != '\0';
}

/* The paths that these settings ask for. */
static void wanted_paths(const struct tls_settings *settings, const char *paths[TLS_FILE_COUNT])
{
	paths[TLS_FILE_CA] = NULL;
	if (!settings->insecure_skip_verify)
		paths[TLS_FILE_CA] =
			is_set(settings->ca_file) ? settings->ca_file : tls_system_bundle();
	paths[TLS_FILE_CERTIFICATE] = NULL;
	paths[TLS_FILE_KEY] = NULL;
	if (!is_set(settings->certificate_file))
		return;
	paths[TLS_FILE_CERTIFICATE] = settings->certificate_file;
	paths[TLS_FILE_KEY] =
		is_set(settings->key_file) ? settings->key_file : settings->certificate_file;
}

static int look(struct tls_file *file, const char *path, const char *setting, struct error *error)
{
	if (!path)
		return 0;
	file->setting = setting;
	file->path = strdup(path);
	if (!file->path)
		return error_set(error, "out of memory");
	if (stat(path, &file->stat) < 0)
		return error_set(error, "%s %s: %s", setting, path, strerror(errno));
	if (!S_ISREG(file->stat.st_mode) || file->stat.st_size > FILE_SIZE_MAX)
		return error_set(error, "%s %s: not a regular file of at most %d MiB", setting,
				 path, FILE_SIZE_MAX / 1024 / 1024);
	return 0;
}

int tls_files_look(struct tls_files *files, const struct tls_settings *settings,
		   struct error *error)
{
	static const char *const names[TLS_FILE_COUNT] = {"caFile", "certFile", "keyFile"};
	const char *paths[TLS_FILE_COUNT];

	wanted_paths(settings, paths);
	if (!paths[TLS_FILE_CA] && !settings->insecure_skip_verify)
		return error_set(error, "no bundle of trusted authorities was found on this "
					"system; caFile sets one");
	for (size_t i = 0; i < TLS_FILE_COUNT; i++) {
		bool is_bundle = i == TLS_FILE_CA && !is_set(settings->ca_file);

		if (look(&files->items[i], paths[i], is_bundle ? "the system's bundle" : names[i],
			 error) < 0)
			return -1;
	}
	return 0;
}

void tls_files_free(struct tls_files *files)
{
	for (size_t i = 0; i < TLS_FILE_COUNT; i++) {
		free(files->items[i].path);
		files->items[i].path = NULL;
	}
}

static bool is_unchanged(const struct tls_file *file)
{
	struct stat now;

	if (!file->path)
		return true;
	return stat(file->path, &now) == 0 && now.st_dev == file->stat.st_dev &&
	       now.st_ino == file->stat.st_ino && now.st_size == file->stat.st_size &&
	       now.st_mtim.tv_sec == file->stat.st_mtim.tv_sec &&
	       now.st_mtim.tv_nsec == file->stat.st_mtim.tv_nsec;
}

bool tls_files_are_current(const struct tls_files *files, const struct tls_settings *settings)
{
	const char *paths[TLS_FILE_COUNT];

	wanted_paths(settings, paths);
	for (size_t i = 0; i < TLS_FILE_COUNT; i++) {
		const char *noted = files->items[i].path;

		if (!paths[i] != !noted || (noted && strcmp(paths[i], noted) != 0))
			return false;
		if (!is_unchanged(&files->items[i]))
			return false;
	}
	return true;
}
