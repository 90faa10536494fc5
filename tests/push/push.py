"""Push on the real binary, to endpoints over TLS that take, refuse, stall, lie, redirect, and never end.

Each test has a topic and subscriptions of its own; one server and one endpoint serve all.
"""

import contextlib
import json
import os
import time
import types
import urllib.request

from argo_ams_library import AmsMessage

import scene
import server as servers
import webhook
import wire
from runner import same, until
from wire import E400A, E403, E409C, refused

SECONDS = 15
TIMEOUT = 2
WORKER = "77" * 32


@contextlib.contextmanager
def world(options):
    with servers.folder("push-certificates") as folder:
        files = webhook.certificate(folder, "known")
        token = os.path.join(folder, "worker.token")
        with open(token, "w") as file:
            file.write(WORKER + "\n")
        settings = ["push.enabled=true", "push.allow_networks=127.0.0.0/8", "push.ca_file=" + files[0], "push.timeout_seconds=%d" % TIMEOUT,
                    "ams.push_worker_token_file=" + token, "store.segment_bytes=16777216"]
        with webhook.open_at(files) as hook, servers.running("push", settings) as server:
            raw = wire.Wire(server, project="P")
            raw.call("POST", "/v1/projects/P", {}).ok()
            yield types.SimpleNamespace(server=server, hook=hook, raw=raw, folder=folder)


def config(url, count=1, **more):
    return {"type": "http_endpoint", "pushEndpoint": url, "maxMessages": count, "retryPolicy": {"type": "linear", "period": 20}, **more}


def subscribe(world, name, path, topic=None, count=1, **more):
    """A verified subscription that is pushed to this path; its object."""
    topic = topic or name
    world.raw.topic(topic)
    made = world.raw.subscribe(name, topic, pushConfig=config(world.hook.url(path), count), **more).ok()
    verify(world, name, made)
    return made


def verify(world, name, made=None):
    made = made or world.raw.subscription(name).ok()
    world.hook.hash = made["pushConfig"]["verificationHash"]
    same(world.raw.subscription(name, "POST", verb="verifyPushEndpoint").ok(), {})


def status(world, name):
    return world.raw.subscription(name).ok()["pushStatus"]


def arrive(world, path, wanted):
    until(lambda: world.hook.texts(path) == wanted, SECONDS, lambda: "%s got %s" % (path, world.hook.texts(path)))


def acknowledged(world, name, offset):
    until(lambda: world.raw.offsets(name)["current"] == offset, SECONDS, lambda: "%s at %s: %s" % (name, world.raw.offsets(name), status(world, name)))


def test_an_endpoint_gets_single_messages_after_it_is_verified_and_not_before(world):
    raw, hook = world.raw, world.hook
    raw.topic("one").ok()
    made = raw.subscribe("one", "one", pushConfig=config(hook.url("/take/one"))).ok()
    push = made["pushConfig"]
    same((push["verified"], push["authorizationHeader"]["type"], len(push["verificationHash"])), (False, "autogen", 64))
    raw.publish("one", "a", {"data": "Yg==", "attributes": {"k": "<v>"}}).ok()
    hook.hash = "wrong"
    refused(raw.subscription("one", "POST", verb="verifyPushEndpoint"), wire.error(401, "Endpoint verification failed.Wrong verification hash", "UNAUTHORIZED"))
    time.sleep(0.2)
    same(hook.at("/take/one"), [])
    verify(world, "one", made)
    refused(raw.subscription("one", "POST", verb="verifyPushEndpoint"), E409C("Push endpoint is already verified"))
    arrive(world, "/take/one", ["a", "b"])
    acknowledged(world, "one", 2)
    first, second = hook.at("/take/one")
    body = json.loads(second.body)
    same(body["subscription"], "/projects/P/subscriptions/one")
    same({name: value for name, value in body["message"].items() if name != "publishTime"}, {"messageId": "1", "attributes": {"k": "<v>"}, "data": "Yg=="})
    same((first.headers["authorization"], first.headers["content-type"]), (push["authorizationHeader"]["value"], "application/json"))
    same(first.peer, second.peer, "one connection")
    same(status(world, "one"), "Subscription /projects/P/subscriptions/one is currently active")


