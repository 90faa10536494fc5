"""Zaqar behind a real Keystone: whose a token is, what its roles open, and OpenStack's own clients, unmodified, through the catalogue."""

import contextlib
import io
import json
import os
import signal
import subprocess
import uuid

import frames
import keystone
import openstack
import server as servers
import zaqar
from runner import same, until
from zaqarclient.queues.v2 import client as library

# For so long a revoked token is believed.
BOUND_SECONDS = 3
POLICY = '"queues:purge": "role:operator"\n"queues:get": [["rule:admin_or_owner"]]\n'


@contextlib.contextmanager
def world(_options):
    with servers.folder("zaqar-policy") as folder:
        policy = os.path.join(folder, "policy.yaml")
        with open(policy, "w") as file:
            file.write(POLICY)
        settings = ["keystone.cache_seconds=%d" % BOUND_SECONDS, "zaqar.policy_file=" + policy, "zaqar.admin_mode=true",
                    "zaqar.signed_url_secret=" + zaqar.SECRET]
        with keystone.cloud("zaqar-keystone", settings) as cloud:
            cloud.policy = policy
            yield cloud


class Bearer(zaqar.Client):
    """Requests with a token and no project."""

    def __init__(self, cloud, user, project, token=None):
        super().__init__(cloud.server, project=None)
        self.token = token or cloud.keystone.token(user, project)

    def call(self, method, path, body=None, **headers):
        return super().call(method, path, body, **dict({"X_Auth_Token": self.token}, **headers))


def fresh():
    return "q" + uuid.uuid4().hex


def client(cloud, user="ann", project="alpha"):
    return library.Client(session=cloud.keystone.session(user, project), conf={"auth_opts": {"options": {}}})


def test_nobody_gets_in_without_a_token_of_keystones(cloud):
    nobody = zaqar.Client(cloud.server)
    same(nobody.call("GET", "/", Client_ID=None).status, 300)
    for token in (None, "", "made-up", "x" * 10000):
        refused = nobody.call("GET", "/v2/queues", X_Auth_Token=token, X_Roles="admin", EXTRA_SPEC="messagecode:x")
        same(refused.of(401)["error"], {"code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication."})
        same(refused.headers["www-authenticate"], 'Keystone uri="%s"' % cloud.keystone.url)
    same(nobody.call("GET", "/v2/nowhere").status, 401)


def test_project_and_roles_are_the_tokens_whatever_the_head_says(cloud):
    ann, ben, name = Bearer(cloud, "ann", "alpha"), Bearer(cloud, "ben", "beta"), fresh()
    head = {"X_Project_ID": cloud.ids["projects"]["beta"], "X_Roles": "admin,operator"}
    posted = ann.call("POST", ann.queue("/messages", name), {"messages": [{"body": "hers"}]}, **head)
    same(posted.status, 201)
    same([m["body"] for m in ann.call("GET", ann.queue("/messages?echo=true", name)).of(200)["messages"]], ["hers"])
    same(ben.call("GET", ben.queue("/messages?echo=true", name), X_Project_ID=cloud.ids["projects"]["alpha"]).of(200)["messages"], [])
    same(ann.call("GET", "/v2/health", **head).status, 403)
    admin = Bearer(cloud, "admin", "admin")
    same(admin.call("GET", "/v2/health").of(200)["storage_reachable"], True)


def test_the_policy_file_opens_and_closes_and_is_read_anew(cloud):
    ann, olga, name = Bearer(cloud, "ann", "alpha"), Bearer(cloud, "olga", "alpha"), fresh()
    ann.post("x", name=name)
    same(ann.call("GET", ann.queue("", name)).status, 200)
    ann.call("POST", ann.queue("/purge", name)).says(403, "You are not authorized to complete this action.")
    same(olga.call("POST", ann.queue("/purge", name)).status, 204)

    def rewrite(text):
        with open(cloud.policy, "w") as file:
            file.write(text)
        cloud.server.process.send_signal(signal.SIGHUP)

    rewrite(json.dumps({"queues:purge": "not role:operator"}))
    until(lambda: ann.call("POST", ann.queue("/purge", name)).status == 204, 10, "the new rule is in force")
    same(olga.call("POST", ann.queue("/purge", name)).status, 403)
    rewrite('"queues:purge": "http://localhost/"')
    until(lambda: b"no other service is asked" in cloud.server.output(), 10, "the mistake is told")
    same(olga.call("POST", ann.queue("/purge", name)).status, 403)
    refused = subprocess.run([servers.binary(), "check-config", "--set", "zaqar.policy_file=" + cloud.policy], capture_output=True, text=True)
    assert refused.returncode != 0 and "queues:purge" in refused.stderr, refused
    rewrite(POLICY)
    until(lambda: olga.call("POST", ann.queue("/purge", name)).status == 204, 10, "the old rule is back")


def test_a_revoked_token_is_refused_within_the_bound(cloud):
    ann = Bearer(cloud, "ann", "alpha")
    same(ann.call("GET", "/v2/queues").status, 200)
    cloud.keystone.revoke(ann.token)
    until(lambda: ann.call("GET", "/v2/queues").status == 401, BOUND_SECONDS + 1, "the token is refused", every=0.2)


def test_a_signature_needs_no_token(cloud):
    ann, name = Bearer(cloud, "ann", "alpha"), fresh()
    shared = ann.call("POST", ann.queue("/share", name), {"methods": ["GET", "POST"]}).of(200)
    guest = zaqar.Client(cloud.server, project=shared["project"])
    same(shared["project"], cloud.ids["projects"]["alpha"])
    head = {"URL_Signature": shared["signature"], "URL_Expires": shared["expires"], "URL_Methods": "GET,POST",
            "URL_Paths": shared["paths"][0]}
    same(guest.call("POST", guest.queue("/messages", name), {"messages": [{"body": 1}]}, **head).status, 201)
    same(guest.call("GET", guest.queue("/stats", name), **head).status, 404)
    same(guest.call("GET", guest.queue("/messages", name), **dict(head, URL_Signature="0" * 64)).status, 404)


