"""The contract's conformance check list by raw HTTP, each answer to the byte where the contract gives it.

One test per point of the list (push and schemas come with those features), then CORS, paging, roles and plain HTTP manners.
"""

import base64
import contextlib
import json
import re
import time

import runner
import server as servers
import wire
from runner import same
from wire import (E401, E403, E408, E413, PAGE404, E400A, E400B, E400G, E400N, E403M, E404, E404M, E409C, E409E, E500, refused)

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
PUBLISH_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z$")


class World:
    """A server, and projects as they are needed."""

    def __init__(self, server):
        self.server = server
        self.made = 0

    def project(self, topics=(), subs=()):
        """A wire with the service token to a fresh project."""
        self.made += 1
        raw = wire.Wire(self.server, project="P%d" % self.made)
        raw.call("POST", "/v1/projects/" + raw.project, {}).ok()
        for topic in topics:
            raw.topic(topic).ok()
        for sub, topic in subs:
            raw.subscribe(sub, topic).ok()
        return raw

    def member(self, raw, name, *roles):
        """A wire as a new member of the project."""
        body = {"projects": [{"project": raw.project, "roles": list(roles)}]}
        made = raw.call("POST", "/v1/projects/%s/members/%s%s" % (raw.project, raw.project, name), body).ok()
        return raw.as_user(made["token"])

    def user(self, name, **fields):
        """A new user; the whole object."""
        return wire.Wire(self.server).call("POST", "/v1/users/" + name, fields).ok()


@contextlib.contextmanager
def world(_options):
    with servers.running("checklist") as server:
        yield World(server)


# 1: the token in the header and in the query.

def test_the_token_is_taken_from_the_header_first_then_from_the_query(world):
    raw = world.project()
    path = "/v1/projects/" + raw.project
    same(raw.call("GET", path + "?key=" + raw.token, token=None).status, 200)
    same(raw.call("GET", path + "?key=wrong").status, 200)
    same(raw.call("GET", path, token=None, headers={"X-API-KEY": raw.token}).status, 200)
    refused(raw.call("GET", path + "?key=" + raw.token, token="wrong"), E401)
    refused(raw.call("GET", path, token=None), E401)
    same(raw.call("GET", path + "?key=" + raw.token, token=None, headers={"x-api-key": ""}).status, 200)


# 2: ids and offsets of a fresh topic.

def test_a_fresh_topic_begins_at_zero_and_a_later_subscription_at_its_end(world):
    raw = world.project(["t"], [("early", "t")])
    same(raw.offsets("early"), {"max": 0, "min": 0, "current": 0})
    same(raw.publish("t", "a").body, b'{\n   "messageIds": [\n      "0"\n   ]\n}')
    answer = raw.subscription("early", verb="offsets")
    same(answer.body, b'{\n   "max": 1,\n   "min": 0,\n   "current": 0\n}')
    raw.subscribe("late", "t").ok()
    same(raw.offsets("late"), {"max": 1, "min": 0, "current": 1})
    same(raw.publish("t", "b", "c").ok(), {"messageIds": ["1", "2"]})
    same(raw.pulled("late", 5), [(raw.ack_id("late", 1), b"b"), (raw.ack_id("late", 2), b"c")])


def test_an_empty_publish_is_accepted(world):
    raw = world.project(["t"])
    for body in ({}, {"messages": []}, {"messages": None}, "null"):
        same(raw.topic("t", "POST", body, "publish").ok(), {"messageIds": []})
    same(raw.topic("t", "POST", {"messages": [None, {}]}, "publish").ok(), {"messageIds": ["0", "1"]})


# 3: the window.

def test_a_pull_repeats_until_acknowledged_and_a_partial_ack_closes_the_window(world):
    raw = world.project(["t"], [("s", "t")])
    raw.publish("t", *[str(at) for at in range(5)]).ok()
    first = raw.pulled("s", 3)
    same(first, raw.pulled("s", 3))
    same(raw.ack("s", [first[1][0]]).body, b"{}")
    refused(raw.ack("s", [first[2][0]]), E500("no ack pending"))
    same([data for _, data in raw.pulled("s", 5)], [b"2", b"3", b"4"])
    refused(raw.ack("s", [first[1][0]]), E500("wrong ack"))
    same(raw.ack("s", [first[2][0]]).ok(), {})


def test_the_last_pull_defines_the_window(world):
    raw = world.project(["t"], [("s", "t")])
    raw.publish("t", *[str(at) for at in range(5)]).ok()
    wide = raw.pulled("s", 5)
    raw.pulled("s", 2)
    refused(raw.ack("s", [wide[4][0]]), E500("wrong ack"))
    same(raw.ack("s", [wide[0][0], wide[1][0]]).ok(), {})


def test_the_highest_id_counts_whatever_the_order(world):
    raw = world.project(["t"], [("s", "t")])
    raw.publish("t", *[str(at) for at in range(4)]).ok()
    ids = [ack_id for ack_id, _ in raw.pulled("s", 4)]
    same(raw.ack("s", [ids[2], ids[0]]).ok(), {})
    same(raw.offsets("s")["current"], 3)


