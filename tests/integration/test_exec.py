"""The exec probe: real commands, what they inherit, what they print and how they end."""

import os
import pathlib
import resource
import subprocess
import sys
import time
import unittest

from harness import (BINARY, PATIENCE_SECONDS, SOON_SECONDS, Agent, TestCase, check, clean_environment,
                     readyd)
from processes import wait_gone

PLUGINS = pathlib.Path("/usr/lib/nagios/plugins")


def run(*command, **options):
    """Checks a command given as its arguments; returns the exit code and the result."""
    target = "exec:" + " ".join("'" + argument.replace("'", "'\\''") + "'"
                                for argument in map(str, command))
    return check(target, **options)


def shell(script, **options):
    return run("sh", "-c", script, **options)


class Endings(TestCase):
    """How a command ends decides; every way has its own reason."""

    def test_pass(self):
        code, result = run("true")
        self.assert_result(result, "pass", "ok")
        self.assertEqual((code, result["type"], result["alive"]), (0, "exec", True))
        self.assertEqual(set(result["phasesMs"]), {"total"})
        self.assertNotIn("output", result)
        self.assertNotIn("perfdata", result)

    def test_every_other_exit_code_fails(self):
        for exit_code in (1, 2, 3, 126, 127, 255):
            code, result = shell(f"echo first; echo broken >&2; exit {exit_code}")
            self.assert_result(result, "fail", "exit_code")
            self.assertEqual((code, result["alive"], result["ready"]), (1, False, False))
            self.assertEqual(result["message"], f"exit code {exit_code}: broken")
            self.assertEqual(result["output"], "first\nbroken\n")
        self.assertEqual(run("false")[1]["message"], "exit code 1")

    def test_signal(self):
        for name, number, words in (("KILL", 9, "Killed"), ("TERM", 15, "Terminated"),
                                    ("SEGV", 11, "Segmentation fault"), ("PIPE", 13, "Broken pipe")):
            result = shell(f"echo oh; kill -{name} $$")[1]
            self.assert_result(result, "fail", "signal")
            self.assertEqual(result["message"], f"ended by signal {number} ({words}): oh")

    def test_cannot_start(self):
        (self.tmp / "plain").write_text("#!/bin/sh\n")
        (self.tmp / "orphan").write_text("#!/no/such/interpreter\n")
        (self.tmp / "orphan").chmod(0o755)
        (self.tmp / "no-program").write_bytes(b"\x00\x01")
        (self.tmp / "no-program").chmod(0o755)
        for command, why in (
                ("/no/such/file", "no such file"),
                ("no-such-program", "no such program in PATH"),
                (self.tmp / "plain", "it is not executable (chmod +x is missing)"),
                (self.tmp, "it is a directory"),
                (self.tmp / "orphan", "its interpreter /no/such/interpreter does not exist"),
                (self.tmp / "no-program", "it is neither a program for this machine nor a script "
                                          "with a #! line")):
            code, result = run(command)
            self.assert_result(result, "fail", "cannot_start")
            self.assertEqual((code, result["alive"]), (1, False))
            self.assertEqual(result["message"], f"cannot start {command}: {why}")

    def test_dynamic_loader_is_missing(self):
        program = bytearray(pathlib.Path("/bin/true").read_bytes())
        start = program.index(b"/lib")
        program[start:start + 4] = b"/xxx"
        (self.tmp / "foreign").write_bytes(program)
        (self.tmp / "foreign").chmod(0o755)
        result = run(self.tmp / "foreign")[1]
        self.assert_result(result, "fail", "cannot_start")
        self.assertIn("the dynamic loader it was linked for does not exist", result["message"])

    def test_readyd_lacks_descriptors(self):
        reasons = set()
        for limit in range(4, 16):
            done = subprocess.run(["sh", "-c", f"ulimit -n {limit}; exec \"$0\" check exec:true",
                                   BINARY], env=clean_environment(), capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, timeout=PATIENCE_SECONDS)
            reasons.add("resources" if " resources: " in done.stdout else done.stdout[:5])
        self.assertEqual(reasons, {"resources", "pass "})

    def test_timeout_kills_the_whole_group(self):
        marker = f"MARKER={self.tmp}"
        script = "trap '' TERM INT HUP; sh -c 'trap \"\" TERM; sleep 1000' & echo begun; sleep 1000"
        started = time.monotonic()
        code, result = shell(script, timeout=3, environment=marker)
        self.assertLess(time.monotonic() - started, 3 + SOON_SECONDS)
        self.assert_result(result, "fail", "timeout")
        self.assertEqual((code, result["alive"]), (1, False))
        self.assertEqual(result["message"], "no exit of the command within 3 s")
        self.assertEqual(result["output"], "begun\n")
        wait_gone(marker)

    def test_slow(self):
        result = run("sleep", "0.2", warnAboveSeconds="0.1")[1]
        self.assert_result(result, "warn", "slow")
        self.assertTrue(result["alive"] and result["ready"])
        self.assertRegex(result["message"], r"^took \d+(\.\d+)? s, expected at most 0\.1 s$")
        self.assert_result(run("true", warnAboveSeconds="10")[1], "pass", "ok")
        self.assert_result(shell("sleep 0.2; exit 1", warnAboveSeconds="0.1")[1], "fail",
                           "exit_code")


