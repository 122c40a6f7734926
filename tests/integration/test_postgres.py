"""The PostgreSQL probe against a real server, its standby, and servers that misbehave."""

import json
import os
import pathlib
import socket
import ssl
import threading
import time
import unittest

import harness
import postgres_server
from bad_server import BadServer, FullServer, drip, flood, receive, reset, send, stall, wait_close
from harness import Agent, TestCase, check, free_port, readyd, wait_until
from nginx_server import Certificates
from postgres_server import (ENCODED_PASSWORD, PASSWORD, READY, RawSession, Server, authentication,
                             error_message, message)

TIMEOUT = 20  # where the answer must not be a matter of how busy the machine is


def setUpModule():
    global primary, standby
    primary = Server().start()
    standby = primary.standby().start()


def tearDownModule():
    standby.destroy()
    primary.destroy()


class PostgresTestCase(TestCase):
    def check(self, url, *, timeout=TIMEOUT, env=None, **options):
        """check(), and nothing that comes out contains the password."""
        code, result = check(url, timeout=timeout, env=env, **options)
        for secret in (PASSWORD, ENCODED_PASSWORD):
            self.assertNotIn(secret, json.dumps(result))
        self.assertEqual(code, 0 if result["ready"] else 1)
        return result

    def assert_passes(self, url, **options):
        result = self.check(url, **options)
        self.assert_result(result, "pass", "ok")
        self.assertTrue(result["alive"])
        return result

    def assert_fails(self, reason, url, *, alive, contains="", **options):
        result = self.check(url, **options)
        self.assert_result(result, "fail", reason)
        self.assertEqual(result["alive"], alive, result)
        self.assertIn(contains, result["message"])
        self.assertLess(len(result["message"]), 240)
        return result

    def refused_by_check(self, url, *arguments, env=None):
        """What is said about a configuration that is not accepted; it must not show the password."""
        done = readyd("check", url, *arguments, env=env)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertEqual(done.stdout.count("sesame") + done.stderr.count("sesame"), 0, done)
        return done.stdout + done.stderr


class OpensSession(PostgresTestCase):
    def test_every_way_to_authenticate(self):
        for user in ("app", "md5er", "plain"):
            with self.subTest(user):
                self.assert_passes(primary.url(user))
                self.assert_passes(primary.url(user, sslmode="disable"))
        self.assert_passes(primary.url("trusted", password=None))

    def test_result_object(self):
        result = self.assert_passes(primary.url())
        self.assertEqual(result["type"], "postgres")
        self.assertEqual(result["target"], f"postgres://app@127.0.0.1:{primary.port}/app")
        self.assertEqual(set(result["phasesMs"]), {"connect", "firstByte", "total"})

    def test_name_is_resolved(self):
        self.assert_passes(primary.url(host="localhost"))

    def test_unix_socket(self):
        result = self.assert_passes(primary.socket_url())
        self.assertEqual(result["target"],
                         f"postgres://local_app@{primary.directory}:{primary.port}/app")
        encoded = str(primary.directory).replace("/", "%2F")
        self.assert_passes(f"postgresql://local_app@{encoded}:{primary.port}/app")

    def test_settings_instead_of_the_url(self):
        self.assert_passes("postgres://nobody:x@nowhere.invalid:1/nothing", host="127.0.0.1",
                           port=primary.port, user="app", database="app", password=PASSWORD,
                           sslmode="disable")

    def test_libpq_environment(self):
        env = {"PGHOST": "127.0.0.1", "PGPORT": str(primary.port), "PGUSER": "app",
               "PGDATABASE": "app", "PGPASSWORD": PASSWORD}
        self.assert_passes("postgres://", env=env)
        self.assert_fails("tls_failed", "postgres://", env=dict(env, PGSSLMODE="require"),
                          alive=False, contains="offers no TLS")
        self.assert_fails("auth_failed", "postgres://", env=dict(env, PGPASSWORD="wrong"),
                          alive=True)
        self.assert_passes("postgres://", env=dict(env, PGHOST="nowhere.invalid",
                                                   PGHOSTADDR="127.0.0.1"))

    def test_connection_string(self):
        text = (f"host=127.0.0.1 port={primary.port} user=app dbname=app "
                f"password='{PASSWORD}' connect_timeout=1")
        with Agent(f"readiness: {{db: {{postgres: {{url: \"{text}\"}}}}}}") as agent:
            agent.wait_ready()
            self.assertEqual(agent.probe("db")["target"],
                             f"postgres://app@127.0.0.1:{primary.port}/app")
            self.assertNotIn(PASSWORD, json.dumps(agent.status()) + "\n".join(agent.raw_logs))

    def test_password_file(self):
        file = self.tmp / "password"
        url = primary.url(password=None)
        file.write_text("wrong\n")
        self.assert_fails("auth_failed", url, passwordFile=file, alive=True)
        file.write_text(PASSWORD + "\n")
        self.assert_passes(url, passwordFile=file)

    def test_url_file_is_read_at_each_run(self):
        file = self.tmp / "url"
        config = f"readiness: {{db: {{postgres: {{urlFile: {file}}}, periodSeconds: 0.1}}}}"
        file.write_text("")
        with Agent(config) as agent:
            file.unlink()
            agent.wait_for(lambda a: a.probe("db").get("reason") == "secret_unavailable")
            file.write_text("host='127.0.0.1 password=sesame")
            agent.wait_for(lambda a: a.probe("db").get("reason") == "cannot_start")
            self.assertNotIn("sesame", json.dumps(agent.status()))
            file.write_text(primary.url("app", "sesame") + "\n")
            agent.wait_for(lambda a: a.probe("db").get("reason") == "auth_failed")
            file.write_text(primary.url() + "\n")
            agent.wait_ready()
            text = json.dumps(agent.status()) + "\n".join(agent.raw_logs)
            for secret in ("sesame", PASSWORD, ENCODED_PASSWORD):
                self.assertNotIn(secret, text)

    def test_pgpass(self):
        passfile = self.tmp / ".pgpass"
        escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
        passfile.write_text(f"127.0.0.1:{primary.port}:app:app:{escaped}\n")
        passfile.chmod(0o600)
        url = primary.url(password=None)
        self.assert_passes(url, env={"HOME": str(self.tmp)})
        self.assert_passes(url, env={"PGPASSFILE": str(passfile)})
        self.assert_fails("auth_failed", url, env={"HOME": "/nonexistent"}, alive=True,
                          contains="wants a password")
        passfile.chmod(0o644)
        for env in ({"HOME": str(self.tmp)}, {"PGPASSFILE": str(passfile)},
                    {"PGPASSFILE": str(self.tmp)}):
            self.assert_fails("auth_failed", url, env=env, alive=True,
                              contains="readable by its owner alone")
            self.assertEqual(readyd("check", url, env=env).stderr, "")

    def test_service_file(self):
        services = self.tmp / "services"
        services.write_text(f"[users]\nhost=127.0.0.1\nport={primary.port}\nuser=app\n"
                            f"dbname=app\npassword={PASSWORD}\n")
        env = {"PGSERVICEFILE": str(services)}
        result = self.assert_passes("postgres://?service=users", env=env)
        self.assertEqual(result["target"], f"postgres://app@127.0.0.1:{primary.port}/app")
        self.assert_passes("postgres://", env=dict(env, PGSERVICE="users"))
        self.assertIn("service", self.refused_by_check("postgres://?service=nix", env=env))

    def test_warning_when_slow(self):
        result = self.check(primary.url(), warnAboveSeconds="0.000001")
        self.assert_result(result, "warn", "slow")
        self.assertTrue(result["ready"])
        self.assert_passes(primary.url(), warnAboveSeconds=TIMEOUT)

    def test_session_has_a_name(self):
        self.assert_passes(primary.url(), query="select current_setting('application_name')",
                           expect="readyd")
        self.assert_passes(primary.url(application_name="own"),
                           query="select current_setting('application_name')", expect="own")


