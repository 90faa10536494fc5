"""kill -9 campaigns: publishers, consumers, seeks and deleted topics through many kills, with small segments; then everything is checked.

A kill comes at any instant, when a segment or a checkpoint changes, or while the service starts. The seed repeats every choice, not the
schedule. A failing life keeps its folder and prints the command that runs it again.
"""

import os
import random
import sys
import threading
import time

import competing_consumers
import history
import runner
import server as servers
import wire

# Kills in a test run; `cargo xtask crash --rounds N` makes more.
ROUNDS = 50
# So many of them on one data folder.
LIFE = 50
PUBLISHERS = 3
CONSUMERS = 2
# Publishers wait when the consumers are so far behind.
AHEAD_MAX = 100
WATCH_SECONDS = 0.4
SETTINGS = ["store.segment_bytes=1048576", "listen.ams_tls=off", "log.level=warn"]
KINDS = ["any", "any", "segment", "checkpoint"]


class Life(competing_consumers.Job):
    """One data folder through many kills. The consumers of `workers` are those of the suite `competing_consumers`."""

    # Longer than most rounds: leases outlive kills.
    lease_seconds = 2

    def __init__(self, raw, server, seed):
        super().__init__(raw, server, seed)
        self.flow = history.Published()
        self.readers = {name: history.Cumulative(name) for name in ("reader", "replayer")}
        self.collecting = PUBLISHERS + 1
        self.stopping = False
        self.kills = dict.fromkeys(KINDS, 0)
        self.seeks = self.rebuilt = 0

    def prepare(self):
        self.raw.call("POST", "/v1/projects/farm", {}).ok()
        for topic in ("flow", "jobs"):
            self.raw.topic(topic).ok()
        for name in self.readers:
            self.raw.subscribe(name, "flow", ackDeadlineSeconds=60).ok()
        self.raw.subscribe("workers", "jobs", ackMode="individual", ackDeadlineSeconds=self.lease_seconds).ok()

    # The actors.

    def settle(self, call, *arguments, also=()):
        """Asks until there is an answer: 200, or one of `also` when an earlier try may have done it."""
        unknown = False
        while True:
            answer = self.request(call, *arguments)
            if answer is None:
                unknown = True
            elif answer.status == 200 or (unknown and answer.status in also):
                return answer
            else:
                raise AssertionError("%s %s: %d %s" % (call.__name__, arguments, answer.status, answer.body))

    def publisher(self, number, topic, published, most, ahead):
        """Publishes one message or a batch, each until it is acknowledged."""
        dice = random.Random("%d/%s/%d" % (self.seed, topic, number))
        sequence = 0
        while not self.stopping:
            if ahead() > AHEAD_MAX:
                time.sleep(0.01)
                continue
            payloads = []
            for _ in range(dice.choice([1, 1, 2, most])):
                sequence += 1
                size = dice.choice([10, 200, 3_000, 30_000])
                payloads.append(b"%s %d %d %s" % (topic.encode(), number, sequence, dice.randbytes(size)))
            self.publish(topic, published, payloads)
        with self.lock:
            self.collecting -= 1

    def publish(self, topic, published, payloads):
        while True:
            published.sending(payloads)
            answer = self.request(self.raw.publish, topic, *payloads)
            if answer:
                break
        published.done([int(one) for one in answer.ok()["messageIds"]], payloads)

    def reader(self, name, seeks):
        """Pulls and acknowledges the topic `flow`; with `seeks` it goes back now and then."""
        dice = random.Random("%d/%s" % (self.seed, name))
        seen = self.readers[name]
        while True:
            last_look = self.collecting == 0
            if seeks and dice.random() < 0.04 and not last_look:
                back = dice.randrange(max(0, seen.certain - 150), seen.certain + 1)
                self.settle(self.raw.move, name, back)
                seen.sought(back)
                self.count_seek()
            if not self.read(name, seen, dice):
                if last_look:
                    return
                time.sleep(0.01)

    def read(self, name, seen, dice):
        """One pull and mostly one acknowledgement; false when there was nothing for sure."""
        answer = self.request(self.raw.pull, name, dice.choice([1, 5, 25]))
        if not answer:
            return True
        batch = wire.received(answer)
        seen.pulled(batch)
        if batch and dice.random() < 0.9:
            last = batch[dice.randrange(len(batch)) if dice.random() < 0.2 else -1][0]
            seen.acknowledging(last)
            if self.request_ok(self.raw.ack, name, [self.raw.ack_id(name, last)]):
                seen.acknowledged(last)
        return bool(batch)

    def request_ok(self, call, *arguments):
        answer = self.request(call, *arguments)
        return answer is not None and answer.ok() is not None

    def count_seek(self):
        with self.lock:
            self.seeks += 1

    def rebuilder(self):
        """Deletes a topic and makes it again: nothing of its earlier lives may come back."""
        dice = random.Random("%d/rebuilder" % self.seed)
        while not self.stopping:
            self.settle(self.raw.topic, "brief", also=[409])
            self.settle(self.raw.subscribe, "brief", "brief", also=[409])
            published, seen = history.Published(), history.Cumulative("brief, generation %d" % self.rebuilt)
            for at in range(dice.randrange(1, 5)):
                payloads = [b"%d/%d/%d %s" % (self.rebuilt, at, one, dice.randbytes(500)) for one in range(dice.choice([1, 4]))]
                self.publish("brief", published, payloads)
            while self.read("brief", seen, dice):
                pass
            history.check_delivery(published, seen, self.settle(self.raw.subscription, "brief", "GET", None, "offsets").ok()["max"])
            self.settle(self.raw.subscription, "brief", "DELETE", also=[404])
            self.settle(self.raw.topic, "brief", "DELETE", also=[404])
            gone = None
            while gone is None:
                gone = self.request(self.raw.topic, "brief", "GET")
            wire.refused(gone, wire.E404("Topic"))
            self.rebuilt += 1
            time.sleep(0.02)

    # The kills.

    def round(self):
        """Works for a while, kills, starts again; what was acknowledged must be counted at once."""
        kind = self.dice.choice(KINDS)
        self.wait_for(kind)
        floors = {"reader": self.flow, "workers": self.published}
        floors = {name: 1 + max(list(published.acknowledged), default=-1) for name, published in floors.items()}
        self.server.crash(self.dice)
        for name, floor in floors.items():
            bounds = self.raw.offsets(name)
            assert bounds["min"] == 0 and bounds["max"] >= floor, "%s: %s after a kill, but %d were acknowledged" % (name, bounds, floor)
        self.kills[kind] += 1
        assert not self.errors, "\n".join(self.errors)

    def wait_for(self, kind):
        """Returns at the instant of the kill."""
        end = time.monotonic() + (WATCH_SECONDS if kind in ("segment", "checkpoint") else 0.03 + 0.3 * self.dice.random())
        before = self.sight(kind)
        while time.monotonic() < end and not self.errors:
            if before and self.sight(kind) != before:
                return
            time.sleep(0.0005)

    def sight(self, kind):
        """What changes when a segment begins, or when a checkpoint is being written."""
        if kind not in ("segment", "checkpoint"):
            return None
        found = []
        for name in os.listdir(self.server.store):
            if name.endswith("." + kind):
                try:
                    state = os.stat(os.path.join(self.server.store, name))
                    found.append((name, state.st_mtime_ns if kind == "checkpoint" else 0))
                except FileNotFoundError:
                    continue
        return sorted(found)

    # The end.

    def run(self, rounds):
        self.prepare()
        ahead_flow = lambda: len(self.flow.acknowledged) - min(one.certain for one in self.readers.values())
        ahead_jobs = lambda: len(self.published.acknowledged) - len(self.leases.done)
        actors = [(self.publisher, number, "flow", self.flow, 12, ahead_flow) for number in range(PUBLISHERS)]
        actors += [(self.publisher, 0, "jobs", self.published, 4, ahead_jobs)]
        actors += [(self.reader, "reader", False), (self.reader, "replayer", True), (self.rebuilder,)]
        actors += [(self.consumer, number) for number in range(CONSUMERS)]
        threads = self.start(actors)
        try:
            for _ in range(rounds):
                self.round()
        finally:
            self.stopping = True
            self.join(threads)
        self.check()

    def start(self, actors):
        threads = [threading.Thread(target=self.guarded, args=one, name=one[0].__name__ + str(one[1:2])) for one in actors]
        for thread in threads:
            thread.start()
        return threads

    def join(self, threads):
        """Waits for the actors: they take what is left, or end at once when one of them has failed."""
        failure = sys.exc_info()[1]
        if failure and not self.errors:
            self.errors.append("the rounds ended: %s" % failure)
        for thread in threads:
            thread.join()
        # Those that ended because another did have nothing to tell.
        told = [error for error in self.errors if "another actor failed" not in error] or self.errors
        assert not told, "\n".join(told)

    def check(self):
        """Everything once more, and again from the beginning after one more kill."""
        total = self.raw.offsets("reader")["max"]
        for name, seen in self.readers.items():
            history.check_delivery(self.flow, seen, total)
            runner.same(self.raw.offsets(name), {"max": total, "min": 0, "current": total}, name)
        jobs = self.raw.offsets("workers")["max"]
        self.leases.check(self.published, jobs)
        back = self.dice.randrange(jobs + 1)
        self.raw.move("workers", back).ok()
        self.leases.sought(back)
        self.raw.move("reader", 0).ok()
        self.readers["reader"].sought(0)
        self.server.kill()
        self.server.start()
        self.join(self.start([(self.reader, "reader", False)] + [(self.consumer, number) for number in range(CONSUMERS)]))
        self.leases.check(self.published, jobs)
        runner.same(self.readers["reader"].certain, total, "read again from the beginning")
        runner.same(self.server.stop(), 0, "exit code after SIGTERM")