class Inheritance(TestCase):
    """What the command gets, and what it does not."""

    def output(self, result):
        self.assertEqual(result[1]["state"], "pass", result[1])
        return result[1].get("output", "")

    def test_no_shell(self):
        out = self.output(run("printf", "%s\n", "$HOME; `id` *", "", "a  b"))
        self.assertEqual(out, "$HOME; `id` *\n\na  b\n")

    def test_target_is_split_as_a_command(self):
        for target, expected in ((r"""exec:printf '[%s]' a "b c" 'd "e' f\ g""", '[a][b c][d "e][f g]'),
                                 ("exec:///bin/echo x", "x\n"), ("EXEC:echo  x", "x\n")):
            self.assertEqual(self.output(check(target)), expected)
        for target in ("exec:", "exec:   ", "exec:''", "exec:'open"):
            done = readyd("check", target)
            self.assertEqual((done.returncode, done.stdout), (1, ""), target)
            self.assertIn("command", done.stderr)

    def test_environment(self):
        given = {"SHARED": "ours", "READYD_SOCKET": "@secret", "READYD_READINESS_DB": "secret"}
        plain = self.output(run("env", env=given)).splitlines()
        self.assertIn("SHARED=ours", plain)
        self.assertEqual([line for line in plain if line.startswith("READYD_")], [])
        out = self.output(run("env", env=given,
                              environment="SHARED: theirs\nREADYD_MODE: x\nNEW: a = b")).splitlines()
        self.assertEqual([line for line in out if line.startswith(("READYD_", "SHARED", "NEW"))],
                         ["SHARED=theirs", "READYD_MODE=x", "NEW=a = b"])

    def test_path_is_the_command_s(self):
        (self.tmp / "only-here").write_text("#!/bin/sh\necho found\n")
        (self.tmp / "only-here").chmod(0o755)
        self.assert_result(run("only-here")[1], "fail", "cannot_start")
        self.assertEqual(self.output(run("only-here", environment=f"PATH={self.tmp}:/bin")),
                         "found\n")

    def test_directory(self):
        self.assertEqual(self.output(run("pwd", directory=self.tmp)), f"{self.tmp}\n")
        result = run("pwd", directory=self.tmp / "none")[1]
        self.assert_result(result, "fail", "cannot_start")
        self.assertEqual(result["message"], f"cannot start pwd in the directory {self.tmp}/none: "
                                            "No such file or directory")

    @unittest.skipUnless(os.geteuid() == 0, "only root may become another user")
    def test_user(self):
        self.assertEqual(self.output(shell("id -u; id -g; id -G", user="1:60")), "1\n60\n60\n")
        self.assertEqual(self.output(run("id", "-un", user="daemon")), "daemon\n")
        result = run("id", user="nobody-here")[1]
        self.assert_result(result, "fail", "cannot_start")
        self.assertIn('there is no user "nobody-here"', result["message"])

    @unittest.skipUnless(os.geteuid() == 0, "only root may become another user")
    def test_user_without_the_right_to(self):
        prefix = ["setpriv", "--reuid=1", "--regid=1", "--clear-groups"]
        self.tmp.chmod(0o755)
        for user, expected in (("daemon", "pass "), ("root", "readyd may not change its user")):
            done = subprocess.run([*prefix, BINARY, "check", "exec:true", "-o", f"user={user}"],
                                  env=clean_environment(), capture_output=True, text=True,
                                  timeout=PATIENCE_SECONDS, cwd="/")
            self.assertIn(expected, done.stdout + done.stderr)

    def test_descriptors(self):
        """Neither ours nor what we were given ourselves; 3 is the listing's own."""
        with open(self.tmp / "file", "w") as given:
            done = subprocess.run([BINARY, "check", "--json", "exec:ls /proc/self/fd"],
                                  env=clean_environment(), capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, pass_fds=[given.fileno()],
                                  timeout=PATIENCE_SECONDS)
        self.assertIn(r'"output":"0\n1\n2\n3\n"', done.stdout)

    def test_stdin_is_empty(self):
        done = readyd("check", "--json", "exec:sh -c 'readlink /proc/self/fd/0; cat'",
                      input="not for the command\n")
        self.assertIn(r'"output":"/dev/null\n"', done.stdout)

    def test_standard_descriptors_that_are_closed(self):
        done = subprocess.run(["sh", "-c", "exec \"$0\" check \"exec:sh -c 'ls /proc/self/fd >&2; "
                               "test -e /proc/self/fd/0 && exit 7'\" 2>&- <&-", BINARY],
                              env=clean_environment(), capture_output=True, text=True,
                              timeout=PATIENCE_SECONDS)
        self.assertIn("exit code 7: 3", done.stdout)

    def test_signals_are_as_usual(self):
        """readyd ignores SIGPIPE and blocks others; a command must not notice."""
        with Agent("readiness: {a: {exec: {command: [sed, -n, '/^Sig[BI]/p', /proc/self/status]}}}"
                   ) as agent:
            agent.wait_ready()
            output = agent.probe("a")["output"]
        zero = "0" * 16
        self.assertEqual(output, f"SigBlk:\t{zero}\nSigIgn:\t{zero}\n")

    def test_session_and_group(self):
        out = self.output(shell("read -r pid name state parent group session rest </proc/$$/stat; "
                                "echo $(($$ - group)) $(($$ - session))"))
        self.assertEqual(out, "0 0\n")

    def test_limit_of_descriptors(self):
        """readyd raises its own for many probes; programs that loop over all of them must not pay."""
        config = "readiness: {a: {exec: {command: [sh, -c, ulimit -Sn]}}}"
        with Agent(config, prefix=["sh", "-c", "ulimit -Sn 200; exec \"$0\" \"$@\""]) as agent:
            agent.wait_ready()
            self.assertEqual(agent.probe("a")["output"], "200\n")

    def test_kubernetes_variables(self):
        """$(NAME) in a command, as the kubelet fills it in."""
        config = """
readiness:
  a:
    exec:
      command: [echo, "$$(GREETING)", "$$(date)", "$$$$(GREETING)"]
      environment: [{name: GREETING, value: hello}]
"""
        with Agent(config) as agent:
            agent.wait_ready()
            self.assertEqual(agent.probe("a")["output"], "hello $(date) $(GREETING)\n")

    def test_secrets_are_masked(self):
        result = check("exec:false --password=hunter2 --token hunter2 -H 'Authorization: hunter2' "
                       "postgres://u:hunter2@h/")[1]
        self.assertEqual(result["target"], "exec:false --password=*** --token *** -H "
                                           "Authorization:*** postgres://u:***@h/")
        self.assertNotIn("hunter2", str(result))