class Refusals(PostgresTestCase):
    """Each its own reason, and all of them alive."""

    def test_wrong_password(self):
        for user in ("app", "md5er", "plain"):
            with self.subTest(user):
                self.assert_fails("auth_failed", primary.url(user, "wrong"), alive=True,
                                  contains="28P01")

    def test_no_password(self):
        self.assert_fails("auth_failed", primary.url(password=None), alive=True,
                          contains="wants a password for user \"app\"")

    def test_unknown_user_and_access_rule(self):
        self.assert_fails("auth_failed", primary.url("nobody"), alive=True, contains="28000")
        self.assert_fails("auth_failed", primary.url("refused"), alive=True, contains="28000")

    def test_method_that_the_client_forbids(self):
        self.assert_fails("auth_failed", primary.url("plain", require_auth="scram-sha-256"),
                          alive=True, contains="authentication method requirement")

    def test_unknown_database(self):
        self.assert_fails("unknown_database", primary.url(database="nix"), alive=True,
                          contains="database \"nix\" does not exist (SQLSTATE 3D000)")

    def test_other_refusal(self):
        self.assert_fails("server_error", primary.url(options="-c%20nix%3D1"), alive=True,
                          contains="SQLSTATE 42704")

    def test_too_many_connections_of_a_role(self):
        self.assert_fails("too_many_connections", primary.url("limited", None), alive=True,
                          contains="53300")

    def test_full_server(self):
        server = Server({"max_connections": 6}).start()
        self.addCleanup(server.destroy)
        sessions = []
        self.addCleanup(lambda: [session.close() for session in sessions])
        server.fill(sessions)
        for user in ("app", "trusted"):
            self.assert_fails("too_many_connections", server.url(user), alive=True,
                              contains="SQLSTATE 53300")
        sessions.pop().close()
        wait_until(lambda: self.check(server.url("trusted"))["ready"], "a free session")

    def test_messages_in_any_language_and_encoding(self):
        texts = ("die Datenbank wird gestartet".encode(), "база данных".encode("koi8-r"),
                 "データベース".encode("euc-jp"))
        for severity, text in zip(("SCHWERWIEGEND", "ВАЖНО", "致命的エラー"), texts):
            answer = message(b"E", b"S" + severity.encode() + b"\0C57P03\0M" + text + b"\0\0")
            with self.subTest(severity), BadServer(receive(), send(answer), wait_close()) as server:
                self.assert_fails("rejecting", f"postgres://a@127.0.0.1:{server.port}"
                                  "/?sslmode=disable", alive=True, contains="SQLSTATE 57P03")


