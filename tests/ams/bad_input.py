"""Bad input, as a table: who sends what, the exact answer, and that nothing changed.

What the service holds is read through the API before and after each row and must be equal. Then what is no HTTP at all, huge and
slow requests, after which the service must still serve.
"""

import contextlib
import json
import socket
import time

import runner
import server as servers
import wire
from runner import same
from wire import E401, E403, E403M, E404, E404M, E409C, E409E, E413, E500, E400A, E400B, E400G, E400N, PAGE404

P = "/v1/projects/P"
T = P + "/topics/t"
S = P + "/subscriptions/s"
I = P + "/subscriptions/i"
DEEP = "[" * 100_000
DEEP_FIELD = '{"x":' * 20_000
NOT_A_MEMBER = E403M("User is not a member of the project")
NO_REGISTRATION = E404("User registration")
R = "/v1/registrations"
ACK0 = "projects/P/subscriptions/s:0"
LATIN1 = b'{"messages":[{"data":"\xe9\xe8"}]}'
LONE = b'{"messages":[{"data":"a","attributes":{"k":"\\ud800"}}]}'

# (who, method, path, body, wanted); wanted None: any 4xx with the envelope.
ROWS = [
    # Publish: JSON, types, encodings.
    *[("admin", "POST", T + ":publish", body, E400G("Message")) for body in (
        "", "{", "[]", '"x"', "5", '{"messages":5}', '{"messages":{}}', '{"messages":[5]}', '{"messages":["x"]}', '{"messages":[[]]}',
        '{"messages":[{"data":5}]}', '{"messages":[{"data":["a"]}]}', '{"messages":[{"attributes":[]}]}',
        '{"messages":[{"attributes":{"k":5}}]}', '{"messages":[{"attributes":{"k":{}}}]}', '{"messages":[{"attributes":[{"key":"k","value":"v"}]}]}',
        '{"messages":[]} trailing', '{"messages":[]}{}', "{'messages':[]}", '{"messages":[{"data":"a"},]}', '{"messages":[{"data":"a\x01"}]}',
        '{"messages":[{"data":"a\\x"}]}', '{"messages":[{"data":"unended', "\x00", DEEP, DEEP_FIELD)],
    ("nobody", "POST", T + ":publish", {"messages": []}, E401),
    ("stranger", "POST", T + ":publish", {"messages": []}, E401),
    ("unknown", "POST", T + ":publish", {"messages": []}, E401),
    ("consumer", "POST", T + ":publish", {"messages": []}, E403),
    ("outsider", "POST", T + ":publish", {"messages": [{"data": "YQ=="}]}, E403),
    # The access list is looked at before the body, the topic before both.
    ("outsider", "POST", T + ":publish", "{", E403),
    ("admin", "POST", P + "/topics/missing:publish", "{", E404("Topic")),
    ("admin", "POST", T + ":publish", {"messages": [{"data": "a" * 1_500_000}]}, E413),
    ("admin", "POST", T + ":publish", {"messages": [{"data": "a" * 1_400_000}] * 9}, E413),
    # Pull.
    *[("admin", "POST", S + ":pull", body, E400G("Pull Parameters")) for body in ("", "{", "[]", '{"maxMessages":[]}', '{"maxMessages":{}}', DEEP)],
    ("publisher", "POST", S + ":pull", {}, E403),
    ("outsider", "POST", S + ":pull", {}, E403),
    ("nobody", "POST", S + ":pull", {}, E401),
    ("admin", "POST", P + "/subscriptions/missing:pull", "{", E404("Subscription")),
    ("admin", "POST", P + "/subscriptions/orphan:pull", {}, E409C("Subscription's topic doesn't exist")),
    # Acknowledge: nothing is pending on s.
    *[("admin", "POST", S + ":acknowledge", body, E400A("Invalid ack parameter")) for body in (
        "", "{", "[]", '{"ackIds":"x"}', '{"ackIds":[5]}', '{"ackIds":{}}', '{"ackIds":[[]]}', DEEP)],
    *[("admin", "POST", S + ":acknowledge", {"ackIds": ids}, E400A("Invalid ack id")) for ids in (
        [], [""], ["x"], [ACK0 + "0 "], ["projects/P/subscriptions/other:0"], ["projects/Q/subscriptions/s:0"], [ACK0, "x"],
        ["projects/P/subscriptions/s:9223372036854775808"], ["projects/P/subscriptions/s:-1"], ["projects/P/subscriptions/s:0.5"],
        ["projects/P/topics/s:0"], ["/projects/P/subscriptions/s:0"])],
    ("admin", "POST", S + ":acknowledge", {"ackIds": [ACK0]}, E500("no ack pending")),
    ("admin", "POST", S + ":acknowledge", {"ackIds": ["projects/P/subscriptions/s:9223372036854775806"]}, E500("no ack pending")),
    ("publisher", "POST", S + ":acknowledge", {"ackIds": [ACK0]}, E403),
    ("admin", "POST", P + "/subscriptions/missing:acknowledge", {"ackIds": ["projects/P/subscriptions/missing:0"]}, E404("Subscription")),
    # Acknowledge in individual mode: never granted, malformed fences.
    *[("admin", "POST", I + ":acknowledge", {"ackIds": ["projects/P/subscriptions/i:" + tail]}, E400A("Invalid ack id")) for tail in (
        "", ".", "0.", ".1", "0.x", "-1.1", "0.-1", "0.1.2", "99999999999999999999.1")],
    # Deadlines and offsets.
    *[("admin", "POST", S + ":modifyAckDeadline", body, E400G("ackDeadlineSeconds(needs value between 0 and 600)")) for body in (
        "", "{", "[]", '{"ackDeadlineSeconds":-1}', '{"ackDeadlineSeconds":601}', '{"ackDeadlineSeconds":"10"}', '{"ackDeadlineSeconds":1e1}',
        '{"ackDeadlineSeconds":10.0}', '{"ackDeadlineSeconds":99999999999999999999}')],
    *[("admin", "POST", S + ":modifyOffset", body, E400G("Offset")) for body in ("", "{", "[]", '{"offset":"1"}', '{"offset":1.0}', '{"offset":99999999999999999999}')],
    *[("admin", "POST", S + ":modifyOffset", {"offset": offset}, E400A("Offset out of bounds")) for offset in (-1, 4, 5, 9223372036854775807)],
    ("publisher", "POST", S + ":modifyOffset", {"offset": 0}, E403),
    *[("admin", "GET", S + ":timeToOffset?time=" + text, None, E400A("Time is not in valid Zulu format.")) for text in (
        "", "now", "2020-01-01", "2020-01-01T00:00:00Z", "2020-01-01T24:00:00.000Z", "2020-02-30T00:00:00.000Z", "%00", "%ff")],
    ("admin", "GET", S + ":timeToOffset?time=2999-01-01T00:00:00.000Z", None,
     E409C("Timestamp is out of bounds for the subscription's topic/partition")),
    # Topics and subscriptions.
    ("admin", "PUT", T, None, E409E("Topic")),
    *[("admin", "PUT", P + "/topics/new", body, E400B) for body in ("{", "[]", '{"schema":5}', '{"other":5}', '{} x', DEEP)],
    ("admin", "PUT", P + "/topics/new", {"schema": "nonsense"}, E400A("wrong schema name declaration")),
    ("admin", "PUT", P + "/topics/new", {"schema": "projects/P/schemas/missing"}, E404("Schema")),
    ("publisher", "PUT", P + "/topics/new", None, E403),
    ("admin", "DELETE", P + "/topics/missing", None, E404("Topic")),
    ("admin", "PUT", S, {"topic": "projects/P/topics/t"}, E409E("Subscription")),
    *[("admin", "PUT", P + "/subscriptions/new", body, E400G("Subscription")) for body in (
        "", "{", "[]", '{"topic":5}', '{"topic":"projects/P/topics/t","ackDeadlineSeconds":"10"}', '{"topic":"projects/P/topics/t","ackDeadlineSeconds":-1}',
        '{"topic":"projects/P/topics/t","ackDeadlineSeconds":1.5}', '{"topic":"projects/P/topics/t","pushConfig":[]}',
        '{"topic":"projects/P/topics/t","ackMode":"never"}', '{"topic":"projects/P/topics/t","ackMode":5}', DEEP_FIELD)],
    *[("admin", "PUT", P + "/subscriptions/new", {"topic": topic}, E400N("Topic")) for topic in (
        "", "t", "projects/P/topics", "/projects/P/topics/t", "projects/P/topics/t/x")],
    ("admin", "PUT", P + "/subscriptions/new", {}, E400N("Topic")),
    ("admin", "PUT", P + "/subscriptions/new", {"topic": "projects/P/topics/missing"}, E404("Topic")),
    ("admin", "PUT", P + "/subscriptions/new", {"topic": "projects/P/topics/"}, E404("Topic")),
    ("admin", "DELETE", P + "/subscriptions/missing", None, E404("Subscription")),
    # Names and routes.
    *[("admin", "PUT", P + "/topics/" + name, None, E400N("topic")) for name in ("a.b", "a%20b", "%C3%A9", "a+b", "a%00b", "..%2e", "a~b", "%FF")],
    *[("nobody", "GET", "/v1/" + path, None, E400N(what)) for path, what in (
        ("projects/a.b", "project"), ("users/a.b", "user"), ("users:byToken/a.b", "token"), ("users:byUUID/a.b", "uuid"))],
    *[("admin", method, path, None, PAGE404) for method, path in (
        ("GET", "/"), ("GET", "/v2/projects"), ("GET", "/v1/projects/P/"), ("PATCH", T), ("POST", T), ("TRACE", T), ("GET", T + "/nothing"),
        ("GET", P + "/topics/a%2Fb"), ("HEAD", "/v1/nothing"), ("POST", S + ":fly"), ("WHATEVER", S))],
    ("admin", "GET", "/v1/projects/missing", None, E404("project")),
    # Projects, users, members.
    ("admin", "POST", "/v1/projects/P", {}, E409E("Project")),
    *[("admin", "POST", "/v1/projects/new", body, E400G("Project")) for body in ("", "{", "[]", '{"description":[]}', DEEP)],
    *[("admin", "PUT", P, body, E400B) for body in ("", "{", "[]", '{"name":5}')],
    *[("admin", "POST", "/v1/users/new", body, E400G("User")) for body in (
        "", "{", "[]", '{"email":5}', '{"projects":{}}', '{"projects":[{"project":5}]}', '{"service_roles":"x"}', '{"service_roles":[5]}', DEEP)],
    ("admin", "POST", "/v1/users/new", {"service_roles": ["emperor"]}, E400A("invalid role: emperor")),
    ("admin", "POST", "/v1/users/new", {"projects": [{"project": "missing"}]}, E400A("invalid project: missing")),
    *[("admin", "POST", P + "/members/new", body, E400G("User")) for body in ("", "{", "[]", '{"projects":5}')],
    *[("admin", "POST", T + ":modifyAcl", body, E400G("Topic ACL")) for body in ("", "{", "[]", "{}", '{"authorized_users":[5]}', '{"authorized_users":"x"}')],
    *[("admin", "POST", S + ":modifyAcl", body, E400G("Subscription ACL")) for body in ("", "{", "[]", "{}", '{"authorized_users":[5]}')],
    ("admin", "GET", "/v1/users?pageSize=x", None, E400A("Invalid page size")),
    ("admin", "GET", "/v1/users?pageToken=x", None, E400A("Invalid page token")),
    ("projectadmin", "GET", "/v1/users", None, E401),
    ("projectadmin", "DELETE", "/v1/users/outsider", None, E401),
    ("consumer", "DELETE", P, None, E403),
    ("admin", "PUT", P, {"name": "Q"}, E400A("invalid project name change, name already exists")),
    ("admin", "PUT", P, {"name": "bad name"}, E400N("project")),
    ("admin", "DELETE", "/v1/projects/missing", None, E404("project")),
    # Users.
    *[("admin", method, path, None, E404("User")) for method, path in (
        ("GET", "/v1/users/missing"), ("DELETE", "/v1/users/missing"), ("POST", "/v1/users/missing:refreshToken"),
        ("GET", "/v1/users:byToken/" + "ab" * 32), ("GET", "/v1/users:byUUID/" + "0" * 32), ("GET", "/v1/users:byUUID/x"))],
    ("admin", "PUT", "/v1/users/missing", {}, E404("User")),
    *[("admin", "PUT", "/v1/users/outsider", body, E400G("User")) for body in ("", "{", "[]", '{"name":5}', '{"projects":[5]}', '{"service_roles":{}}')],
    ("admin", "PUT", "/v1/users/outsider", {"name": "stranger"}, E400A("invalid user name change, name already exists")),
    ("admin", "PUT", "/v1/users/outsider", {"name": "sp ace"}, E400N("user")),
    ("admin", "POST", "/v1/users/outsider", {"service_roles": ["emperor"]}, E409E("User")),
    *[("admin", method, path, {"projects": [{"project": "P"}, {"project": "P"}]}, E400A("duplicate reference of project P")) for method, path in (
        ("POST", "/v1/users/new"), ("PUT", "/v1/users/outsider"))],
    *[("admin", "PUT", "/v1/users/outsider", {"projects": [entry]}, E400A(text)) for entry, text in (
        ({"project": "missing"}, "invalid project: missing"), ({"project": "P", "roles": ["king"]}, "invalid role: king"))],
    ("admin", "GET", "/v1/users?project=missing&pageSize=x", None, E404("ProjectUUID")),
    *[(who, "GET", "/v1/users/" + path, None, E401) for who in ("nobody", "unknown", "admin") for path in ("profile", "usageReport")],
    *[(who, "GET", "/v1/users/outsider", None, wanted) for who, wanted in (("nobody", E401), ("unknown", E401), ("consumer", E401), ("viewer", E403))],
    # Members.
    *[("admin", method, P + "/members/" + path, body, wanted) for method, path, body, wanted in (
        ("GET", "missing", None, E404("User")), ("GET", "stranger", None, E404("User")),
        ("POST", "stranger", {}, E409E("User")), ("POST", "new", {"projects": [{"project": "P", "roles": ["king"]}]}, E400A("invalid role: king")),
        ("PUT", "missing", {}, E404("User")), ("PUT", "outsider", "{", E400G("User")), ("PUT", "stranger", {}, NOT_A_MEMBER),
        ("PUT", "outsider", {}, NOT_A_MEMBER), ("PUT", "outsider", {"projects": [{"project": "Q", "roles": []}]}, NOT_A_MEMBER),
        ("PUT", "outsider", {"projects": [{"project": "P", "roles": ["king"]}]}, E400A("invalid role: king")),
        ("POST", "missing:add", "{", E404("User")), ("POST", "stranger:add", "", E400B), ("POST", "stranger:add", '{"roles":5}', E400B),
        ("POST", "stranger:add", {"roles": ["king"]}, E400A("invalid role: king")),
        ("POST", "outsider:add", {"roles": ["king"]}, E409C("User is already a member of the project")),
        ("POST", "missing:remove", None, E404("User")), ("POST", "stranger:remove", None, NOT_A_MEMBER),
        ("POST", "outsider:fly", None, E400N("user")))],
    *[("consumer", method, P + "/members" + path, None, E403) for method, path in (
        ("GET", ""), ("GET", "/outsider"), ("POST", "/new"), ("PUT", "/outsider"), ("POST", "/stranger:add"), ("POST", "/outsider:remove"))],
    ("stranger", "GET", P + "/members", None, E401),
    # Pages and access lists.
    *[("admin", "GET", path + query, None, E400A("Invalid page " + what)) for path in (P + "/topics", P + "/subscriptions", P + "/members", "/v1/users")
      for query, what in (("?pageSize=1x", "size"), ("?pageSize=99999999999999999999", "size"), ("?pageSize=1.5&pageToken=x", "size"),
                          ("?pageSize=+5", "size"), ("?pageToken=%21", "token"), ("?pageToken=YWJj", "token"))],
    *[("admin", "POST", path + ":modifyAcl", {"authorized_users": ["outsider", "stranger", "missing"]},
       E404M("User(s): stranger, missing do not exist")) for path in (T, S)],
    ("admin", "POST", P + "/topics/missing:modifyAcl", {"authorized_users": []}, E404("Topic")),
    ("admin", "POST", P + "/subscriptions/missing:modifyAcl", {"authorized_users": []}, E404("Subscription")),
    ("admin", "GET", P + "/topics/missing:acl", None, E404("Topic")),
    ("admin", "GET", P + "/subscriptions/missing:acl", None, E404("Subscription")),
    ("admin", "GET", P + "/topics/missing/subscriptions", None, E404("Topic")),
    *[("publisher", "POST", path + ":modifyAcl", {"authorized_users": []}, E403) for path in (T, S)],
    # Registrations.
    *[("registrar", "POST", R, body, E400G("User")) for body in (
        "", "{", "[]", "{}", "null", '{"name":""}', '{"name":null}', '{"name":5}', '{"name":["x"]}', '{"name":"x","email":{}}',
        '{"name":"x","activation_token":5}', '{"name":"x"} x', DEEP, DEEP_FIELD)],
    *[("registrar", "POST", R, {"name": name}, E400N("user")) for name in ("a b", "a/b", "é", ".", "a:b", "x" * 769)],
    ("registrar", "POST", R, {"name": "outsider"}, E409E("User")),
    ("admin", "POST", R + "/{taken}:accept", None, E409E("User")),
    *[("admin", method, R + "/" + path, None, NO_REGISTRATION) for method, path in (
        ("GET", "x"), ("GET", "0" * 32), ("DELETE", "x"), ("DELETE", "0" * 32), ("POST", "x:accept"), ("POST", "0" * 32 + ":accept"),
        ("POST", "0" * 32 + ":decline"), ("POST", "{declined}:accept"), ("POST", "{declined}:decline"))],
    *[("admin", "POST", R + "/{pending}:decline", body, E400B) for body in ("", "{", "[]", '"x"', '{"comment":5}', '{"other":{}}', DEEP)],
    *[("admin", method, R + path, None, PAGE404) for method, path in (("PUT", ""), ("PUT", "/{pending}"), ("POST", "/{pending}"), ("POST", "/{pending}:fly"))],
    ("admin", "GET", R + "/a.b", None, E400N("uuid")),
    *[("registrar", method, R + path, None, E403) for method, path in (
        ("GET", ""), ("GET", "/{pending}"), ("DELETE", "/{pending}"), ("POST", "/{pending}:accept"), ("POST", "/{pending}:decline"))],
    *[(who, "POST", R, {"name": "new"}, wanted) for who, wanted in (("nobody", E401), ("unknown", E401), ("projectadmin", E401), ("viewer", E403))],
    # Metrics, averages, status.
    *[("viewer", "GET", "/v1/metrics/va_metrics?" + query, None, wanted) for query, wanted in (
        ("start_date=x&end_date=y", E400A("Start date is not in valid format")), ("start_date=2024-1-1", E400A("Start date is not in valid format")),
        ("start_date=2024-01-01T00:00:00Z", E400A("Start date is not in valid format")), ("end_date=2023-02-29", E400A("End date is not in valid format")),
        ("start_date=2024-01-02&end_date=2024-01-01&projects=missing", E400A("Start date cannot be after the end date")),
        ("projects=P,missing", E404("Project missing")), ("projects=P,,Q", E404("Project ")))],
    ("consumer", "GET", "/v1/users/usageReport?start_date=x", None, E400A("Start date is not in valid format")),
    *[(who, "GET", "/v1/metrics" + path, None, wanted) for path in ("", "/va_metrics") for who, wanted in (
        ("nobody", E401), ("unknown", E401), ("projectadmin", E401), ("registrar", E403))],
    *[("outsider", "GET", P + path + ":metrics", None, E403) for path in ("/topics/t", "/topics/missing", "/subscriptions/s", "/subscriptions/missing")],
    ("projectadmin", "GET", P + "/topics/missing:metrics", None, E404("Topic")),
    ("projectadmin", "GET", P + "/subscriptions/missing:metrics", None, E404("Subscription")),
    *[(who, "GET", path + ":metrics", None, wanted) for who, path, wanted in (
        ("consumer", T, E403), ("publisher", S, E403), ("publisher", P, E403), ("stranger", P, E401), ("nobody", P, E401),
        ("admin", "/v1/projects/missing", E404("project")))],
    *[(who, "GET", "/v1/status?details=true", None, wanted) for who, wanted in (("nobody", E403), ("unknown", E403), ("admin", E403), ("viewer", E401))],
]


