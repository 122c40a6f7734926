// The example application of docker/: a shop window that counts its visits and orders in Redis and its
// goods in PostgreSQL, starts slowly, stops gracefully, and misbehaves when it is told to.
//
//   shop            serves http://:8080/ and /healthz; POST / is an order
//   shop migrate    makes its tables and ends; safe to repeat
//
// Environment: DATABASE_URL, DATABASE_PASSWORD_FILE, CACHE_HOST, SHOP_VERSION, SHOP_START_SECONDS (how long it takes to start) and SHOP_FAULT, which is one of
//   never-ready     /healthz never says yes
//   unhealthy:N     /healthz says no from N seconds after the start
//   crash:N         it crashes N seconds after the start
//   errors          every page is an error, and /healthz says yes all the same
//   hang            no page is ever answered, and /healthz says yes all the same
//   deaf            it ignores SIGTERM

#define _GNU_SOURCE
#include <errno.h>
#include <libpq-fe.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	PORT = 8080,
	REQUEST_BYTES = 8192,     // with its body
	PATIENCE_SECONDS = 3,     // for the database and the cache
	REQUEST_SECONDS = 5,      // for a request to arrive
	LAST_REQUESTS_SECONDS = 8 // for those under way to end when we are to stop
};

static const char tables[] = "create table if not exists goods (name text primary key);"
			     "insert into goods values ('bread'), ('salt') on conflict do nothing";

static struct {
	pthread_mutex_t lock;
	pthread_cond_t ended;
	int requests; // under way
	PGconn *database;
	int cache;
} shop = {.lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER, .cache = -1};

static time_t started;

static const char *setting(const char *name, const char *otherwise)
{
	const char *value = getenv(name);
	return value && *value ? value : otherwise;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

static time_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

// Whether SHOP_FAULT is this one, and its time has come.
static bool fault(const char *name)
{
	const char *told = setting("SHOP_FAULT", "");
	size_t length = strlen(name);
	if (strncmp(told, name, length) != 0) {
		return false;
	}
	return told[length] == ':' ? now() - started >= atoi(told + length + 1) : !told[length];
}

// --- the database ---

static PGconn *connect_database(void)
{
	char password[256] = "";
	const char *path = setting("DATABASE_PASSWORD_FILE", NULL);
	if (path) {
		FILE *file = fopen(path, "r");
		if (!file || !fgets(password, sizeof(password), file)) {
			say("no password in %s: %s", path, strerror(errno));
		}
		if (file) {
			fclose(file);
		}
		password[strcspn(password, "\n")] = '\0';
	}
	const char *names[] = {"dbname", "password", "connect_timeout", "application_name", NULL};
	const char *values[] = {setting("DATABASE_URL", ""), password, "3", "shop", NULL};
	return PQconnectdbParams(names, values, 1);
}

static int migrate(void)
{
	PGconn *database = connect_database();
	bool good = PQstatus(database) == CONNECTION_OK;
	if (good) {
		PGresult *result = PQexec(database, tables);
		good = PQresultStatus(result) == PGRES_COMMAND_OK;
		PQclear(result);
	}
	say("migration: %s", good ? "done" : PQerrorMessage(database));
	PQfinish(database);
	return good ? 0 : 1;
}

// How many goods there are; -1 if the database does not tell.
static int count_goods(void)
{
	if (PQstatus(shop.database) != CONNECTION_OK) {
		PQfinish(shop.database);
		shop.database = connect_database();
	}
	PGresult *result = PQexec(shop.database, "select count(*) from goods");
	int count = PQresultStatus(result) == PGRES_TUPLES_OK ? atoi(PQgetvalue(result, 0, 0)) : -1;
	PQclear(result);
	return count;
}

// --- the cache ---

static void set_timeouts(int socket, int seconds)
{
	struct timeval time = {.tv_sec = seconds};
	setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
	setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time));
}

static int connect_cache(void)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *addresses;
	if (getaddrinfo(setting("CACHE_HOST", "cache"), "6379", &hints, &addresses)) {
		return -1;
	}
	int connection = socket(addresses->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	set_timeouts(connection, PATIENCE_SECONDS);
	if (connect(connection, addresses->ai_addr, addresses->ai_addrlen) != 0) {
		close(connection);
		connection = -1;
	}
	freeaddrinfo(addresses);
	return connection;
}

// The number of this one of a kind; -1 if the cache does not tell.
static long count_one(const char *kind)
{
	char command[64], answer[64];
	snprintf(command, sizeof(command), "INCR %s\r\n", kind);
	if (shop.cache < 0) {
		shop.cache = connect_cache();
	}
	ssize_t length = -1;
	if (send(shop.cache, command, strlen(command), MSG_NOSIGNAL) == (ssize_t)strlen(command)) {
		length = recv(shop.cache, answer, sizeof(answer) - 1, 0);
	}
	if (length <= 0) {
		close(shop.cache);
		shop.cache = -1;
		return -1;
	}
	answer[length] = '\0';
	return answer[0] == ':' ? atol(answer + 1) : -1;
}

// --- requests ---

static void answer(int connection, int status, const char *text)
{
	char message[512];
	int length =
		snprintf(message, sizeof(message),
			 "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
			 "Connection: close\r\nX-Version: %s\r\n\r\n%s",
			 status, status == 200 ? "OK" : "Error", strlen(text),
			 setting("SHOP_VERSION", "dev"), text);
	send(connection, message, (size_t)length, MSG_NOSIGNAL);
}

