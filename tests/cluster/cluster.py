"""The proof of the cluster: three Cassandra processes, three nodes of the service whose clocks differ, a real haproxy before them.

Under load from the unmodified library and raw clients, Cassandra nodes and service nodes are killed and frozen, alone and together, and
everything is started anew; then every history is checked. `cargo xtask cluster --minutes N` goes on for longer.
"""

import contextlib
import os
import random
import statistics
import threading
import time
import types

from argo_ams_library import AmsServiceException

import cassandra
import crash
import history
import nodes as service
import runner
import scene
import server as servers
import webhook
import wire
from runner import same, until

# Minutes of the campaign; 0 for each fault once.
ROUNDS = 0
FROZEN_SECONDS = 20
# For work to go on after a fault, however busy the machine: how long it really took is printed.
GOES_ON_SECONDS = 120
# For a request to be answered while the store is away.
DEADLINE_SECONDS = 14
AHEAD_MAX = 60
# How many of the requests go past the balancer.
STRAY = 0.15


@contextlib.contextmanager
def world(options):
    folder = os.environ.get("ANGELIA_CASSANDRA")
    if not folder:
        raise runner.Skip("ANGELIA_CASSANDRA names no prepared Cassandra; `cargo xtask cluster` prepares one")
    with servers.folder("cluster", kept_on_failure=True) as root, contextlib.ExitStack() as ends:
        store = cassandra.Cassandra(folder)
        ends.callback(store.close)
        print("     Cassandra: 3 nodes after %.1f s" % store.start())
        files = webhook.certificate(root, "known")
        hook = ends.enter_context(webhook.open_at(files))
        settings = ["listen.zaqar=127.0.0.1:0", "push.enabled=true", "push.allow_networks=127.0.0.0/8", "push.ca_file=" + files[0],
                    "log.level=info,angelia::delivery=debug,angelia::server=debug"]
        all_nodes = service.Nodes(root, store.hosts(), settings)
        ends.callback(all_nodes.close)
        all_nodes.start()
        front = service.Front(root, all_nodes.all)
        ends.callback(front.close)
        made = types.SimpleNamespace(root=root, store=store, nodes=all_nodes, front=front, hook=hook, options=options)
        made.raw = Through(front, project="farm")
        until(lambda: made.raw.call("GET", "/v1/version").status == 200, 20, "haproxy passes requests on", every=0.2)
        made.raw.call("POST", "/v1/projects/farm", {}).ok()
        yield made


class Through(wire.Wire):
    """Requests through the balancer; patient, for a frozen node may answer late. The balancer has a node for each subscription: with
    `nodes`, some requests go to any of them all the same."""

    nodes = ()

    def call(self, method, path, body=None, headers=None, token="", timeout=60):
        if self.nodes and random.random() < STRAY:
            return direct(random.choice(self.nodes)).call(method, path, body, headers, token, timeout)
        return super().call(method, path, body, headers, token, timeout)


def direct(node):
    return wire.Wire(node, project="farm")