class World:
    """A server with one project of everything, and its people."""

    def __init__(self, server):
        self.server = server
        self.raw = raw = wire.Wire(server, project="P")
        raw.call("POST", "/v1/projects/P", {"description": "d"}).ok()
        raw.call("POST", "/v1/projects/Q", {}).ok()
        self.people = {"admin": raw, "nobody": raw.as_user(None), "unknown": raw.as_user("f" * 64)}
        for name, project, roles in (("publisher", "P", ["publisher"]), ("consumer", "P", ["consumer"]), ("projectadmin", "P", ["project_admin"]),
                                     ("outsider", "P", ["publisher", "consumer"]), ("stranger", "Q", ["project_admin"])):
            made = raw.call("POST", "/v1/users/" + name, {"projects": [{"project": project, "roles": roles}]}).ok()
            self.people[name] = raw.as_user(made["token"])
        for name, role in (("registrar", "register_admin"), ("viewer", "metrics_viewer")):
            self.people[name] = raw.as_user(raw.call("POST", "/v1/users/" + name, {"service_roles": [role]}).ok()["token"])
        # A user took the name of one of them meanwhile.
        self.registrations = {name: raw.call("POST", R, {"name": name}).ok()["uuid"] for name in ("pending", "declined", "taken")}
        raw.call("POST", R + "/%s:decline" % self.registrations["declined"], {"comment": "no"}).ok()
        raw.call("POST", "/v1/users/taken", {}).ok()
        for topic in ("t", "gone"):
            raw.topic(topic).ok()
        raw.subscribe("s", "t").ok()
        raw.subscribe("i", "t", ackMode="individual").ok()
        raw.subscribe("orphan", "gone").ok()
        raw.topic("gone", "DELETE").ok()
        for kind, name, user in (("topics", "t", "publisher"), ("subscriptions", "s", "consumer")):
            raw.call("POST", raw.path(kind, name, "modifyAcl"), {"authorized_users": [user]}).ok()
        raw.publish("t", "one", {"data": "not base64", "attributes": {"k": "v"}}, "three").ok()

    def holds(self):
        """All that the service holds and tells, but not times of last use."""
        paths = ["/v1/projects", R, "/v1/users?details=true", P + "/topics", P + "/subscriptions", P + "/members?details=true", T + ":acl", S + ":acl",
                 S + ":offsets", I + ":offsets", P + "/subscriptions/orphan:offsets", T + "/subscriptions"]
        return [(path, self.raw.call("GET", path).body) for path in paths]

    def filled(self, path):
        """A path with the ids of registrations in the place of their names."""
        for name, uuid in self.registrations.items():
            path = path.replace("{%s}" % name, uuid)
        return path

    def same_as(self, before, about):
        for (path, was), (_, now) in zip(before, self.holds()):
            assert was == now, "%s: GET %s changed from\n  %s\nto\n  %s" % (about, path, was.decode(), now.decode())


