"""`readyd check` and `readyd status`: exit status, what they print, and how long they take."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

from harness import Agent, BINARY, SOON_SECONDS, TestCase, check, clean_environment, readyd, settled

CONFIG = ("liveness: {app: 'exec:/bin/true'}\n"
          "readiness:\n  good: 'exec:/bin/true'\n  bad: 'exec:/bin/sh -c \"echo no space; exit 4\"'\n")


class AskTheAgent(TestCase):
    def test_verdicts(self):
        with Agent(CONFIG) as agent:
            agent.wait_for(settled)
            done = agent.check()
            self.assertEqual((done.returncode, done.stdout, done.stderr),
                             (1, "fail readiness: bad exit_code: exit code 4: no space\n", ""))
            for what, code, text in (("liveness", 0, "pass liveness\n"),
                                     ("startup", 0, "pass startup\n"),
                                     ("good", 0, "pass good\n"), ("app", 0, "pass app\n"),
                                     ("bad", 1, "fail bad exit_code: exit code 4: no space\n")):
                done = agent.check(what)
                self.assertEqual((done.returncode, done.stdout), (code, text), what)
            done = agent.check("nothing")
            self.assertEqual(done.returncode, 1)
            self.assertEqual(done.stdout,
                             "fail nothing unknown_probe: the agent has no probe of this name\n")
            done = agent.check("liveness", "bad", "good")
            self.assertEqual(done.returncode, 1)
            self.assertEqual(done.stdout.splitlines()[0][:8], "fail bad")
            self.assertEqual(agent.check("liveness", "good").returncode, 0)

    def test_json(self):
        with Agent(CONFIG) as agent:
            agent.wait_for(settled)
            bad = json.loads(agent.check("--json", "bad").stdout)
            self.assertEqual((bad["name"], bad["reason"], bad["role"]),
                             ("bad", "exit_code", "readiness"))
            self.assertEqual(bad["output"], "no space\n")
            ready = json.loads(agent.check("--json").stdout)
            self.assertEqual((ready["status"], ready["endpoint"]), ("fail", "ready"))
            missing = json.loads(agent.check("--json", "nothing").stdout)
            self.assertEqual(missing["reason"], "unknown_probe")

    def test_no_agent(self):
        for name in ("@readyd-nobody", self.tmp / "nothing.sock"):
            done = readyd("check", "--socket", name)
            self.assertEqual(done.returncode, 1)
            self.assertIn("fail readiness agent_missing: no readyd listens on", done.stdout)
        done = readyd("check", env={"READYD_SOCKET": "@from-environment"})
        self.assertIn("@from-environment", done.stdout)

    def test_socket_from_the_environment(self):
        with Agent(CONFIG) as agent:
            done = readyd("check", "liveness", env={"READYD_SOCKET": agent.socket})
            self.assertEqual(done.returncode, 0)

    def test_own_deadline(self):
        """Agents that accept and stay silent, and ones that do not even accept."""
        for backlog in (8, 0):
            path = self.tmp / f"silent-{backlog}.sock"
            with socket.socket(socket.AF_UNIX) as silent:
                silent.bind(str(path))
                silent.listen(backlog)
                fillers = []
                while backlog == 0:
                    filler = socket.socket(socket.AF_UNIX)
                    filler.setblocking(False)
                    fillers.append(filler)
                    if filler.connect_ex(str(path)) != 0:
                        break
                started = time.monotonic()
                done = readyd("check", "--socket", path, "--timeout", "300ms")
                self.assertEqual(done.returncode, 1)
                self.assertIn("agent_silent", done.stdout)
                self.assertGreater(time.monotonic() - started, 0.29)
                for filler in fillers:
                    filler.close()

    def test_an_agent_that_talks_nonsense(self):
        path = self.tmp / "odd.sock"
        answers = [b"", b"hello\r\n\r\n", b"HTTP/1.0 500 Oops\r\n\r\n", b"x" * 500000,
                   b"HTTP/1.0 200 OK\r\n", b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
                   b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\nshort",
                   b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n{\"a\": {}",
                   b"HTTP/1.0 200 OK\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 500000]
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()

            def talk():
                for answer in answers:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(4096)
                        try:
                            connection.sendall(answer)
                        except OSError:
                            pass

            thread = threading.Thread(target=talk, daemon=True)
            thread.start()
            for answer in answers:
                done = readyd("check", "--socket", path)
                self.assertEqual(done.returncode, 1, answer[:40])
                self.assertTrue(done.stdout.startswith("fail readiness agent_"), done.stdout[:200])
                self.assertLessEqual(len(done.stdout), 500)
            thread.join()

    def serve_once(self, answer):
        """A socket's path whose listener calls answer(connection) for one connection."""
        path = self.tmp / "once.sock"
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        server.bind(str(path))
        server.listen()

        def talk():
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                try:
                    answer(connection)
                except OSError:
                    pass

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        return path

    def test_an_agent_that_trickles(self):
        """The deadline holds although there is always something to read."""
        def trickle(connection):
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
            while True:
                connection.sendall(b"x")
                time.sleep(0.001)

        path = self.serve_once(trickle)
        started = time.monotonic()
        done = readyd("check", "--socket", path, "--timeout", "300ms")
        self.assertEqual(done.returncode, 1)
        self.assertIn("agent_silent: the agent's answer did not end in time", done.stdout)
        self.assertLess(time.monotonic() - started, 10)

    def test_a_cut_status_is_not_printed(self):
        for head in (b"", b"Content-Length: 100\r\n"):
            path = self.serve_once(lambda connection: connection.sendall(
                b"HTTP/1.0 200 OK\r\n" + head + b"\r\n{\"probes\":[{\"name\":\"a\"},"))
            done = readyd("status", "--json", "--socket", path)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn("the agent's answer was cut off", done.stderr)
            path.unlink()

    def test_a_stranger_at_the_socket_is_not_believed(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to be somebody else")
        self.tmp.chmod(0o755)
        binary = self.tmp / "readyd"
        binary.write_bytes(pathlib.Path(BINARY).read_bytes())
        binary.chmod(0o755)

        def ask(listener, asker):
            name = f"@readyd-stranger-{os.getpid()}-{listener}-{asker}"
            script = ("import os, socket, sys\n"
                      f"os.setuid({listener})\n"
                      "server = socket.socket(socket.AF_UNIX)\n"
                      f"server.bind('\\0{name[1:]}')\n"
                      "server.listen()\n"
                      "print('ready', flush=True)\n"
                      "connection = server.accept()[0]\n"
                      "connection.recv(4096)\n"
                      "connection.sendall(b'HTTP/1.0 200 OK\\r\\nContent-Length: 5\\r\\n'\n"
                      "                   b'\\r\\npass\\n')\n")
            with subprocess.Popen([sys.executable, "-c", script],
                                  stdout=subprocess.PIPE) as server:
                try:
                    self.assertEqual(server.stdout.readline(), b"ready\n")
                    return subprocess.run([binary, "check", "--socket", name], user=asker,
                                          env=clean_environment(), capture_output=True, text=True)
                finally:
                    server.kill()

        done = ask(4321, 1234)
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertIn("fail readiness agent_error: user 4321 listens on", done.stdout)
        for listener, asker in ((1234, 1234), (0, 1234), (4321, 0)):
            done = ask(listener, asker)
            self.assertEqual((done.returncode, done.stdout), (0, "pass\n"), (listener, asker))

    def test_names_are_names(self):
        """No part of a word becomes a query or is decoded."""
        with Agent(CONFIG) as agent:
            agent.wait_for(lambda a: a.probe("good")["runs"])
            for word in ("readiness?exclude=bad", "%67ood", "good?", "good#", "good/", "../good",
                         "good x", "gööd", "g" * 200):
                for form in ((), ("--json",)):
                    done = agent.check(*form, word)
                    self.assertEqual(done.returncode, 1, word)
                    self.assertIn("unknown_probe", done.stdout, word)

    def test_every_answer_is_the_result_object(self):
        with Agent(CONFIG) as agent:
            agent.wait_for(lambda a: a.probe("good")["runs"])
            whole = set(json.loads(agent.check("--json", "exec:/bin/true").stdout))
            answers = [("unknown_probe", agent.check("--json", "nothing")),
                       ("agent_missing", readyd("check", "--json", "--socket", "@readyd-nobody"))]
        path = self.serve_once(lambda connection: connection.sendall(b"hello"))
        answers.append(("agent_error", readyd("check", "--json", "--socket", path)))
        reasons = readyd("--help", "reasons").stdout
        for reason, done in answers:
            result = json.loads(done.stdout)
            self.assertEqual((result["reason"], result["state"], result["alive"],
                              result["ready"]), (reason, "fail", False, False))
            self.assertLessEqual(whole, set(result), reason)
            self.assertIn(f"\n{reason} ", reasons)

    def test_status_of_ten_thousand_probes(self):
        names = "".join(f"  p{i}: {{exec: /bin/true, periodSeconds: 3600, "
                        "initialDelaySeconds: 3600}\n" for i in range(10000))
        with Agent("liveness:\n" + names) as agent:
            for form in (("--json",), ()):
                done = readyd("status", "--socket", agent.socket, "--timeout", "20", *form)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                if form:
                    self.assertEqual(len(json.loads(done.stdout)["probes"]), 10000)
            done = readyd("status", "--json", "--socket", agent.socket, "--timeout", "2ms")
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertRegex(done.stderr, "did not end in time|does not answer")

    def test_output_stays_within_five_hundred_bytes(self):
        names = [f"dependency-with-a-long-name-{i}" for i in range(40)]
        probes = "".join(f"  {name}: \"exec:/bin/sh -c 'echo {'ä' * 150}; exit 1'\"\n"
                         for name in names)
        with Agent("readiness:\n" + probes) as agent:
            agent.wait_for(settled)
            for arguments in ((), (names[0],), tuple(names[:20])):
                done = agent.check(*arguments)
                self.assertEqual(done.returncode, 1)
                self.assertLessEqual(len(done.stdout.encode()), 500)
                self.assertTrue(done.stdout.startswith("fail "))

    def test_works_on_a_read_only_root_without_home_and_proc(self):
        with Agent(CONFIG) as agent:
            root = self.tmp / "root"
            root.mkdir()
            binary = root / "readyd"
            source = pathlib.Path(BINARY)
            if b"ELF" not in source.read_bytes()[:4] or self.is_dynamic(source):
                self.skipTest("needs the static binary")
            binary.write_bytes(source.read_bytes())
            binary.chmod(0o755)
            done = subprocess.run(["unshare", "-m", "sh", "-c",
                                   f"mount --bind {root} {root} && mount -o remount,ro,bind {root} "
                                   f"&& exec chroot {root} /readyd check liveness --socket "
                                   f"{agent.socket}"], capture_output=True, text=True, env={})
            self.assertEqual((done.returncode, done.stdout), (0, "pass liveness\n"), done.stderr)

    @staticmethod
    def is_dynamic(path):
        """Whether an ELF file names an interpreter."""
        return b"/ld-linux" in path.read_bytes()[:4096]


class ProbeHere(TestCase):
    def test_text_and_exit_status(self):
        done = readyd("check", "exec:/bin/true")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"^pass exec:/bin/true \d+\.\d ms\n$")
        done = readyd("check", "exec:/bin/false")
        self.assertEqual((done.returncode, done.stdout),
                         (1, "fail exec:/bin/false exit_code: exit code 1\n"))

    def test_result_object(self):
        code, result = check("exec:/bin/sh -c 'echo hi; exit 3'")
        self.assertEqual(code, 1)
        self.assertEqual({key: result[key] for key in ("type", "state", "reason", "alive", "ready",
                                                       "output")},
                         {"type": "exec", "state": "fail", "reason": "exit_code", "alive": False,
                          "ready": False, "output": "hi\n"})
        for key in ("name", "target", "message", "durationMs", "phasesMs", "at"):
            self.assertIn(key, result)
        self.assertEqual(set(result["phasesMs"]), {"total"})

    def test_warnings_are_good_enough(self):
        code, result = check("exec:/bin/sh -c 'exit 1'", nagios=True)
        self.assertEqual((code, result["state"], result["ready"]), (0, "warn", True))

    def test_options_belong_to_the_target_before_them(self):
        done = readyd("check", "--json", "exec:/bin/sh -c 'exit 1'", "-o", "nagios=true",
                      "exec:/bin/sh -c 'exit 1'")
        self.assertEqual(done.returncode, 1)
        self.assertEqual([json.loads(line)["state"] for line in done.stdout.splitlines()],
                         ["fail", "warn"])
        done = readyd("check", "-o", "nagios=true", "exec:/bin/sh -c 'exit 1'")
        self.assertEqual(done.returncode, 0)

    def test_own_deadline(self):
        started = time.monotonic()
        done = readyd("check", "exec:/bin/sleep 100", "--timeout", "0.3")
        self.assertEqual(done.returncode, 1)
        self.assertIn(" timeout: ", done.stdout)
        self.assertGreater(time.monotonic() - started, 0.29)
        code, result = check("exec:/bin/sleep 100", timeoutSeconds=0.2)
        self.assertEqual(result["reason"], "timeout")
        self.assertLess(result["durationMs"], SOON_SECONDS * 1000)

    def test_targets_run_side_by_side(self):
        done = readyd("check", *["exec:/bin/sleep 2"] * 8, "--timeout", "12")
        self.assertEqual(done.returncode, 0)

    def test_agent_and_target_together(self):
        with Agent(CONFIG) as agent:
            agent.wait_for(settled)
            self.assertEqual(agent.check("good", "exec:/bin/true").returncode, 0)
            self.assertEqual(agent.check("good", "exec:/bin/false").returncode, 1)

    def test_passwords_are_masked(self):
        for target in ("redis://user:hunter2@127.0.0.1:1", "postgres://app:hunter2@127.0.0.1:1/db",
                       "http://app:hunter2@127.0.0.1:1/", "redis://:hunter2@127.0.0.1:1",
                       "postgres://127.0.0.1:1/db?password=hunter2"):
            for form in ((), ("--json",)):
                done = readyd("check", *form, target)
                self.assertEqual(done.returncode, 1)
                self.assertIn("connect_refused", done.stdout)
                self.assertNotIn("hunter2", done.stdout + done.stderr)


