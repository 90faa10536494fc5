"""The binary under test: started on a fresh folder and free ports, stopped or killed, started again on the same.

Owns the process, its folder, its log and the certificate it made. Never speaks the dialect; `wire` and the client library do.
With ANGELIA_TEST_CQL (nodes of a running cluster, with commas) the store is a fresh keyspace there instead of the folder.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

import runner
from child import Child

SERVICE_TOKEN = "5e" * 32
LISTENING = re.compile(rb"^listening ((?:\w+=\S+ ?)+)$", re.MULTILINE)
START_SECONDS = 60
STOP_SECONDS = 40


class Server(Child):
    """One data folder and at most one process over it."""

    what = "the server"
    stop_seconds = STOP_SECONDS

    def __init__(self, root, settings=(), store=None):
        super().__init__(os.path.join(root, "server.log"))
        self.root = self.folder = root
        self.store = store or os.path.join(root, "data")
        self.settings = list(settings)
        self.certificate = None
        self.ports = {}
        self.start_seconds = 0.0
        self.crashes = 0
        self.crashes_in_start = 0
        self.keyspace = None

    def storage(self):
        """The settings of the store; in a cluster its tables are made, the first time."""
        hosts = os.environ.get("ANGELIA_TEST_CQL")
        if not hosts:
            return ["store.url=segment:" + self.store]
        settings = ["secrets.key_file=" + self.store + ".key", "store.cql.replication=%d" % min(3, len(hosts.split(",")))]
        fresh = self.keyspace is None
        self.keyspace = self.keyspace or "angelia_" + os.urandom(6).hex()
        settings.append("store.url=cql://%s/%s" % (hosts, self.keyspace))
        if fresh:
            subprocess.run([binary(), "migrate"] + arguments(settings), check=True, stdout=subprocess.DEVNULL, timeout=60)
        return settings

    def command(self):
        listen = {name: "127.0.0.1:%d" % self.ports.get(name, 0) for name in ("ams", "ams_tls", "ops")}
        settings = self.storage() + ["ams.service_token=" + SERVICE_TOKEN]
        settings += ["listen.%s=%s" % pair for pair in listen.items()] + self.settings
        return [binary(), "serve"] + arguments(settings)

    def start(self):
        """Starts the process and waits until it says where it listens."""
        begun = time.monotonic()
        self.launch()
        found = runner.until(self._ready, START_SECONDS, "the server listens", every=0.005)
        self.start_seconds = time.monotonic() - begun
        urls = dict(word.split("=", 1) for word in found.group(1).decode().split() if "=" in word)
        first = not self.ports
        for name, url in urls.items():
            self.ports[name] = int(url.rsplit(":", 1)[1].rstrip("/"))
        if first and "ams_tls" in self.ports:
            # Beside the data folder, as the key file: the chain of the certificate that the first start made.
            self.certificate = self.store + ".tls-cert.pem"
            os.environ["REQUESTS_CA_BUNDLE"] = self.certificate
        return self

    def _ready(self):
        found = LISTENING.search(self.output())
        if not found and self.process.poll() is not None:
            raise AssertionError("the server ended with %s:\n%s" % (self.process.returncode, self.tail()))
        return found

    def crash(self, dice):
        """SIGKILL, now and then another one in the middle of the next start, then a start."""
        self.kill()
        while dice.random() < 0.25:
            self.launch()
            time.sleep(dice.random() * self.start_seconds)
            self.kill()
            self.crashes_in_start += 1
        self.start()
        self.crashes += 1

    def endpoint(self):
        """What the client library takes: host and port of the TLS listener."""
        return "127.0.0.1:%d" % self.ports["ams_tls"]

    def resident(self):
        """Resident memory in bytes."""
        with open("/proc/%d/status" % self.process.pid) as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))


def arguments(settings):
    return [word for setting in settings for word in ("--set", setting)]


def binary():
    path = os.environ.get("ANGELIA_BINARY", "target/debug/angelia")
    if not os.path.exists(path):
        raise AssertionError("there is no binary %s; build it, or set ANGELIA_BINARY" % path)
    return os.path.abspath(path)


@contextlib.contextmanager
def folder(name, kept_on_failure=False):
    """A fresh folder that is removed at the end, unless KEEP is set, or it is wanted for looking into a failure."""
    work = os.environ.get("ANGELIA_WORK") or tempfile.gettempdir()
    os.makedirs(work, exist_ok=True)
    path = tempfile.mkdtemp(prefix=name + "-", dir=os.path.abspath(work))
    failed = True
    try:
        yield path
        failed = False
    except runner.Skip:
        failed = False
        raise
    finally:
        if failed and kept_on_failure:
            print("     kept: %s" % path)
        elif not os.environ.get("KEEP"):
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def running(name, settings=(), start=True, kept_on_failure=False):
    """A server on a fresh folder; killed and removed at the end. Its last words are shown when the test fails."""
    with folder(name, kept_on_failure) as root:
        server = Server(root, settings)
        try:
            if start:
                server.start()
            yield server
        except BaseException:
            if server.starts:
                print("---- the server's last words\n%s\n----" % server.tail())
            raise
        finally:
            server.close()


def can_connect(port):
    """Whether somebody listens on this port of the loopback."""
    with contextlib.closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
