"""The republisher's binary between two services: what it promises, while everything around it fails.

Source and target are real services; faults come from SIGKILL and from a proxy in front of either. The seed repeats every choice, not
the schedule.
"""

import base64
import contextlib
import io
import os
import random
import re
import threading
import time

import fastavro

import proxy as proxies
import runner
import server as servers
import wire
from process import SCHEMA, Republisher, pair, rule, service
from runner import same, until

KILLS = 12
SITES = ["GR-01", "IT.Bari", "CERN PROD"]
SETTINGS = ["listen.ops=off", "log.level=warn"]
EVERYTHING = rule("out")


class World:
    """Two services with a project each, and names for what the tests make there."""

    def __init__(self, here, there, root, seed):
        self.here, self.there, self.root = here, there, root
        self.source = wire.Session(here, project="flow")
        self.target = wire.Session(there, project="flow")
        self.seed = seed
        self.made = 0

    def url(self, server):
        return "http://127.0.0.1:%d" % server.ports["ams"]

    def services(self, here=None, there=None):
        return service("here", here or self.url(self.here)) + service("there", there or self.url(self.there))

    def names(self, *kinds):
        """Names that no other test has."""
        self.made += 1
        return ["%s%d" % (kind, self.made) for kind in kinds]

    def input(self, *messages, **fields):
        """A new topic with a subscription and these messages; the subscription's name."""
        topic, subscription = self.names("in", "sub")
        self.source.topic(topic).ok()
        self.source.subscribe(subscription, topic, **{"ackDeadlineSeconds": 30, **fields}).ok()
        if messages:
            self.source.publish(topic, *messages).ok()
        return topic, subscription

    def output(self, *topics):
        """New topics at the target with a subscription each, of the same name."""
        for topic in topics:
            self.target.topic(topic).ok()
            self.target.subscribe(topic, topic, ackDeadlineSeconds=600).ok()

    def got(self, topic):
        """All messages that a topic at the target has."""
        return self.target.pull(topic, 20_000).ok()["receivedMessages"]

    @contextlib.contextmanager
    def republisher(self, text, start=True):
        one = Republisher(os.path.join(self.root, self.names("r")[0]), text)
        try:
            yield one.start() if start else one
        except BaseException:
            if one.starts:
                print("---- the republisher's last words\n%s\n----" % one.tail())
            raise
        finally:
            one.close()
            if one.starts:
                assert servers.SERVICE_TOKEN.encode() not in one.all_output(), "a token is in the log"

    def left(self, subscription):
        offsets = self.source.offsets(subscription)
        return offsets["max"] - offsets["current"]


@contextlib.contextmanager
def world(options):
    with contextlib.ExitStack() as stack:
        here = stack.enter_context(servers.running("source", SETTINGS))
        there = stack.enter_context(servers.running("target", SETTINGS))
        made = World(here, there, stack.enter_context(servers.folder("republisher")), options.seed)
        made.source.call("POST", "/v1/projects/flow", {}).ok()
        made.target.call("POST", "/v1/projects/flow", {}).ok()
        yield made


def record(site, number, status="OK"):
    """A metric-data record as the collectors write it: a bare datum."""
    data = {"timestamp": "2026-01-02T03:04:05Z", "service": "org.example.web", "hostname": "host%d" % number, "metric": "org.example.check",
            "monitoring_host": "mon", "actual_data": None, "status": status, "summary": "number %d" % number, "message": None,
            "tags": site and {"endpoint_group": site, "number": str(number)}}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.schema.load_schema(SCHEMA), data)
    return out.getvalue()


def parsed(message):
    data = base64.b64decode(message["message"]["data"])
    return fastavro.schemaless_reader(io.BytesIO(data), fastavro.schema.load_schema(SCHEMA), None)


def ids(messages, name="republisher_id"):
    """The source's message numbers, by the idempotency attribute."""
    return [int(one["message"]["attributes"][name].rpartition(":")[2]) for one in messages]


def once(numbers):
    """Without what came before."""
    return list(dict.fromkeys(numbers))