def test_an_empty_pull_leaves_a_window_of_nothing(world):
    raw = world.project(["t"], [("s", "t")])
    same(raw.pull("s").body, b'{\n   "receivedMessages": []\n}')
    refused(raw.ack("s", [raw.ack_id("s", 0)]), E500("no ack pending"))
    raw.publish("t", "a").ok()
    same(raw.ack("s", [raw.pulled("s")[0][0]]).ok(), {})
    # An empty pull writes nothing when no window was open: this is `wrong ack` in the original, and 500 all the same.
    same(raw.pulled("s"), [])
    refused(raw.ack("s", [raw.ack_id("s", 0)]), E500("no ack pending"))


# 4: the deadline.

def test_an_ack_after_the_deadline_is_408_and_the_old_id_works_after_a_pull(world):
    raw = world.project(["t"])
    raw.subscribe("s", "t", ackDeadlineSeconds=1).ok()
    raw.publish("t", "a").ok()
    (ack_id, _), = raw.pulled("s")
    time.sleep(3)
    refused(raw.ack("s", [ack_id]), E408)
    same(raw.pulled("s"), [(ack_id, b"a")])
    same(raw.ack("s", [ack_id]).ok(), {})


# 5: ack ids.

def test_ack_ids_of_others_and_malformed_ones_are_refused(world):
    raw = world.project(["t"], [("s", "t"), ("other", "t")])
    raw.publish("t", "a").ok()
    raw.pulled("s")
    good = raw.ack_id("s", 0)
    for bad in ([raw.ack_id("other", 0)], ["projects/X/subscriptions/s:0"], ["s:0"], [good + ":1"], [good + "x"], ["/" + good], [""],
                [good, "nonsense"], [raw.ack_id("s", "")], [raw.ack_id("s", -1)], []):
        refused(raw.ack("s", bad), E400A("Invalid ack id"))
    for body in ({}, {"ackIds": None}, "null"):
        refused(raw.subscription("s", "POST", body, "acknowledge"), E400A("Invalid ack id"))
    for body in ({"ackIds": "x"}, {"ackIds": [1]}, "[]", "", "{", {"ackIds": {}}):
        refused(raw.subscription("s", "POST", body, "acknowledge"), E400A("Invalid ack parameter"))
    refused(raw.ack("missing", [good]), E404("Subscription"))
    same(raw.offsets("s")["current"], 0)
    same(raw.subscription("s", "POST", {"ACKIDS": [good]}, "acknowledge").ok(), {})


# 6, 7: pull parameters.

def test_pull_parameters(world):
    raw = world.project(["t"], [("s", "t")])
    raw.publish("t", *[str(at) for at in range(3)]).ok()
    def count(body):
        return len(raw.subscription("s", "POST", body, "pull").ok()["receivedMessages"])
    same(count({}), 1)
    for text, wanted in (("2", 2), ("", 1), ("x", 1), ("0", 1), ("-3", 1), ("99", 3)):
        same(count({"maxMessages": text}), wanted, "maxMessages %r" % text)
    same(count({"maxmessages": "2", "RETURNIMMEDIATELY": "true"}), 2)
    same(count({"maxMessages": "3", "returnImmediately": "anything"}), 3)
    for body in ("", "{", "[]", '{"maxMessages":"1"} x', {"maxMessages": ["1"]}, {"returnImmediately": {}}):
        refused(raw.subscription("s", "POST", body, "pull"), E400G("Pull Parameters"))


def test_an_empty_subscription_answers_at_once_even_when_told_to_wait(world):
    raw = world.project(["t"], [("s", "t")])
    begun = time.monotonic()
    same(raw.pull("s", 1, "false").ok(), {"receivedMessages": []})
    assert time.monotonic() - begun < 5, "the empty pull waited"


# 8: seeking.

def test_modify_offset_within_the_log_and_nowhere_else(world):
    raw = world.project(["t"], [("s", "t")])
    raw.publish("t", *[str(at) for at in range(4)]).ok()
    for offset in (0, 4, 2):
        answer = raw.move("s", offset)
        same((answer.status, answer.body), (200, b""))
        same(raw.offsets("s"), {"max": 4, "min": 0, "current": offset})
    for offset in (-1, 5, 1 << 62):
        refused(raw.move("s", offset), E400A("Offset out of bounds"))
        same(raw.offsets("s")["current"], 2)
    for body in ('{"offset":1.0}', '{"offset":"1"}', '{"offset":1e1}', "", "[]", '{"offset":9223372036854775808}'):
        refused(raw.subscription("s", "POST", body, "modifyOffset"), E400G("Offset"))
    refused(raw.move("missing", 0), E404("Subscription"))
    raw.pulled("s", 2)
    same(raw.subscription("s", "POST", {}, "modifyOffset").status, 200)
    same(raw.offsets("s")["current"], 0)
    refused(raw.ack("s", [raw.ack_id("s", 0)]), E500("no ack pending"))