def test_more_than_one_message_comes_as_a_list_and_text_decoded(world):
    raw, hook = world.raw, world.hook
    raw.topic("many").ok()
    raw.subscribe("many", "many", pushConfig=config(hook.url("/take/many"), 3, base64Decode=True, authorizationHeader={"type": "disabled"})).ok()
    raw.publish("many", "a", "b", "c", "d").ok()
    verify(world, "many")
    acknowledged(world, "many", 4)
    bodies = [json.loads(got.body) for got in hook.at("/take/many")]
    same([[item["message"]["data"] for item in body["messages"]] for body in bodies], [["a", "b", "c"], ["d"]])
    assert "authorization" not in hook.at("/take/many")[0].headers
    push = raw.subscription("many").ok()["pushConfig"]
    same((push["base64Decode"], push["authorizationHeader"]), (True, {"type": "disabled"}))


def test_each_status_that_means_taken_acknowledges(world):
    for name, path in [("s200", "/status/200"), ("s201", "/status/201"), ("s204", "/status/204"), ("s102", "/interim")]:
        subscribe(world, name, path, topic="taken")
    world.raw.publish("taken", "a").ok()
    for name in ("s200", "s201", "s204", "s102"):
        acknowledged(world, name, 1)


def test_a_refused_message_comes_again_and_the_reason_shows_until_it_is_taken(world):
    subscribe(world, "flaky", "/flaky/6")
    world.raw.publish("flaky", "a", "b").ok()
    shown = until(lambda: "Could not send" in status(world, "flaky") and status(world, "flaky"), SECONDS, "the reason shows", every=0.005)
    assert shown[4] == shown[7] == "-" and shown[10] == "T" and shown[19:] == " - Could not send message, not yet\n", shown
    arrive(world, "/flaky/6", ["a"] * 7 + ["b"])
    until(lambda: status(world, "flaky").endswith("is currently active"), SECONDS, "the reason goes")


def test_a_long_answer_is_cut_in_the_status(world):
    subscribe(world, "fault", "/fault")
    world.raw.publish("fault", "a").ok()
    shown = until(lambda: "Could not send" in status(world, "fault") and status(world, "fault"), SECONDS, "the reason shows")
    assert 1024 <= shown.count("x") <= 1100, len(shown)
    # Ten failures later the endpoint is left alone for a while, and that shows too.
    until(lambda: "circuit open" in status(world, "fault"), SECONDS, lambda: status(world, "fault")[-100:])
    calm = len(world.hook.at("/fault"))
    same(calm, 10)


def test_hostile_endpoints_fail_clearly_and_delay_nobody(world):
    raw, hook = world.raw, world.hook
    kinds = ["slow", "close", "garbage", "redirect", "status/404"]
    for kind in kinds:
        subscribe(world, "bad-" + kind.replace("/", "-"), "/" + kind + "/hostile", topic="hostile")
    subscribe(world, "endless", "/huge/hostile", topic="hostile")
    subscribe(world, "good", "/take/hostile", topic="hostile")
    raw.publish("hostile", "0").ok()
    until(lambda: hook.at("/slow/hostile"), SECONDS, "the slow one is asked")
    begun = time.monotonic()
    for n in range(1, 11):
        raw.publish("hostile", str(n)).ok()
    arrive(world, "/take/hostile", [str(n) for n in range(11)])
    assert time.monotonic() - begun < 5
    # The head said 200: the message was taken, whatever comes after it.
    until(lambda: raw.offsets("endless")["current"] >= 1, SECONDS, "the endless answer counts")
    words = {"slow": "no answer within 2 s", "close": "the request failed", "garbage": "the request failed", "redirect": "Could not send message, ", "status/404": "Could not send message, "}
    for kind in kinds:
        name = "bad-" + kind.replace("/", "-")
        until(lambda: words[kind] in status(world, name), SECONDS, lambda: "%s: %s" % (name, status(world, name)))
        same(raw.offsets(name)["current"], 0, name)
    same(hook.at("/private"), [])
    assert world.server.resident() < 400 << 20
    for kind in kinds + ["endless"]:
        raw.subscription("bad-" + kind.replace("/", "-") if kind != "endless" else kind, "DELETE").ok()


def test_a_wrong_certificate_gets_nothing(world):
    with webhook.open_at(webhook.certificate(world.folder, "unknown")) as stranger:
        world.raw.topic("certificate").ok()
        made = world.raw.subscribe("certificate", "certificate", pushConfig=config(stranger.url("/take"))).ok()
        stranger.hash = made["pushConfig"]["verificationHash"]
        answer = world.raw.subscription("certificate", "POST", verb="verifyPushEndpoint")
        same(answer.status, 401)
        assert answer.json()["error"]["message"].startswith("Endpoint verification failed.cannot connect"), answer.body
        same(stranger.got, [])


