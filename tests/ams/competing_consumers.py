"""One `individual` subscription, competing consumers, kills: leases are exclusive, nothing is lost, nothing comes back once done.

Consumers acknowledge in time or too late, forget, release and extend what they pulled, while collectors publish and the server is killed ten times.
"""

import base64
import random
import threading
import time

import history
import records
import runner
import server as servers
import wire

COLLECTORS = 2
CONSUMERS = 3
MESSAGES = 500
KILLS = 10
LEASE_SECONDS = 3
TRANSIENT = (OSError, wire.http.client.HTTPException)


class Job:
    """One run's actors. Any that fails stops all."""

    lease_seconds = LEASE_SECONDS

    def __init__(self, raw, server, seed):
        self.raw = raw
        self.server = server
        self.seed = seed
        self.dice = random.Random(seed)
        self.published = history.Published()
        self.leases = history.Leases()
        self.collecting = COLLECTORS
        self.errors = []
        self.lock = threading.Lock()
        self.counts = {"acknowledged": 0, "forgotten": 0, "slow": 0, "released": 0, "extended": 0, "late": 0}

    def guarded(self, call, *arguments):
        try:
            call(*arguments)
        except BaseException as error:
            self.errors.append("%s: %s: %s" % (threading.current_thread().name, type(error).__name__, error))

    def request(self, call, *arguments):
        """One request; none when the server was away, so that its outcome is unknown."""
        if self.errors:
            raise AssertionError("another actor failed")
        try:
            answer = call(*arguments)
        except TRANSIENT:
            time.sleep(0.03)
            return None
        if answer.status == 503:
            time.sleep(0.03)
            return None
        return answer

    def collector(self, number):
        texts = list(records.messages(self.seed + number, MESSAGES * 40, "c%d-" % number))[:MESSAGES // COLLECTORS]
        for at, text in enumerate(texts):
            payload = text.encode()
            while True:
                self.published.sending([payload])
                answer = self.request(self.raw.publish, "jobs", payload)
                if answer:
                    break
            self.published.done([int(one) for one in answer.ok()["messageIds"]], [payload])
        with self.lock:
            self.collecting -= 1

    def consumer(self, number):
        dice = random.Random("%d/%d" % (self.seed, number))
        holder = "consumer %d" % number
        slow = []
        while True:
            if slow and slow[0][0] < time.monotonic():
                _, ids, offsets = slow.pop(0)
                self.acknowledge(ids, offsets, holder)
            last_look = self.collecting == 0
            asked = time.monotonic()
            answer = self.request(self.raw.pull, "workers", dice.choice([1, 3, 10]))
            if not answer:
                continue
            got = time.monotonic()
            batch = [(one["ackId"], int(one["message"]["messageId"]), base64.b64decode(one["message"]["data"]))
                     for one in answer.ok()["receivedMessages"]]
            for _, offset, data in batch:
                self.leases.granted(offset, data, holder, asked, got, self.lease_seconds)
            if batch:
                self.use(batch, holder, dice, slow)
            elif last_look and len(self.leases.done) >= self.total():
                return
            else:
                time.sleep(0.02)

    def total(self):
        answer = self.request(self.raw.subscription, "workers", "GET", None, "offsets")
        return answer.ok()["max"] if answer else float("inf")

    def use(self, batch, holder, dice, slow):
        """Does with a batch what consumers do: mostly the right thing."""
        choice = dice.random()
        offsets = [offset for _, offset, _ in batch]
        ids = [ack_id for ack_id, _, _ in batch]
        if choice < 0.08:
            self.count("forgotten", len(batch))
        elif choice < 0.13:
            self.count("slow", len(batch))
            slow.append((time.monotonic() + self.lease_seconds * dice.uniform(0.9, 1.5), ids, offsets))
        elif choice < 0.2:
            self.leases.giving_up(offsets, holder)
            answer = self.modify(ids, 0)
            if answer:
                self.count("released", len(batch))
        else:
            if choice < 0.35:
                asked = time.monotonic()
                answer = self.modify(ids, self.lease_seconds + 1)
                if answer and answer.status == 200:
                    self.leases.extended(offsets, holder, asked, self.lease_seconds + 1)
                    self.count("extended", len(batch))
            self.acknowledge(ids, offsets, holder)

    def modify(self, ids, seconds):
        answer = self.request(self.raw.subscription, "workers", "POST", {"ackIds": ids, "ackDeadlineSeconds": seconds}, "modifyAckDeadline")
        if answer and (answer.status, answer.body) == wire.E408:
            self.count("late", 1)
        elif answer:
            answer.ok()
        return answer

    def acknowledge(self, ids, offsets, holder):
        self.leases.giving_up(offsets, holder)
        while True:
            answer = self.request(self.raw.ack, "workers", ids)
            if not answer:
                # Acknowledged already counts as success, so asking again is right.
                continue
            if (answer.status, answer.body) == wire.E408:
                # Another consumer has some of them since; those that were still ours are done. One by one tells which.
                self.count("late", 1)
                if len(ids) > 1:
                    for ack_id, offset in zip(ids, offsets):
                        self.acknowledge([ack_id], [offset], holder)
                return
            answer.ok()
            self.leases.acknowledged(offsets, time.monotonic())
            self.count("acknowledged", len(ids))
            return

    def count(self, what, by):
        with self.lock:
            self.counts[what] += by

    def killer(self):
        points = [int((number + self.dice.random()) / (KILLS + 1) * MESSAGES) for number in range(KILLS)]
        for point in points:
            runner.until(lambda: self.errors or len(self.leases.done) >= point, 120,
                         lambda: "%d acknowledged, now %d" % (point, len(self.leases.done)), 0.001)
            if self.errors:
                return
            time.sleep(self.dice.random() * 0.03)
            self.server.crash(self.dice)


def test_leases_are_exclusive_and_nothing_is_lost_through_ten_kills(options):
    for number in range(options.rounds):
        with servers.running("competing-consumers") as server:
            job = run(server, options.seed + number)
            total = job.raw.offsets("workers")["max"]
            job.leases.check(job.published, total)
            runner.same(job.raw.pulled("workers", 100), [], "left after everything was acknowledged")
            runner.same(server.crashes, KILLS, "kills")
            print("     seed %d: %d messages, %d deliveries, %s" % (job.seed, total, job.leases.deliveries, job.counts))


def run(server, seed):
    raw = wire.Wire(server, project="farm")
    raw.call("POST", "/v1/projects/farm", {}).ok()
    raw.topic("jobs").ok()
    raw.subscribe("workers", "jobs", ackMode="individual", ackDeadlineSeconds=LEASE_SECONDS).ok()
    job = Job(raw, server, seed)
    actors = [(job.killer,)] + [(job.collector, number) for number in range(COLLECTORS)]
    actors += [(job.consumer, number) for number in range(CONSUMERS)]
    threads = [threading.Thread(target=job.guarded, args=one, name=" ".join(map(str, (one[0].__name__, *one[1:])))) for one in actors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not job.errors, "\n".join(job.errors)
    return job
