/* The files of certificates and keys that settings name, as they were when they were read. A part
 * of agent/tls.h that needs no OpenSSL. */
#ifndef READYD_AGENT_TLS_FILES_H
#define READYD_AGENT_TLS_FILES_H

#include <stdbool.h>
#include <sys/stat.h>

#include "agent/error.h"
#include "agent/tls.h"

enum { TLS_FILE_CA, TLS_FILE_CERTIFICATE, TLS_FILE_KEY, TLS_FILE_COUNT };

struct tls_file {
	char *path;          /* NULL = none */
	const char *setting; /* what it is called in sentences */
	struct stat stat;
};

/* Zero-filled is valid and empty. */
struct tls_files {
	struct tls_file items[TLS_FILE_COUNT];
};

/* Notes the files that the settings ask for, before anybody opens them, which would block on a
 * pipe. Returns 0, or -1 with a sentence; to be freed in both cases. */
int tls_files_look(struct tls_files *files, const struct tls_settings *settings,
		   struct error *error);
void tls_files_free(struct tls_files *files);

/* Whether they are still what the settings ask for, and unchanged. */
bool tls_files_are_current(const struct tls_files *files, const struct tls_settings *settings);

#endif