@contextlib.contextmanager
def world(_options):
    with servers.running("bad-input") as server:
        yield World(server)


def test_every_row_of_bad_input_gets_its_answer_and_changes_nothing(world):
    before = world.holds()
    failures = []
    for at, (who, method, path, body, wanted) in enumerate(ROWS):
        shown = body if isinstance(body, str) else json.dumps(body)
        about = "row %d: %s %s %s %.80s" % (at, who, method, path, shown)
        try:
            answer = world.people[who].call(method, world.filled(path), body, timeout=60)
            if method == "HEAD":
                answer, wanted = answer._replace(body=b""), (wanted[0], b"")
            wire.refused(answer, wanted)
            world.same_as(before, about)
        except Exception as error:
            failures.append("%s\n  %s: %s" % (about, type(error).__name__, error))
            before = world.holds()
    assert not failures, "%d of %d rows:\n%s" % (len(failures), len(ROWS), "\n".join(failures))


def test_the_messages_are_still_the_ones_published(world):
    got = world.raw.pull("s", 9).ok()["receivedMessages"]
    same([one["message"]["data"] for one in got], ["b25l", "not base64", "dGhyZWU="])
    world.raw.move("s", 0).ok()


def test_bytes_that_are_no_utf8_follow_the_original(world):
    """Go's decoder replaces what is no UTF-8, and lone surrogates, by U+FFFD; nothing is refused and nothing breaks."""
    raw = world.raw
    raw.topic("utf").ok()
    raw.subscribe("utf", "utf").ok()
    for body in (LATIN1, LONE):
        same(raw.call("POST", raw.path("topics", "utf", "publish"), body).status, 200)
    first, second = [one["message"] for one in raw.pull("utf", 2).ok()["receivedMessages"]]
    same((first["data"], second["attributes"]), ("\ufffd\ufffd", {"k": "\ufffd"}))
    raw.subscription("utf", "DELETE").ok()
    raw.topic("utf", "DELETE").ok()