class Rejecting(PostgresTestCase):
    """SQLSTATE 57P03: alive and not ready."""

    def test_starting_up_then_ready(self):
        server = Server({"restore_command": "sleep 1000; false"})
        self.addCleanup(server.destroy)
        (server.data / "recovery.signal").touch()
        os.chown(server.data / "recovery.signal", *server.owner())
        server.start(wait=False)
        wait_until(lambda: harness.port_open(server.port), "the server listens")
        self.assert_fails("rejecting", server.url(), alive=True, contains="SQLSTATE 57P03")
        server.shut_down("immediate")
        (server.data / "recovery.signal").unlink()
        server.start()
        self.assert_passes(server.url())

    def test_shutting_down(self):
        server = Server().start()
        self.addCleanup(server.destroy)
        with RawSession(server.port):
            server.shut_down("smart", wait=False)
            wait_until(lambda: self.check(server.url())["reason"] == "rejecting",
                       "it refuses sessions")
            self.assert_fails("rejecting", server.url(), alive=True,
                              contains="the database system is shutting down (SQLSTATE 57P03)")
        server.process.wait(harness.PATIENCE_SECONDS)
        self.assert_fails("connect_refused", server.url(), alive=False)

    def test_standby_without_hot_standby(self):
        server = primary.standby({"hot_standby": "off"})
        self.addCleanup(server.destroy)
        server.start(wait=False)
        wait_until(lambda: "streaming" in server.log(), "it streams")
        self.assert_fails("rejecting", server.url(), alive=True, contains="SQLSTATE 57P03")

    def test_liveness_passes_and_readiness_does_not(self):
        answer = error_message("57P03", "the database system is starting up")
        with BadServer(receive(), send(answer), wait_close()) as server:
            target = f"postgres://a@127.0.0.1:{server.port}/?sslmode=disable"
            with Agent(f"liveness: {{db: '{target}'}}\nreadiness: {{db: '{target}'}}") as agent:
                agent.wait_log(lambda event: event.get("reason") == "rejecting")
                self.assertEqual(agent.get("/healthz")[0], 200)
                self.assertEqual(agent.get("/ready")[0], 503)


class Roles(PostgresTestCase):
    def test_wanted_role(self):
        self.assert_passes(primary.url(), role="any")
        self.assert_passes(standby.url(), role="any")
        self.assert_passes(primary.url(), role="primary")
        self.assert_passes(standby.url(), role="standby")
        self.assert_fails("wrong_role", standby.url(), role="primary", alive=True,
                          contains="the server is a standby, wanted is primary")
        self.assert_fails("wrong_role", primary.url(), role="standby", alive=True,
                          contains="the server is a primary, wanted is standby")

    def test_target_session_attrs(self):
        for attributes, server, passes in (
                ("primary", primary, True), ("primary", standby, False),
                ("standby", primary, False), ("standby", standby, True),
                ("read-write", primary, True), ("read-write", standby, False),
                ("read-only", primary, False), ("read-only", standby, True),
                ("prefer-standby", primary, True), ("prefer-standby", standby, True)):
            with self.subTest(attributes):
                url = server.url(target_session_attrs=attributes)
                if passes:
                    self.assert_passes(url)
                else:
                    self.assert_fails("wrong_role", url, alive=True,
                                      contains=f"wanted is {attributes}")

    def test_read_only_primary(self):
        self.assert_fails("wrong_role", primary.url(
            target_session_attrs="read-write", options="-c%20default_transaction_read_only%3Don"),
            alive=True, contains="a primary and read-only")

    def test_server_that_does_not_report_its_role(self):
        """As before PostgreSQL 14, and behind some poolers: it is asked."""
        row = message(b"T", b"\0\2" + 2 * (b"x\0" + b"\0" * 6 + b"\0\0\0\x19\xff\xff" +
                                          b"\xff\xff\xff\xff" + b"\0\0"))
        for word, passes in ((b"t", False), (b"f", True)):
            values = message(b"D", b"\0\2" + b"\0\0\0\1" + word + b"\0\0\0\2on")
            answer = row + values + message(b"C", b"SELECT 1\0") + READY
            with BadServer(receive(), send(authentication(0) + READY),
                           receive(until=b"pg_is_in_recovery"), send(answer),
                           wait_close()) as server:
                url = f"postgres://a@127.0.0.1:{server.port}/?sslmode=disable"
                if passes:
                    self.assert_passes(url, role="primary")
                else:
                    self.assert_fails("wrong_role", url, role="primary", alive=True)

    def test_nothing_is_asked_that_need_not_be_known(self):
        for role, report in (("any", b""), ("primary", message(b"S", b"in_hot_standby\0off\0") +
                                            message(b"S", b"default_transaction_read_only\0off\0"))):
            with BadServer(receive(), send(authentication(0) + report + READY),
                           wait_close()) as server:
                self.assert_passes(f"postgres://a@127.0.0.1:{server.port}/?sslmode=disable",
                                   role=role)
                server.join()
                self.assertNotIn(b"Q\0\0", server.connections[0].received)

    def test_promotion_is_noticed(self):
        server = primary.standby().start()
        self.addCleanup(server.destroy)
        for connection in ("fresh", "persistent"):
            config = (f"readiness: {{db: {{postgres: {{url: '{server.url()}', role: primary, "
                      f"connection: {connection}}}, periodSeconds: 0.1}}}}")
            with self.subTest(connection), Agent(config) as agent:
                if connection == "fresh":
                    agent.wait_log(lambda event: event.get("reason") == "wrong_role")
                    server.sql("select pg_promote(true)")
                agent.wait_ready()