def test_time_to_offset(world):
    raw = world.project(["t"], [("s", "t")])
    def at(time_text):
        return raw.call("GET", raw.path("subscriptions", "s", "timeToOffset") + "?time=" + time_text)
    beyond = E409C("Timestamp is out of bounds for the subscription's topic/partition")
    refused(at("2020-01-01T00:00:00.000Z"), beyond)
    times = []
    for number in range(3):
        raw.publish("t", str(number)).ok()
        time.sleep(0.005)
    for one in raw.pull("s", 3).ok()["receivedMessages"]:
        times.append(one["message"]["publishTime"][:23].ljust(23, "0") + "Z")
    for offset, text in enumerate(times):
        same(at(text).body, b'{"offset":%d}' % offset, text)
    for early in ("2020-01-01T00:00:00.000Z", "2020-01-01T0:00:00.000Z", "2020-01-01T00:00:00,000Z"):
        same(at(early).ok(), {"offset": 0})
    refused(at("2999-01-01T00:00:00.000Z"), beyond)
    for bad in ("", "x", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00.00Z", "2020-01-01T00:00:00.0000Z", "2020-1-01T00:00:00.000Z",
                "2020-01-01T00:00:00.000%2B01:00", "2020-13-01T00:00:00.000Z", "2020-02-30T00:00:00.000Z"):
        refused(at(bad), E400A("Time is not in valid Zulu format."))
    same(raw.call("GET", raw.path("subscriptions", "s", "timeToOffset")).status, 400)
    refused(raw.call("GET", raw.path("subscriptions", "x", "timeToOffset") + "?time=" + times[0]), E404("Subscription"))


# 9: the common chain.

def test_roles_tokens_names_and_projects_are_checked_in_order(world):
    raw = world.project(["t"], [("s", "t")])
    publisher, consumer = world.member(raw, "p", "publisher"), world.member(raw, "c", "consumer")
    refused(consumer.publish("t", "x"), E403)
    refused(publisher.publish("t", "x"), E403)
    refused(publisher.publish("missing", "x"), E404("Topic"))
    raw.topic("t", "POST", {"authorized_users": [raw.project + "p"]}, "modifyAcl").ok()
    same(publisher.publish("t", "x").ok(), {"messageIds": ["0"]})
    refused(consumer.pull("s"), E403)
    raw.subscription("s", "POST", {"authorized_users": [raw.project + "c"]}, "modifyAcl").ok()
    same(len(consumer.pull("s").ok()["receivedMessages"]), 1)
    stranger = world.member(world.project(), "x", "project_admin")
    elsewhere = wire.Wire(world.server, stranger.token, raw.project)
    refused(elsewhere.publish("t", "x"), E401)
    refused(raw.publish("t", "x", token=None), E401)
    refused(raw.call("GET", "/v1/projects/missing/topics", token="whatever"), E404("project"))
    refused(raw.call("GET", "/v1/projects/missing/topics", token=None), E401)
    for bad, variable in (("/v1/projects/a:b/topics/c,d", "project"), ("/v1/projects/a/topics/c,d", "topic"),
                          ("/v1/projects/a/subscriptions/a%20b", "subscription"), ("/v1/users/a.b", "user"),
                          ("/v1/projects/a!/members/b!", "project"), ("/v1/users:byUUID/a.b", "uuid"), ("/v1/users:byToken/a.b", "token")):
        refused(raw.call("GET", bad, token=None), E400N(variable))


def test_an_admin_of_one_project_is_nobody_on_service_routes(world):
    raw = world.project(["t"])
    admin = world.member(raw, "a", "project_admin")
    same(admin.topic("t2").status, 200)
    for method, path in (("GET", "/v1/users"), ("GET", "/v1/projects"), ("POST", "/v1/users/x"), ("POST", "/v1/projects/x")):
        refused(admin.call(method, path, {}), E401)


# 10: who sees what of users.

def test_only_service_admins_see_tokens_and_creators(world):
    raw = world.project()
    creator = world.user(raw.project + "root", service_roles=["service_admin"])
    root = wire.Wire(world.server, creator["token"], raw.project)
    admin_body = {"projects": [{"project": raw.project, "roles": ["project_admin"]}], "service_roles": ["metrics_viewer"]}
    made = root.call("POST", "/v1/projects/%s/members/%sadm" % (raw.project, raw.project), admin_body).ok()
    same((made["created_by"], made["service_roles"], len(made["token"])), (raw.project + "root", [], 64))
    admin = raw.as_user(made["token"])
    members = "/v1/projects/%s/members" % raw.project
    same(list(admin.call("GET", members).ok()["users"][0]), ["uuid", "name", "email", "service_roles", "created_on", "modified_on"])
    seen = admin.call("GET", members + "?details=true").ok()["users"][0]
    same(list(seen), ["uuid", "projects", "name", "email", "service_roles", "created_on", "modified_on"])
    same(seen["projects"], [{"project": raw.project, "roles": ["project_admin"], "topics": [], "subscriptions": []}])
    full = root.call("GET", members + "?details=true").ok()["users"][0]
    same(list(full), ["uuid", "projects", "name", "token", "email", "service_roles", "created_on", "modified_on", "created_by"])
    assert TIME.match(full["created_on"]), full["created_on"]


