"""The Zaqar dialect on the real binary, request by request: every endpoint, and what only a real connection and a restart can show."""

import concurrent.futures
import hashlib
import hmac
import uuid

import wire
import zaqar
from runner import same


def world(_options):
    return zaqar.running("zaqar-wire")


def fresh(server):
    return zaqar.Client(server, project=uuid.uuid4().hex)


def test_versions_home_ping_and_health(server):
    client = fresh(server)
    versions = client.call("GET", "/", Client_ID=None, X_Project_ID=None)
    same(versions.of(300)["versions"][0]["id"], "2")
    home = client.call("GET", "/v2/")
    same((home.status, home.headers["content-type"]), (200, "application/json-home"))
    assert "rel/health" in home.json()["resources"]
    same(client.call("GET", "/v2/ping").status, 204)
    same(client.call("HEAD", "/v2/ping").status, 204)
    client.call("GET", "/v2/health").says(403, "You are not authorized to complete this action.")
    health = client.call("GET", "/v2/health", X_Roles="admin").of(200)
    same([step for step in health["operation_status"].values() if not step["succeeded"]], [])
    same((health["storage_reachable"], len(health["operation_status"])), (True, 8))


def test_every_endpoint_of_a_queue(server):
    client = fresh(server)
    q = client.queue()
    made = client.call("PUT", q, {"k": "v"})
    same((made.status, made.headers["location"], made.body), (201, q, b""))
    same(client.call("PUT", q).status, 204)
    same(client.call("GET", "/v2/queues?with_count=true").of(200)["count"], 1)
    same(client.call("PATCH", q, [{"op": "add", "path": "/metadata/n", "value": 1}], Content_Type=zaqar.PATCH).of(200)["n"], 1)
    ids = client.post({"a": "é"}, [1], None, ttl=300)
    page = client.call("GET", q + "/messages?echo=true&limit=2").of(200)
    same([message["id"] for message in page["messages"]], ids[:2])
    same([m["body"] for m in client.call("GET", page["links"][0]["href"]).of(200)["messages"]], [None])
    same(client.call("GET", q + "/messages/" + ids[0]).of(200)["body"], {"a": "é"})
    same(len(client.call("GET", q + "/messages?ids=" + ",".join(ids)).of(200)["messages"]), 3)
    claim = client.call("POST", q + "/claims?limit=1", {"ttl": 60, "grace": 60})
    location = claim.headers["location"]
    same(claim.of(201)["messages"][0]["href"].rsplit("=", 1)[1], location.rsplit("/", 1)[1])
    same(client.call("GET", location).of(200)["href"], location)
    same(client.call("PATCH", location, {"ttl": 90}).status, 204)
    same(client.call("GET", q + "/stats").of(200)["messages"]["claimed"], 1)
    client.call("DELETE", q + "/messages/" + ids[0]).says(403, "This message is claimed; it cannot be deleted without a valid claim ID.")
    same(client.call("DELETE", claim.json()["messages"][0]["href"]).status, 204)
    same(client.call("DELETE", location).status, 204)
    same(len(client.call("DELETE", q + "/messages?pop=1").of(200)["messages"]), 1)
    same(client.call("DELETE", q + "/messages?ids=" + ids[2]).status, 204)
    same(client.call("GET", q + "/stats").of(200)["messages"], {"claimed": 0, "free": 0, "total": 0})
    client.post(1)
    same(client.call("POST", q + "/purge").status, 204)
    same(client.call("GET", q + "/messages?echo=true").of(200), {"messages": [], "links": []})
    same(client.call("DELETE", q).status, 204)
    same(client.call("GET", "/v2/queues").of(200), {"queues": [], "links": []})


def test_a_signature_is_the_one_that_others_compute(server):
    client = fresh(server)
    shared = client.call("POST", client.queue("/share"), {"methods": ["POST", "GET"], "expires": "2100-01-01T00:00:00Z"}).of(200)
    text = r"\n".join([client.queue("/messages"), "GET,POST", client.project, "2100-01-01T00:00:00"])
    same(shared["signature"], hmac.new(zaqar.SECRET.encode(), text.encode(), hashlib.sha256).hexdigest())
    headers = {"URL_Signature": shared["signature"], "URL_Expires": shared["expires"], "URL_Methods": "GET,POST", "URL_Paths": shared["paths"][0]}
    same(client.call("GET", client.queue("/messages"), **headers).status, 200)
    same(client.call("GET", client.queue("/stats"), **headers).of(404), {"title": "404 Not Found"})
    same(client.call("GET", client.queue("/messages"), **dict(headers, X_Project_ID="other")).status, 404)


