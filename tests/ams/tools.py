"""The tools and other clients around the dialect, each in the pattern it is known to use.

Republisher, consumer, alerts, bulk producer, Nagios probe, push worker, admin UI, the project's own collection of requests.
"""

import base64
import json
import random
import string
import threading

from argo_ams_library import AmsException, AmsMessage, AmsServiceException

import runner
import scene
import server as servers
import wire
from runner import same


def world(_options):
    return scene.projects("tools")


def test_republisher_acks_only_the_last_id_of_a_batch(world):
    """Pulls in bulk, keeps what is for its sites, publishes each to the topic of its site, acknowledges the last id."""
    ams = world.project(["ingest", "SITE-A", "SITE-B"], [("in", "ingest"), ("a", "SITE-A"), ("b", "SITE-B")])
    sites = ["SITE-A", "SITE-B", "SITE-C"]
    for at in range(250):
        if at % 50 == 0:
            ams.publish("ingest", [AmsMessage(data=json.dumps({"tags": {"endpoint_group": sites[one % 3]}, "n": one}))
                                   for one in range(at, at + 50)])
    while True:
        consumed = ams.pull_sub("in", 100, return_immediately=True)
        if not consumed:
            break
        for _, message in consumed:
            payload = json.loads(message.get_data())
            site = payload["tags"]["endpoint_group"]
            if site in sites[:2]:
                ams.publish(site, AmsMessage(data=json.dumps({"body": payload["n"], "text": "true"})))
        ams.ack_sub("in", [consumed[-1][0]])
    same(ams.getoffsets_sub("in"), {"max": 250, "min": 0, "current": 250})
    for sub, first in (("a", 0), ("b", 1)):
        got = [json.loads(one.get_data())["body"] for one in ams.pullack_sub(sub, 500, return_immediately=True)]
        same(got, list(range(first, 250, 3)))


def test_republisher_recovers_from_a_failed_ack_by_pulling_again_and_acking_the_old_id(world):
    ams = world.project(["t"], [("s", "t")])
    ams.publish("t", [AmsMessage(data=str(at)) for at in range(10)])
    old = ams.pull_sub("s", 10, return_immediately=True)[-1][0]
    ams.modifyoffset_sub("s", 0)
    runner.raises(Exception, _raise_any, ams.ack_sub, "s", [old])
    ams.pull_sub("s", 10, return_immediately=True)
    same(ams.ack_sub("s", [old]), True)
    same(ams.getoffsets_sub("s", "current"), 10)


def _raise_any(call, *arguments):
    try:
        call(*arguments)
    except AmsException as error:
        raise Exception(str(error)) from error


def test_consumer_loop(world):
    ams = world.project(["t"], [("s", "t")])
    ams.publish("t", [AmsMessage(data=str(at)) for at in range(30)])
    got = []
    while True:
        batch = ams.pull_sub("s", 7, return_immediately=True)
        if not batch:
            break
        got += [message.get_data() for _, message in batch]
        ams.ack_sub("s", [batch[-1][0]])
    same(got, [str(at).encode() for at in range(30)])


def test_alerts_are_taken_formatted_and_published_one_by_one(world):
    ams = world.project(["events", "alerts"], [("e", "events"), ("a", "alerts")])
    ams.publish("events", [AmsMessage(data=json.dumps({"type": "endpoint", "status": status})) for status in ("OK", "CRITICAL")])
    while True:
        batch = ams.pull_sub("e", 1, return_immediately=True)
        if not batch:
            break
        ams.publish("alerts", AmsMessage(data="status " + json.loads(batch[0][1].get_data())["status"]))
        ams.ack_sub("e", [batch[0][0]])
    same([one.get_data() for one in ams.pullack_sub("a", 9, return_immediately=True)], [b"status OK", b"status CRITICAL"])


def test_bulk_producer_makes_its_projects_with_the_query_key_and_publishes_500_at_once(world):
    raw = wire.Wire(world.server, token=None)
    for project in ("test_bulk_push_project_0", "test_bulk_push_project_1", "test_bulk_push_project_0"):
        answer = raw.call("POST", "/v1/projects/%s?key=%s" % (project, servers.SERVICE_TOKEN), {"description": "bulk"})
        assert answer.status in (200, 409), answer
    ams = scene.service(world.server, "test_bulk_push_project_0")
    ams.create_topic("test_bulk_push_topic_0")
    ams.create_sub("test_bulk_push_topic_0_sub_0", "test_bulk_push_topic_0")
    twice = base64.b64encode(bytes(range(256)) * 4).decode()
    got = ams.publish("test_bulk_push_topic_0", [AmsMessage(data=twice, attributes={"n": str(at)}) for at in range(500)])
    same(got["messageIds"], [str(at) for at in range(500)])
    same(len(ams.pullack_sub("test_bulk_push_topic_0_sub_0", 500, return_immediately=True)), 500)


def probe(ams, dice):
    """What the Nagios probe does in one run: what it sent and what it got, as sets."""
    topic, sub, letters, patience = "nagios_sensor_topic", "nagios_sensor_sub", string.ascii_letters + string.digits, {"timeout": 60}
    if ams.has_topic(topic, **patience):
        ams.delete_topic(topic, **patience)
    if ams.has_sub(sub, **patience):
        ams.delete_sub(sub, **patience)
    ams.create_topic(topic, **patience)
    ams.create_sub(sub, topic, **patience)
    message, batch, sent, got, ids = AmsMessage(), [], set(), set(), []
    for _ in range(99):
        text, key, value = ("".join(dice.choices(letters, k=size)) for size in (500, 4, 8))
        batch.append(message(data=text, attributes={key: value}))
        sent.add((text, key, value))
    ams.publish(topic, batch, **patience)
    for ack_id, one in ams.pull_sub(sub, 99, True, **patience):
        ((key, value),) = one.get_attr().items()
        got.add((one.get_data().decode("utf-8"), key, value))
        ids.append(ack_id)
    ams.ack_sub(sub, ids, **patience)
    return sent, got


