#include "probes/probe.h"

#include <errno.h>

struct reason_row {
	const char *name;
	const char *meaning;
	bool alive;
};

#define PROBE_REASON_ROW(symbol, name, alive, meaning) [symbol] = {name, meaning, alive},
static const struct reason_row reasons[PROBE_REASON_COUNT] = {PROBE_REASONS(PROBE_REASON_ROW)};
#undef PROBE_REASON_ROW

const char *probe_reason_name(enum probe_reason reason)
{
	return reasons[reason].name;
}

const char *probe_reason_meaning(enum probe_reason reason)
{
	return reasons[reason].meaning;
}

bool probe_reason_alive(enum probe_reason reason)
{
	return reasons[reason].alive;
}

const char *probe_state_name(enum probe_state state)
{
	static const char *const names[] =
		{[PROBE_PASS] = "pass", [PROBE_WARN] = "warn", [PROBE_FAIL] = "fail"};

	return names[state];
}

const char *probe_phase_name(enum probe_phase phase)
{
	static const char *const names[PHASE_COUNT] = {[PHASE_RESOLVE] = "resolve",
						       [PHASE_CONNECT] = "connect",
						       [PHASE_TLS] = "tls",
						       [PHASE_FIRST_BYTE] = "firstByte"};

	return names[phase];
}

enum probe_reason probe_reason_from_errno(int error_number)
{
	switch (error_number) {
	case ECONNREFUSED:
		return REASON_CONNECT_REFUSED;
	case ETIMEDOUT:
		return REASON_CONNECT_TIMEOUT;
	case ECONNRESET:
	case EPIPE:
		return REASON_CONNECTION_RESET;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case ENETDOWN:
	case EHOSTDOWN:
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
		return REASON_UNREACHABLE;
	case ENOENT:
		return REASON_SOCKET_MISSING;
	case EACCES:
	case EPERM:
		return REASON_PERMISSION;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENOBUFS:
		return REASON_RESOURCES;
	default:
		return REASON_NETWORK_ERROR;
	}
}