class WhatIsShown(TestCase):
    def test_no_word_with_a_password_is_shown(self):
        for arguments in (("check", "mysql://user:hunter2@h/d"),
                          ("check", "postgres//u:hunter2@h/d"), ("check", "u:hunter2@h/d"),
                          ("check", "--json", "u:hunter2@h/d"), ("check", "-o", "u:hunter2@h"),
                          ("check", "--pg://u:hunter2@h"), ("check", "--timeout", "u:hunter2@h"),
                          ("check", "u:hunter2@h", "-o", "a=b"),
                          ("serve", "postgres://u:hunter2@h"),
                          ("serve", "-o", "http://u:hunter2@h"),
                          ("status", "postgres://u:hunter2@h"),
                          ("config", "check", "x", "postgres://u:hunter2@h"),
                          ("config", "u:hunter2@h"), ("config", "check", "-o", "u:hunter2@h")):
            done = readyd(*arguments)
            self.assertEqual(done.returncode, 1, arguments)
            self.assertNotIn("hunter2", done.stdout + done.stderr, arguments)
            self.assertIn("***", done.stdout + done.stderr, arguments)

    def command_line(self, process):
        return pathlib.Path(f"/proc/{process.pid}/cmdline").read_bytes()

    def test_no_password_is_a_process_title(self):
        secrets = ("readiness.db=postgres://u:hunter2@127.0.0.1:1/d",
                   "readiness.db.password=hunter2",
                   "readiness.web=http://127.0.0.1:1/?token=hunter2",
                   "readiness.web.httpHeaders=X-Key: hunter2",
                   "readiness.job=exec:/bin/true --password hunter2 x")
        options = [word for secret in secrets for word in ("-o", secret)]
        with Agent("", args=options) as agent:
            line = self.command_line(agent.process)
            self.assertNotIn(b"hunter2", line)
            self.assertIn(b"readiness.db=postgres://u:***@127.0.0.1:1/d", line)
            # A reload still knows them.
            agent.process.send_signal(signal.SIGHUP)
            agent.wait_log(lambda event: event["event"] == "reloaded")
            self.assertEqual(len(agent.status()["probes"]), 3)
            self.assertNotIn("hunter2", "\n".join(agent.raw_logs))
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            process = subprocess.Popen([BINARY, "check", f"redis://u:hunter2@127.0.0.1:{port}",
                                        "--timeout", "30"], stdout=subprocess.DEVNULL,
                                       env=clean_environment())
            try:
                connection, _ = server.accept()
                with connection:
                    self.assertIn(b"hunter2", connection.recv(4096))
                    self.assertNotIn(b"hunter2", self.command_line(process))
            finally:
                process.kill()
                process.wait()

    def test_long_and_odd_names(self):
        done = readyd("check", "http://127.0.0.1:1/" + "a" * 5000)
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertIn("connect_refused: cannot connect", done.stdout)
        self.assertLessEqual(len(done.stdout), 500)
        done = readyd("check", "f\nx\033[1m", "--socket", "@readyd-nobody")
        self.assertEqual(len(done.stdout.splitlines()), 1)
        self.assertNotIn("\033", done.stdout)
        for arguments in (("x" * 5000,), ("-o", "x" * 5000), ("--" + "ä" * 3000,),
                          ("http://h", "-o", "x" * 5000 + "=1")):
            done = readyd("check", *arguments)
            self.assertEqual(done.returncode, 1)
            self.assertLessEqual(len(done.stderr.encode()), 500, arguments)
            self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_many_faults_are_counted(self):
        options = [word for i in range(40) for word in ("-o", f"nonsense{i}=1")]
        done = readyd("check", "http://127.0.0.1:1/", *options)
        self.assertEqual(done.returncode, 1)
        self.assertLessEqual(len(done.stdout + done.stderr), 500)
        lines = done.stderr.splitlines()
        self.assertEqual(lines[-1], f"and {40 - len(lines) + 1} more")
        path = self.tmp / "many.yaml"
        path.write_text("".join(f"nonsense{i}: 1\n" for i in range(1200)))
        done = readyd("serve", "-c", path)
        self.assertEqual((done.returncode, done.stderr.splitlines()[-1]),
                         (1, "readyd serve: and 200 more"))

    def test_standard_input_is_not_read_again(self):
        read_end, write_end = os.pipe()
        os.write(write_end, b"liveness: {app: 'exec:/bin/true'}\n")
        os.close(write_end)
        name = f"@readyd-stdin-{os.getpid()}"
        process = subprocess.Popen([BINARY, "serve", "-c", "-", "-o", "listen=127.0.0.1:0", "-o",
                                    f"socket={name}", "-o", "logFormat=json", "-o",
                                    "drain.delaySeconds=0"], stdin=read_end,
                                   stderr=subprocess.PIPE, env=clean_environment())
        os.close(read_end)
        try:
            def event(*wanted):
                return next(log for log in map(json.loads, process.stderr)
                            if log["event"] in wanted)

            event("started")
            process.send_signal(signal.SIGHUP)
            failure = event("reload_failed", "reloaded")
            self.assertEqual(failure["event"], "reload_failed")
            self.assertIn("standard input cannot be read again", failure["message"])
            self.assertEqual(json.loads(readyd("status", "--json", "--socket", name).stdout)
                             ["probes"][0]["name"], "app")
        finally:
            process.terminate()
            process.wait()
            process.stderr.close()