def test_nagios_probe_wants_its_99_messages_in_one_answer_whatever_an_earlier_run_left(world):
    ams = world.project()
    dice = random.Random(99)
    for ends_well in (True, False, False, True):
        # Each run is a process of its own.
        sent, got = probe(scene.service(world.server, ams.project), dice)
        same((len(sent), got == sent), (99, True))
        if ends_well:
            ams.delete_topic("nagios_sensor_topic")
            ams.delete_sub("nagios_sensor_sub")
    same((ams.has_topic("nagios_sensor_topic"), ams.has_sub("nagios_sensor_sub")), (False, False))


def test_push_worker_reads_its_subscription_and_takes_one_at_a_time_with_the_query_key(world):
    ams = world.project(["t"], [("s", "t")])
    ams.publish("t", [AmsMessage(data="1"), AmsMessage(data="2")])
    raw = wire.Wire(world.server, token=None, project=ams.project)
    key = "?key=" + servers.SERVICE_TOKEN
    same(raw.call("GET", raw.path("subscriptions", "s") + key).ok()["pushConfig"]["pushEndpoint"], "")
    for wanted in (b"1", b"2"):
        body = {"maxMessages": "1", "returnImmediately": "true"}
        one = raw.call("POST", raw.path("subscriptions", "s", "pull") + key, body).ok()["receivedMessages"][0]
        same(base64.b64decode(one["message"]["data"]), wanted)
        raw.call("POST", raw.path("subscriptions", "s", "acknowledge") + key, {"ackIds": [one["ackId"]]}).ok()


def test_admin_ui_logs_in_by_profile_from_a_browser(world):
    ams = world.project()
    made = ams.create_project_member(ams.project + "-ui", roles=["project_admin"])
    raw = wire.Wire(world.server, made.token, ams.project)
    origin = {"Origin": "https://ui.example.org"}
    ask = {**origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-api-key"}
    same(raw.call("OPTIONS", "/v1/users/profile", headers=ask, token=None).status, 200)
    profile = raw.call("GET", "/v1/users/profile", headers=origin)
    same((profile.ok()["name"], profile.headers["access-control-allow-origin"]), (ams.project + "-ui", "*"))


def test_the_projects_collection_of_requests(world):
    """Project, admin, member, topic, access, subscription, access, publish plain text, pull, ack, pull, delete."""
    root = wire.Wire(world.server, project="cicd-project")
    root.call("POST", "/v1/projects/cicd-project", {"description": "collection"}).ok()
    admin_body = {"email": "a@e.org", "projects": [{"project": "cicd-project", "roles": ["project_admin"]}]}
    admin = root.as_user(root.call("POST", "/v1/users/cicd-admin", admin_body).ok()["token"])
    member_body = {"email": "m@e.org", "projects": [{"project": "cicd-project", "roles": ["publisher", "consumer"]}]}
    member = root.as_user(admin.call("POST", "/v1/projects/cicd-project/members/cicd-user", member_body).ok()["token"])
    same(admin.topic("cicd-topic").ok()["name"], "/projects/cicd-project/topics/cicd-topic")
    admin.topic("cicd-topic", "POST", {"authorized_users": ["cicd-user"]}, "modifyAcl").ok()
    made = admin.subscribe("cicd-sub", "cicd-topic", pushConfig={}, ackDeadlineSeconds=300).ok()
    same((made["name"], made["ackDeadlineSeconds"]), ("/projects/cicd-project/subscriptions/cicd-sub", 300))
    admin.subscription("cicd-sub", "POST", {"authorized_users": ["cicd-user"]}, "modifyAcl").ok()
    body = {"messages": [{"attributes": {"test": "1"}, "data": "msg 1"}, {"attributes": {"test": "2"}, "data": "msg 2"}]}
    same(member.topic("cicd-topic", "POST", body, "publish").ok(), {"messageIds": ["0", "1"]})
    for at in range(2):
        (one,) = member.pull("cicd-sub", 1).ok()["receivedMessages"]
        same(one["ackId"], "projects/cicd-project/subscriptions/cicd-sub:%d" % at)
        same(one["message"]["data"], "msg %d" % (at + 1))
        if at == 0:
            same(member.ack("cicd-sub", [one["ackId"]]).body, b"{}")
    for path in ("projects/cicd-project/subscriptions/cicd-sub", "projects/cicd-project/topics/cicd-topic",
                 "users/cicd-user", "users/cicd-admin", "projects/cicd-project"):
        answer = root.call("DELETE", "/v1/" + path)
        same((path, answer.status, answer.body), (path, 200, b""))


def test_many_clients_at_once_each_get_their_own(world):
    """Sixteen library clients, each on its own topic, at the same time."""
    ams = world.project(["t%d" % at for at in range(16)], [("s%d" % at, "t%d" % at) for at in range(16)])
    failures = []

    def client(number):
        own = scene.service(world.server, ams.project)
        try:
            for at in range(5):
                own.publish("t%d" % number, [AmsMessage(data="%d/%d" % (number, at))])
            got = [one.get_data() for one in own.pullack_sub("s%d" % number, 10, return_immediately=True)]
            same(got, [b"%d/%d" % (number, at) for at in range(5)])
        except Exception as error:
            failures.append("client %d: %s" % (number, error))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(failures, [])


def test_a_client_without_token_or_certificate_is_told_so(world):
    error = runner.raises(AmsServiceException, scene.service, world.server, "x", "")
    same(error.code, 400)