def test_metric_data_goes_to_a_topic_for_each_site(world):
    dice = random.Random(world.seed)
    sites = [dice.choice(SITES) for _ in range(60)]
    records = [record(site, number, dice.choice(["OK", "CRITICAL"])) for number, site in enumerate(sites)]
    odd = [record(None, 60), b"\x02no datum", {"attributes": {"kind": "empty"}}]
    _, sub = world.input(*[{"data": base64.b64encode(one).decode(), "attributes": {"old": "1", "secret": "2"}} for one in records], *odd)
    rules = rule("alarms", '{ field = "avro:status", equals = "CRITICAL" }, { field = "avro:tags/endpoint_group", prefix = "GR" }')
    rules += rule("site-{avro:tags/endpoint_group}", more='rename = { old = "new" }\nremove = ["secret"]\n'
                  'set = { site = "{avro:tags/endpoint_group}", none = "{json:/x}" }')
    more = 'avro_schema_file = "%s"\nunmatched = "topic"\nunmatched_topic = "others"\ncreate_topics = true' % SCHEMA
    topics = ["alarms", "others", "site-GR-01", "site-IT_Bari", "site-CERN_PROD"]
    world.output(*topics[:2], *topics[3:])
    with world.republisher(world.services() + pair("p", sub, rules, more=more)) as one:
        until(lambda: world.left(sub) == 0, 10, one.tail)
        same(one.metric("received_messages_total", "p"), 63)
        same(one.metric("acknowledged_messages_total", "p"), 63)
        same(one.metric("unmatched_messages_total", "p"), 3)
        same(one.stop(), 0)
    world.target.subscribe("site-GR-01", "site-GR-01").ok()
    world.target.move("site-GR-01", 0).ok()
    got = {topic: world.got(topic) for topic in topics}
    same(sum(len(messages) for messages in got.values()), 63)
    same(ids(got["others"]), [60, 61, 62])
    for topic in topics[2:]:
        same(ids(got[topic]), sorted(ids(got[topic])))
        for message in got[topic]:
            number, = ids([message])
            same(base64.b64decode(message["message"]["data"]), records[number])
            same(message["message"]["attributes"], {"new": "1", "site": sites[number], "republisher_id": "projects/flow/subscriptions/%s:%d" % (sub, number)})
            same(topic, "site-" + re.sub("[^A-Za-z0-9_-]", "_", parsed(message)["tags"]["endpoint_group"]))
    for message in got["alarms"]:
        assert parsed(message)["status"] == "CRITICAL" and parsed(message)["tags"]["endpoint_group"] == "GR-01"


def test_kills_of_either_side_lose_nothing_and_keep_the_order(world):
    dice = random.Random(world.seed)
    topic, cumulative = world.input()
    leased, = world.names("leased")
    world.source.subscribe(leased, topic, ackMode="individual", ackDeadlineSeconds=1).ok()
    world.output("moved-a", "moved-b", "leased-a", "leased-b")
    text = world.services()
    for name, sub in (("moved", cumulative), ("leased", leased)):
        text += pair(name, sub, rule(name + "-{attribute:to}"), more="pull_messages = 40\npublish_messages = 15")
    sent, ending = [], threading.Event()
    publisher = threading.Thread(target=publish_through_kills, args=(world, topic, sent, ending, dice.randrange(1 << 30)))
    with world.republisher(text) as one:
        publisher.start()
        try:
            for turn in range(KILLS):
                time.sleep(dice.random() * 0.4)
                victim = [one, world.here, world.there][turn % 3 if turn < 6 else dice.randrange(3)]
                victim.kill()
                time.sleep(dice.random() * 0.2)
                victim.start()
        finally:
            ending.set()
            publisher.join()
        total = world.source.offsets(cumulative)["max"]
        until(lambda: world.left(cumulative) == 0 and world.left(leased) == 0, 20, one.tail)
        same(one.stop(), 0)
    to = {number: place for number, place in enumerate(in_source(world, topic, total))}
    assert len(to) == total and total > 100, total
    repeated = 0
    for name in ("moved", "leased"):
        arrived = {place: ids(world.got("%s-%s" % (name, place))) for place in "ab"}
        for place in "ab":
            same(once(arrived[place]), [number for number in range(total) if to[number] == place], name)
            repeated += len(arrived[place]) - len(once(arrived[place]))
    print("     %d messages through %d kills to two pairs, %d repeated" % (total, KILLS, repeated))