class Output(TestCase):
    """The last 4 KiB are kept, and no amount of it harms."""

    def test_last_4_kib(self):
        result = shell("seq 100000; echo end; exit 1")[1]
        whole = "".join(f"{i}\n" for i in range(1, 100001)) + "end\n"
        self.assertEqual(len(result["output"]), 4096)
        self.assertEqual(result["output"], whole[-4096:])
        self.assertEqual(result["message"], "exit code 1: end")
        for size in (4095, 4096, 4097, 8192, 8193):
            out = run(sys.executable, "-c", f"print('a' * 5 + 'b' * {size - 5}, end='')")[1]["output"]
            self.assertEqual(out, ("a" * 5 + "b" * (size - 5))[-4096:])

    def test_characters_are_not_cut(self):
        out = run(sys.executable, "-c", "print('\u20ac' * 3000, end='')",
                  environment="PYTHONUTF8=1")[1]["output"]
        self.assertEqual(out, "\u20ac" * 1365)
        # when it has been read to the end of the memory for it, and nothing follows
        out = run(sys.executable, "-c", "import time; print('aa' + '\u20ac' * 2730, end='', flush=True); "
                  "time.sleep(0.3)", environment="PYTHONUTF8=1")[1]["output"]
        self.assertEqual(out, "\u20ac" * 1365)

    def test_everything_written_before_the_end_is_there(self):
        """Also what is still in the pipe, however large, when the process ends."""
        out = run(sys.executable, "-c", "import os; os.write(1, b'x' * 60000 + b'end')")[1]["output"]
        self.assertEqual(out[-4:], "xend")

    def test_message_is_one_clean_line(self):
        for script, line in ((r"printf '\033[31mred\033[0m\ttext\r\n\n  \n'", "red text"),
                             (r"printf 'one\rtwo'", "two"),
                             (r"printf '\001\002'", None),
                             (r"printf 'a\0b'", "a b")):
            message = shell(f"{script}; exit 1")[1]["message"]
            self.assertEqual(message, "exit code 1" + (f": {line}" if line else ""))
        message = shell("printf '\u20ac%.0s' $(seq 1000); exit 1")[1]["message"]
        self.assertRegex(message, "^exit code 1: \u20ac{40,60}$")
        self.assertLess(len(message.encode()), 200)

    def test_bytes_that_are_no_text(self):
        result = shell(r"printf 'a\377\376b'; exit 1")[1]
        self.assertEqual(result["output"], "a\ufffd\ufffdb")

    def test_closing_the_output_is_not_the_end(self):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = shell("exec >&- 2>&-; sleep 3; exit 5")[1]
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assert_result(result, "fail", "exit_code")
        self.assertGreaterEqual(result["durationMs"], 3000)
        self.assertLess(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1)

    def test_held_output_does_not_delay_the_end(self):
        """A background child has the pipe, also one that has left the group."""
        begun = self.tmp / "begun"
        leave = f"setsid sh -c 'touch {begun}; sleep 10' & while test ! -e {begun}; do sleep 0.01; done"
        for script in ("sleep 1000 & exit 0", leave):
            code, result = shell(script)
            self.assert_result(result, "pass", "ok")
            self.assertLess(result["durationMs"], SOON_SECONDS * 1000)

    def test_endless_output_keeps_nobody_waiting(self):
        config = """
readiness:
  flood: {exec: {command: [sh, -c, "yes; exit 0"]}, periodSeconds: 0.1, timeoutSeconds: 6}
  quick: {exec: {command: ["true"]}, periodSeconds: 0.1, timeoutSeconds: 20}
"""
        with Agent(config) as agent:
            agent.wait_for(lambda _: agent.probe("flood").get("reason") == "timeout")
            self.assertGreaterEqual(agent.probe("quick")["runs"], 10)
            self.assertEqual(agent.probe("quick")["reason"], "ok")
            # read now and then whole: the flood comes in pieces of any size
            self.assertEqual(set(agent.probe("flood")["output"]), set("y\n"))
            self.assertGreater(len(agent.probe("flood")["output"]), 4000)