class Lag(PostgresTestCase):
    def test_lag(self):
        server = primary.standby().start()
        self.addCleanup(server.destroy)
        wait_until(lambda: primary.sql("select count(*) from pg_stat_replication where "
                                       "state = 'streaming'") >= "1", "it streams")
        self.assert_passes(primary.url(), maxLagSeconds=0.001)
        primary.sql("create table if not exists lag (at int)", "app")
        self.caught_up(server)
        # Up to date although nothing has happened for longer than the limit.
        time.sleep(0.3)
        self.assert_passes(server.url(), maxLagSeconds=0.2)
        server.sql("select pg_wal_replay_pause()")
        wait_until(lambda: server.sql("select pg_get_wal_replay_pause_state()") == "paused",
                   "replay is paused")
        primary.sql("insert into lag values (1)", "app")
        wait_until(lambda: server.sql("select pg_last_wal_receive_lsn() > "
                                      "pg_last_wal_replay_lsn()") == "t", "it has more to replay")
        time.sleep(0.3)
        self.assert_fails("replication_lag", server.url(), maxLagSeconds=0.2, alive=True,
                          contains="s behind, more than 0.2 s")
        self.assert_passes(server.url(), maxLagSeconds=3600)
        server.sql("select pg_wal_replay_resume()")
        self.caught_up(server)
        self.assert_passes(server.url(), maxLagSeconds=0.2)

    def test_cut_off_standby_is_behind(self):
        """It has replayed all that it received, and receives nothing any more."""
        source = Server().start()
        self.addCleanup(source.destroy)
        server = source.standby().start()
        self.addCleanup(server.destroy)
        source.sql("create table lag (at int)", "app")
        self.caught_up(server, source)
        self.assert_passes(server.url(), maxLagSeconds=0.2)
        source.shut_down()
        wait_until(lambda: server.sql("select count(*) from pg_stat_wal_receiver") == "0",
                   "the connection is gone")
        wait_until(lambda: self.check(server.url(), maxLagSeconds=0.2)["reason"] ==
                   "replication_lag", "it is behind")

    def caught_up(self, server, source=None):
        position = (source or primary).sql("select pg_current_wal_lsn()")
        wait_until(lambda: server.sql(f"select pg_last_wal_replay_lsn() >= '{position}'") == "t" and
                   server.sql("select count(*) from pg_stat_wal_receiver") == "1", "it caught up")


class Queries(PostgresTestCase):
    def test_rows_and_values(self):
        url = primary.url()
        self.assert_passes(url, query="select 1")
        self.assert_passes(url, query="select null")
        self.assert_passes(url, query="select 'ä', 2 union all select 'ö', 3", expect="ä")
        self.assert_passes(url, query="select 1; select 2", expect="1")
        self.assert_passes(url, query="select ''", expect="")
        self.assert_passes(url, query="select generate_series(1, 1000000)", expect="1")
        self.assert_fails("no_rows", url, query="select 1 where false", alive=True)
        self.assert_fails("no_rows", url, query="do $$ begin raise warning 'hidden'; end $$",
                          alive=True)
        self.assert_fails("value_mismatch", url, query="select 41", expect="42", alive=True,
                          contains='the query returned "41", expected "42"')
        self.assert_fails("value_mismatch", url, query="select null", expect="", alive=True,
                          contains="the query returned null")

    def test_failed_queries(self):
        url = primary.url()
        self.assert_fails("query_failed", url, query="select * from nix", alive=True,
                          contains='relation "nix" does not exist (SQLSTATE 42P01)')
        self.assert_fails("query_failed", url, query="select 1/(1-1)", alive=True,
                          contains="22012")
        self.assert_fails("query_failed", url, query="copy (select 1) to stdout", alive=True,
                          contains="COPY")
        self.assert_fails("query_failed", url, query="select repeat('x', 2000000)", alive=True,
                          contains="larger than 1 MiB")
        self.assert_fails("rejecting", url, query="select pg_terminate_backend(pg_backend_pid())",
                          alive=True, contains="57P01")

    def test_lost_connection_during_a_query(self):
        opened = authentication(0) + READY
        for steps, reason in (([], "connection_closed"), ([reset()], "connection_reset")):
            with BadServer(receive(), send(opened), receive(until=b"select"), *steps) as server:
                self.assert_fails(reason, f"postgres://a@127.0.0.1:{server.port}/?sslmode=disable",
                                  query="select 1", alive=True)

    def test_query_leaves_nothing_in_the_session(self):
        """A pooler lends sessions on, so a limit of ours must not stay in one."""
        query = "select current_setting('statement_timeout') || current_setting('x.y', true)"
        config = (f"readiness: {{db: {{postgres: {{url: '{primary.url()}', connection: persistent, "
                  f"query: select 1}}}}}}")
        with Agent(config) as agent:
            agent.wait_ready()
            self.assertIn("SET LOCAL statement_timeout", primary.sql(
                "select query from pg_stat_activity where application_name = 'readyd'"))
        self.assert_passes(primary.url(), query=query.split(" || ")[0] + " <> '0'", expect="t")

    def test_hanging_query_is_cancelled(self):
        result = self.check(primary.url(), query="select pg_sleep(60)", timeout=3)
        self.assert_result(result, "fail", "timeout")
        self.assertTrue(result["alive"])
        self.assertIn("no answer to the query within 3 s", result["message"])
        end = time.monotonic() + harness.SOON_SECONDS
        wait_until(lambda: primary.sessions() == 0, "no session is left")
        self.assertLess(time.monotonic(), end)

    def test_agent_cancels_at_once(self):
        config = (f"readiness: {{db: {{postgres: {{url: '{primary.url()}', "
                  f"query: select pg_sleep(60)}}, timeoutSeconds: 1}}}}")
        before = len(primary.log())
        with Agent(config) as agent:
            agent.wait_log(lambda event: event.get("reason") == "timeout")
            # not by its time limit, which would be later
            wait_until(lambda: "due to user request" in primary.log()[before:], "a cancel request")
        wait_until(lambda: primary.sessions() == 0, "no session is left")


