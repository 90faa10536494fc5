"""What producers and consumers saw, and whether it keeps the promises: nothing lost, nothing damaged, order, exclusive leases.

Pure bookkeeping: never talks to a server. Fails with a sentence that names the offset.
"""

import hashlib
import threading
from collections import Counter, namedtuple


def digest(data):
    return hashlib.sha256(data).digest()


class Published:
    """What was sent to one topic: every payload that may be there, and those that must be, under which offset."""

    def __init__(self):
        self.lock = threading.Lock()
        # How often each payload was sent: so often it may be there.
        self.sent = Counter()
        self.acknowledged = {}
        self.attempts = 0

    def sending(self, payloads):
        with self.lock:
            self.attempts += 1
            for payload in payloads:
                self.sent[digest(payload)] += 1

    def done(self, offsets, payloads):
        """A publish was acknowledged with these offsets."""
        with self.lock:
            assert len(offsets) == len(payloads), "%d ids for %d messages" % (len(offsets), len(payloads))
            # Messages of one request are appended together, so nothing may come between them.
            assert offsets == list(range(offsets[0], offsets[0] + len(offsets))), "a request's ids have gaps: %s" % offsets
            for offset, payload in zip(offsets, payloads):
                assert offset not in self.acknowledged, "offset %d was given to two messages" % offset
                self.acknowledged[offset] = digest(payload)


class Cumulative:
    """What one consumer of one cumulative subscription saw."""

    def __init__(self, name):
        self.name = name
        self.seen = {}
        self.times = {}
        # The next offset to come is between what was surely acknowledged and what may have been.
        self.certain = 0
        self.possible = 0
        self.redelivered = 0

    def pulled(self, batch):
        """A batch of (offset, data, publish time) arrived."""
        if not batch:
            return
        first = batch[0][0]
        assert first >= self.certain, "%s: offset %d came again after its acknowledgement (up to %d) was durable" % (
            self.name, first, self.certain - 1)
        assert first <= self.possible, "%s: offsets %d to %d were skipped" % (self.name, self.possible, first - 1)
        for expected, (offset, data, time) in enumerate(batch, first):
            assert offset == expected, "%s: offset %d came where %d was due" % (self.name, offset, expected)
            known = self.seen.setdefault(offset, digest(data))
            self.redelivered += offset in self.times
            assert known == digest(data), "%s: offset %d changed its bytes" % (self.name, offset)
            assert self.times.setdefault(offset, time) == time, "%s: offset %d changed its time" % (self.name, offset)
        # The pull shows that what lies before it is acknowledged.
        self.certain = max(self.certain, first)

    def acknowledging(self, offset):
        self.possible = max(self.possible, offset + 1)

    def acknowledged(self, offset):
        self.certain = max(self.certain, offset + 1)
        self.possible = max(self.possible, self.certain)

    def sought(self, offset):
        """The cursor was set; what follows comes again."""
        self.certain = self.possible = offset


def check_delivery(published, consumer, total):
    """Every acknowledged publish arrived with its bytes under its offset, nothing else but repeats of what was sent."""
    missing = sorted(set(range(total)) - set(consumer.seen))
    assert not missing, "%s: never delivered: offsets %s" % (consumer.name, missing[:10])
    beyond = sorted(set(consumer.seen) - set(range(total)))
    assert not beyond, "%s: delivered beyond the end %d: %s" % (consumer.name, total, beyond[:10])
    for offset, wanted in published.acknowledged.items():
        assert offset < total, "%s: acknowledged offset %d is beyond the end %d: lost" % (consumer.name, offset, total)
        assert consumer.seen[offset] == wanted, "%s: offset %d holds other bytes than were acknowledged" % (consumer.name, offset)
    for offset, got in consumer.seen.items():
        assert got in published.sent, "%s: offset %d holds bytes that nobody sent" % (consumer.name, offset)
    for got, count in Counter(consumer.seen.values()).items():
        assert count <= published.sent[got], "%s: a payload that was sent %d times is there %d times, at %s" % (
            consumer.name, published.sent[got], count, [offset for offset, one in consumer.seen.items() if one == got])
    ordered = [consumer.times[offset] for offset in sorted(consumer.times)]
    assert ordered == sorted(ordered), "%s: publish times go back" % consumer.name


Lease = namedtuple("Lease", "offset holder asked got until")


class Leases:
    """What competing consumers of one individual subscription saw. Times are this machine's monotonic seconds."""

    def __init__(self):
        self.lock = threading.Lock()
        self.current = {}
        self.done = {}
        self.seen = {}
        self.deliveries = 0
        self.broken = []

    def granted(self, offset, data, holder, asked, got, seconds):
        """A pull that was asked for and answered at these instants delivered this offset for so many seconds."""
        with self.lock:
            self.deliveries += 1
            known = self.seen.setdefault(offset, digest(data))
            if known != digest(data):
                self.broken.append("offset %d changed its bytes" % offset)
            if offset in self.done and self.done[offset] < asked:
                self.broken.append("offset %d came again after its acknowledgement was durable" % offset)
            held = self.current.get(offset)
            # The lease began no earlier than it was asked for, so it lasts at least until then plus its length.
            if held and got < held.until:
                text = "offset %d went to %s while %s held it for another %.3f s"
                self.broken.append(text % (offset, holder, held.holder, held.until - got))
            self.current[offset] = Lease(offset, holder, asked, got, asked + seconds)

    def giving_up(self, offsets, holder):
        """A release, or an acknowledgement, is about to be sent: from now on this holder's lease may be over, nobody else's."""
        with self.lock:
            for offset in offsets:
                held = self.current.get(offset)
                if held and held.holder == holder:
                    del self.current[offset]

    def extended(self, offsets, holder, asked, seconds):
        with self.lock:
            for offset in offsets:
                held = self.current.get(offset)
                if held and held.holder == holder:
                    self.current[offset] = held._replace(until=asked + seconds)

    def acknowledged(self, offsets, at):
        with self.lock:
            for offset in offsets:
                self.done.setdefault(offset, at)

    def sought(self, offset):
        """The cursor was set while nobody pulled: leases are over, and what follows comes again."""
        with self.lock:
            self.current.clear()
            for later in [one for one in self.done if one >= offset]:
                del self.done[later]

    def check(self, published, total):
        assert not self.broken, "%d breaches, the first: %s" % (len(self.broken), self.broken[0])
        missing = sorted(set(range(total)) - set(self.done))
        assert not missing, "never acknowledged: offsets %s" % missing[:10]
        for offset, wanted in published.acknowledged.items():
            assert self.seen.get(offset) == wanted, "offset %d holds other bytes than were acknowledged" % offset
        for offset, got in self.seen.items():
            assert got in published.sent, "offset %d holds bytes that nobody sent" % offset