def publish_through_kills(world, topic, sent, ending, seed):
    """Publishes until told to end, each batch until it is answered."""
    dice = random.Random(seed)
    raw = wire.Session(world.here, project="flow")
    while not ending.is_set():
        batch = [{"data": base64.b64encode(b"%d" % dice.getrandbits(64)).decode(), "attributes": {"to": dice.choice("ab")}} for _ in range(20)]
        with contextlib.suppress(OSError, wire.http.client.HTTPException, AssertionError):
            raw.publish(topic, *batch).ok()
            sent.append(batch)
        time.sleep(0.02)


def in_source(world, topic, total):
    """Where each message of the source was to go."""
    check, = world.names("check")
    world.source.subscribe(check, topic).ok()
    world.source.move(check, 0).ok()
    return [one["message"]["attributes"]["to"] for one in world.source.pull(check, total).ok()["receivedMessages"]]


def test_refusals_and_lost_answers_repeat_at_most(world):
    dice = random.Random(world.seed)
    faults = [proxies.DROP_BEFORE, proxies.DROP_AFTER, proxies.Refuse(500), proxies.Refuse(503), proxies.Refuse(429)]

    def decide(verb, body):
        return dice.choice(faults) if verb != "show" and dice.random() < 0.2 else proxies.FORWARD

    with contextlib.closing(proxies.Proxy(world.here, decide)) as source, contextlib.closing(proxies.Proxy(world.there, decide)) as target:
        for fields in ({}, {"ackMode": "individual", "ackDeadlineSeconds": 1}):
            name, = world.names("shaky-")
            world.output(name)
            _, sub = world.input(*["%d" % number for number in range(100)], **fields)
            text = world.services(source.url, target.url) + pair("p", sub, rule(name), more="pull_messages = 20")
            with world.republisher(text) as one:
                until(lambda: world.left(sub) == 0, 20, one.tail)
                same(one.stop(), 0)
            got = world.got(name)
            same(once(ids(got)), list(range(100)))
            same([base64.b64decode(message["message"]["data"]).decode() for message in got], ["%d" % number for number in ids(got)])


def test_an_acknowledgement_that_was_lost_does_not_publish_again(world):
    refusals = [proxies.Refuse(408), proxies.Refuse(500), proxies.DROP_BEFORE, proxies.DROP_AFTER]

    def decide(verb, body):
        return refusals.pop() if verb == "acknowledge" and refusals else proxies.FORWARD

    topic, = world.names("calm")
    world.output(topic)
    _, sub = world.input(*["%d" % number for number in range(30)])
    with contextlib.closing(proxies.Proxy(world.here, decide)) as source:
        with world.republisher(world.services(source.url) + pair("p", sub, rule(topic), more="pull_messages = 10")) as one:
            until(lambda: world.left(sub) == 0 and not refusals, 10, one.tail)
            assert one.metric("repeated_messages_total", "p") >= 20
            assert one.metric("failed_requests_total", "p", 'operation="acknowledge",') == 4
    same(ids(world.got(topic)), list(range(30)))


def test_the_time_that_a_service_asks_for_is_kept(world):
    refusals = [proxies.Refuse(503, retry_after="2")]

    def decide(verb, body):
        return refusals.pop() if verb == "publish" and refusals else proxies.FORWARD

    topic, = world.names("asked")
    world.output(topic)
    _, sub = world.input("one")
    with contextlib.closing(proxies.Proxy(world.there, decide)) as target:
        with world.republisher(world.services(there=target.url) + pair("p", sub, rule(topic))) as one:
            until(lambda: world.left(sub) == 0, 10, one.tail)
        first, second = [at for at, verb, _ in target.seen if verb == "publish"]
    assert 2 <= second - first < 4, second - first


def test_a_request_that_is_too_large_goes_in_pieces(world):
    def decide(verb, body):
        return proxies.Refuse(413) if verb == "publish" and len(body) > 1_500 else proxies.FORWARD

    topic, = world.names("pieces")
    world.output(topic)
    payloads = ["%03d" % number * 50 for number in range(64)]
    _, sub = world.input(*payloads)
    with contextlib.closing(proxies.Proxy(world.there, decide)) as target:
        with world.republisher(world.services(there=target.url) + pair("p", sub, rule(topic))) as one:
            until(lambda: world.left(sub) == 0, 10, one.tail)
    got = world.got(topic)
    same([base64.b64decode(message["message"]["data"]).decode() for message in got], payloads)