class Unanswered(PostgresTestCase):
    def url(self, server, **parameters):
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"postgres://a:b@127.0.0.1:{server.port}/c?{query}"

    def test_frozen_server(self):
        server = Server().start()
        self.addCleanup(server.destroy)
        server.freeze()
        self.assert_fails("timeout", server.url(), timeout=2, alive=False,
                          contains="no session on the accepted connection within 2 s")
        self.assert_fails("timeout", server.socket_url(), timeout=2, alive=False,
                          contains="no session on the accepted connection within 2 s")
        server.thaw()
        self.assert_passes(server.url())
        wait_until(lambda: server.sessions() == 0, "no session is left")

    def test_deadline_during_authentication(self):
        server = Server().start()
        self.addCleanup(server.destroy)
        with RawSession(server.port, "postgres", "postgres") as locker:
            locker.query("begin; lock table pg_authid in access exclusive mode")
            self.assert_fails("timeout", server.url(), timeout=2, alive=False)
        wait_until(lambda: server.sessions() == 0 and server.sql(
            "select count(*) from pg_stat_activity where usename = 'app' or "
            "(backend_type = 'client backend' and usename is null)") == "0", "no session is left")

    def test_silence_after_the_request_for_a_password_is_alive(self):
        for request in (authentication(10, b"SCRAM-SHA-256\0\0"), authentication(5, b"salt")):
            with BadServer(receive(), send(request), stall()) as server:
                self.assert_fails("timeout", self.url(server, sslmode="disable"), timeout=2,
                                  alive=True)

    def test_nobody_there(self):
        self.assert_fails("connect_refused", f"postgres://a@127.0.0.1:{free_port()}/",
                          alive=False, contains="Connection refused")
        self.assert_fails("socket_missing", f"postgres://a@/?host={self.tmp}", alive=False,
                          contains=f"{self.tmp}/.s.PGSQL.5432")
        self.assert_fails("dns_failure", "postgres://a@nowhere.invalid/", alive=False)

    def test_no_descriptor_for_a_connection(self):
        for host in ("127.0.0.1", "[::1]"):
            done = harness.subprocess.run(
                ["prlimit", "--nofile=4:4", harness.BINARY, "check", "--json",
                 f"postgres://a@{host}:{primary.port}/"], capture_output=True, text=True,
                env=harness.clean_environment())
            result = json.loads(done.stdout)
            self.assert_result(result, "fail", "resources")
            self.assertIn(f"cannot connect to {host}:{primary.port}", result["message"])

    def test_connection_that_is_not_accepted(self):
        with FullServer() as server:
            self.assert_fails("connect_timeout", self.url(server), timeout=2, alive=False,
                              contains=f"no connection to 127.0.0.1, port {server.port} within")

    def test_peers_that_close_or_reset(self):
        for mode in ("disable", "prefer", "require"):
            with self.subTest(mode):
                with BadServer(receive()) as server:
                    self.assert_fails("connection_closed", self.url(server, sslmode=mode),
                                      alive=False)
                with BadServer(receive(), reset()) as server:
                    self.assert_fails("connection_reset", self.url(server, sslmode=mode),
                                      alive=False)
        half = authentication(10, b"SCRAM-SHA-256\0\0")[:7]
        with BadServer(receive(), send(half)) as server:
            self.assert_fails("connection_closed", self.url(server, sslmode="disable"), alive=False)
        with BadServer(receive(), send(authentication(0) + b"S\0\0")) as server:
            self.assert_fails("connection_closed", self.url(server, sslmode="disable"), alive=True)

    def test_something_else_answers(self):
        for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n",
                       b"220 mail ESMTP\r\n", b"R\0\0\0\4", b"R\xff\xff\xff\xff", b"\0" * 64,
                       b"E\0\0\0\7xyz"):
            with self.subTest(answer), BadServer(receive(), send(answer), wait_close()) as server:
                self.assert_fails("protocol_error", self.url(server, sslmode="disable"),
                                  alive=False)
        for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mail ESMTP\r\n"):
            with self.subTest(answer), BadServer(receive(), send(answer), wait_close()) as server:
                self.assert_fails("protocol_error", self.url(server), alive=False)

    def test_garbage_after_the_login(self):
        for answer in (b"Z\xff\xff\xff\xff", b"?\0\0\0\4"):
            with self.subTest(answer), BadServer(receive(), send(authentication(0) + answer),
                                                 wait_close()) as server:
                result = self.check(self.url(server, sslmode="disable"))
                self.assert_result(result, "fail", "protocol_error")

    def test_flood(self):
        report = message(b"S", b"name\0" + b"v" * 2000 + b"\0")
        with BadServer(receive(), send(authentication(0)), flood(report)) as server:
            self.assert_fails("protocol_error", self.url(server, sslmode="disable"), alive=True,
                              contains="1 MiB")

    def test_slow_but_whole_answer(self):
        with BadServer(receive(), drip(authentication(0) + READY, 0.005), wait_close()) as server:
            self.assert_passes(self.url(server, sslmode="disable"))


