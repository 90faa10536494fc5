"""The nodes of a real Cassandra, whose folders `cargo xtask cluster` has prepared: started, killed, frozen, started again.

Owns their processes. Never speaks CQL but for one small read, which tells that all nodes see each other.
"""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import time

import child
import runner

PORT = 9042
# An idle machine needs 15.
START_SECONDS = 300
# A table of the whole cluster, at consistency ALL.
QUESTION = b"SELECT keyspace_name FROM system_distributed.repair_history LIMIT 1"


class Cassandra:
    """All nodes of one cluster."""

    def __init__(self, folder):
        self.nodes = [Node(os.path.join(folder, name)) for name in sorted(os.listdir(folder)) if name.startswith("node")]

    def start(self):
        """Starts those that do not run, and waits until all see each other."""
        begun = time.monotonic()
        for node in self.nodes:
            node.start()
        self.whole()
        return time.monotonic() - begun

    def whole(self):
        """Waits until each node reads from all of them."""
        for node in self.nodes:
            runner.until(node.answers, START_SECONDS, lambda: "%s answers at ALL:\n%s" % (node.address, node.tail()), every=0.2)

    def hosts(self):
        return ",".join("%s:%d" % (node.address, PORT) for node in self.nodes)

    def close(self):
        for node in self.nodes:
            node.close()


class Node:
    """One node."""

    def __init__(self, home):
        self.home = home
        with open(os.path.join(home, "address")) as file:
            self.address = file.read().strip()
        self.process = None

    def start(self):
        if self.process is None:
            with open(os.path.join(self.home, "log"), "ab") as log:
                self.process = child.LAUNCHER.submit(
                    subprocess.Popen, ["sh", os.path.join(self.home, "run")], cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    preexec_fn=lambda: runner.die_with_parent(signal.SIGKILL)).result()

    def kill(self):
        process, self.process = self.process, None
        process.kill()
        process.wait()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        if self.process is not None:
            self.kill()

    def tail(self):
        with open(os.path.join(self.home, "log"), "rb") as log:
            return log.read()[-1500:].decode("utf-8", "replace")

    def answers(self):
        """Whether a read at ALL succeeds here: a CQL client in a few bytes."""
        assert self.process.poll() is None, "Cassandra on %s has ended:\n%s" % (self.address, self.tail())
        with contextlib.suppress(OSError, EOFError), contextlib.closing(socket.create_connection((self.address, PORT), timeout=3)) as line:
            if exchange(line, 1, b"\x00\x01\x00\x0bCQL_VERSION\x00\x053.0.0")[0] != 2:
                return False
            kind, body = exchange(line, 7, struct.pack(">i", len(QUESTION)) + QUESTION + b"\x00\x05\x00")
            return kind == 8 and body[:4] == b"\x00\x00\x00\x02"
        return False


def exchange(line, kind, body):
    """Sends a frame; the answer's kind and body."""
    line.sendall(struct.pack(">BBhBi", 4, 0, 0, kind, len(body)) + body)
    header = exactly(line, 9)
    return header[4], exactly(line, struct.unpack(">i", header[5:])[0])


def exactly(line, count):
    got = b""
    while len(got) < count:
        piece = line.recv(count - len(got))
        if not piece:
            raise EOFError
        got += piece
    return got
