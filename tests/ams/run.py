"""Runs one suite against the binary: `run.py SUITE [--seed N] [--rounds N] [TEST...]`.

Wants ANGELIA_BINARY (the binary) and ANGELIA_WORK (a folder for data and logs). The last line printed is
`N passed, N failed`. Never installs anything; `cargo xtask test` makes the environment.
"""

import argparse
import importlib
import os
import random
import sys

import runner


def main():
    words = argparse.ArgumentParser(prog="run.py", description="runs one suite")
    words.add_argument("suite")
    words.add_argument("--seed", type=int, default=None, help="repeat a run's random choices")
    words.add_argument("--rounds", type=int, default=None, help="how many times a campaign repeats itself")
    words.add_argument("tests", nargs="*", help="only the tests whose name contains one of these")
    options = words.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 32)
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            del os.environ[name]
    runner.die_with_parent()
    for folder in ("cluster", "deploy", "examples", "hostile", "push", "republisher", "zaqar"):
        sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", folder))
    suite = importlib.import_module(options.suite)
    if options.rounds is None:
        options.rounds = getattr(suite, "ROUNDS", 1)
    print("suite %s, seed %d, rounds %d" % (options.suite, options.seed, options.rounds))
    sys.exit(runner.run(suite, options))


if __name__ == "__main__":
    main()
