"""One project in two dialects: what OpenStack's client posts, ARGO's client pulls, and back; and who may not."""

import base64
import contextlib
import json
import uuid

import keystone
import requests
import scene
import wire
import zaqar
from argo_ams_library import AmsMessage
from runner import raises, same, until
from zaqar_keystone import Bearer, client
from zaqarclient.transport import errors

SHARED = "SHARED"
DENIED = "You are not authorized to complete this action."


def settings(ids):
    return ["projects.bind=%s=%s" % (ids["projects"]["alpha"], SHARED),
            "projects.roles=operator=project_admin, member=publisher, member=consumer", "zaqar.signed_url_secret=" + zaqar.SECRET]


@contextlib.contextmanager
def world(_options):
    with keystone.cloud("cross-dialect", settings) as cloud:
        cloud.ams = scene.project(cloud.server, SHARED)
        cloud.raw = wire.Wire(cloud.server)
        user = {"projects": [{"project": SHARED, "roles": ["publisher", "consumer"]}], "email": "ann@example.org"}
        cloud.raw.call("POST", "/v1/users/" + cloud.ids["users"]["ann"], user).ok()
        yield cloud


def admit(cloud, topic, *people):
    """Sets a topic's access list to these people of Keystone."""
    names = [cloud.ids["users"][name] for name in people]
    cloud.raw.call("POST", "/v1/projects/%s/topics/%s:modifyAcl" % (SHARED, topic), {"authorized_users": names}).ok()
    until(lambda: cloud.raw.call("GET", "/v1/projects/%s/topics/%s:acl" % (SHARED, topic)).ok()["authorized_users"] == names, 5, "the list is in force")


def fresh(cloud, *people):
    """A topic with a subscription, and these people in its list."""
    name = "t" + uuid.uuid4().hex
    cloud.ams.create_topic(name)
    cloud.ams.create_sub(name + "-sub", name)
    admit(cloud, name, *people)
    return name


def pulled(cloud, topic):
    """What AMS delivers next, acknowledged."""
    got = cloud.ams.pull_sub(topic + "-sub", 100, True)
    if got:
        cloud.ams.ack_sub(topic + "-sub", [got[-1][0]])
    return [message for _, message in got]


def test_what_zaqar_posts_ams_pulls(cloud):
    name = fresh(cloud, "ann")
    bodies = [{"n": 1, "text": "é"}, [1, 2.50], "plain", None]
    client(cloud).queue(name).post([{"body": body, "ttl": 300} for body in bodies])
    got = pulled(cloud, name)
    same([json.loads(scene.raw(message)) for message in got], bodies)
    same([message.get_attr() or {} for message in got], [{}] * 4)


def test_what_ams_publishes_zaqar_lists_claims_and_deletes(cloud):
    name = fresh(cloud, "ann")
    cloud.ams.publish(name, [AmsMessage(data="hello", attributes={"k": "v"}), AmsMessage(data=json.dumps({"a": 1}), attributes={})])
    queue = client(cloud).queue(name)
    texts = [base64.b64encode(text).decode() for text in (b"hello", b'{"a": 1}')]
    same([message.body for message in queue.messages(echo=True)], texts)
    same([message.ttl for message in queue.messages(echo=True)], [1209600] * 2)
    claim = queue.claim(ttl=60, grace=60)
    for message in claim:
        message.delete()
    same(queue.stats["messages"]["total"], 0)
    same(len(pulled(cloud, name)), 2)


def test_each_side_consumes_for_itself(cloud):
    name = fresh(cloud, "ann")
    queue = client(cloud).queue(name)
    queue.post([{"body": n, "ttl": 300} for n in range(3)])
    same([message.body for message in queue.pop(count=3)], [0, 1, 2])
    same(len(pulled(cloud, name)), 3)
    cloud.ams.publish(name, AmsMessage(data="x"))
    same(len(pulled(cloud, name)), 1)
    same(queue.stats["messages"]["free"], 1)