class Campaign(crash.Life):
    """The actors of the crash campaign and the library's, against the balancer; faults instead of one server's kills."""

    lease_seconds = 4

    def __init__(self, world):
        super().__init__(Through(world.front, project="farm"), None, world.options.seed)
        self.world = world
        # Two of `flow`, one of `jobs`, one of the library.
        self.collecting = 4
        self.library = history.Published()
        self.readers["library"] = history.Cumulative("library")
        self.acknowledged_at = []
        self.refused = {}
        self.longest = {}

    def prepare(self):
        for topic in ("flow", "jobs"):
            self.raw.topic(topic).ok()
        for name in ("reader", "replayer"):
            self.raw.subscribe(name, "flow", ackDeadlineSeconds=300).ok()
        self.raw.subscribe("workers", "jobs", ackMode="individual", ackDeadlineSeconds=self.lease_seconds).ok()
        self.raw.nodes = self.world.nodes.all
        self.ams = scene.project(self.world.front, "library", ["records"])
        self.ams.create_sub("library", "records", ackdeadline=300)

    def request(self, call, *arguments):
        """One request; none when its outcome is unknown or it was refused for now."""
        if self.errors:
            raise AssertionError("another actor failed")
        try:
            answer = call(*arguments)
        except crash.competing_consumers.TRANSIENT as error:
            self.refuse(type(error).__name__)
            return None
        if answer.status in (502, 503, 504):
            if answer.status == 503 and answer.body.startswith(b"{"):
                assert "retry-after" in answer.headers, "a 503 does not say when to come back"
            self.refuse(answer.status)
            return None
        return answer

    def refuse(self, why):
        with self.lock:
            self.refused[why] = self.refused.get(why, 0) + 1
        time.sleep(0.1)

    def publish(self, topic, published, payloads):
        super().publish(topic, published, payloads)
        self.acknowledged_at.append(time.monotonic())

    # The library's actors.

    def with_library(self, call, *arguments, **named):
        """One call of the library; none when it could not be done for now."""
        if self.errors:
            raise AssertionError("another actor failed")
        try:
            return call(*arguments, **named)
        except AmsServiceException as error:
            assert error.code in (502, 503, 504), error
            self.refuse("library: %s" % error.code)
        except scene.TRANSIENT as error:
            self.refuse("library: %s" % type(error).__name__)
        return None

    def library_publisher(self):
        dice, sequence = random.Random("%d/library" % self.seed), 0
        while not self.stopping:
            if len(self.library.acknowledged) - self.readers["library"].certain > AHEAD_MAX:
                time.sleep(0.01)
                continue
            sequence += 1
            sent = [({"sequence": str(sequence)}, b"%d/%d %s" % (sequence, one, dice.randbytes(300))) for one in range(dice.choice([1, 2, 10]))]
            payloads, got = [scene.packed(*one) for one in sent], None
            while not got:
                self.library.sending(payloads)
                got = self.with_library(self.ams.publish, "records", [scene.to_send(*one) for one in sent], timeout=60)
            self.library.done([int(one) for one in got["messageIds"]], payloads)
        with self.lock:
            self.collecting -= 1

    def library_consumer(self):
        seen = self.readers["library"]
        while True:
            last_look = self.collecting == 0
            pulled = self.with_library(self.ams.pull_sub, "library", 25, return_immediately=True, timeout=60)
            if pulled is None:
                continue
            seen.pulled(scene.batch(pulled))
            if pulled:
                last = int(pulled[-1][1].get_msgid())
                seen.acknowledging(last)
                if self.with_library(self.ams.ack_sub, "library", [pulled[-1][0]], timeout=60):
                    seen.acknowledged(last)
            elif last_look:
                return
            else:
                time.sleep(0.02)

    # The faults.

    def kill_store(self):
        node = self.dice.choice(self.world.store.nodes)
        node.kill()
        self.goes_on("a killed Cassandra node")
        node.start()
        self.world.store.whole()

    def freeze_store(self):
        node = self.dice.choice(self.world.store.nodes)
        node.freeze()
        self.goes_on("a frozen Cassandra node", FROZEN_SECONDS)
        node.thaw()
        self.world.store.whole()

    def kill_node(self):
        node = self.dice.choice(self.world.nodes.all)
        node.kill()
        self.goes_on("a killed node")
        node.start()
        self.world.nodes.meet()

    def freeze_node(self):
        node = self.dice.choice(self.world.nodes.all)
        node.freeze()
        self.works(FROZEN_SECONDS)
        node.thaw()
        self.goes_on("a frozen node")
        self.world.nodes.meet()

    def restart_node(self):
        """As an operator does it: nothing is to be seen by a client that tries again."""
        node = self.dice.choice(self.world.nodes.all)
        same(node.stop(), 0, "exit code after SIGTERM")
        self.goes_on("a stopped node")
        node.start()
        self.world.nodes.meet()

    def kill_both(self):
        store, node = self.dice.choice(self.world.store.nodes), self.dice.choice(self.world.nodes.all)
        store.kill()
        node.kill()
        self.goes_on("a killed Cassandra node and a killed node")
        store.start()
        self.world.store.whole()
        node.start()
        self.world.nodes.meet()

    def restart_everything(self):
        for one in [*self.world.nodes.all, *self.world.store.nodes]:
            one.kill()
        self.world.store.start()
        self.world.nodes.start()
        self.goes_on("a restart of everything")

    def works(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.1)
            assert not self.errors, "\n".join(self.errors)

    def goes_on(self, fault, seconds=3):
        """Lets the work go on for a while; it must, and the longest time without an acknowledged publish is kept."""
        begun, before = time.monotonic(), len(self.acknowledged_at)
        acknowledged, done = self.readers["reader"].certain, len(self.leases.done)
        self.works(seconds)
        until(lambda: self.errors or (len(self.acknowledged_at) > before + 5 and self.readers["reader"].certain > acknowledged and len(self.leases.done) > done),
              GOES_ON_SECONDS, lambda: "the work goes on after %s: %d publishes, reader at %d, %d jobs done, refused %s" % (
                  fault, len(self.acknowledged_at) - before, self.readers["reader"].certain, len(self.leases.done), self.refused))
        assert not self.errors, "\n".join(self.errors)
        times = [begun] + self.acknowledged_at[before:]
        longest = max(later - earlier for earlier, later in zip(times, times[1:]))
        self.longest[fault] = max(longest, self.longest.get(fault, 0))

    # The whole.

    def run(self, minutes):
        self.prepare()
        ahead_flow = lambda: len(self.flow.acknowledged) - min(self.readers[name].certain for name in ("reader", "replayer"))
        ahead_jobs = lambda: len(self.published.acknowledged) - len(self.leases.done)
        actors = [(self.publisher, number, "flow", self.flow, 12, ahead_flow) for number in range(2)]
        actors += [(self.publisher, 0, "jobs", self.published, 4, ahead_jobs), (self.library_publisher,), (self.library_consumer,)]
        actors += [(self.reader, "reader", False), (self.reader, "replayer", True)]
        actors += [(self.consumer, number) for number in range(2)]
        threads = self.start(actors)
        try:
            self.goes_on("nothing")
            each = [self.kill_store, self.kill_node, self.freeze_store, self.freeze_node, self.restart_node, self.kill_both]
            end = time.monotonic() + 60 * minutes
            self.dice.shuffle(each)
            for fault in each:
                fault()
            while time.monotonic() < end:
                self.dice.choice(each)()
            self.restart_everything()
        finally:
            self.stopping = True
            self.join(threads)
        self.raw.nodes = ()
        self.check()

    def check(self):
        for name, published in (("reader", self.flow), ("replayer", self.flow), ("library", self.library)):
            raw = Through(self.world.front, project=self.ams.project) if name == "library" else self.raw
            total = raw.offsets(name)["max"]
            history.check_delivery(published, self.readers[name], total)
            same(raw.offsets(name), {"max": total, "min": 0, "current": total}, name)
        self.leases.check(self.published, self.raw.offsets("workers")["max"])