class Nagios(TestCase):
    """Plugins as they are."""

    def plugin(self, script, **options):
        return shell(script, nagios=True, **options)

    def test_exit_codes(self):
        for exit_code, state, reason, status in ((0, "pass", "ok", 0), (1, "warn", "exit_warning", 0),
                                                 (2, "fail", "exit_code", 1),
                                                 (3, "fail", "exit_unknown", 1),
                                                 (4, "fail", "exit_unknown", 1),
                                                 (127, "fail", "exit_unknown", 1)):
            code, result = self.plugin(f"echo 'STATE of it | a=1'; echo more; exit {exit_code}")
            self.assert_result(result, state, reason)
            self.assertEqual(code, status)
            self.assertEqual((result["alive"], result["ready"]), (status == 0, status == 0))
            self.assertEqual(result["message"], ("" if exit_code == 0 else f"exit code {exit_code}: ")
                             + "STATE of it")
            self.assertEqual([item["label"] for item in result["perfdata"]], ["a"])
        self.assert_result(self.plugin("kill -9 $$")[1], "fail", "signal")
        self.assert_result(check("nagios:/no/plugin")[1], "fail", "cannot_start")

    def test_perfdata(self):
        result = self.plugin("echo \"OK|'a b'=1.5ms;2;@3:4;0;10 bad=x c=U\"; echo 'text | d=7%'")[1]
        self.assertEqual(result["perfdata"], [
            {"label": "a b", "value": 1.5, "unit": "ms", "warning": "2", "critical": "@3:4",
             "minimum": 0, "maximum": 10},
            {"label": "c", "value": None, "unit": "", "warning": "", "critical": "",
             "minimum": None, "maximum": None},
            {"label": "d", "value": 7, "unit": "%", "warning": "", "critical": "",
             "minimum": None, "maximum": None}])

    def test_first_line_outlives_long_output(self):
        result = self.plugin("echo 'DISK CRITICAL | a=1'; seq 10000; echo '| z=1'; exit 2")[1]
        self.assertEqual(result["message"], "exit code 2: DISK CRITICAL")
        self.assertEqual([item["label"] for item in result["perfdata"]], ["z"])

    def test_not_asked_for(self):
        result = shell("echo 'OK | a=1'; exit 1")[1]
        self.assert_result(result, "fail", "exit_code")
        self.assertNotIn("perfdata", result)

    def test_real_plugins(self):
        for target, state, reason, labels in (
                ("check_load -w 9999,9999,9999 -c 9999,9999,9999", "pass", "ok",
                 ["load1", "load5", "load15"]),
                ("check_load -w 0,0,0 -c 9999,9999,9999", "warn", "exit_warning",
                 ["load1", "load5", "load15"]),
                ("check_procs -w 1:1000000 -c 1:1000000", "pass", "ok", ["procs"]),
                ("check_dummy 2 'a sentence'", "fail", "exit_code", []),
                ("check_dummy 3", "fail", "exit_unknown", [])):
            result = check(f"nagios:{PLUGINS}/{target}")[1]
            self.assert_result(result, state, reason)
            self.assertEqual([item["label"] for item in result.get("perfdata", [])], labels)
            self.assertNotEqual(result["message"], "")


if __name__ == "__main__":
    unittest.main()
