/* Feeds libFuzzer's inputs to the whole way of a configuration file: YAML, variables, types.
 * `tests/fuzz/run` builds and runs it. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *environment[] = {(char[]){"SET=redis://h"}, (char[]){"EMPTY="},
			       (char[]){"READYD_READINESS_CACHE__PERIOD_SECONDS=5"}, NULL};
	struct faults faults = {0};
	struct config *config;
	char path[64];
	int fd = memfd_create("config", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	config = config_load(path, environment, NULL, 0, &faults);
	if ((config == NULL) != (faults.errors > 0))
		abort();
	config_free(config);
	faults_free(&faults);
	close(fd);
	return 0;
}