def test_what_is_published_on_one_node_wakes_a_pull_that_waits_on_another(world):
    """And a node that nobody tells anything finds it out, too."""
    here, there = (direct(node) for node in world.nodes.all[:2])
    here.topic("woken").ok()
    here.subscribe("woken", "woken", ackMode="individual", ackDeadlineSeconds=30).ok()
    took = {}
    for name, publisher in (("same node", there), ("other node", here)):
        took[name] = [woken(publisher, there) for _ in range(25)]
    p50 = {name: 1000 * statistics.median(times) for name, times in took.items()}
    print("     from publish to a waiting pull's answer, p50 ms: " + ", ".join("%s %.0f" % pair for pair in p50.items()))
    assert p50["other node"] <= 1.5 * p50["same node"] + 60, p50
    assert sum(node.metric("angelia_cluster_notices_total", 'outcome="heard"') for node in world.nodes.all) > 20


def woken(publisher, puller):
    """Seconds from a publish to the answer of a pull that waited before."""
    got = {}

    def pull():
        got["answer"] = puller.pull("woken", 1, "false")
        got["at"] = time.monotonic()

    waiting = threading.Thread(target=pull)
    waiting.start()
    until(lambda: puller.server.metric("angelia_waiting_pulls") == 1, 10, "the pull waits")
    time.sleep(0.05)
    begun = time.monotonic()
    publisher.publish("woken", "now").ok()
    waiting.join(30)
    assert "at" in got, "the pull waits for ever"
    ids = [one["ackId"] for one in got["answer"].ok()["receivedMessages"]]
    same(len(ids), 1)
    puller.ack("woken", ids).ok()
    return got["at"] - begun