def test_python_zaqarclient_finds_the_service_and_works(cloud):
    queue = client(cloud).queue(fresh(), force_create=True)
    queue.post([{"body": {"n": n}, "ttl": 300} for n in range(3)])
    same([message.body for message in queue.messages(echo=True)], [{"n": n} for n in range(3)])
    claim = queue.claim(ttl=60, grace=60, limit=2)
    for message in claim:
        message.delete()
    same([message.body for message in queue.pop()], [{"n": 2}])
    same(queue.stats["messages"]["total"], 0)
    same([q.name for q in client(cloud, "ben", "beta").queues()[0] if q.name == queue.name], [])


def test_the_openstack_command_works(cloud):
    from openstackclient import shell
    login = ["--os-auth-url", cloud.keystone.url, "--os-username", "ann", "--os-password", keystone.PASSWORD, "--os-project-name",
             "alpha", "--os-user-domain-id", "default", "--os-project-domain-id", "default", "--os-identity-api-version", "3"]
    name = fresh()

    def run(*words):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = shell.OpenStackShell().run(login + ["messaging"] + list(words))
        assert not code, "openstack messaging %s: %s" % (" ".join(words), out.getvalue())
        return out.getvalue()

    run("queue", "create", name)
    run("message", "post", name, json.dumps([{"body": "by command", "ttl": 300}]), "--client-id", str(uuid.uuid4()))
    same(json.loads(run("queue", "stats", name, "-f", "json"))["Stats"]["messages"]["free"], 1)
    assert name in run("queue", "list", "-f", "value")
    claimed = json.loads(run("claim", "create", name, "-f", "json"))
    same([message["Messages"] for message in claimed], ["by command"])
    run("queue", "set", "metadata", name, json.dumps({"own": 1}))
    same(json.loads(run("queue", "get", "metadata", name, "-f", "json"))["Metadata"]["own"], 1)
    run("ping")
    run("queue", "delete", name)


def test_openstacksdk_works(cloud):
    messaging = openstack.connection.Connection(session=cloud.keystone.session("ann", "alpha"), region_name="RegionOne").message
    name = fresh()
    messaging.create_queue(name=name)
    messaging.post_message(name, [{"body": {"n": n}, "ttl": 300} for n in range(25)])
    same([message.body["n"] for message in messaging.messages(name, echo=True)], list(range(25)))
    # This release does not find the id in the answer to its own create_claim, whatever the server.
    claim = client(cloud).queue(name).claim(ttl=60, grace=60, limit=3)
    same(messaging.get_claim(name, claim.id).ttl, 60)
    messaging.update_claim(name, claim.id, ttl=120, grace=60)
    messaging.delete_claim(name, claim.id)
    message = next(messaging.messages(name, echo=True))
    messaging.delete_message(name, message.id)
    assert name in [queue.name for queue in messaging.queues()]
    messaging.delete_queue(name)


def test_without_keystone_known_tokens_work_for_a_while_and_others_are_told_to_wait(cloud):
    ann, ben = Bearer(cloud, "ann", "alpha"), Bearer(cloud, "ben", "beta")
    same(ann.call("GET", "/v2/queues").status, 200)
    cloud.keystone.stop()
    same(ann.call("GET", "/v2/queues").status, 200)
    waiting = ben.call("GET", "/v2/queues")
    same((waiting.status, "retry-after" in waiting.headers), (503, True))
    until(lambda: ann.call("GET", "/v2/queues").status == 503, BOUND_SECONDS + 1, "what was known is too old", every=0.2)
    cloud.keystone.start()
    same((ann.call("GET", "/v2/queues").status, ben.call("GET", "/v2/queues").status), (200, 200))


def test_no_secret_is_in_the_log(cloud):
    ann = Bearer(cloud, "ann", "alpha")
    same(ann.call("GET", "/v2/queues").status, 200)
    for secret in (ann.token, keystone.PASSWORD):
        assert secret.encode() not in cloud.server.all_output(), "a secret was logged"


def test_a_socket_is_known_by_its_token_and_no_longer_than_it_lasts(cloud):
    name, token, other = fresh(), cloud.keystone.token("ann", "alpha"), cloud.ids["projects"]["beta"]
    with frames.Socket(cloud.server, project=cloud.ids["projects"]["alpha"]) as line:
        same(line.ask("queue_list").of(403), {"error": "Not authentified."})
        same(line.ask("authenticate", {"X-Auth-Token": "made-up"}).of(401), {"error": "Authentication failed."})
        line.ask("authenticate", {"X-Auth-Token": token, "X-Project-ID": other}).of(403)
        known = line.ask("authenticate", {"X-Auth-Token": token})
        same(known.of(200), {"message": "Authentified."})
        assert token not in json.dumps(known.request), known.request
        line.post(name, "hers")
        same(len(line.ask("message_list", queue_name=name, echo=True).of(200)["messages"]), 1)
        line.ask("message_list", {"X-Project-ID": other}, queue_name=name).of(403)
        line.ask("queue_purge", {"X-Roles": "operator"}, queue_name=name).of(403)
        cloud.keystone.revoke(token)
        until(lambda: line.ask("queue_get", queue_name=name).status == 403, BOUND_SECONDS + 10, "a revoked token opens nothing")
        line.ask("authenticate", {"X-Auth-Token": cloud.keystone.token("ann", "alpha")}).of(200)
        line.ask("queue_get", queue_name=name).of(200)
