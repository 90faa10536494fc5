"""A program under test as a process with a log: launched, stopped or killed, at most one at a time.

Knows nothing of what the program does; `server` and the suites' own modules do.
"""

import concurrent.futures
import os
import signal
import subprocess

import runner

# The kernel takes the end of the thread that started a child for the end of its parent, so one lasting thread starts all.
LAUNCHER = concurrent.futures.ThreadPoolExecutor(max_workers=1)


class Child:
    """At most one process of one program."""

    # In messages.
    what = "the program"
    # How long it may take to stop.
    stop_seconds = 20
    # Where it runs and what it finds there; none for as this process.
    folder = None
    environment = None

    def __init__(self, log):
        self.log = log
        self.log_from = 0
        self.process = None
        self.starts = 0

    def command(self):
        """The words that start it."""
        raise NotImplementedError

    def launch(self):
        """Starts the process without waiting for anything."""
        assert self.process is None, "already running"
        self.starts += 1
        self.log_from = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        with open(self.log, "ab") as log:
            self.process = LAUNCHER.submit(
                subprocess.Popen, self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.environment, preexec_fn=lambda: runner.die_with_parent(signal.SIGKILL)).result()

    def output(self):
        """What the present or last process printed."""
        with open(self.log, "rb") as log:
            log.seek(self.log_from)
            return log.read()

    def all_output(self):
        """What all processes printed."""
        with open(self.log, "rb") as log:
            return log.read()

    def tail(self):
        return self.output()[-3000:].decode("utf-8", "replace")

    def ended(self, seconds=None):
        """Waits for the process to end by itself; its exit code."""
        seconds = self.stop_seconds if seconds is None else seconds
        process, self.process = self.process, None
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError("%s still runs after %s s:\n%s" % (self.what, seconds, self.tail())) from None

    def stop(self):
        """SIGTERM, and its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def kill(self):
        """SIGKILL; fails if the process had ended before."""
        process, self.process = self.process, None
        process.kill()
        code = process.wait()
        assert code == -signal.SIGKILL, "%s had ended by itself with %s:\n%s" % (self.what, code, self.tail())

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
