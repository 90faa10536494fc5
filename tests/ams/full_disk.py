"""A disk that fills up: publishes are refused clearly, reads and acknowledgements go on, and all recovers when space returns.

Needs root for a small file system of its own; skipped elsewhere with a printed line.
"""

import contextlib
import os
import subprocess

import disk as disks
import runner
import server as servers
import wire
from runner import same

# Room for the reserve and a few segments of the default size.
DISK_MIB = 400
MESSAGE_BYTES = 1_000_000
PER_REQUEST = 5


class World:
    """A server whose data folder is on a small disk of its own."""

    def __init__(self, server, disk):
        self.server = server
        self.disk = disk
        self.raw = wire.Wire(server, project="P")
        self.raw.call("POST", "/v1/projects/P", {}).ok()
        self.raw.topic("t").ok()
        self.raw.subscribe("s", "t").ok()
        self.sent = 0

    def publish(self):
        """Publishes one request of known bytes; the answer."""
        payloads = [payload(self.sent + at) for at in range(PER_REQUEST)]
        answer = self.raw.publish("t", *payloads, timeout=60)
        if answer.status == 200:
            same(answer.ok()["messageIds"], [str(self.sent + at) for at in range(PER_REQUEST)])
            self.sent += PER_REQUEST
        return answer

    def fill(self):
        """Takes what is left of the disk with a file that is not the server's."""
        with open(os.path.join(self.disk, "ballast"), "wb") as file:
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(1 << 20))

    def free(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.disk, "ballast"))


def payload(number):
    return (b"%08d" % number) * (MESSAGE_BYTES // 8)


@contextlib.contextmanager
def world(_options):
    with servers.folder("full-disk") as root:
        disk = os.path.join(root, "disk")
        os.mkdir(disk)
        mount(disk)
        try:
            with servers.running("full-disk-server", start=False) as server:
                server.store = os.path.join(disk, "data")
                server.start()
                yield World(server, disk)
        finally:
            subprocess.run(["umount", "-l", disk], check=True)


def mount(disk):
    """Mounts a small disk that only this process and its children see, so that it is gone with them however they end."""
    disks.own_mounts()
    try:
        disks.command("mount", "-t", "tmpfs", "-o", "size=%dm" % DISK_MIB, "tmpfs", disk)
    except subprocess.CalledProcessError as error:
        raise runner.Skip("a small disk cannot be mounted here: " + error.stderr.strip()) from None


def test_a_full_disk_refuses_publishes_and_serves_reads_and_acks(world):
    for _ in range(10):
        world.publish().ok()
    world.fill()
    refusal = None
    for _ in range(200):
        answer = world.publish()
        if answer.status != 200:
            refusal = answer
            break
    assert refusal is not None, "the disk never became full"
    assert refusal.status in (500, 503), "refused with %d: %s" % (refusal.status, refusal.body)
    said = refusal.json()["error"]["message"].lower()
    assert "full" in said or "space" in said or "room" in said or "disk" in said, "the refusal does not say why: %s" % refusal.body
    for _ in range(20):
        same(world.publish().status, refusal.status, "a further publish")
    # Reading and acknowledging need no new room to speak of.
    for first in range(0, 30, 10):
        got = world.raw.pulled("s", 10)
        same([data[:8] for _, data in got], [b"%08d" % at for at in range(first, first + 10)])
        assert all(data == payload(first + at) for at, (_, data) in enumerate(got)), "damaged bytes"
        world.raw.ack("s", [got[-1][0]]).ok()
    same(world.raw.offsets("s"), {"max": world.sent, "min": 0, "current": 30})
    same(world.raw.call("GET", "/v1/status").status, 200)


def test_publishing_recovers_when_space_returns(world):
    before = world.sent
    world.free()
    runner.until(lambda: world.publish().status == 200, 30, "publishing works again", every=0.2)
    same(world.sent, before + PER_REQUEST)


def test_a_kill_on_a_full_disk_loses_nothing(world):
    world.fill()
    for _ in range(200):
        if world.publish().status != 200:
            break
    sent = world.sent
    world.server.kill()
    world.server.start()
    same(world.raw.offsets("s")["max"], sent)
    world.free()
    runner.until(lambda: world.publish().status == 200, 30, "publishing works again", every=0.2)
    world.raw.move("s", 0).ok()
    for first in range(0, world.sent, 10):
        got = world.raw.pulled("s", 10)
        for at, (_, data) in enumerate(got):
            assert data == payload(first + at), "message %d is damaged" % (first + at)
        world.raw.ack("s", [got[-1][0]]).ok()
    same(world.raw.offsets("s")["current"], world.sent)
    same(world.server.stop(), 0)