PUSHED = 6


def test_push_work_moves_from_a_node_that_dies_and_from_one_that_is_stopped(world):
    raw, hook, names = world.raw, world.hook, ["pushed%d" % number for number in range(PUSHED)]
    for name in names:
        raw.topic(name).ok()
        push = {"type": "http_endpoint", "pushEndpoint": hook.url("/take/" + name), "maxMessages": 1, "retryPolicy": {"type": "linear", "period": 50}}
        hook.hash = raw.subscribe(name, name, pushConfig=push, ackDeadlineSeconds=60).ok()["pushConfig"]["verificationHash"]
        raw.subscription(name, "POST", verb="verifyPushEndpoint").ok()
    deliver(world, names, "first", 30)
    until(lambda: sum(shares(world)) == PUSHED, 20, lambda: "each is pushed by one node: %s" % shares(world))
    print("     %d pushed subscriptions on the nodes: %s" % (PUSHED, shares(world)))
    lost = busiest(world)
    lost.kill()
    dead = deliver(world, names, "after a kill", 30)
    lost.start()
    world.nodes.meet()
    until(lambda: sum(shares(world)) == PUSHED and min(shares(world)) >= 0, 20, lambda: "each is pushed by one node: %s" % shares(world))
    deliver(world, names, "after the return", 30)
    stopped = busiest(world)
    ended = threading.Thread(target=stopped.stop)
    ended.start()
    drained = deliver(world, names, "after a stop", 30)
    ended.join()
    stopped.start()
    world.nodes.meet()
    print("     all was delivered again %.2f s after a kill, %.2f s after SIGTERM" % (dead, drained))
    for name in names:
        texts = hook.texts("/take/" + name)
        same(list(dict.fromkeys(texts)), ["first", "after a kill", "after the return", "after a stop"], name)
        raw.subscription(name, "DELETE").ok()


def shares(world):
    return [int(node.metric("angelia_pushed_subscriptions")) for node in world.nodes.all if node.process]


def busiest(world):
    return max(world.nodes.all, key=lambda node: node.metric("angelia_pushed_subscriptions"))


def deliver(world, names, text, seconds):
    """Publishes to all, and waits until all endpoints have it; how long that took."""
    begun = time.monotonic()
    for name in names:
        until(lambda: world.raw.publish(name, text).status == 200, 10, "a publish to " + name, every=0.1)
    until(lambda: all(text in world.hook.texts("/take/" + name) for name in names), seconds,
          lambda: "%s arrived at %s" % (text, [name for name in names if text in world.hook.texts("/take/" + name)]))
    return time.monotonic() - begun


def test_a_node_whose_clock_is_wrong_does_nothing(world):
    right = world.nodes.all[2]
    same(right.stop(), 0)
    wrong = service.Node(world.root, 9, right.hosts, world.nodes.keyspace, right.settings, clock=20.0)
    try:
        wrong.start()
        until(lambda: wrong.ready() == 503, 20, "it finds out that its clock is wrong")
        world.raw.topic("clock").ok()
        answer = direct(wrong).publish("clock", "late")
        wire.refused(answer, wire.E503("Backend Error"))
        world.raw.publish("clock", "in time").ok()
        assert b"clock differs" in wrong.output(), wrong.tail()
        same(wrong.stop(), 0)
    finally:
        wrong.close()
        right.start()
    world.nodes.meet()
    assert all(node.ready() == 200 for node in world.nodes.all)


