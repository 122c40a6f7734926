#include "agent/unix_socket.h"

#include <stddef.h>
#include <string.h>

int unix_socket_address(const char *name, struct sockaddr_un *ret_address, socklen_t *ret_len,
			struct error *error)
{
	size_t len = strlen(name);
	size_t header = offsetof(struct sockaddr_un, sun_path);

	if (len == 0 || strcmp(name, "@") == 0)
		return error_set(error, "a unix socket needs a path or an @name");
	if (len >= sizeof(ret_address->sun_path))
		return error_set(error, "unix socket \"%s\": at most %zu bytes are possible", name,
				 sizeof(ret_address->sun_path) - 1);
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(ret_address->sun_path, name, len);
	*ret_len = (socklen_t)(header + len + 1);
	if (name[0] == '@') {
		/* An abstract name begins with NUL and ends where the length says. */
		ret_address->sun_path[0] = '\0';
		*ret_len = (socklen_t)(header + len);
	}
	return 0;
}