def test_what_must_be_changed_is_shown_and_tried_slowly(world):
    topic, = world.names("late")
    _, sub = world.input("one")
    with world.republisher(world.services() + pair("p", sub, rule(topic))) as one:
        until(lambda: one.metric("problem", "p") == 1, 10, one.tail)
        status, text = one.get("/readyz")
        same(status, 503)
        assert text.startswith("p: refused"), text
        same(one.get("/healthz"), (200, "alive\n"))
        assert one.metric("last_error_timestamp_seconds", "p") > 1_700_000_000
        assert b"topics/%s:publish answers 404" % topic.encode() in one.output()
        same((world.left(sub), one.metric("lag_messages", "p")), (1, 1))
        world.output(topic)
        until(lambda: world.left(sub) == 0, 10, one.tail)
        until(lambda: one.get("/readyz") == (200, "ready\n"), 5, "ready again")
        assert one.metric("failed_requests_total", "p", 'operation="publish",') <= 4
    same(ids(world.got(topic)), [0])


def test_unmatched_messages_stop_the_pair_or_are_passed_over(world):
    kind = rule("{attribute:kind}")
    messages = [{"data": "YQ==", "attributes": {"kind": one} if one else {}} for one in ("x", "y", "", "x")]
    for fields in ({}, {"ackMode": "individual"}):
        world.made += 1
        wanted = [dict(message, attributes={name: "%s%d" % (value, world.made) for name, value in message["attributes"].items()}) for message in messages]
        x, y = "x%d" % world.made, "y%d" % world.made
        world.output(x, y)
        _, sub = world.input(*wanted, **fields)
        with world.republisher(world.services() + pair("p", sub, kind)) as one:
            same(one.ended(), 1)
            assert b"no rule takes message 2" in one.output(), one.tail()
        same(world.left(sub), 2)
        # What was not touched is nobody's: another may take it at once.
        same([message["message"]["messageId"] for message in world.source.pull(sub, 10).ok()["receivedMessages"]], ["2", "3"])
        if fields:
            continue
        with world.republisher(world.services() + pair("p", sub, kind, more='unmatched = "drop"')) as one:
            until(lambda: world.left(sub) == 0, 10, one.tail)
            same(one.metric("unmatched_messages_total", "p"), 1)
        same((ids(world.got(x)), ids(world.got(y))), ([0, 3], [1]))


def test_a_message_never_goes_back_to_where_it_comes_from(world):
    topic, sub = world.input("one")
    with world.republisher(world.services() + pair("p", sub, rule(topic), target="here")) as one:
        same(one.ended(), 1)
        assert b"would go back into" in one.output(), one.tail()
    same(world.source.offsets(sub), {"max": 1, "min": 0, "current": 0})


def test_a_dry_run_leaves_the_source_as_it_was(world):
    for fields in ({}, {"ackMode": "individual", "ackDeadlineSeconds": 600}):
        messages = [{"data": "YQ==", "attributes": {"site": "s/%d" % number}} for number in range(5)] + ["plain"]
        _, sub = world.input(*messages, **fields)
        text = world.services(there="http://127.0.0.1:1") + pair("p", sub, rule("site-{attribute:site}"), more='unmatched = "drop"')
        with world.republisher(text, start=False) as one:
            code, out, _ = one.ask("run", "--dry-run", "--max", "10")
        lines = out.splitlines()
        same((code, len(lines)), (0, 7))
        same(lines[3], 'p: projects/flow/subscriptions/%s:3 -> projects/flow/topics/site-s_3 "site"="s/3"' % sub)
        same(lines[5], "p: projects/flow/subscriptions/%s:5 -> dropped (unmatched)" % sub)
        same(world.source.offsets(sub)["current"], 0)
        same(len(world.source.pull(sub, 10).ok()["receivedMessages"]), 6)


