/* The rounds of SCRAM, which libpq calls for by way of the linker (--wrap). */
#include "agent/tls.h"

#if READYD_TLS

enum { SCRAM_KEY_LEN = 32 };

/* Hi() of RFC 5802, which is PBKDF2. */
int __wrap_scram_SaltedPassword(const char *password, int hash_type, int key_len, const char *salt,
				int salt_len, int rounds, unsigned char *result,
				const char **ret_error);
int __real_scram_SaltedPassword(const char *password, int hash_type, int key_len, const char *salt,
				int salt_len, int rounds, unsigned char *result,
				const char **ret_error);

int __wrap_scram_SaltedPassword(const char *password, int hash_type, int key_len, const char *salt,
				int salt_len, int rounds, unsigned char *result,
				const char **ret_error)
{
	/* SCRAM-SHA-256 is the only kind there is; a later one is libpq's own business. */
	if (key_len != SCRAM_KEY_LEN || salt_len < 0 || rounds < 1)
		return __real_scram_SaltedPassword(password, hash_type, key_len, salt, salt_len,
						   rounds, result, ret_error);
	if (tls_derive_key(password, (const unsigned char *)salt, (size_t)salt_len, rounds,
			   result) == 0)
		return 0;
	*ret_error = "the key cannot be derived";
	return -1;
}

#endif
