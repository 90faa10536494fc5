"""The main job: eight collectors publish 20,000 accounting records, two services take them all, the server is killed ten times.

Every record whose publish was acknowledged arrives on both subscriptions, byte for byte, in offset order; a publish that was
tried again may arrive twice. Then the second half is replayed by time. Through the client library over TLS.
"""

import datetime
import random
import threading
import time

import history
import records
import runner
import scene
import server as servers

COLLECTORS = 8
RECORDS = 20_000
KILLS = 10
SUBSCRIPTIONS = ("storage", "portal")


class Job:
    """One run's actors. Any that fails stops all."""

    def __init__(self, server, seed):
        self.server = server
        self.dice = random.Random(seed)
        self.seed = seed
        self.published = history.Published()
        self.consumers = {name: history.Cumulative(name) for name in SUBSCRIPTIONS}
        self.collecting = COLLECTORS
        self.errors = []
        self.lock = threading.Lock()
        self.progress = 0
        self.total_work = 0
        self.retries = 0
        self.last_error = None

    def advance(self, by):
        with self.lock:
            self.progress += by

    def retry(self, error):
        with self.lock:
            self.retries += 1
            self.last_error = error
        if self.errors:
            raise AssertionError("another actor failed")
        # The server is away for as long as it takes to open; a client that waits a little is what sites run.
        time.sleep(0.05)

    def guarded(self, call, *arguments):
        try:
            call(*arguments)
        except BaseException as error:
            self.errors.append("%s: %s: %s" % (threading.current_thread().name, type(error).__name__, error))

    def collector(self, number, ams, texts):
        """Publishes one to three messages a request, each until it is acknowledged."""
        dice = random.Random("%d/%d" % (self.seed, number))
        waiting = [({"collector": "c%d" % number, "sequence": str(at), "site": "Univ. \"Płock\"\t\\%d" % at}, text.encode())
                   for at, text in enumerate(texts)]
        try:
            while waiting:
                size = dice.randrange(1, 4)
                request, waiting = waiting[:size], waiting[size:]
                payloads = [scene.packed(*one) for one in request]
                while True:
                    self.published.sending(payloads)
                    try:
                        got = ams.publish("records", [scene.to_send(*one) for one in request], timeout=20)
                        break
                    except scene.TRANSIENT as error:
                        self.retry(error)
                self.published.done([int(one) for one in got["messageIds"]], payloads)
                self.advance(len(request))
        finally:
            with self.lock:
                self.collecting -= 1

    def consumer(self, name, ams):
        """Pulls and acknowledges until the collectors are done and nothing is left."""
        seen = self.consumers[name]
        dice = random.Random("%d/%s" % (self.seed, name))
        while True:
            last_look = self.collecting == 0
            try:
                pulled = ams.pull_sub(name, dice.choice([1, 3, 10, 25]), return_immediately=True, timeout=20)
            except scene.TRANSIENT as error:
                self.retry(error)
                continue
            seen.pulled(scene.batch(pulled))
            if not pulled:
                if last_look:
                    return
                runner.until(lambda: self.errors or self.collecting == 0 or len(self.published.acknowledged) > len(seen.seen),
                             120, "something to pull or the end")
                if self.errors:
                    raise AssertionError("another actor failed")
            else:
                self.acknowledge(name, ams, seen, pulled, dice)

    def acknowledge(self, name, ams, seen, pulled, dice):
        """Acknowledges a batch: often only its last id, as the republisher does; sometimes only a part of it."""
        upto = len(pulled) if dice.random() < 0.9 else dice.randrange(1, len(pulled) + 1)
        ids = [ack_id for ack_id, _ in pulled[:upto]]
        ids = ids[-1:] if dice.random() < 0.5 else ids
        last = int(pulled[upto - 1][1].get_msgid())
        before = seen.certain
        seen.acknowledging(last)
        try:
            runner.same(ams.ack_sub(name, ids, timeout=20), True)
        except scene.TRANSIENT as error:
            # An answer with a code came from a living server: the first acknowledgement after a pull must not be refused.
            code = getattr(error, "code", None)
            assert code in (None, 503), "%s: acknowledging offset %d was refused: %s" % (name, last, error)
            self.retry(error)
            return
        seen.acknowledged(last)
        self.advance(last + 1 - before)

    def killer(self):
        """Kills and restarts at ten random points of the work, one in each tenth, a random moment into each."""
        points = [int((number + self.dice.random()) / (KILLS + 1) * self.total_work) for number in range(KILLS)]
        for number, point in enumerate(points):
            runner.until(lambda: self.errors or self.progress >= point, 120, lambda: "%d of %d done; %d retries, the last for %s" % (
                point, self.total_work, self.retries, self.last_error), 0.001)
            if self.errors:
                return
            time.sleep(self.dice.random() * 0.03)
            begun = time.monotonic()
            self.server.crash(self.dice)
            print("     kill %2d at %5.1f %% of the work, back after %.2f s" % (
                number + 1, 100 * self.progress / self.total_work, time.monotonic() - begun))

    def run(self, admin):
        texts = [list(records.messages(self.seed + number, RECORDS // COLLECTORS, "c%d-" % number)) for number in range(COLLECTORS)]
        self.total_work = sum(map(len, texts)) * (1 + len(SUBSCRIPTIONS))
        threads = [(self.killer,)]
        for number in range(COLLECTORS):
            ams = scene.member(self.server, admin, "collector%d" % number, ["publisher"])
            threads.append((self.collector, number, ams, texts[number]))
        for name in SUBSCRIPTIONS:
            ams = scene.member(self.server, admin, name, ["consumer"])
            threads.append((self.consumer, name, ams))
            admin.create_sub(name, "records", ackdeadline=60)
            admin.modifyacl_sub(name, [name])
        admin.modifyacl_topic("records", ["collector%d" % number for number in range(COLLECTORS)])
        running = [threading.Thread(target=self.guarded, args=one, name=one[0].__name__ + "".join(map(str, one[1:2]))) for one in threads]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        assert not self.errors, "\n".join(self.errors)


def test_every_acknowledged_record_arrives_on_both_subscriptions_through_ten_kills(options):
    for number in range(options.rounds):
        seed = options.seed + number
        with servers.running("main-job") as server:
            begun = time.monotonic()
            admin = scene.project(server, "accounting", ["records"])
            job = Job(server, seed)
            job.run(admin)
            check(job, admin, server)
            print("     seed %d: %d messages, %d publish attempts, %d retries, %d delivered again, %.1f s" % (
                seed, len(job.published.acknowledged), job.published.attempts, job.retries,
                sum(one.redelivered for one in job.consumers.values()), time.monotonic() - begun))


def check(job, admin, server):
    """The promises, and then the replay."""
    runner.same(server.crashes, KILLS, "kills")
    bounds = admin.getoffsets_sub("storage")
    total = bounds["max"]
    runner.same(bounds, {"max": total, "min": 0, "current": total})
    for consumer in job.consumers.values():
        history.check_delivery(job.published, consumer, total)
    extra = total - len(job.published.acknowledged)
    assert 0 <= extra <= 3 * job.retries, "%d messages more than acknowledged, but only %d retries" % (extra, job.retries)
    check_records(job)
    replay(job, admin, total)
    runner.same(server.stop(), 0, "exit code after SIGTERM")
    server.start()
    runner.same(admin.getoffsets_sub("portal"), {"max": total, "min": 0, "current": total}, "offsets after a clean restart")


def check_records(job):
    """All records of all acknowledged messages: exactly those that the collectors had."""
    wanted = {one for number in range(COLLECTORS)
              for text in records.messages(job.seed + number, RECORDS // COLLECTORS, "c%d-" % number) for one in records.ids(text)}
    runner.same(len(wanted), RECORDS)
    by_digest = {}
    for number in range(COLLECTORS):
        for at, text in enumerate(records.messages(job.seed + number, RECORDS // COLLECTORS, "c%d-" % number)):
            attributes = {"collector": "c%d" % number, "sequence": str(at), "site": "Univ. \"Płock\"\t\\%d" % at}
            by_digest[history.digest(scene.packed(attributes, text.encode()))] = (number, at, text)
    for consumer in job.consumers.values():
        found, order = set(), {}
        for offset in sorted(consumer.seen):
            number, at, text = by_digest[consumer.seen[offset]]
            found.update(records.ids(text))
            # A collector sends one request after the other: the first time a message shows, its predecessors have shown.
            assert at <= order.get(number, -1) + 1, "collector %d: message %d came before message %d" % (number, at, at - 1)
            order[number] = max(order.get(number, -1), at)
        missing = sorted(wanted - found)
        assert not missing, "%s: records that never came: %s" % (consumer.name, missing[:5])


def replay(job, admin, total):
    """Goes back to the time of the middle message: exactly what was published from then on comes again."""
    seen = job.consumers["storage"]
    middle = seen.times[total // 2]
    instant = datetime.datetime.fromisoformat(middle[:23])
    # The instant is cut to a millisecond, so the half begins with the first message of that millisecond.
    half = min(offset for offset, time_of in seen.times.items() if time_of[:23] >= middle[:23])
    runner.same(admin.time_to_offset_sub("storage", instant), half, "timeToOffset of " + middle)
    admin.modifyoffset_sub("storage", half)
    again = history.Cumulative("the replay")
    again.sought(half)
    while True:
        pulled = admin.pull_sub("storage", 100, return_immediately=True)
        if not pulled:
            break
        again.pulled(scene.batch(pulled))
        again.acknowledging(int(pulled[-1][1].get_msgid()))
        admin.ack_sub("storage", [pulled[-1][0]])
        again.acknowledged(int(pulled[-1][1].get_msgid()))
    runner.same(sorted(again.seen), list(range(half, total)), "replayed offsets")
    for offset, data in again.seen.items():
        runner.same(data, seen.seen[offset], "bytes of offset %d" % offset)
        runner.same(again.times[offset], seen.times[offset], "time of offset %d" % offset)
    runner.same(admin.pull_sub("portal", 10, return_immediately=True), [], "the other subscription")
