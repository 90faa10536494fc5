"""Three nodes of the service over one Cassandra, and a real haproxy with the deployed configuration before them.

Owns their processes, ports and files. Never speaks the dialect.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request

import child
import runner
import server as servers

COUNT = 3
HAPROXY = "/usr/sbin/haproxy"
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
# What the nodes' wall clocks are off by, in seconds: up to 5 between two of them.
CLOCKS = (-2.5, 0.0, 2.5)


class Node(servers.Server):
    """One node of the service: its store is the cluster that all share."""

    def __init__(self, root, number, hosts, keyspace, settings=(), clock=0.0):
        own = os.path.join(root, "n%d" % number)
        os.makedirs(own, exist_ok=True)
        super().__init__(own, settings)
        self.hosts, self.keyspace, self.shared = hosts, keyspace, root
        self.number = number
        self.environment = faked(clock)

    def storage(self):
        settings = common(self.shared, self.hosts, self.keyspace)
        port = self.ports.get("cluster", 0)
        return settings + ["listen.cluster=127.0.0.1:%d" % port, "cluster.secret_file=" + os.path.join(self.shared, "secret")]

    def start(self):
        # The client library speaks to the balancer, whose certificate counts.
        bundle = os.environ.get("REQUESTS_CA_BUNDLE")
        super().start()
        if bundle:
            os.environ["REQUESTS_CA_BUNDLE"] = bundle
        return self

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def ready(self):
        """The status of /readyz; none while nothing answers."""
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d/readyz" % self.ports["ops"], timeout=2) as answer:
                return answer.status
        except urllib.error.HTTPError as answer:
            return answer.code
        except OSError:
            return None

    def metric(self, name, *labels):
        """The sum of a metric's values whose line holds all these labels."""
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % self.ports["ops"], timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        found = [line for line in lines if re.match(re.escape(name) + r"[ {]", line) and all(label in line for label in labels)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def common(root, hosts, keyspace):
    return ["store.url=cql://%s/%s" % (hosts, keyspace), "store.cql.replication=3", "secrets.key_file=" + os.path.join(root, "store.key")]


def faked(clock):
    """The environment of a process whose wall clock is off by so many seconds."""
    if not clock:
        return None
    if not os.path.exists(FAKETIME):
        raise runner.Skip("no libfaketime (Debian: apt-get install libfaketime)")
    return {**os.environ, "LD_PRELOAD": FAKETIME, "FAKETIME": "%+.1fs" % clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


class Nodes:
    """All nodes, with their tables."""

    def __init__(self, root, hosts, settings=(), clocks=CLOCKS):
        self.root, self.hosts = root, hosts
        self.keyspace = "angelia_" + os.urandom(6).hex()
        with open(os.path.join(root, "secret"), "w") as file:
            file.write(os.urandom(32).hex() + "\n")
        made = [servers.binary(), "migrate"] + servers.arguments(common(root, hosts, self.keyspace))
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, timeout=120)
        self.all = [Node(root, number + 1, hosts, self.keyspace, settings, clock) for number, clock in zip(range(COUNT), clocks)]

    def start(self):
        for node in self.all:
            if node.process is None:
                node.start()
        self.meet()

    def meet(self):
        """Waits until all see and hear each other."""
        running = [node for node in self.all if node.process is not None]
        for node in running:
            runner.until(lambda: node.metric("angelia_cluster_nodes") == len(running) and node.metric("angelia_cluster_hearing") == 1,
                         30, lambda: "node %d sees and hears %d nodes:\n%s" % (node.number, len(running), node.tail()), every=0.1)

    def close(self):
        for node in self.all:
            node.close()


class Front:
    """haproxy with deploy/compose/haproxy.cfg, but for its addresses. Looks like a server to `wire` and to the client library."""

    def __init__(self, root, nodes):
        if not os.path.exists(HAPROXY):
            raise runner.Skip("no haproxy (Debian: apt-get install haproxy)")
        self.ports = {"ams": free_port(), "ams_tls": free_port()}
        self.starts = 1
        self.root = root
        certificate, key = (os.path.join(root, "store.tls-%s.pem" % part) for part in ("cert", "key"))
        self.certificate = certificate
        os.environ["REQUESTS_CA_BUNDLE"] = certificate
        pem = os.path.join(root, "haproxy.pem")
        with open(pem, "wb") as to:
            for part in (certificate, key):
                with open(part, "rb") as file:
                    shutil.copyfileobj(file, to)
        self.config = os.path.join(root, "haproxy.cfg")
        with open(self.config, "w") as file:
            file.write(self.adapted(pem, nodes))
        with open(os.path.join(root, "haproxy.log"), "wb") as log:
            self.process = child.LAUNCHER.submit(
                subprocess.Popen, [HAPROXY, "-db", "-f", self.config], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=lambda: runner.die_with_parent(signal.SIGKILL)).result()
        runner.until(lambda: servers.can_connect(self.ports["ams"]), 10, "haproxy listens")

    def adapted(self, pem, nodes):
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../deploy/compose/haproxy.cfg")) as file:
            text = file.read()
        ours = {
            r"bind :8443 ssl crt \S+": "bind 127.0.0.1:%d\n    bind 127.0.0.1:%d ssl crt %s" % (self.ports["ams"], self.ports["ams_tls"], pem),
            # The test machine's limit on open files.
            r"maxconn 10000": "maxconn 500",
            r"bind :8405": "bind 127.0.0.1:%d" % free_port(),
            r" resolvers containers\n": "\n",
            r"(?ms)^# Names of containers.*?\n\n": "",
        }
        for node in nodes:
            ours[r"server angelia%d \S+" % node.number] = "server angelia%d 127.0.0.1:%d check port %d" % (
                node.number, node.ports["ams"], node.ports["ops"])
        for pattern, by in ours.items():
            text, count = re.subn(pattern, by, text)
            assert count == 1, "%d times in the deployed configuration: %s" % (count, pattern)
        return text

    def endpoint(self):
        return "127.0.0.1:%d" % self.ports["ams_tls"]

    def close(self):
        self.process.kill()
        self.process.wait()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