# 11: paging.

def test_pages_are_newest_first_with_exact_totals(world):
    raw = world.project(["t1", "t2", "t3"])
    def page(query):
        return raw.call("GET", "/v1/projects/%s/topics%s" % (raw.project, query)).ok()
    def names(got):
        return [one["name"].rsplit("/", 1)[1] for one in got["topics"]]
    first = page("?pageSize=2")
    same((names(first), first["totalSize"]), (["t3", "t2"], 3))
    base64.b64decode(first["nextPageToken"], validate=True)
    quoted = first["nextPageToken"].replace("=", "%3D").replace("+", "%2B").replace("/", "%2F")
    second = page("?pageSize=2&pageToken=" + quoted)
    same((names(second), second["totalSize"], second["nextPageToken"]), (["t1"], 3, ""))
    same(names(page("?pageToken=" + quoted)), ["t1"])
    for query in ("", "?pageSize=", "?pageSize=0", "?pageSize=-1", "?pageSize=%2B5", "?pageSize=007"):
        same(names(page(query)), ["t3", "t2", "t1"], query)
    same(names(page("?pageSize=1&pageSize=3")), ["t3"])
    raw.topic("t1", "DELETE").ok()
    same(names(page("?pageSize=2&pageToken=" + quoted)), [])
    for bad in ("x", "1.5", "+5", "99999999999999999999"):
        refused(raw.call("GET", "/v1/projects/%s/topics?pageSize=%s&pageToken=invalid" % (raw.project, bad)), E400A("Invalid page size"))
    for bad in ("invalid", "!!!", "YWJj"):
        refused(raw.call("GET", "/v1/projects/%s/topics?pageToken=%s" % (raw.project, bad)), E400A("Invalid page token"))
    empty = world.project()
    same(empty.call("GET", "/v1/projects/%s/subscriptions" % empty.project).body,
         b'{\n   "subscriptions": [],\n   "nextPageToken": "",\n   "totalSize": 0\n}')


def test_publishers_and_consumers_list_only_what_they_may_use(world):
    raw = world.project(["t1", "t2"], [("s1", "t1"), ("s2", "t1")])
    user = world.member(raw, "u", "publisher", "consumer")
    raw.topic("t2", "POST", {"authorized_users": [raw.project + "u"]}, "modifyAcl").ok()
    raw.subscription("s1", "POST", {"authorized_users": [raw.project + "u"]}, "modifyAcl").ok()
    topics = user.call("GET", raw.path("topics")).ok()
    same(([one["name"] for one in topics["topics"]], topics["totalSize"]), (["/projects/%s/topics/t2" % raw.project], 1))
    subs = user.call("GET", raw.path("subscriptions")).ok()
    same(([one["name"] for one in subs["subscriptions"]], subs["totalSize"]), (["/projects/%s/subscriptions/s1" % raw.project], 1))


# 14, 15: what a message may hold.

def test_attributes_survive_byte_for_byte_and_come_sorted(world):
    raw = world.project(["t"], [("s", "t")])
    attributes = {"b\"": "q\"q", "a\\": "back\\slash", "nl": "a\nb\r\tc", "Ω": "日本", "": "", "c": "\u0000\u0001\u001f\u007f", "h": "<&>\u2028"}
    raw.publish("t", {"attributes": attributes, "data": "YQ=="}).ok()
    answer = raw.pull("s")
    got = json.loads(answer.body, object_pairs_hook=list)
    pairs = dict(dict(dict(got)["receivedMessages"][0])["message"])["attributes"]
    same(pairs, sorted(attributes.items(), key=lambda pair: pair[0].encode()))
    assert b"\\u003c\\u0026\\u003e\\u2028" in answer.body, answer.body
    assert "日本".encode() in answer.body, answer.body


def test_data_is_kept_as_it_was_sent(world):
    raw = world.project(["t"], [("s", "t")])
    texts = ["msg 1", "YQ==", "YQ", "YR==", "not base64!", "", "YWI=\n", "日本", "////", "__--", "=", "a" * 100_001]
    raw.publish("t", *[{"data": text} for text in texts], {"attributes": {"k": "v"}}).ok()
    got = [one["message"] for one in raw.pull("s", 99).ok()["receivedMessages"]]
    same([one["data"] for one in got], texts + [""])
    same([list(one) for one in got], [["messageId", "data", "publishTime"]] * len(texts) + [["messageId", "attributes", "data", "publishTime"]])
    assert all(PUBLISH_TIME.match(one["publishTime"]) for one in got), got