def test_a_body_beyond_the_limit_is_413_and_is_not_read_to_its_end(world):
    before = world.holds()
    head = "POST %s:publish HTTP/1.1\r\nHost: x\r\nx-api-key: %s\r\nContent-Length: %d\r\n\r\n" % (T, world.raw.token, 1 << 40)
    with contextlib.closing(socket.create_connection(("127.0.0.1", world.server.ports["ams"]), timeout=20)) as line:
        line.sendall(head.encode() + b'{"messages":[' + b" " * 100_000)
        got = line.recv(65536)
    assert b" 413 " in got.split(b"\r\n")[0], got[:200]
    world.same_as(before, "a huge body")


def test_a_chunked_body_without_end_is_cut_off(world):
    before = world.holds()
    head = "POST %s:publish HTTP/1.1\r\nHost: x\r\nx-api-key: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % (T, world.raw.token)
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    end = time.monotonic() + 30
    with contextlib.closing(socket.create_connection(("127.0.0.1", world.server.ports["ams"]), timeout=20)) as line:
        line.sendall(head.encode())
        with contextlib.suppress(ConnectionError, socket.timeout):
            while time.monotonic() < end:
                line.sendall(chunk)
            raise AssertionError("the server still reads a body that was refused long ago")
    world.same_as(before, "an endless body")
    assert world.server.resident() < 500 << 20, "resident memory %d MiB" % (world.server.resident() >> 20)


