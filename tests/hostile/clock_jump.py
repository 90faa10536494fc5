"""The wall clock jumps by an hour while the real binary runs: publishing, pulling and acknowledging go on, nothing is lost, and no lease
is given to two before its time.

The clock is libfaketime's, which fakes wall time alone, as a bad time server would; skipped where it is not installed.
"""

import contextlib
import os
import time

import runner
import server as servers
import wire
from runner import same

LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
HOUR = 3_600
LEASE_SECONDS = 3
# How often the service looks for what retention may take.
MAINTENANCE_SECONDS = 10


class World:
    def __init__(self, server, file):
        self.server = server
        self.file = file
        self.raw = wire.Wire(server, project="P")
        self.raw.call("POST", "/v1/projects/P", {}).ok()
        for topic in ("t", "u"):
            self.raw.topic(topic).ok()
        self.raw.subscribe("cumulative", "t").ok()
        self.raw.subscribe("individual", "t", ackMode="individual", ackDeadlineSeconds=LEASE_SECONDS).ok()
        self.raw.subscribe("keeper", "u").ok()
        same(self.raw.publish("u", "kept from the beginning").ok()["messageIds"], ["0"])
        self.sent = 0

    def jump(self, seconds):
        """Sets how far wall time is from the machine's; takes effect at once."""
        staging = self.file + ".new"
        with open(staging, "w") as file:
            file.write("%+d" % seconds)
        os.rename(staging, self.file)

    def publish(self, count):
        ids = self.raw.publish("t", *["m%d" % (self.sent + at) for at in range(count)]).ok()["messageIds"]
        same(ids, [str(self.sent + at) for at in range(count)])
        self.sent += count

    def whole_round(self):
        """Publishes, and takes and acknowledges everything through the cumulative subscription."""
        self.publish(3)
        got = self.raw.pulled("cumulative", 100)
        same([data for _, data in got], [b"m%d" % at for at in range(self.sent - 3, self.sent)])
        self.raw.ack("cumulative", [got[-1][0]]).ok()
        same(self.raw.pulled("cumulative", 100), [])

    def nothing_is_trimmed(self):
        same((self.raw.offsets("keeper")["min"], self.raw.offsets("cumulative")["min"]), (0, 0))
        same([data for _, data in self.raw.pulled("keeper", 10)], [b"kept from the beginning"])


@contextlib.contextmanager
def world(_options):
    if not os.path.exists(LIBRARY):
        raise runner.Skip("libfaketime is not installed (Debian: faketime)")
    with servers.folder("clock-jump") as root:
        file = os.path.join(root, "offset")
        with open(file, "w") as offset:
            offset.write("+0")
        faked = {"LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": file, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        server = servers.Server(root, ["store.segment_bytes=16777216"])
        try:
            os.environ.update(faked)
            try:
                server.start()
            finally:
                for name in faked:
                    del os.environ[name]
            yield World(server, file)
            assert b"panicked" not in server.all_output(), server.tail()
        except BaseException:
            print("---- the server's last words\n%s\n----" % server.tail())
            raise
        finally:
            server.close()


def test_work_goes_on_when_the_clock_jumps_ahead_and_back(world):
    for offset in (0, HOUR, 0, -HOUR, 0):
        world.jump(offset)
        world.whole_round()
        world.nothing_is_trimmed()


def test_publish_times_never_go_back_along_a_topic(world):
    world.raw.move("cumulative", 0).ok()
    got = world.raw.pull("cumulative", 1000).ok()["receivedMessages"]
    same(len(got), world.sent)
    times = [wire_time(one["message"]["publishTime"]) for one in got]
    same(times, sorted(times))


def wire_time(text):
    head, _, fraction = text.rstrip("Z").partition(".")
    return "%s.%s" % (head, fraction.ljust(6, "0"))


def test_a_lease_is_not_given_twice_when_the_clock_jumps_back(world):
    """Back: the lease lasts longer, never shorter; its holder can still acknowledge it."""
    world.jump(0)
    drain(world)
    world.publish(1)
    (held,) = world.raw.pulled("individual", 10)
    world.jump(-HOUR)
    same(world.raw.pulled("individual", 10), [])
    time.sleep(LEASE_SECONDS + 1)
    same(world.raw.pulled("individual", 10), [])
    world.raw.ack("individual", [held[0]]).ok()
    world.jump(0)
    same(world.raw.pulled("individual", 10), [])


def test_after_a_jump_ahead_a_lease_that_ended_by_the_clock_goes_to_one_and_the_first_holder_is_told(world):
    """Ahead: a deadline is wall time, so it has passed; the message is given out once more, under another lease."""
    drain(world)
    world.publish(1)
    (held,) = world.raw.pulled("individual", 10)
    world.jump(HOUR)
    (again,) = world.raw.pulled("individual", 10)
    assert again[0] != held[0], "both have the same lease"
    same(world.raw.pulled("individual", 10), [])
    wire.refused(world.raw.ack("individual", [held[0]]), wire.E408)
    world.raw.ack("individual", [again[0]]).ok()
    world.jump(0)


def test_retention_holds_when_the_clock_jumps_beyond_it(world):
    """Eight days ahead at once, a day more than is kept: wall time does not agree with the time that passed, so nothing is taken."""
    world.jump(8 * 24 * HOUR)
    world.publish(1)
    time.sleep(MAINTENANCE_SECONDS + 2)
    world.nothing_is_trimmed()
    world.jump(0)
    world.nothing_is_trimmed()


def drain(world):
    got = world.raw.pulled("individual", 1000)
    if got:
        world.raw.ack("individual", [ack_id for ack_id, _ in got]).ok()