def test_a_chunked_body_is_read_and_one_beyond_the_limit_is_refused(server):
    client = fresh(server)
    pieces = iter([b'{"messages": [{"bo', b'dy": 1}]}'])
    head = {"Client-ID": client.client, "X-Project-ID": client.project}
    import contextlib
    import http.client
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.ports["zaqar"], timeout=30)) as line:
        line.request("POST", client.queue("/messages"), body=pieces, headers=head, encode_chunked=True)
        same(line.getresponse().status, 201)
    fits = '{"messages": [{"body": "%s"}]}'
    room = 262144 - len(fits % "")
    same(client.call("POST", client.queue("/messages"), fits % ("x" * room)).status, 201)
    client.call("POST", client.queue("/messages"), fits % ("x" * (room + 1))).says(400, "Message collection size is too large. Max size 262144")
    same(client.call("GET", client.queue("/stats")).of(200)["messages"]["total"], 2)


def test_a_name_that_somebody_pointed_here_is_refused(server):
    client = fresh(server)
    same(client.call("GET", "/v2/queues", Host="evil.example").status, 403)
    same(client.call("GET", "/v2/queues", Host="localhost:%d" % server.ports["zaqar"]).status, 200)


def test_ams_neither_lists_nor_reaches_what_is_zaqars(server):
    client = fresh(server)
    client.post(1)
    raw = wire.Wire(server)
    raw.call("POST", "/v1/projects/OWN", {}).ok()
    names = [project["name"] for project in raw.call("GET", "/v1/projects").ok()["projects"]]
    same(names, ["OWN"])
    for path in ("/v1/projects/zaqar:%s" % client.project, "/v1/projects/zaqar%%3A%s/topics" % client.project):
        same(raw.call("GET", path).status, 400)
    user = {"projects": [{"project": "zaqar:" + client.project, "roles": ["consumer"]}]}
    same(raw.call("POST", "/v1/users/intruder", user).status, 400)


def test_no_message_is_in_two_claims(server):
    client = fresh(server)
    ids = sum((client.post(*range(100), ttl=300) for _ in range(3)), [])

    def work(_worker):
        own, seen = zaqar.Client(server, client.project), []
        while True:
            answer = own.call("POST", client.queue("/claims?limit=7"), {"ttl": 300})
            if answer.status == 204:
                return seen
            claimed = answer.of(201)["messages"]
            seen += [message["id"] for message in claimed]
            for message in claimed[::2]:
                same(own.call("DELETE", message["href"]).status, 204)

    with concurrent.futures.ThreadPoolExecutor(8) as workers:
        seen = sum(workers.map(work, range(8)), [])
    same(sorted(seen), sorted(ids))
    figures = client.call("GET", client.queue("/stats")).of(200)["messages"]
    same(figures["free"], 0)
    same(figures["claimed"], client.call("GET", client.queue("/stats")).of(200)["messages"]["total"])


def test_everything_is_as_it_was_after_a_kill(server):
    client = fresh(server)
    q = client.queue()
    client.call("PUT", q, {"k": 1, "_default_message_delay": 600})
    ids = client.post("claimed", "free", delay=0, ttl=600) + client.post("delayed", ttl=900)
    claim = client.call("POST", q + "/claims?limit=1", {"ttl": 600, "grace": 600}).headers["location"]
    lost = client.call("POST", q + "/claims?limit=1", {"ttl": 600}).headers["location"]
    same(client.call("DELETE", lost).status, 204)
    before = [client.call("GET", path).of(200) for path in ("/v2/queues?detailed=true", q)]
    server.kill()
    server.start()
    same([client.call("GET", path).of(200) for path in ("/v2/queues?detailed=true", q)], before)
    same([message["id"] for message in client.call("GET", claim).of(200)["messages"]], ids[:1])
    same([m["body"] for m in client.call("GET", q + "/messages?echo=true").of(200)["messages"]], ["free"])
    same(len(client.call("GET", q + "/messages?echo=true&include_claimed=1&include_delayed=1").of(200)["messages"]), 3)
    figures = client.call("GET", q + "/stats").of(200)["messages"]
    same((figures["claimed"], figures["free"]), (1, 2))
    same([m["body"] for m in client.call("POST", q + "/claims").of(201)["messages"]], ["free"])