def test_nothing_is_lost_doubled_or_overtaken_whatever_fails(world):
    campaign = Campaign(world)
    begun = time.monotonic()
    campaign.run(world.options.rounds)
    unknown = {kind: int(sum(node.metric("angelia_store_unknown_total", 'kind="%s"' % kind) for node in world.nodes.all))
               for kind in ("topic", "subscription", "document")}
    repeats = int(sum(node.metric("angelia_cql_repeats_total") for node in world.nodes.all))
    print("     seed %d: %.0f s; %d + %d messages read, %d leased, %d delivered again, %d seeks" % (
        campaign.seed, time.monotonic() - begun, len(campaign.flow.acknowledged), len(campaign.library.acknowledged), campaign.leases.deliveries,
        sum(one.redelivered for one in campaign.readers.values()), campaign.seeks))
    print("     refused for now: %s; since the last restart: unknown outcomes %s, conditional writes repeated %d" % (campaign.refused, unknown, repeats))
    for fault, longest in campaign.longest.items():
        print("     longest time without an acknowledged publish through %s: %.1f s" % (fault, longest))


def test_without_a_majority_everything_is_refused_in_time_and_works_again_after(world):
    raw, name = world.raw, "majority"
    raw.topic(name).ok()
    raw.subscribe(name, name, ackDeadlineSeconds=300).ok()
    raw.publish(name, "one", "two").ok()
    same(len(raw.pulled(name, 2)), 2)
    for how, again in (("freeze", "thaw"), ("kill", "start")):
        for node in world.store.nodes[1:]:
            getattr(node, how)()
        longest = max(refused(node, name) for node in world.nodes.all)
        print("     two of three Cassandra nodes gone (%s): the slowest refusal after %.1f s" % (how, longest))
        until(lambda: all(node.ready() == 503 for node in world.nodes.all), 20, "no node is ready", every=0.2)
        for node in world.store.nodes[1:]:
            getattr(node, again)()
        world.store.whole()
        until(lambda: all(node.ready() == 200 for node in world.nodes.all), 30, "all nodes are ready again", every=0.2)
        until(lambda: raw.publish(name, "after " + how).status == 200, 20, "a publish", every=0.2)
    # What was refused may be there, what was acknowledged must be.
    texts = [data for _, data in raw.pulled(name, 100)]
    same(texts[:2], [b"one", b"two"])
    assert [text for text in texts if text.startswith(b"after")] == [b"after freeze", b"after kill"], texts


def refused(node, name):
    """Every kind of request to a node, in both dialects; the longest time that one took."""
    raw, longest = direct(node), 0.0
    queue = {"client-id": "7f9c1f0e-6c5f-4a8e-9d4e-5f0a6f0e7a11", "x-project-id": "p", "content-type": "application/json"}
    zaqar = wire.Wire(types.SimpleNamespace(ports={"ams": node.ports["zaqar"]}), token=None)
    asks = {
        "publish": lambda: raw.publish(name, "in doubt", timeout=60),
        "pull": lambda: raw.pull(name, 1, timeout=60),
        "acknowledge": lambda: raw.ack(name, [raw.ack_id(name, 0)], timeout=60),
        "topic": lambda: raw.topic("another", timeout=60),
        "list": lambda: raw.topic("", "GET", timeout=60),
        "queue": lambda: zaqar.call("PUT", "/v2/queues/q", "{}", queue, timeout=60),
        "post": lambda: zaqar.call("POST", "/v2/queues/q/messages", '{"messages": [{"body": 1}]}', queue, timeout=60),
        "claim": lambda: zaqar.call("POST", "/v2/queues/q/claims", '{"ttl": 60, "grace": 60}', queue, timeout=60),
    }
    for what, ask in asks.items():
        begun = time.monotonic()
        answer = ask()
        took = time.monotonic() - begun
        longest = max(longest, took)
        same((answer.status, answer.headers.get("retry-after")), (503, "1"), "node %d, %s, %.1f s: %s" % (node.number, what, took, answer.body[:200]))
        assert took < DEADLINE_SECONDS, "node %d, %s: answered after %.1f s" % (node.number, what, took)
    return longest