def test_addresses_that_are_not_public_are_refused_in_every_form(world):
    raw = world.raw
    raw.topic("guard").ok()
    targets = ["10.0.0.1", "192.168.1.1", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]", "[fe80::1]", "0.0.0.0", "167772161", "[2002:a00:1::]"]
    for n, target in enumerate(targets):
        raw.subscribe("guard%d" % n, "guard", pushConfig=config("https://%s:1/x" % target)).ok()
        answer = raw.subscription("guard%d" % n, "POST", verb="verifyPushEndpoint", timeout=10)
        same(answer.status, 401)
        assert "push.allow_networks" in answer.json()["error"]["message"], (target, answer.body)
    made = raw.subscribe("chat-guard", "guard", pushConfig={"type": "mattermost", "mattermostUrl": "http://10.0.0.1/hook", "retryPolicy": {"period": 20}}).ok()
    assert made["pushConfig"]["verified"]
    raw.publish("guard", "a").ok()
    until(lambda: "push.allow_networks" in status(world, "chat-guard"), SECONDS, lambda: status(world, "chat-guard"))


def test_bad_configurations_are_refused_and_change_nothing(world):
    raw = world.raw
    raw.topic("wrong").ok()
    for push, wanted in [
        ({"type": "mail", "pushEndpoint": "https://a"}, "Push configuration type can only be of 'http_endpoint' or 'mattermost'"),
        ({"type": "", "pushEndpoint": "https://a"}, "Push configuration type can only be of 'http_endpoint' or 'mattermost'"),
        ({"maxMessages": 2}, "Push configuration type can only be of 'http_endpoint' or 'mattermost'"),
        (config("http://a.example/"), "Push endpoint should be addressed by a valid https url"),
        (config("https://"), "Push endpoint should be addressed by a valid https url"),
        (config("https://a.example/", authorizationHeader={"type": "basic"}), "Authorization header type can only be of 'autogen' or 'disabled' type"),
        ({**config("https://a.example/"), "retryPolicy": {"type": "never"}}, "Retry policy can only be of 'linear' or 'slowstart' type"),
        ({"type": "mattermost"}, "Field mattermostUrl cannot be empty"),
    ]:
        refused(raw.subscribe("wrong", "wrong", pushConfig=push), E400A(wanted))
        same(raw.subscription("wrong").status, 404)
    raw.subscribe("pulled", "wrong").ok()
    refused(raw.subscription("pulled", "POST", verb="verifyPushEndpoint"), E409C("Subscription is not in http push mode"))
    refused(raw.subscription("pulled", "POST", {"pushConfig": {"type": "mail"}}, "modifyPushConfig"), E400A("Push configuration type can only be of 'http_endpoint' or 'mattermost'"))
    same(raw.subscription("pulled").ok()["pushConfig"]["type"], "")


def test_a_changed_configuration_takes_effect_at_once(world):
    raw, hook = world.raw, world.hook
    first = subscribe(world, "change", "/take/first")["pushConfig"]
    raw.publish("change", "0").ok()
    arrive(world, "/take/first", ["0"])
    modify = lambda push: same(raw.subscription("change", "POST", {"pushConfig": push}, "modifyPushConfig").ok(), {})
    # The same endpoint stays verified; the header is made anew when it is asked for.
    modify(config(hook.url("/take/first"), 0, authorizationHeader={"type": "autogen"}))
    push = raw.subscription("change").ok()["pushConfig"]
    same((push["verified"], push["verificationHash"], push["maxMessages"]), (True, first["verificationHash"], 1))
    assert push["authorizationHeader"]["value"] != first["authorizationHeader"]["value"]
    raw.publish("change", "1").ok()
    arrive(world, "/take/first", ["0", "1"])
    same(hook.at("/take/first")[1].headers["authorization"], push["authorizationHeader"]["value"])
    acknowledged(world, "change", 2)
    # Another one waits until it is verified.
    modify({**config(hook.url("/take/second")), "retryPolicy": {"type": "slowstart"}})
    push = raw.subscription("change").ok()
    assert "pushStatus" not in push and not push["pushConfig"]["verified"] and push["pushConfig"]["retryPolicy"] == {"type": "slowstart"}
    raw.publish("change", "2").ok()
    time.sleep(0.2)
    verify(world, "change")
    arrive(world, "/take/second", ["2"])
    same(hook.texts("/take/first"), ["0", "1"])
    # None: it is pulled. The access list follows.
    same(raw.subscription("change", verb="acl").ok(), {"authorized_users": ["push_worker_0"]})
    acknowledged(world, "change", 3)
    modify({})
    same(raw.subscription("change", verb="acl").ok(), {"authorized_users": []})
    raw.publish("change", "3").ok()
    same([data for _, data in raw.pulled("change")], [b"3"])
    # Moved back, all come again.
    subscribe(world, "back", "/take/back", topic="change")
    raw.publish("change", "4").ok()
    arrive(world, "/take/back", ["4"])
    acknowledged(world, "back", 5)
    raw.move("back", 1).ok()
    arrive(world, "/take/back", ["4", "1", "2", "3", "4"])
    same(raw.subscription("back", "DELETE").ok(), {"message": "Subscription /projects/P/subscriptions/back deactivated"})