def test_a_message_just_under_the_limit_passes_and_one_just_over_is_413(world):
    raw = world.project(["t"], [("s", "t")])
    # Without attributes and with a one-digit id a stored message takes 126 bytes on top of its data.
    same(raw.topic("t", "POST", {"messages": [{"data": "a" * 1_499_800}]}, "publish", timeout=60).ok(), {"messageIds": ["0"]})
    refused(raw.topic("t", "POST", {"messages": [{"data": "a" * 1_500_000}]}, "publish", timeout=60), E413)
    same(raw.offsets("s")["max"], 1)
    same(len(raw.pull("s", 1, timeout=60).ok()["receivedMessages"][0]["message"]["data"]), 1_499_800)


def test_one_oversized_message_refuses_the_whole_request(world):
    raw = world.project(["t"], [("s", "t")])
    body = {"messages": [{"data": "aaaa"}, {"data": "a" * 1_600_000}, {"data": "bbbb"}]}
    refused(raw.topic("t", "POST", body, "publish", timeout=60), E413)
    same(raw.offsets("s"), {"max": 0, "min": 0, "current": 0})


def test_many_messages_come_in_one_immediate_pull(world):
    raw = world.project(["t"], [("s", "t")])
    raw.publish("t", *[str(at) for at in range(500)]).ok()
    same([data for _, data in raw.pulled("s", 500)], [str(at).encode() for at in range(500)])


# Objects, to the byte.

def test_project_objects(world):
    raw = wire.Wire(world.server)
    creator = world.user("maker", service_roles=["service_admin"])
    answer = raw.as_user(creator["token"]).call("POST", "/v1/projects/shape", {"description": "a <b> & c", "name": "ignored"})
    made = answer.ok()
    same(answer.body, ('{\n   "name": "shape",\n   "created_on": "%s",\n   "modified_on": "%s",\n   "created_by": "maker",\n'
                       '   "description": "a \\u003cb\\u003e \\u0026 c"\n}' % (made["created_on"], made["modified_on"])).encode())
    same(answer.headers["content-type"], wire.JSON_TYPE)
    refused(raw.call("POST", "/v1/projects/shape", {}), E409E("Project"))
    for body in ("", "[]", "{", '{"description":5}'):
        refused(raw.call("POST", "/v1/projects/shape2", body), E400G("Project"))
        refused(raw.call("PUT", "/v1/projects/shape", body), E400B)
    raw.call("POST", "/v1/projects/shape3", {}).ok()
    refused(raw.call("PUT", "/v1/projects/shape", {"name": "shape3"}), E400A("invalid project name change, name already exists"))
    refused(raw.call("PUT", "/v1/projects/shape", {"name": "bad name"}), E400N("project"))
    same(raw.call("PUT", "/v1/projects/shape", {"description": ""}).ok()["description"], "a <b> & c")
    names = [one["name"] for one in raw.call("GET", "/v1/projects").ok()["projects"]]
    assert names.index("shape") < names.index("shape3"), names
    for name in ("shape", "shape3"):
        gone = raw.call("DELETE", "/v1/projects/" + name)
        same((gone.status, gone.body, gone.headers["content-type"]), (200, b"", wire.JSON_TYPE))


def test_subscription_objects(world):
    raw = world.project(["t"])
    answer = raw.subscribe("s", "t", ackDeadlineSeconds=0, pushConfig={})
    made = answer.ok()
    wanted = {"name": "/projects/%s/subscriptions/s" % raw.project, "topic": "/projects/%s/topics/t" % raw.project, "pushConfig": {
        "type": "", "pushEndpoint": "", "maxMessages": 0, "authorizationHeader": {}, "retryPolicy": {}, "verificationHash": "",
        "verified": False, "mattermostUrl": "", "mattermostUsername": "", "mattermostChannel": "", "base64Decode": False},
        "ackDeadlineSeconds": 10, "createdOn": made["createdOn"]}
    same(answer.body, json.dumps(wanted, indent=3).encode())
    same(raw.subscription("s").body, answer.body)
    same(raw.subscribe("long", "t", ackDeadlineSeconds=5000).ok()["ackDeadlineSeconds"], 5000)
    compact = '{"subscriptions":["/projects/%s/subscriptions/s","/projects/%s/subscriptions/long"]}' % (raw.project, raw.project)
    same(raw.call("GET", raw.path("topics", "t") + "/subscriptions").body, compact.encode())


def test_the_ack_mode_is_shown_only_when_individual(world):
    raw = world.project(["t"])
    assert "ackMode" not in raw.subscribe("c", "t", ackMode="cumulative").ok()
    assert "ackMode" not in raw.subscription("c").ok()
    same(raw.subscribe("i", "t", ackMode="individual").ok()["ackMode"], "individual")
    same(raw.subscription("i").ok()["ackMode"], "individual")
    refused(raw.subscribe("x", "t", ackMode="sometimes"), E400G("Subscription"))