def test_a_stop_acknowledges_what_is_published_and_repeats_nothing(world):
    topic, = world.names("ended")
    world.output(topic)
    _, sub = world.input(*["%d" % number for number in range(1_500)])
    text = world.services() + pair("p", sub, rule(topic), more="pull_messages = 100\npublish_messages = 10")
    with world.republisher(text) as one:
        for turn in range(2):
            until(lambda: one.metric("published_messages_total", "p"), 10, one.tail)
            same(one.stop(), 0)
            published = world.target.offsets(topic)["max"]
            same(world.left(sub), 1_500 - published)
            one.start()
        until(lambda: world.left(sub) == 0, 15, one.tail)
    same(ids(world.got(topic)), list(range(1_500)))


def test_a_rate_is_kept(world):
    topic, = world.names("slow")
    world.output(topic)
    _, sub = world.input(*["%d" % number for number in range(150)])
    with world.republisher(world.services() + pair("p", sub, rule(topic), more="rate = 100")) as one:
        begun = time.monotonic()
        until(lambda: world.left(sub) == 0, 10, one.tail)
        took = time.monotonic() - begun
    assert 0.8 < took < 3, took


def test_check_names_every_wrong_key_and_no_token(world):
    good = world.services() + pair("p", "sub", EVERYTHING)
    with world.republisher(good, start=False) as one:
        code, out, _ = one.ask("check")
        same((code, out.splitlines()[-1]), (0, "the configuration is right"))
        for text, told in [
            (good.replace('topic = "out"', 'topic = "a/b"'), "pair[0].rule[0].topic: `a/b` is no name"),
            (good.replace('topic = "out"', 'topic = "{site}"'), "pair[0].rule[0].topic: `site` is no field"),
            (good.replace("match = []", 'match = [{ field = "attribute:a", regex = "(" }]'), "pair[0].rule[0].match[0]: "),
            (good.replace("match = []", 'match = [{ field = "avro:a", equals = "b" }]'), "pair[0].avro_schema_file: "),
            (good.replace("poll_millis = 20", "poll_milis = 20"), "unknown field `poll_milis`"),
            (good.replace("poll_millis = 20", "poll_millis = 0"), "pair[0].poll_millis: 0 is not from 1"),
            (good.replace('service = "there"', 'service = "nowhere"'), "there is no [service.nowhere]"),
            (good.replace('token_file = "token"', 'token_file = "gone"'), "service.here.token_file: "),
            (good.replace('token_file = "token"', ""), "service.here: give either token_file or token_env"),
            (good.replace('url = "http', 'url = "ftp'), "service.there.url: "),
        ]:
            one.write(text)
            for words in (["check"], ["run"]):
                code, out, error = one.ask(*words)
                same(code, 2, told)
                assert told in error, "expected %r in:\n%s" % (told, error)
                assert servers.SERVICE_TOKEN not in out + error


def test_a_token_that_was_changed_is_taken_from_its_file(world):
    topic, = world.names("token")
    world.output(topic)
    _, sub = world.input("one")
    with world.republisher(world.services() + pair("p", sub, rule(topic)), start=False) as one:
        token = os.path.join(one.root, "token")
        with open(token, "w") as file:
            file.write("wrong")
        one.start()
        until(lambda: one.metric("problem", "p") == 1, 10, one.tail)
        with open(token, "w") as file:
            file.write(servers.SERVICE_TOKEN)
        until(lambda: world.left(sub) == 0, 10, one.tail)


def test_it_speaks_tls_with_own_authorities_and_tokens_in_the_query(world):
    topic, = world.names("tls")
    world.output(topic)
    _, sub = world.input("one")
    text = "".join(service(name, "https://" + server.endpoint(), 'ca_file = "%s"\ntoken_in = "query"' % server.certificate)
                   for name, server in (("here", world.here), ("there", world.there)))
    with world.republisher(text + pair("p", sub, rule(topic))) as one:
        until(lambda: world.left(sub) == 0, 10, one.tail)
    with world.republisher(text.replace(world.there.certificate, world.here.certificate) + pair("p", sub, rule(topic))) as one:
        world.source.publish(sub.replace("sub", "in"), "two").ok()
        until(lambda: one.metric("failed_requests_total", "p", 'operation="publish",'), 10, one.tail)
        same(world.left(sub), 1)
    same(ids(world.got(topic)), [0])