class SeveralHosts(PostgresTestCase):
    def url(self, *servers, **parameters):
        places = ",".join(f"127.0.0.1:{getattr(server, 'port', server)}" for server in servers)
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"postgres://trusted@{places}/app?{query}"

    def test_goes_on_to_the_next(self):
        self.assert_passes(self.url(free_port(), primary))
        self.assert_passes(self.url(standby, primary), role="primary")
        self.assert_passes(self.url(primary, standby), role="standby")
        self.assert_passes(self.url(primary, standby, target_session_attrs="prefer-standby"),
                           query="select pg_is_in_recovery()", expect="t")
        self.assert_passes(self.url(primary, primary, target_session_attrs="prefer-standby"))
        result = self.assert_passes(self.url(standby, primary))
        self.assertEqual(result["target"], f"postgres://trusted@127.0.0.1:{standby.port},"
                                           f"127.0.0.1:{primary.port}/app")

    def test_the_most_telling_failure_is_reported(self):
        self.assert_fails("wrong_role", self.url(free_port(), standby, free_port()),
                          role="primary", alive=True, contains=f"127.0.0.1:{standby.port}: ")
        self.assert_fails("connect_refused",
                          f"postgres://a@nowhere.invalid,127.0.0.1:{free_port()}/", alive=False)

    def test_silent_host_gets_its_share_only(self):
        with BadServer(stall()) as silent:
            self.assert_passes(self.url(silent, primary), timeout=6)
        with FullServer() as full:
            self.assert_passes(self.url(full, primary), timeout=6)

    def test_addresses_of_one_host(self):
        # [::1] first: nobody listens there
        self.assert_passes(f"postgres://trusted@localhost:{primary.port}/app")
        self.assert_passes(f"postgres://trusted@/app?host=a,b&hostaddr=127.0.0.1,127.0.0.1"
                           f"&port={free_port()},{primary.port}")