def test_nothing_acknowledged_is_lost_or_comes_back_through_kills_at_any_instant(options):
    sys.setswitchinterval(0.0005)
    done, kills = 0, dict.fromkeys([*KINDS, "start"], 0)
    while done < options.rounds:
        rounds, seed = min(LIFE, options.rounds - done), options.seed + done // LIFE
        begun = time.monotonic()
        try:
            with servers.running("crash", SETTINGS, kept_on_failure=True) as server:
                life = Life(wire.Session(server, project="farm"), server, seed)
                life.run(rounds)
        except BaseException:
            print("     again: cargo xtask crash --seed %d --rounds %d" % (seed, rounds))
            raise
        done += rounds
        for kind, count in life.kills.items():
            kills[kind] += count
        kills["start"] += server.crashes_in_start
        print("     seed %d: %d kills in %.1f s; %d messages read, %d leased, %d delivered again, %d seeks, %d topics rebuilt" % (
            seed, rounds, time.monotonic() - begun, len(life.flow.acknowledged), life.leases.deliveries,
            sum(one.redelivered for one in life.readers.values()), life.seeks, life.rebuilt))
    print("     %d rounds, kills at: %s" % (done, kills))
    assert done < ROUNDS or all(kills.values()), "a kind of kill never happened: %s" % kills
