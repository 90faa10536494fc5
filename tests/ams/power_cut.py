"""Power cuts under the real binary: an ext4 of its own is shut down while 64 writers publish; what was acknowledged before is there after.

Only what was read before the cut counts: the flag goes up before the cut, and an answer is taken down only while it is not up. (A sync may
answer well while the file system is being shut down.) Does not show torn sectors; the crash tests of the engine do.
"""

import contextlib
import random
import shutil
import threading
import time

import competing_consumers
import disk as disks
import history
import runner
import server as servers
import wire

# Cuts in a test run; `cargo xtask powercut --cuts N` makes more.
ROUNDS = 3
# So many of them on one file system.
LIFE = 10
WRITERS = 64
TOPICS = 8
# How long the machine seems to live on after the cut.
AFTERLIFE = 0.15
SETTINGS = ["store.segment_bytes=1048576", "listen.ams_tls=off", "log.level=warn"]


class Over(Exception):
    """The machine is off: the actor ends."""


class Life(competing_consumers.Job):
    """One file system through some cuts."""

    def __init__(self, server, disk, seed):
        super().__init__(wire.Session(server, project="grid"), server, seed)
        self.disk = disk
        self.topics = {"t%d" % at: history.Published() for at in range(TOPICS)}
        self.readers = {name: history.Cumulative(name) for name in ("t0", "t1")}
        self.made = set()
        self.cut = self.over = False
        self.counted = self.late = 0

    def prepare(self):
        """After a cut: what is there stays; what was never acknowledged may be missing."""
        answers = [self.raw.call("POST", "/v1/projects/grid", {})] + [self.raw.topic(name) for name in self.topics]
        assert all(answer.status in (200, 409) for answer in answers), answers
        for name in self.topics:
            for subscription in ("reader-" + name, "audit-" + name):
                assert self.raw.subscribe(subscription, name, ackDeadlineSeconds=60).status in (200, 409)

    def request(self, call, *arguments):
        """None when there is no answer, or none that counts: it came when the power was off."""
        if self.over:
            raise Over
        try:
            answer = call(*arguments)
        except competing_consumers.TRANSIENT:
            time.sleep(0.005)
            return None
        if self.cut:
            self.late += answer.status == 200
            return None
        # The disk is well while the power is on, so nothing else may come.
        assert answer.status == 200, answer
        return answer

    def until_over(self, call, *arguments):
        with contextlib.suppress(Over):
            call(*arguments)

    def writer(self, number, life):
        dice = random.Random("%d/%d/%d" % (self.seed, life, number))
        topic = "t%d" % (number % TOPICS)
        sequence = 0
        while True:
            payloads = []
            for _ in range(dice.choice([1, 1, 10])):
                sequence += 1
                payloads.append(b"%d %d %d %s" % (life, number, sequence, dice.randbytes(dice.choice([10, 300, 2_000]))))
            self.topics[topic].sending(payloads)
            answer = self.request(self.raw.publish, topic, *payloads)
            if answer:
                self.topics[topic].done([int(one) for one in answer.ok()["messageIds"]], payloads)
                self.counted += 1

    def reader(self, topic):
        seen = self.readers[topic]
        while True:
            answer = self.request(self.raw.pull, "reader-" + topic, 20)
            if answer:
                batch = wire.received(answer)
                seen.pulled(batch)
                if batch:
                    seen.acknowledging(batch[-1][0])
                    if self.request(self.raw.ack, "reader-" + topic, [self.raw.ack_id("reader-" + topic, batch[-1][0])]):
                        seen.acknowledged(batch[-1][0])
                        self.counted += 1

    def maker(self, life):
        """Makes topics: each a document and a log."""
        number = 0
        while True:
            number += 1
            name = "made-%d-%d" % (life, number)
            if self.request(self.raw.topic, name):
                self.made.add(name)
                self.counted += 1
            time.sleep(0.01)

    def round(self, life):
        """Loads the disk, cuts, lets the machine seem alive for a moment, and looks at what the next start finds."""
        self.cut = self.over = False
        actors = [(self.writer, number, life) for number in range(WRITERS)] + [(self.reader, name) for name in self.readers] + [(self.maker, life)]
        threads = [threading.Thread(target=self.guarded, args=(self.until_over, *one), name="%s %s" % (one[0].__name__, one[1])) for one in actors]
        for thread in threads:
            thread.start()
        time.sleep(0.1 + 0.5 * self.dice.random())
        if self.dice.random() < 0.3:
            # A process that is killed and opened again serves what may not be on the disk yet.
            self.server.kill()
            self.server.start()
            time.sleep(0.2 * self.dice.random())
        self.cut = True
        self.disk.cut()
        time.sleep(AFTERLIFE)
        self.server.kill()
        self.over = True
        for thread in threads:
            thread.join()
        assert not self.errors, "\n".join(sorted(set(self.errors)))
        self.disk.again()
        self.server.start()
        self.check()

    def check(self):
        """Every topic from its beginning; every cursor where it may be; every topic that was made."""
        for name, published in self.topics.items():
            total = self.raw.offsets("audit-" + name)["max"]
            seen = history.Cumulative("audit-" + name)
            self.raw.move("audit-" + name, 0).ok()
            while seen.certain < total:
                batch = wire.received(self.raw.pull("audit-" + name, 500))
                assert batch, "%s: nothing at %d of %d" % (name, seen.certain, total)
                seen.pulled(batch)
                seen.acknowledging(batch[-1][0])
                self.raw.ack("audit-" + name, [self.raw.ack_id("audit-" + name, batch[-1][0])]).ok()
                seen.acknowledged(batch[-1][0])
            history.check_delivery(published, seen, total)
        for name, seen in self.readers.items():
            current = self.raw.offsets("reader-" + name)["current"]
            assert seen.certain <= current <= seen.possible, "%s: acknowledged up to %d (perhaps %d), but now %d" % (
                name, seen.certain, seen.possible, current)
        for name in self.made:
            assert self.raw.topic(name, "GET").status == 200, "the topic %s is lost" % name


def test_nothing_acknowledged_before_a_power_cut_is_missing_after_it(options):
    counted = late = done = 0
    with servers.running("power-cut", SETTINGS, start=False, kept_on_failure=True) as server, disks.mounted(server.root) as disk:
        try:
            while done < options.rounds:
                rounds, seed = min(LIFE, options.rounds - done), options.seed + done // LIFE
                if done:
                    disk.unmount()
                    disk.format()
                    disk.mount()
                server.store = disk.path + "/data"
                server.start()
                life = Life(server, disk, seed)
                for number in range(rounds):
                    life.prepare()
                    life.round(number)
                server.kill()
                done += rounds
                counted, late = counted + life.counted, late + life.late
                print("     seed %d: %d cuts, %d acknowledgements before them, %d after; %d messages" % (
                    seed, rounds, life.counted, life.late, sum(len(one.acknowledged) for one in life.topics.values())))
        except BaseException:
            server.close()
            keep(server, disk)
            print("     again: cargo xtask powercut --seed %d --cuts %d" % (seed, rounds))
            raise
    print("     %d cuts: %d acknowledgements before them, none lost; %d came after a cut and do not count" % (done, counted, late))
    assert counted > done, "nothing was acknowledged"


def keep(server, disk):
    """What the failure left, as files beside the image."""
    shutil.copytree(disk.path, server.root + "/found", ignore=lambda _, names: [name for name in names if name.endswith(".sock")])