class Tls(PostgresTestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = postgres_server.new_directory()
        cls.certificates = Certificates(cls.directory)
        cls.server = Server()
        cls.enable(cls.certificates.issue("good"))
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.destroy()

    @classmethod
    def enable(cls, certificate):
        cls.server.settings["ssl_ca_file"] = "ca.crt"
        (cls.server.data / "ca.crt").write_bytes(cls.certificates.ca.read_bytes())
        cls.server.enable_tls(certificate, cls.certificates.key(certificate))

    def show(self, *arguments, **options):
        """Makes the server show another certificate."""
        self.enable(self.certificates.issue(*arguments, **options))
        self.server.restart()
        self.addCleanup(self.show_good)

    def show_good(self):
        self.enable(self.certificates.issue("good"))
        self.server.restart()

    def test_modes(self):
        for mode in ("allow", "prefer", "require"):
            self.assert_passes(self.server.url(sslmode=mode))
        result = self.assert_passes(self.server.url("tls_app"))
        self.assertEqual(set(result["phasesMs"]), {"connect", "tls", "firstByte", "total"})
        self.assert_passes(self.server.url("tls_app", sslmode="verify-full",
                                           sslrootcert=self.certificates.ca))
        self.assert_passes(self.server.url("tls_app", sslmode="verify-ca", host="127.0.0.1",
                                           sslrootcert=self.certificates.ca,
                                           channel_binding="require"))
        self.assert_passes(self.server.url("tls_app", sslmode="require",
                                           ssl_min_protocol_version="TLSv1.3"))

    def test_session_over_tls_works_like_any(self):
        url = self.server.url("tls_app", sslmode="require")
        self.assert_passes(url, role="primary", query="select repeat('x', 100000) <> ''", expect="t")
        self.assert_fails("auth_failed", self.server.url("tls_app", "wrong"), alive=True,
                          contains="28P01")
        before = len(self.server.log())
        self.assert_fails("timeout", url, query="select pg_sleep(60)", timeout=3, alive=True)
        wait_until(lambda: self.server.sessions() == 0, "no session is left")
        with Agent(f"readiness: {{db: {{postgres: {{url: '{url}', query: select pg_sleep(60)}}}}}}"
                   ) as agent:
            agent.wait_log(lambda event: event.get("reason") == "timeout")
            wait_until(lambda: "due to user request" in self.server.log()[before:],
                       "a cancel request over TLS")

    def test_client_certificate(self):
        client = self.certificates.issue("certified")
        key = self.certificates.key(client)
        key.chmod(0o600)
        self.assert_passes(self.server.url("certified", None, sslmode="require", sslcert=client,
                                           sslkey=key))
        self.assert_fails("auth_failed", self.server.url("certified", None, sslmode="require"),
                          alive=True, contains="28000")

    def test_system_bundle(self):
        env = {"SSL_CERT_FILE": str(self.certificates.ca)}
        url = self.server.url("tls_app", sslrootcert="system")
        self.assert_passes(url, env=env)
        self.assert_fails("tls_untrusted", url, alive=False,
                          env={"SSL_CERT_FILE": str(self.certificates.other_ca)})

    def test_untrusted(self):
        self.assert_fails("tls_untrusted", self.server.url(
            sslmode="verify-full", sslrootcert=self.certificates.other_ca), alive=False)

    def test_missing_authority(self):
        self.assert_fails("tls_failed", self.server.url(
            sslmode="verify-full", sslrootcert="/nix/ca.crt"), alive=False, contains="/nix/ca.crt")

    def test_other_name(self):
        self.show("other-name", names="DNS:db.example")
        self.assert_fails("tls_hostname", self.server.url(
            sslmode="verify-full", sslrootcert=self.certificates.ca), alive=False,
            contains="127.0.0.1")
        self.assert_passes(self.server.url(sslmode="verify-ca", sslrootcert=self.certificates.ca))

    def test_expired_and_not_yet_valid(self):
        self.show("old", begins_days=-5, ends_days=-1)
        url = self.server.url(sslmode="verify-full", sslrootcert=self.certificates.ca)
        self.assert_fails("tls_expired", url, alive=False)
        self.assert_passes(self.server.url(sslmode="require"))
        self.show("young", begins_days=1, ends_days=5)
        self.assert_fails("tls_not_yet_valid", url, alive=False)

    def test_server_without_tls(self):
        for mode in ("require", "verify-full"):
            self.assert_fails("tls_failed", primary.url(sslmode=mode), alive=False,
                              contains="offers no TLS")

    def test_garbage_instead_of_a_handshake(self):
        for answer in (b"S" + b"garbage" * 20, b"SX"):
            with self.subTest(answer), BadServer(receive(), send(b"S"), receive(count=20),
                                                 send(answer[1:]), wait_close()) as server:
                result = self.check(f"postgres://a@127.0.0.1:{server.port}/?sslmode=require",
                                    timeout=1)
                self.assertIn(result["reason"], ("tls_failed", "timeout"), result)
                self.assertFalse(result["alive"])

    def test_silence_during_the_handshake(self):
        with BadServer(receive(), send(b"S"), stall()) as server:
            self.assert_fails("timeout", f"postgres://a@127.0.0.1:{server.port}/?sslmode=require",
                              timeout=2, alive=False)


class Persistent(PostgresTestCase):
    def agent(self, server=None, extra="", period=0.05):
        server = server or self.server
        return Agent(f"readiness: {{db: {{postgres: {{url: '{server.url()}', "
                     f"connection: persistent{extra}}}, periodSeconds: {period}, "
                     f"timeoutSeconds: {TIMEOUT}}}}}")

    @classmethod
    def setUpClass(cls):
        cls.server = Server().start()

    @classmethod
    def tearDownClass(cls):
        cls.server.destroy()

    def tearDown(self):
        wait_until(lambda: self.server.sessions() == 0, "no session is left")

    def backend(self):
        return self.server.sql("select pid from pg_stat_activity where "
                               "application_name = 'readyd'")

    def runs(self, agent):
        return agent.probe("db")["runs"]

    def wait_runs(self, agent, count):
        target = self.runs(agent) + count
        agent.wait_for(lambda a: self.runs(a) >= target)

    def assert_only_passes(self, agent):
        history = agent.probe("db")["history"]
        self.assertEqual({run["state"] for run in history}, {"pass"}, history)

    def test_one_session_for_all_runs(self):
        with self.agent(extra=", role: primary, query: select 1") as agent:
            agent.wait_ready()
            pid = self.backend()
            self.wait_runs(agent, 20)
            self.assertEqual(self.backend(), pid)
            self.assertEqual(self.server.sessions(), 1)
        wait_until(lambda: self.server.sessions() == 0, "no session is left")

    def test_lost_session_is_replaced_within_the_run(self):
        with self.agent() as agent:
            agent.wait_ready()
            for _ in range(3):
                pid = self.backend()
                self.server.sql(f"select pg_terminate_backend({pid})")
                # The old one is listed for a moment longer than it serves.
                wait_until(lambda: self.backend() not in ("", pid) and self.server.sessions() == 1,
                           "another session alone")
            self.assert_only_passes(agent)

    def test_silent_session_is_replaced_within_the_run(self):
        opened = authentication(0) + READY
        answer = message(b"I") + READY
        state = {"count": 0}

        def serve(connection):
            state["count"] += 1
            send(opened)(connection)
            if state["count"] == 1:
                receive(until=b"Q\0\0\0\5\0")(connection)
                stall()(connection)
            while True:
                del connection.received
                connection.received = b""
                receive(until=b"Q\0\0\0\5\0")(connection)
                send(answer)(connection)

        with BadServer(receive(), serve) as server:
            url = f"postgres://a@127.0.0.1:{server.port}/?sslmode=disable"
            config = (f"readiness: {{db: {{postgres: {{url: '{url}', connection: persistent}}, "
                      f"periodSeconds: 0.1, timeoutSeconds: 8}}}}")
            with Agent(config) as agent:
                agent.wait_ready()
                self.wait_runs(agent, 3)
                self.assertEqual(state["count"], 2)
                self.assert_only_passes(agent)

    def test_server_restart(self):
        with self.agent() as agent:
            agent.wait_ready()
            self.server.shut_down()
            agent.wait_ready(503)
            self.server.start()
            agent.wait_ready()

    def test_after_a_failed_query_the_session_is_kept_after_a_hanging_one_not(self):
        with self.agent(extra=", query: 'select 1/(1-1)'") as agent:
            agent.wait_log(lambda event: event.get("reason") == "query_failed")
            pid = self.backend()
            self.wait_runs(agent, 5)
            self.assertEqual(self.backend(), pid)
        with self.agent(extra=", query: begin") as agent:
            agent.wait_log(lambda event: event.get("reason") == "no_rows")
            self.wait_runs(agent, 5)
            self.assertEqual(self.server.sql(
                "select count(*) from pg_stat_activity where state like 'idle in%'"), "0")

    def test_changed_password_file_opens_another_session(self):
        file = self.tmp / "password"
        file.write_text(PASSWORD)
        config = (f"readiness: {{db: {{postgres: {{url: '{self.server.url(password=None)}', "
                  f"passwordFile: {file}, connection: persistent}}, periodSeconds: 0.05}}}}")
        with Agent(config) as agent:
            agent.wait_ready()
            pid = self.backend()
            file.write_text("wrong")
            agent.wait_log(lambda event: event.get("reason") == "auth_failed")
            file.write_text(PASSWORD)
            agent.wait_ready()
            self.assertNotEqual(self.backend(), pid)


class NothingIsLeft(PostgresTestCase):
    def test_five_hundred_runs(self):
        """Of all kinds, most of them given up in the middle of something."""
        server = Server({"max_connections": 100}).start()
        self.addCleanup(server.destroy)
        probes = {
            "ok": f"{{url: '{server.url('trusted', None)}', role: primary, query: select 1}}",
            "hang": f"{{url: '{server.url('trusted', None)}', query: select pg_sleep(60)}}",
            "wrong": f"{{url: '{server.url('app', 'wrong')}'}}",
            "scram": f"{{url: '{server.url()}'}}",
            "socket": f"{{url: '{server.socket_url()}', connection: persistent}}",
            "nix": f"{{url: '{server.url('trusted', None, 'nix')}'}}",
            "refused": f"{{url: 'postgres://a@127.0.0.1:{free_port()}/'}}",
        }
        config = "readiness:\n" + "".join(
            f"  {name}: {{postgres: {settings}, periodSeconds: 0.02, timeoutSeconds: 0.05}}\n"
            for name, settings in probes.items())
        with Agent(config) as agent:
            agent.wait_for(lambda a: a.probe("hang")["runs"] > 20)
            descriptors, memory = agent.descriptors(), self.memory(agent)
            total = sum(probe["runs"] for probe in agent.status()["probes"])
            agent.wait_for(lambda a: sum(probe["runs"] for probe in a.status()["probes"]) >
                           total + 500)
            # Runs and cancel requests under way have some too.
            self.assertLess(agent.descriptors(), descriptors + 12)
            if "sanitize" not in harness.BINARY:
                self.assertLess(self.memory(agent), memory + 300)
        wait_until(lambda: server.sessions() == 0, "no session is left")
        self.assertNotIn("PANIC", server.log())

    def memory(self, agent):
        """Resident, in KiB."""
        status = pathlib.Path(f"/proc/{agent.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])


class Configuration(PostgresTestCase):
    def test_settings_that_do_not_fit_together(self):
        url = "postgres://a@db/"
        self.assertIn("expect", self.refused_by_check(url, "-o", "expect=1"))
        self.assertIn("maxLagSeconds", self.refused_by_check(url, "-o", "maxLagSeconds=1", "-o",
                                                             "role=primary"))
        self.assertIn("role", self.refused_by_check(url, "-o", "role=replica"))
        self.assertIn("sslmode", self.refused_by_check(url + "?sslmode=on"))
        self.assertIn("target_session_attrs",
                      self.refused_by_check(url + "?target_session_attrs=x"))
        self.assertIn("connection string", self.refused_by_check(url + "?nix=1"))

    def test_password_that_is_not_encoded_is_not_shown(self):
        for url, says in (("postgres://a:ses@ame@db/x", "%40"),
                          ("postgres://a:sesame@sesame@db/x", "%40"),
                          ("postgres://a:sesame/sesame@db/x", "%2F"),
                          ("postgres://a:%zzsesame@db/x", "connection string"),
                          ("postgres://a:sesame@[db", "connection string"),
                          ("postgres://a:x@db/x?password=sesame&nix", "connection string")):
            with self.subTest(url):
                self.assertIn(says, self.refused_by_check(url))

    def test_no_user_at_all(self):
        """libpq's default is the system's user, which a container need not have."""
        if os.geteuid() != 0:
            self.skipTest("only root can be somebody else")
        done = harness.subprocess.run(
            [harness.BINARY, "check", f"postgres://127.0.0.1:{primary.port}/app"], user=54321,
            capture_output=True, text=True, env=harness.clean_environment(), cwd="/")
        self.assertEqual(done.returncode, 1)
        self.assertIn("local user with ID 54321 does not exist", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
