"""A disk that may not be written, or that fails: one clear line at the start, clear answers while running, and nothing acknowledged is lost.

Real failures of a real file system, so it needs root; skipped elsewhere with a printed line.
"""

import contextlib
import os
import re

import disk as disks
import runner
import server as servers
import wire
from runner import same

SETTINGS = ["listen.ams_tls=off", "store.segment_bytes=1048576"]
# Whichever write meets it first.
FAILED = r"(writing \d+\.segment at position \d+|writing CHECKPOINT|giving back a segment): Input/output error"


@contextlib.contextmanager
def world(_options):
    with servers.running("failing-disk", SETTINGS, start=False) as server, disks.mounted(server.root) as disk:
        server.store = os.path.join(disk.path, "data")
        server.start()
        raw = wire.Wire(server, project="P")
        raw.call("POST", "/v1/projects/P", {}).ok()
        raw.topic("t").ok()
        raw.subscribe("s", "t").ok()
        raw.publish("t", "0", "1", "2").ok()
        try:
            yield World(server, disk, raw)
        finally:
            server.close()


class World:
    """A server whose folder is on a disk of its own, with messages `0`, `1` and so on."""

    def __init__(self, server, disk, raw):
        self.server = server
        self.disk = disk
        self.raw = raw

    def ready(self):
        """What the operators' listener says: the status and its words."""
        head, _, body = self.raw.raw(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", port="ops").partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), body.strip()

    def refused_start(self):
        """Starts the server, which must end by itself: what it says after the log lines, as lines."""
        self.server.launch()
        code = self.server.ended(20)
        lines = self.server.output().decode("utf-8").strip().splitlines()
        assert code == 1, "exit code %s: %s" % (code, lines)
        return lines

    def whole(self, count):
        """Starts, and finds so many messages."""
        self.server.start()
        self.raw.move("s", 0).ok()
        same([data for _, data in self.raw.pulled("s", count + 1)], [b"%d" % at for at in range(count)])


def told(lines, *words):
    """Fails unless the refusal is one line with these words, and no more than warnings before it."""
    text = "\n".join(lines)
    said = [line for line in lines if line.startswith("angelia: ") or line.startswith("error: ")]
    assert len(said) == 1 and said[0] == lines[-1], "not one line at the end:\n" + text
    assert all(word in said[0] for word in words), "not %s:\n%s" % (words, text)
    assert "panicked" not in text and all(" WARN " in line for line in lines[:-1]), text
    print("     %s" % said[0])


def test_a_folder_on_a_read_only_file_system_is_refused_with_one_line(world):
    same(world.server.stop(), 0)
    disks.command("mount", "-o", "remount,ro", world.disk.path)
    try:
        told(world.refused_start(), world.server.store, "Read-only file system")
    finally:
        disks.command("mount", "-o", "remount,rw", world.disk.path)
    world.whole(3)


def test_a_new_folder_on_a_read_only_file_system_is_refused_with_one_line(world):
    world.server.close()
    store, world.server.store = world.server.store, os.path.join(world.disk.path, "new")
    disks.command("mount", "-o", "remount,ro", world.disk.path)
    try:
        told(world.refused_start(), world.server.store, "Read-only file system")
    finally:
        disks.command("mount", "-o", "remount,rw", world.disk.path)
        world.server.store = store
    world.whole(3)


def test_after_an_io_error_nothing_is_taken_until_a_restart_and_nothing_acknowledged_is_lost(world):
    same(world.raw.publish("t", "3").ok(), {"messageIds": ["3"]})
    same(world.ready(), (200, b"ready"))
    world.disk.cut()
    # The log has the disk's words; clients get the contract's for a failing backend, and nothing is acknowledged.
    for _ in range(3):
        wire.refused(world.raw.publish("t", "in doubt"), wire.E503("Backend Error"))
        wire.refused(world.raw.ack("s", [world.raw.ack_id("s", 0)]), wire.E503("Error handling acknowledgement"))
    wire.refused(world.raw.topic("u"), wire.E503("Internal error while querying datastore"))
    same(world.ready(), (503, b"the store is down"))
    said = [line for line in world.server.tail().splitlines() if "the store takes nothing more until it is opened anew" in line]
    assert len(said) == 1 and re.search(FAILED, said[0]), world.server.tail()
    assert world.server.stop() == 1 and "panicked" not in world.server.tail(), world.server.tail()
    # Mending the disk alone does not help a process that has seen it fail; a new one finds everything.
    world.disk.again()
    world.whole(4)
    same(world.ready(), (200, b"ready"))
    same(world.raw.publish("t", "4").ok(), {"messageIds": ["4"]})