def test_ack_deadlines_are_configured_within_their_range(world):
    raw = world.project(["t"], [("s", "t")])
    bad = E400G("ackDeadlineSeconds(needs value between 0 and 600)")
    for seconds in (0, 600, 77):
        answer = raw.subscription("s", "POST", {"ackDeadlineSeconds": seconds}, "modifyAckDeadline")
        same((answer.status, answer.body), (200, b""))
    for seconds in (-1, 601, "5", 1.5, []):
        refused(raw.subscription("s", "POST", {"ackDeadlineSeconds": seconds}, "modifyAckDeadline"), bad)
        refused(raw.subscription("missing", "POST", {"ackDeadlineSeconds": seconds}, "modifyAckDeadline"), bad)
    refused(raw.subscription("missing", "POST", {"ackDeadlineSeconds": 5}, "modifyAckDeadline"), E404("Subscription"))
    same(raw.subscription("s").ok()["ackDeadlineSeconds"], 77)


# Individual mode.

def individual(world, deadline=20):
    raw = world.project(["t"])
    raw.subscribe("s", "t", ackMode="individual", ackDeadlineSeconds=deadline).ok()
    return raw


def test_individual_leases_are_exclusive_and_acked_one_by_one(world):
    raw = individual(world)
    raw.publish("t", "a", "b", "c").ok()
    (first, a), = raw.pulled("s")
    (second, b), (third, c) = raw.pulled("s", 5)
    same((a, b, c, raw.pulled("s", 5)), (b"a", b"b", b"c", []))
    assert re.fullmatch(re.escape(raw.ack_id("s", "")) + r"1\.\d+", second), second
    same(raw.ack("s", [second]).ok(), {})
    same(raw.ack("s", [second]).ok(), {}, "acknowledged already counts as success")
    release = raw.subscription("s", "POST", {"ackIds": [first], "ackDeadlineSeconds": 0}, "modifyAckDeadline")
    same((release.status, release.body), (200, b""))
    (again, data), = raw.pulled("s", 5)
    same(data, b"a")
    assert again != first, "the lease was granted again under the same id"
    refused(raw.ack("s", [first, third]), E408)
    same(raw.ack("s", [third]).ok(), {}, "the valid id was applied")
    same(raw.ack("s", [again]).ok(), {})
    same(raw.offsets("s"), {"max": 3, "min": 0, "current": 3})


def test_an_expired_individual_lease_is_accepted_until_it_is_granted_again(world):
    raw = individual(world, deadline=1)
    raw.publish("t", "a", "b").ok()
    (first, _), (second, _) = raw.pulled("s", 2)
    again = runner.until(lambda: raw.pulled("s", 1), 10, "the first lease expires", every=0.1)
    same(again[0][1], b"a")
    refused(raw.ack("s", [first]), E408)
    same(raw.ack("s", [second]).ok(), {})
    same(raw.ack("s", [again[0][0]]).ok(), {})


def test_an_extended_individual_lease_lasts(world):
    raw = individual(world, deadline=1)
    raw.publish("t", "a", "b").ok()
    (first, _), (second, _) = raw.pulled("s", 2)
    raw.subscription("s", "POST", {"ackIds": [first], "ackDeadlineSeconds": 60}, "modifyAckDeadline").ok()
    back = runner.until(lambda: raw.pulled("s", 5), 10, "the lease that was not extended expires", every=0.1)
    same([data for _, data in back], [b"b"])
    same(raw.ack("s", [first]).ok(), {})


def test_a_waiting_individual_pull_takes_the_first_message(world):
    import threading
    raw = individual(world)
    timer = threading.Timer(0.3, raw.publish, ("t", "now"))
    timer.start()
    got = raw.pull("s", 10, "false").ok()["receivedMessages"]
    timer.join()
    same([base64.b64decode(one["message"]["data"]) for one in got], [b"now"])


# Deletion and re-creation of topics.

def test_a_topic_made_again_starts_from_zero_for_its_old_subscriptions(world):
    raw = world.project(["t"], [("s", "t")])
    raw.publish("t", *[str(at) for at in range(5)]).ok()
    raw.ack("s", [raw.pulled("s", 5)[-1][0]]).ok()
    same(raw.topic("t", "DELETE").body, b"")
    refused(raw.pull("s"), E409C("Subscription's topic doesn't exist"))
    refused(raw.publish("t", "x"), E404("Topic"))
    same(raw.subscription("s").ok()["topic"], "/projects/%s/topics/t" % raw.project)
    same({name: raw.offsets("s")[name] for name in ("max", "min")}, {"max": 0, "min": 0})
    same(raw.move("s", 0).status, 200)
    refused(raw.ack("s", [raw.ack_id("s", 4)]), E500("no ack pending"))
    raw.topic("t").ok()
    same(raw.publish("t", "new").ok(), {"messageIds": ["0"]})
    same(raw.pulled("s", 5), [(raw.ack_id("s", 0), b"new")])


# CORS, routes, and plain HTTP manners.