def test_a_chat_gets_the_text(world):
    raw, hook = world.raw, world.hook
    raw.topic("chat").ok()
    push = {"type": "mattermost", "mattermostUrl": hook.url("/take/chat"), "mattermostUsername": "bot", "base64Decode": True, "retryPolicy": {"period": 20}}
    made = raw.subscribe("chat", "chat", pushConfig=push).ok()["pushConfig"]
    same((made["verified"], made["authorizationHeader"], made["maxMessages"], made["base64Decode"]), (True, {}, 1, True))
    raw.publish("chat", "hello", "there").ok()
    acknowledged(world, "chat", 2)
    same([json.loads(got.body) for got in hook.at("/take/chat")], [{"text": "hello", "username": "bot"}, {"text": "there", "username": "bot"}])


def test_the_worker_is_a_user_who_sees_what_is_pushed(world):
    raw = world.raw
    subscribe(world, "seen", "/status/404/seen")
    worker = raw.as_user(WORKER)
    raw.publish("seen", "a").ok()
    user = worker.call("GET", "/v1/users:byToken/" + WORKER).ok()
    same(user["name"], "push_worker_0")
    assert "seen" in [name for entry in user["projects"] for name in entry["subscriptions"]], user
    same(worker.subscription("seen").ok()["pushConfig"]["type"], "http_endpoint")
    same([data for _, data in worker.pulled("seen")], [b"a"])
    consumer = raw.call("POST", "/v1/projects/P/members/consumer", {"projects": [{"project": "P", "roles": ["consumer", "project_admin"]}]}).ok()
    refused(raw.as_user(consumer["token"]).pull("seen"), E403)
    same(raw.call("GET", "/v1/status").body, b'{\n "status": "ok",\n "push_servers": [\n  {\n   "endpoint": "localhost",\n   "status": "SERVING"\n  }\n ]\n}')


def test_the_library_makes_push_subscriptions(world):
    ams = scene.project(world.server, "library", ["t"])
    raw = wire.Wire(world.server, project="library")
    ams.create_sub("s", "t", push_endpoint=world.hook.url("/take/library"), retry_policy_type="linear", retry_policy_period=20)
    world.hook.hash = raw.subscription("s").ok()["pushConfig"]["verificationHash"]
    raw.subscription("s", "POST", verb="verifyPushEndpoint").ok()
    ams.publish("t", [AmsMessage(data="hello", attributes={"a": "b"})])
    arrive(world, "/take/library", ["hello"])
    same(ams.get_sub("s")["pushConfig"]["pushEndpoint"], world.hook.url("/take/library"))
    ams.delete_sub("s")


def test_figures_of_each_subscription_are_there_and_go_with_it(world):
    subscribe(world, "figures", "/flaky/1/figures")
    world.raw.publish("figures", "a").ok()
    acknowledged(world, "figures", 1)
    metrics = lambda: urllib.request.urlopen("http://127.0.0.1:%d/metrics" % world.server.ports["ops"]).read().decode()
    lines = [line for line in metrics().splitlines() if 'subscription="figures"' in line and "_push_" in line]
    for line in ("angelia_push_sent_messages_total%s 1", "angelia_push_failed_total%s 1", "angelia_push_last_status%s 201", "angelia_push_circuit%s 0"):
        assert line % '{project="P",subscription="figures"}' in lines, lines
    world.raw.subscription("figures", "DELETE").ok()
    until(lambda: 'angelia_push_sent_messages_total{project="P",subscription="figures"}' not in metrics(), SECONDS, "they go")


def test_a_restart_goes_on_where_it_was(world):
    subscribe(world, "restart", "/late/300/restart")
    world.raw.publish("restart", *map(str, range(6))).ok()
    until(lambda: len(world.hook.at("/late/300/restart")) == 3, SECONDS, "the third delivery")
    same(world.server.stop(), 0)
    world.server.start()
    acknowledged(world, "restart", 6)
    # What was under way was finished: nothing came twice.
    same(world.hook.texts("/late/300/restart"), list(map(str, range(6))))
