"""kill -9 in the middle of deliveries: every message comes at least once, and in order where one comes at a time.

The endpoint outlives the server and keeps what it got. The seed repeats the pauses, not the schedule.
"""

import contextlib
import random
import threading
import time
import types

import server as servers
import webhook
import wire
from runner import until

# Kills in a test run.
ROUNDS = 20
SECONDS = 40
# Name, path, messages of one delivery, ack mode.
SUBSCRIPTIONS = [("single", "/take/single", 1, "cumulative"), ("late", "/late/5/single", 1, "cumulative"), ("many", "/take/many", 5, "cumulative"),
                 ("each", "/take/each", 1, "individual")]
# The publisher waits when the endpoint is so far behind.
AHEAD_MAX = 60


@contextlib.contextmanager
def world(options):
    with servers.folder("push-certificates") as folder:
        files = webhook.certificate(folder, "known")
        settings = ["push.enabled=true", "push.allow_networks=127.0.0.0/8", "push.ca_file=" + files[0], "store.segment_bytes=1048576", "listen.ams_tls=off", "log.level=warn"]
        with webhook.open_at(files) as hook, servers.running("push-crash", settings) as server:
            raw = wire.Wire(server, project="P")
            raw.call("POST", "/v1/projects/P", {}).ok()
            raw.topic("t").ok()
            for name, path, count, mode in SUBSCRIPTIONS:
                push = {"type": "http_endpoint", "pushEndpoint": hook.url(path), "maxMessages": count, "retryPolicy": {"type": "linear", "period": 1}}
                made = raw.subscribe(name, "t", ackMode=mode, pushConfig=push).ok()
                hook.hash = made["pushConfig"]["verificationHash"]
                raw.subscription(name, "POST", verb="verifyPushEndpoint").ok()
            yield types.SimpleNamespace(server=server, hook=hook, raw=raw, rounds=options.rounds, dice=random.Random(options.seed))


class Publisher(threading.Thread):
    """Publishes until it is stopped; knows what was answered. An attempt whose answer was lost may be there or not."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world = world
        self.ids = []
        self.stopped = threading.Event()
        self.fault = None

    def run(self):
        try:
            while not self.stopped.is_set():
                if len(self.ids) - len(self.world.hook.at("/late/5/single")) > AHEAD_MAX:
                    time.sleep(0.005)
                    continue
                try:
                    answer = self.world.raw.publish("t", str(len(self.ids)), timeout=5)
                except (OSError, wire.http.client.HTTPException):
                    time.sleep(0.01)
                    continue
                if answer.status == 200:
                    self.ids += [int(one) for one in answer.json()["messageIds"]]
        except Exception as fault:  # Told by who waits for this thread.
            self.fault = fault


def test_no_message_is_lost_or_overtaken_through_many_kills(world):
    publisher = Publisher(world)
    publisher.start()
    crashes = 0
    for _ in range(world.rounds):
        before = len(world.hook.at("/take/single"))
        until(lambda: len(world.hook.at("/take/single")) > before + 3, SECONDS, "deliveries go on after a kill")
        time.sleep(world.dice.random() * 0.1)
        world.server.kill()
        crashes += 1
        world.server.start()
    publisher.stopped.set()
    publisher.join(SECONDS)
    assert publisher.fault is None, publisher.fault
    last = max(publisher.ids)
    again = 0
    for name, path, count, _ in SUBSCRIPTIONS:
        came = lambda: {offset for ids in world.hook.ids(path) for offset in ids}
        until(lambda: last in came(), SECONDS, lambda: "%s: %d of %d came" % (name, len(came()), last + 1))
        until(lambda: world.raw.offsets(name)["current"] > last, SECONDS, lambda: "%s is acknowledged" % name)
        missing = set(publisher.ids) - came()
        assert not missing, "%s lost %s" % (name, sorted(missing)[:10])
        deliveries = world.hook.ids(path)
        again += sum(len(ids) for ids in deliveries) - len(came())
        highest = -1
        for ids in deliveries:
            assert ids == list(range(ids[0], ids[0] + len(ids))) and len(ids) <= count, "%s: %s in one delivery" % (name, ids)
            assert ids[0] <= highest + 1, "%s: %d came after %d" % (name, ids[0], highest)
            # What comes again was under way when the server was killed, and nothing before it.
            assert ids[0] > highest - count, "%s: %d came again after %d" % (name, ids[0], highest)
            highest = max(highest, ids[-1])
    print("     %d kills, %d messages to %d endpoints, %d came again" % (crashes, last + 1, len(SUBSCRIPTIONS), again))