def test_cors_preflight(world):
    raw = wire.Wire(world.server, token=None)
    def options(path="/v1/anything/at/all", **headers):
        return raw.call("OPTIONS", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    origin = {"Origin": "https://admin.example.org"}
    plain = options()
    same((plain.status, plain.body, "access-control-allow-origin" in plain.headers), (200, b"", False))
    same((options(**origin).status, options(**origin).body), (400, b""))
    same((options(**origin, Access_Control_Request_Method="PATCH").status), 405)
    same(options(**origin, Access_Control_Request_Method="GET", Access_Control_Request_Headers="X-Evil").status, 403)
    good = options(**origin, Access_Control_Request_Method="POST", Access_Control_Request_Headers="x-api-key, content-type")
    same((good.status, good.body, good.headers["access-control-allow-origin"]), (200, b"", "*"))
    same(good.headers["access-control-allow-headers"], "X-Api-Key,Content-Type")
    assert "access-control-allow-methods" not in good.headers, good.headers
    put = options(**origin, Access_Control_Request_Method="PUT")
    same((put.status, put.headers["access-control-allow-methods"]), (200, "PUT"))
    got = raw.call("GET", "/v1/status", headers=origin)
    same((got.status, got.headers["access-control-allow-origin"]), (200, "*"))
    refused_one = raw.call("GET", "/v1/projects/x", headers=origin)
    same((refused_one.status, refused_one.headers["access-control-allow-origin"]), (401, "*"))


def test_unknown_routes_and_methods(world):
    raw = world.project(["t"], [("s", "t")])
    for method, path in (("GET", "/"), ("GET", "/v1"), ("GET", "/v1/nothing"), ("GET", "/v1/projects/"), ("DELETE", "/v1/status"),
                         ("GET", raw.path("topics", "a%2Fb")), ("POST", raw.path("topics", "t", "foo")), ("PATCH", raw.path("topics", "t")),
                         ("POST", raw.path("subscriptions", "s", "foo")), ("PUT", raw.path("subscriptions", "s", "pull") + "/x")):
        refused(raw.call(method, path), PAGE404)
    for method, path, variable in (("GET", raw.path("topics", "t", "foo"), "topic"), ("PUT", raw.path("topics", "t", "foo"), "topic"),
                                   ("DELETE", raw.path("topics", "t", "publish"), "topic"), ("POST", "/v1/users/u:foo", "user"),
                                   ("GET", raw.path("subscriptions", "s", "pull"), "subscription"), ("POST", "/v1/projects/P:foo", "project")):
        refused(raw.call(method, path, {}), E400N(variable))
    same((raw.call("POST", "/v1/version").status, raw.call("POST", "/v1/version").body), (405, b""))
    head = raw.call("HEAD", "/v1/status")
    same((head.status, head.body), (404, b""))
    moved = raw.call("GET", "/v1//status")
    same((moved.status, moved.headers.get("location")), (301, "/v1/status"))


def test_status_and_version_need_no_token(world):
    raw = wire.Wire(world.server, token=None)
    same(raw.call("GET", "/v1/status").body, b'{\n "status": "ok",\n "push_functionality": "disabled"\n}')
    shown = raw.call("GET", "/v1/version").ok()
    same([name for name in shown if name not in ("distro", "hostname")], ["build_time", "golang", "compiler", "os", "architecture"])
    viewer = world.user("viewer", service_roles=["admin_viewer"])["token"]
    assert "release" in raw.as_user(viewer).call("GET", "/v1/version").ok()
    same(raw.as_user(viewer).call("GET", "/v1/status?details=true").status, 200)
    refused(raw.call("GET", "/v1/status?details=true"), E403)
    plain = world.user("plainuser")["token"]
    refused(raw.as_user(plain).call("GET", "/v1/status?details=true"), E401)


def test_chunked_bodies_and_kept_connections(world):
    raw = world.project(["t"], [("s", "t")])
    body = b'{"messages":[{"data":"YQ=="}]}'
    line = wire.http.client.HTTPConnection("127.0.0.1", world.server.ports["ams"], timeout=10)
    with contextlib.closing(line):
        for at in range(3):
            headers = {"x-api-key": raw.token, "Transfer-Encoding": "chunked"}
            line.request("POST", raw.path("topics", "t", "publish"), iter([body[:9], body[9:]]), headers, encode_chunked=True)
            got = line.getresponse()
            same((got.status, json.loads(got.read())), (200, {"messageIds": [str(at)]}))


def test_plain_http_to_the_tls_port_does_no_harm(world):
    raw = wire.Wire(world.server)
    got = raw.raw(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", timeout=3, port="ams_tls")
    assert b"200 OK" not in got, got
    same(raw.call("GET", "/v1/status").status, 200)


def test_members_follow_the_contracts_errors(world):
    raw = world.project()
    path = "/v1/projects/%s/members/" % raw.project
    world.user(raw.project + "out")
    refused(raw.call("GET", path + "nobody"), E404("User"))
    refused(raw.call("GET", path + raw.project + "out"), E404("User"))
    for body in ("", "[]", '{"projects":{}}'):
        refused(raw.call("POST", path + "new", body), E400G("User"))
    refused(raw.call("POST", path + raw.project + "out", {}), E409E("User"))
    bad_role = {"projects": [{"project": raw.project, "roles": ["publisher", "king"]}]}
    refused(raw.call("POST", path + "new", bad_role), E400A("invalid role: king"))
    refused(raw.call("PUT", path + "nobody", {}), E404("User"))
    refused(raw.call("PUT", path + raw.project + "out", {}), E403M("User is not a member of the project"))
    refused(raw.call("POST", path + "nobody:add", {"roles": []}), E404("User"))
    refused(raw.call("POST", path + raw.project + "out:add", ""), E400B)
    same(raw.call("POST", path + raw.project + "out:add", {"roles": ["consumer"]}).ok()["name"], raw.project + "out")
    refused(raw.call("POST", path + raw.project + "out:add", {"roles": []}), E409C("User is already a member of the project"))
    same(raw.call("POST", path + raw.project + "out:remove").body, b"{}")
    refused(raw.call("POST", path + raw.project + "out:remove"), E403M("User is not a member of the project"))


def test_users_follow_the_contracts_errors(world):
    raw = world.project()
    refused(raw.call("GET", "/v1/users/nobody"), E404("User"))
    for method, path in (("PUT", "nobody"), ("POST", "nobody:refreshToken"), ("DELETE", "nobody")):
        refused(raw.call(method, "/v1/users/" + path, {}), E404("User"))
    refused(raw.call("GET", "/v1/users?project=nowhere"), E404("ProjectUUID"))
    name = raw.project + "u"
    same(world.user(name)["service_roles"], [])
    for body, wanted in (("", E400G("User")), ("[]", E400G("User")), ({}, E409E("User"))):
        refused(raw.call("POST", "/v1/users/" + name, body), wanted)
    one = {"project": raw.project, "roles": []}
    for body, text in (({"projects": [one, one]}, "duplicate reference of project " + raw.project),
                       ({"projects": [{"project": "nowhere", "roles": []}]}, "invalid project: nowhere"),
                       ({"projects": [{"project": raw.project, "roles": ["king"]}]}, "invalid role: king"),
                       ({"service_roles": ["king"]}, "invalid role: king")):
        refused(raw.call("POST", "/v1/users/" + name + "2", body), E400A(text))
        refused(raw.call("PUT", "/v1/users/" + name, body), E400A(text))
    refused(raw.call("PUT", "/v1/users/" + name, {"name": "sp ace"}), E400N("user"))
    world.user(name + "3")
    refused(raw.call("PUT", "/v1/users/" + name, {"name": name + "3"}), E400A("invalid user name change, name already exists"))
    changed = raw.call("PUT", "/v1/users/" + name, {"projects": [one], "service_roles": ["metrics_viewer"]}).ok()
    same((changed["projects"][0]["project"], changed["service_roles"]), (raw.project, ["metrics_viewer"]))
    cleared = raw.call("PUT", "/v1/users/" + name, {"projects": [], "service_roles": []}).ok()
    same(("projects" in cleared, cleared["service_roles"]), (False, []))


def test_access_lists_follow_the_contracts_errors(world):
    raw = world.project(["t"], [("s", "t")])
    world.member(raw, "a", "publisher")
    for kind, name, what in ((raw.topic, "t", "Topic"), (raw.subscription, "s", "Subscription")):
        for body in ("", "[]", {}, {"authorized_users": None}, {"authorized_users": "x"}):
            refused(kind(name, "POST", body, "modifyAcl"), E400G(what + " ACL"))
        refused(kind(name, "POST", {"authorized_users": ["x", raw.project + "a", "y"]}, "modifyAcl"), E404M("User(s): x, y do not exist"))
        refused(kind("missing", "POST", {"authorized_users": []}, "modifyAcl"), E404(what))
        refused(kind("missing", "GET", None, "acl"), E404(what))
        answer = kind(name, "POST", {"authorized_users": [raw.project + "a"]}, "modifyAcl")
        same((answer.status, answer.body), (200, b""))
        same(kind(name, "GET", None, "acl").body, ('{\n   "authorized_users": [\n      "%sa"\n   ]\n}' % raw.project).encode())
        kind(name, "POST", {"authorized_users": []}, "modifyAcl").ok()
        same(kind(name, "GET", None, "acl").body, b'{\n   "authorized_users": []\n}')


def test_a_deleted_project_takes_everything_with_it(world):
    raw = world.project(["t"], [("s", "t")])
    user = world.member(raw, "m", "publisher")
    raw.call("DELETE", "/v1/projects/" + raw.project).ok()
    refused(raw.publish("t", "x"), E404("project"))
    assert "projects" not in user.call("GET", "/v1/users/profile").ok(), "the membership survived its project"
    raw.call("POST", "/v1/projects/" + raw.project + "-again", {}).ok()
    raw.project += "-again"
    same(raw.call("GET", raw.path("topics")).ok()["totalSize"], 0)