class Usage(TestCase):
    def test_usage_errors_are_one_with_a_sentence(self):
        for arguments in (("--nonsense",), ("--timeout",), ("--timeout", "soon"), ("-o", "x"),
                          ("-o", "a=b", "liveness"), ("liveness", "-o", "a=b"),
                          ("gopher://x",), ("http://127.0.0.1/", "-o", "nonsense=1"),
                          ("exec:/bin/true", "-o", "nagios=perhaps"), ("redis://h:99999",), ("",)):
            done = readyd("check", *arguments)
            self.assertEqual(done.returncode, 1, arguments)
            self.assertTrue(done.stderr.startswith("readyd check: ") or done.stdout, arguments)
        done = readyd("check", "http://127.0.0.1/", "-o", "methd=GET")
        self.assertIn("did you mean method", done.stderr)
        for count, complaint in ((32, "-o is for targets"), (33, "too many things to check")):
            done = readyd("check", *["liveness"] * count, "-o", "a=b")
            self.assertEqual(done.returncode, 1)
            self.assertIn(complaint, done.stderr)

    def test_help_and_version(self):
        for arguments in (("--help",), ("check", "--help"), ("serve", "--help"),
                          ("status", "--help"), ("config", "--help")):
            done = readyd(*arguments)
            self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)
            self.assertIn("readyd", done.stdout)
        reasons = readyd("--help", "reasons").stdout
        for reason in ("connect_refused", "dns_failure", "too_many_connections", "cannot_start"):
            self.assertIn(reason, reasons)
        text = readyd("--version").stdout
        parsed = json.loads(readyd("--version", "--json").stdout)
        for library in ("libmicrohttpd", "libcurl", "libpq", "hiredis", "c-ares", "libyaml"):
            self.assertIn(library, text)
            self.assertRegex(parsed["libraries"][library], r"^\d+\.\d+")
        self.assertTrue(text.startswith(f"readyd {parsed['readyd']}"))
        self.assertEqual(readyd("nonsense").returncode, 1)
        self.assertEqual(readyd().returncode, 1)

    def test_output_that_nobody_reads(self):
        """A closed stdout is no signal and no different answer."""
        read_end, write_end = os.pipe()
        os.close(read_end)
        done = subprocess.run([BINARY, "check", "exec:/bin/true"], stdout=write_end,
                              env=clean_environment(), preexec_fn=lambda: signal.signal(
                                  signal.SIGPIPE, signal.SIG_DFL))
        os.close(write_end)
        self.assertEqual(done.returncode, 0)


class Status(TestCase):
    def test_table_and_json(self):
        with Agent("service: shop\nversion: '7'\n" + CONFIG) as agent:
            agent.wait_for(lambda a: a.probe("bad")["runs"] and a.probe("good")["runs"])
            done = readyd("status", "--socket", agent.socket)
            self.assertEqual(done.returncode, 0)
            self.assertIn("shop 7  healthz yes  ready no", done.stdout)
            row = next(line for line in done.stdout.splitlines() if line.startswith("bad"))
            self.assertIn("exit_code: exit code 4: no space", row)
            self.assertNotIn("\033", done.stdout)
            parsed = json.loads(readyd("status", "--json", "--socket", agent.socket).stdout)
            self.assertEqual({probe["name"] for probe in parsed["probes"]}, {"app", "good", "bad"})
            history = next(p for p in parsed["probes"] if p["name"] == "bad")["history"]
            self.assertTrue(all(run["reason"] == "exit_code" for run in history))
        done = readyd("status", "--socket", "@readyd-nobody")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no readyd listens", done.stderr)


if __name__ == "__main__":
    unittest.main()