static void show_page(int connection)
{
	pthread_mutex_lock(&shop.lock);
	int goods = count_goods();
	long visit = count_one("visits");
	pthread_mutex_unlock(&shop.lock);
	char text[128];
	snprintf(text, sizeof(text), "shop %s: %d goods, visit %ld\n",
		 setting("SHOP_VERSION", "dev"), goods, visit);
	bool good = goods >= 0 && visit >= 0;
	answer(connection, good ? 200 : 503,
	       good ? text : "the database or the cache does not answer\n");
}

static void take_order(int connection, const char *order)
{
	pthread_mutex_lock(&shop.lock);
	long number = count_one("orders");
	pthread_mutex_unlock(&shop.lock);
	char text[256];
	snprintf(text, sizeof(text), "shop %s: order %ld: %.128s\n",
		 setting("SHOP_VERSION", "dev"), number, order);
	answer(connection, number >= 0 ? 200 : 503,
	       number >= 0 ? text : "the cache does not answer\n");
}

static size_t body_length(const char *head)
{
	static const char name[] = "\r\nContent-Length:";
	const char *field = strcasestr(head, name);
	return field ? strtoul(field + strlen(name), NULL, 10) : 0;
}

// Reads a request into a buffer of REQUEST_BYTES: its head, and behind that the body, which is returned.
// NULL if it does not arrive, or is too long.
static const char *receive(int connection, char *request)
{
	size_t length = 0, wanted = REQUEST_BYTES;
	char *body = NULL;
	while (length < wanted) {
		ssize_t got = recv(connection, request + length, REQUEST_BYTES - 1 - length, 0);
		if (got <= 0) {
			return NULL;
		}
		length += (size_t)got;
		request[length] = '\0';
		if (!body && (body = strstr(request, "\r\n\r\n"))) {
			*body = '\0';
			body += 4;
			wanted = (size_t)(body - request) + body_length(request);
		}
	}
	return body;
}

static void *serve(void *argument)
{
	int connection = (int)(intptr_t)argument;
	char request[REQUEST_BYTES];
	set_timeouts(connection, REQUEST_SECONDS);
	const char *body = receive(connection, request);
	if (!body) {
		answer(connection, 400, "no request\n");
	} else if (!strncmp(request, "GET /healthz ", 13)) {
		bool bad = fault("never-ready") || fault("unhealthy");
		answer(connection, bad ? 503 : 200, bad ? "told to be ill\n" : "alive\n");
	} else if (fault("hang")) {
		pause();
	} else if (fault("errors")) {
		answer(connection, 500, "told to fail\n");
	} else if (!strncmp(request, "GET / ", 6)) {
		show_page(connection);
	} else if (!strncmp(request, "POST / ", 7)) {
		take_order(connection, body);
	} else {
		answer(connection, 404, "no such page\n");
	}
	close(connection);
	pthread_mutex_lock(&shop.lock);
	shop.requests--;
	pthread_cond_signal(&shop.ended);
	pthread_mutex_unlock(&shop.lock);
	return NULL;
}

static void accept_all(int listener)
{
	int connection;
	while ((connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		pthread_mutex_lock(&shop.lock);
		shop.requests++;
		pthread_mutex_unlock(&shop.lock);
		pthread_t thread;
		if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)connection) == 0) {
			pthread_detach(thread);
		} else {
			serve((void *)(intptr_t)connection);
		}
	}
}

// --- life ---

static int open_listener(void)
{
	int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
	if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) != 0 ||
	    bind(listener, (struct sockaddr *)&any, sizeof(any)) != 0 ||
	    listen(listener, 128) != 0) {
		say("port %d: %s", PORT, strerror(errno));
		exit(1);
	}
	return listener;
}

// Takes what has already connected, and waits for the last answer.
static void finish(int listener)
{
	say("stopping");
	accept_all(listener);
	close(listener);
	struct timespec end;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += LAST_REQUESTS_SECONDS;
	pthread_mutex_lock(&shop.lock);
	while (shop.requests > 0 && pthread_cond_timedwait(&shop.ended, &shop.lock, &end) == 0) {
	}
	say("stopped with %d requests unanswered", shop.requests);
	pthread_mutex_unlock(&shop.lock);
}

int main(int count, char **arguments)
{
	if (count == 2 && !strcmp(arguments[1], "migrate")) {
		return migrate();
	}
	started = now();
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	int stop = signalfd(-1, &signals, SFD_CLOEXEC);
	struct pollfd events[] = {{.fd = stop, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
	if (poll(events, 1, 1000 * atoi(setting("SHOP_START_SECONDS", "0"))) > 0) {
		say("stopped before it had started");
		return 0;
	}
	events[1].fd = open_listener();
	say("version %s serves port %d", setting("SHOP_VERSION", "dev"), PORT);
	while (!fault("crash")) {
		poll(events, 2, 1000);
		if (events[0].revents && !fault("deaf")) {
			finish(events[1].fd);
			return 0;
		}
		if (events[0].revents) {
			events[0].fd = -1;
		}
		accept_all(events[1].fd);
	}
	say("told to crash");
	abort();
}
