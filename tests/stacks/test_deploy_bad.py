"""docker/deploy takes bad versions back, and no request is lost but what a version spoilt itself."""

import unittest

import deployment
import stack
from traffic import Load


class Bad(deployment.Deploy):
    """Each is put back, and the reason is told."""

    def put_back(self, version, reason):
        with Load(self.port) as load:
            events = self.deploy(version, expect=1)
            self.assertRegex(events[-1]["reason"], reason)
            self.assertEqual((self.version(), self.running()), ("1", ["shop-blue"]))
        return load

    def test_bad_versions(self):
        self.environment["DEPLOY_WATCH_SECONDS"] = "20"
        self.environment["DEPLOY_READY_SECONDS"] = "8"
        self.deploy("1")
        for version, reason in (("never", "was not ready within 8 s: .*app"),
                                ("ill", "is not ready any more: .*app"),
                                ("crash", "crashed with exit code")):
            with self.subTest(version):
                self.assert_lossless(self.put_back(version, reason), f"version {version}")
        load = self.put_back("errors", r"\d+ of \d+ answers of version errors were errors")
        spoilt = load.lost()
        stack.measured(f"version errors: {len(spoilt)} of {len(load.answers)} requests spoilt in "
                       f"{spoilt[-1].at - spoilt[0].at:.1f} s")
        self.assertEqual({answer.status for answer in spoilt}, {500})
        self.assertLess(spoilt[-1].at - spoilt[0].at, 10)


if __name__ == "__main__":
    unittest.main()