def test_what_is_no_http_is_refused_and_harms_nobody(world):
    before = world.holds()
    for request in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 1000,
                    b"GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", b"GET /v1/status HTTP/1.1\r\nBad Header: x\r\n\r\n",
                    b"GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
                    b"POST " + T.encode() + b":publish HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n"):
        got = world.raw.raw(request, timeout=2)
        assert b" 200 " not in got.split(b"\r\n")[0], (request[:40], got[:200])
    world.same_as(before, "no HTTP")


def test_heads_beyond_the_limit_are_refused(world):
    for request in (b"GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 1_000_000 + b"\r\n\r\n",
                    b"GET /v1/status?" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                    b"GET /v1/status HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % at for at in range(50_000)) + b"\r\n"):
        with contextlib.suppress(ConnectionError):
            got = world.raw.raw(request, timeout=5)
            assert b" 200 " not in got.split(b"\r\n")[0], got[:200]
    same(world.raw.call("GET", "/v1/status").status, 200)


def test_connections_that_send_nothing_do_not_hold_others_up(world):
    idle = [socket.create_connection(("127.0.0.1", world.server.ports["ams"]), timeout=5) for _ in range(300)]
    try:
        for line in idle[:150]:
            line.sendall(b"POST /v1/proj")
        begun = time.monotonic()
        same(world.raw.call("GET", "/v1/status").status, 200)
        assert time.monotonic() - begun < 5, "idle connections held a request up"
    finally:
        for line in idle:
            line.close()


def test_a_client_that_leaves_in_the_middle_changes_nothing(world):
    before = world.holds()
    head = "POST %s:publish HTTP/1.1\r\nHost: x\r\nx-api-key: %s\r\nContent-Length: 500\r\n\r\n" % (T, world.raw.token)
    for _ in range(20):
        with contextlib.closing(socket.create_connection(("127.0.0.1", world.server.ports["ams"]), timeout=5)) as line:
            line.sendall(head.encode() + b'{"messages":[{"data":"YQ=="}]}')
    same(world.raw.call("GET", "/v1/status").status, 200)
    world.same_as(before, "half a request")


def test_no_token_is_in_the_log(world):
    token = world.people["publisher"].token
    raw = world.raw
    raw.call("GET", "/v1/users:byToken/" + token).ok()
    raw.call("GET", "/v1/users/profile?key=" + token, token=None).ok()
    raw.call("GET", "/v1/users:byToken/" + "ab" * 32)
    raw.call("GET", "/v1/status?key=" + "cd" * 32, token=None)
    runner.until(lambda: raw.call("GET", "/v1/status").status == 200, 5, "the server serves")
    log = world.server.all_output()
    for secret in (token, servers.SERVICE_TOKEN, "ab" * 32, "cd" * 32):
        assert secret.encode() not in log, "a token is in the log"


def test_wrong_settings_refuse_to_start_and_say_which(_world):
    for setting, word in (("store.urll=x", b"urll"), ("nonsense.key=1", b"nonsense"), ("listen.ams=nowhere", b"listen.ams"),
                          ("store.url=ftp:x", b"store.url"), ("limits.publish_bytes=-1", b"publish_bytes"), ("ams.auth_option=maybe", b"auth_option")):
        with servers.running("wrong-settings", [setting], start=False) as server:
            server.launch()
            code = server.ended(20)
            assert code not in (0, None) and code > 0, "%s: ended with %s\n%s" % (setting, code, server.tail())
            assert word in server.output(), "%s is not named:\n%s" % (setting, server.tail())
            assert b"panicked" not in server.output(), server.tail()


def test_a_folder_in_use_and_a_port_in_use_refuse_to_start(world):
    with servers.running("in-use", start=False) as second:
        second.store = world.server.store
        second.launch()
        code = second.ended(20)
        assert code > 0 and b"panicked" not in second.output(), "the folder was shared (%s):\n%s" % (code, second.tail())
        assert second.store.encode() in second.output(), "the folder is not named:\n%s" % second.tail()
        second.store = second.root + "/other"
        second.ports = {"ams": world.server.ports["ams"]}
        second.launch()
        code = second.ended(20)
        assert code > 0 and str(world.server.ports["ams"]).encode() in second.output(), "the port is not named:\n%s" % second.tail()
    same(world.raw.call("GET", "/v1/status").status, 200)