def test_a_queue_made_by_an_administrator_is_a_topic(cloud):
    name = "q" + uuid.uuid4().hex
    olga = client(cloud, "olga")
    olga.queue(name, force_create=True)
    dotted = "a." + name
    # The library itself refuses such names.
    same(Bearer(cloud, "olga", "alpha").call("PUT", "/v2/queues/" + dotted).status, 201)
    names = [topic["name"].rsplit("/", 1)[1] for topic in cloud.raw.call("GET", "/v1/projects/%s/topics" % SHARED).ok()["topics"]]
    same((name in names, dotted in names), (True, False))
    admit(cloud, name, "ann")
    same([q.name for q in client(cloud).queues()[0] if name in q.name], [name])
    olga.queue(name).delete()
    same(cloud.raw.call("GET", "/v1/projects/%s/topics/%s" % (SHARED, name)).status, 404)


def test_who_is_in_no_list_or_has_no_role_is_refused(cloud):
    mine, others = fresh(cloud, "ann"), fresh(cloud)
    ann, eve, ben = Bearer(cloud, "ann", "alpha"), Bearer(cloud, "eve", "alpha"), Bearer(cloud, "ben", "beta")
    post = {"messages": [{"body": 1}]}
    same(ann.call("POST", ann.queue("/messages", mine), post).status, 201)
    for method, rest, body in [("POST", "/messages", post), ("GET", "/messages", None), ("POST", "/claims", {}), ("GET", "/stats", None),
                               ("DELETE", "/messages?pop=1", None), ("GET", "", None)]:
        ann.call(method, ann.queue(rest, others), body).says(403, DENIED)
        eve.call(method, eve.queue(rest, mine), body).says(403, DENIED)
    for method, rest, body in [("DELETE", "", None), ("POST", "/purge", {}), ("POST", "/share", {}), ("PUT", "", None)]:
        ann.call(method, ann.queue(rest, mine), body).says(403, DENIED)
    ann.call("PATCH", ann.queue("", mine), [], Content_Type=zaqar.PATCH).says(403, DENIED)
    ann.call("POST", ann.queue("/messages", "t" + uuid.uuid4().hex), post).says(403, DENIED)
    ann.call("PUT", ann.queue("", "t" + uuid.uuid4().hex)).says(403, DENIED)
    eve.call("GET", "/v2/queues").says(403, DENIED)
    same([queue["name"] for queue in ann.call("GET", "/v2/queues?limit=20").of(200)["queues"] if queue["name"] == others], [])
    same(ben.call("GET", ben.queue("/messages?echo=true", mine)).of(200)["messages"], [])
    raises(errors.ForbiddenError, client(cloud, "eve").queue(mine).post, {"body": 1})


def test_an_administrator_shares_what_an_url_then_opens(cloud):
    name = fresh(cloud)
    olga = Bearer(cloud, "olga", "alpha")
    shared = olga.call("POST", olga.queue("/share", name), {"methods": ["GET", "POST"]}).of(200)
    head = {"URL_Signature": shared["signature"], "URL_Expires": shared["expires"], "URL_Methods": "GET,POST",
            "URL_Paths": shared["paths"][0]}
    guest = zaqar.Client(cloud.server, project=shared["project"])
    same(guest.call("POST", guest.queue("/messages", name), {"messages": [{"body": "guest"}]}, **head).status, 201)
    same([scene.raw(message) for message in pulled(cloud, name)], [b'"guest"'])


def test_without_keystone_a_bound_project_is_closed_and_a_strange_name_too(_cloud):
    with zaqar.running("cross-noauth", ["projects.bind=p1=" + SHARED, "projects.roles=admin=project_admin"]) as server:
        scene.project(server, SHARED, ["t1"])
        guest = zaqar.Client(server, project="p1")
        for method, path in [("GET", "/v2/queues"), ("GET", "/v2/queues/t1/messages"), ("DELETE", "/v2/queues/t1")]:
            guest.call(method, path, X_Roles="admin").says(403, DENIED)
        free = zaqar.Client(server, project="p2")
        same(free.call("PUT", "/v2/queues/t1").status, 201)
        same(free.call("GET", "/v2/queues", Host="rebound.example").status, 403)
        same(requests.get("http://localhost:%d/v2/ping" % server.ports["zaqar"], headers={"Client-ID": free.client, "X-Project-ID": "p2"}, timeout=30).status_code, 204)
