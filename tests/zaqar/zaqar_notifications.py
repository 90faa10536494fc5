"""Who is told of what is posted: webhooks, mail over real SMTP and by a command, confirmation, retries that outlive a kill, on the real binary."""

import contextlib
import email
import email.policy
import json
import logging
import os
import ssl
import time
import types
import uuid
import warnings

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

import server as servers
import webhook
import zaqar
from runner import same, until

SECONDS = 60
# No pause but between phases; three posts, then nothing.
FEW = {"retries_with_no_delay": 2, "minimum_delay_retries": 0, "minimum_delay": 0, "maximum_delay": 10, "maximum_delay_retries": 0}
# The test wants what they warn of: a login over a connection that is encrypted from its first byte.
warnings.filterwarnings("ignore", module="aiosmtpd")
logging.getLogger("mail.log").setLevel(logging.ERROR)
SENDMAIL = """#!/bin/sh
cat > "%s/$$.mail"
"""


class Mailbox:
    """What an SMTP server takes."""

    def __init__(self):
        self.mails = []

    async def handle_DATA(self, _server, _session, envelope):
        parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((envelope.rcpt_tos, parsed))
        return "250 taken"

    def to(self, address):
        return [mail for recipients, mail in list(self.mails) if recipients == [address]]


class Smtp(Controller):
    """An SMTP server on a free port."""

    def __init__(self, mailbox, **more):
        super().__init__(mailbox, hostname="127.0.0.1", port=0, **more)

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextlib.contextmanager
def world(options):
    with servers.folder("notifications") as folder:
        files = webhook.certificate(folder, "known")
        mailbox = Mailbox()
        smtp = Smtp(mailbox)
        smtp.start()
        try:
            settings = ["push.allow_networks=127.0.0.0/8", "push.ca_file=" + files[0], "push.timeout_seconds=20", "zaqar.smtp_host=127.0.0.1",
                        "zaqar.smtp_port=%d" % smtp.port, "zaqar.smtp_tls=off", "zaqar.mails_per_minute=30"]
            with webhook.open_at(files) as hook, zaqar.running("zaqar-notifications", settings) as server:
                yield types.SimpleNamespace(server=server, hook=hook, mailbox=mailbox, folder=folder, files=files, settings=settings)
        finally:
            smtp.stop()


def fresh(world):
    return zaqar.Client(world.server, project=uuid.uuid4().hex)


def subscribe(client, subscriber, options=None, ttl=600, name="q"):
    """A subscription; its path."""
    body = {"subscriber": subscriber, "ttl": ttl, "options": options or {}}
    made = client.call("POST", client.queue("/subscriptions", name), body).of(201)
    return client.queue("/subscriptions/" + made["subscription_id"], name)


def told(world, path):
    return [json.loads(got.body) for got in world.hook.at(path)]


def test_each_post_is_told_in_order_as_it_was_posted(world):
    client, path = fresh(world), "/take/" + uuid.uuid4().hex
    client.post("before")
    subscribe(client, world.hook.url(path), {"post_headers": {"X-Mine": "yes"}})
    client.post({"a": 1}, "two", None, ttl=300)
    client.post(3)
    until(lambda: len(told(world, path)) == 4, SECONDS, "four notifications")
    fields = {"Message_Type": "Notification", "queue_name": "q"}
    same(told(world, path)[0], dict(fields, ttl=300, body={"a": 1}))
    same([one["body"] for one in told(world, path)], [{"a": 1}, "two", None, 3])
    same(told(world, path)[3]["ttl"], 3600)
    headers = world.hook.at(path)[0].headers
    same((headers["content-type"], headers["x-mine"]), ("application/json", "yes"))
    same(client.call("GET", client.queue("/stats")).of(200)["messages"]["free"], 5)


def test_a_claimed_or_delayed_message_is_told_at_once(world):
    client, path = fresh(world), "/take/" + uuid.uuid4().hex
    client.call("PUT", client.queue(), {"_default_message_delay": 600})
    subscribe(client, world.hook.url(path))
    client.post("later")
    until(lambda: told(world, path), SECONDS, "the notification")
    same((told(world, path)[0]["body"], told(world, path)[0]["delay"]), ("later", 600))


def test_a_subscribers_own_text_is_around_each_notification(world):
    client, path = fresh(world), "/take/" + uuid.uuid4().hex
    subscribe(client, world.hook.url(path), {"post_data": '{"input": {"message": "$zaqar_message$"}}'})
    client.post({"x": [1]})
    until(lambda: told(world, path), SECONDS, "the notification")
    same(told(world, path)[0]["input"]["message"]["body"], {"x": [1]})


def test_failures_are_tried_again_refusals_are_not_and_a_queues_policy_may_rule(world):
    client = fresh(world)
    flaky, refusing, ruled = ("/flaky/2/" + client.project, "/status/404/" + client.project, "/status/503/" + client.project)
    subscribe(client, world.hook.url(flaky), {"_retry_policy": FEW})
    subscribe(client, world.hook.url(refusing), {"_retry_policy": FEW})
    client.post("one")
    until(lambda: len(told(world, flaky)) == 3, SECONDS, "the third try")
    until(lambda: len(told(world, refusing)) == 1, SECONDS, "the refusal")
    client.post("two")
    until(lambda: len(told(world, flaky)) == 4 and len(told(world, refusing)) == 2, SECONDS, "what follows")
    same([one["body"] for one in told(world, refusing)], ["one", "two"])
    other = fresh(world)
    only = dict(FEW, retries_with_no_delay=0, ignore_subscription_override=True)
    other.call("PUT", other.queue(), {"_retry_policy": only})
    ruled += "/ruled"
    subscribe(other, world.hook.url(ruled), {"_retry_policy": dict(FEW, retries_with_no_delay=8)})
    other.post("one")
    # By the queue's policy: at once, after 0 s, after 5 s.
    until(lambda: len(told(world, ruled)) == 3, SECONDS, "the queue's policy")
    time.sleep(1)
    same(len(told(world, ruled)), 3)


def test_retries_go_on_after_a_kill_and_nothing_is_lost(world):
    client = fresh(world)
    pending, slow = "/flaky/5/" + client.project, "/late/50/" + client.project
    policy = dict(FEW, retries_with_no_delay=1, minimum_delay_retries=3, minimum_delay=2, maximum_delay=12)
    subscribe(client, world.hook.url(pending), {"_retry_policy": policy})
    subscribe(client, world.hook.url(slow))
    bodies = list(range(60))
    client.post(*bodies, ttl=3600)
    until(lambda: len(told(world, pending)) >= 3 and told(world, slow), SECONDS, "retries are pending")
    first = [one["body"] for one in told(world, pending)]
    world.server.kill()
    time.sleep(0.2)
    before = len(told(world, slow))
    assert before < len(bodies), "the kill came too late to show anything"
    world.server.start()
    until(lambda: set(one["body"] for one in told(world, slow)) >= set(bodies), SECONDS, "all of the slow one's")
    until(lambda: set(one["body"] for one in told(world, pending)) >= set(bodies), SECONDS, "all of the pending one's")
    order = [one["body"] for one in told(world, slow)]
    again = len(order) - len(bodies)
    assert 0 <= again <= 1 and sorted(set(order)) == bodies, order
    first_times = [body for place, body in enumerate(order) if body not in order[:place]]
    same(first_times, bodies)
    print("     killed after %d of %d, %d came again, retried %s" % (before, len(bodies), again, sorted(set(first))[:3]))


def test_a_subscription_that_is_over_or_deleted_is_told_nothing(world):
    client, path = fresh(world), "/take/" + uuid.uuid4().hex
    item = subscribe(client, world.hook.url(path))
    client.post(1)
    until(lambda: told(world, path), SECONDS, "the notification")
    same(client.call("DELETE", item).status, 204)
    other = "/take/" + uuid.uuid4().hex
    subscribe(client, world.hook.url(other))
    client.post(2)
    until(lambda: told(world, other), SECONDS, "the other's")
    same(len(told(world, path)), 1)


def test_subscribers_come_back_with_their_queue(world):
    client, path = fresh(world), "/take/" + uuid.uuid4().hex
    subscribe(client, world.hook.url(path))
    same(client.call("DELETE", client.queue()).status, 204)
    client.post("again")
    until(lambda: [one["body"] for one in told(world, path)] == ["again"], SECONDS, "the notification")


def test_mail_is_sent_with_the_uris_subject_before_the_options(world):
    client = fresh(world)
    subscribe(client, "mailto:a@b.example", {"from": "me@c.example", "subject": "told"})
    subscribe(client, "mailto:d@b.example?subject=m%C3%BC", {"subject": "told"})
    client.post({"ä": 1}, ttl=300)
    until(lambda: world.mailbox.to("a@b.example") and world.mailbox.to("d@b.example"), SECONDS, "two mails")
    mail, other = world.mailbox.to("a@b.example")[0], world.mailbox.to("d@b.example")[0]
    same((mail["from"], mail["to"], mail["subject"], other["subject"]), ("me@c.example", "a@b.example", "told", "mü"))
    same(other["from"], "Zaqar Notifications <no-reply@openstack.org>")
    body = {"ttl": 300, "body": {"ä": 1}, "Message_Type": "Notification", "queue_name": "q"}
    same((json.loads(mail.get_content()), mail.get_content_type()), (body, "text/plain"))


def test_mail_goes_over_tls_and_after_a_login(world):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*world.files)
    logins = []

    def authenticator(_server, _session, _envelope, _mechanism, login):
        logins.append((login.login, login.password))
        return AuthResult(success=True)

    mailbox = Mailbox()
    smtp = Smtp(mailbox, ssl_context=tls, authenticator=authenticator, auth_required=True, auth_require_tls=False)
    smtp.start()
    try:
        settings = world.settings + ["zaqar.smtp_port=%d" % smtp.port, "zaqar.smtp_tls=implicit", "zaqar.smtp_user_name=me", "zaqar.smtp_user_password=secret"]
        with zaqar.running("zaqar-smtps", settings) as server:
            client = zaqar.Client(server)
            subscribe(client, "mailto:tls@b.example")
            client.post(1)
            until(lambda: mailbox.to("tls@b.example"), SECONDS, lambda: "the mail: " + server.tail())
            same(logins[0], (b"me", b"secret"))
            assert b"secret" not in server.all_output()
    finally:
        smtp.stop()


def test_no_more_mails_a_minute_than_a_project_may(world):
    client, address = fresh(world), "x%s@b.example" % uuid.uuid4().hex
    subscribe(client, "mailto:" + address)
    begun = time.monotonic()
    client.post(*range(33))
    until(lambda: len(world.mailbox.to(address)) == 33, SECONDS, "all of them")
    # 30 at once, then one every two seconds.
    assert time.monotonic() - begun >= 6, "more than it may"
    same([json.loads(mail.get_content())["body"] for mail in world.mailbox.to(address)], list(range(33)))


def test_what_would_reach_a_header_or_a_private_address_is_refused(world):
    client = fresh(world)
    everywhere = client.queue("/subscriptions")
    for subscriber, options, said in [
        ("mailto:a@b.example%0D%0ABcc:c@d.example", {}, "The subscriber must be one line."),
        ("mailto:a@b.example", {"subject": "x\r\nBcc: c@d.example"}, "The subject must be one line."),
        ("mailto:a@b.example", {"from": "x@y\n"}, "from must be one line."),
        ("http://h/", {"post_headers": {"Host": "x"}}, "post_headers can not set host."),
        ("http://h/", {"post_headers": {"Content-Length": "1"}}, "post_headers can not set content-length."),
        ("trust+http://h/", {"trust_id": "t"}, "The subscriber type of subscription must be supported in the list ['http', 'https', 'mailto']."),
    ]:
        client.call("POST", everywhere, {"subscriber": subscriber, "options": options}).says(400, said)
    same(client.call("GET", everywhere).of(200)["subscriptions"], [])


def test_a_redirect_is_not_followed(world):
    client, path = fresh(world), "/redirect/" + uuid.uuid4().hex
    subscribe(client, world.hook.url(path))
    client.post("one", "two")
    until(lambda: len(told(world, path)) == 2, SECONDS, "two notifications")
    same(told(world, "/private"), [])


def test_who_must_confirm_is_told_nothing_until_he_has(world):
    with servers.folder("confirmations") as folder:
        command = os.path.join(folder, "sendmail")
        with open(command, "w") as file:
            file.write(SENDMAIL % folder)
        os.chmod(command, 0o755)
        settings = world.settings + ["zaqar.require_confirmation=true", "zaqar.external_confirmation_url=https://page/c", "zaqar.public_url=https://cloud/m",
                                     "zaqar.smtp_command=%s -t" % command]
        with zaqar.running("zaqar-confirmations", settings) as server:
            client, path = zaqar.Client(server, project=uuid.uuid4().hex), "/take/" + uuid.uuid4().hex
            item = subscribe(client, world.hook.url(path))
            until(lambda: told(world, path), SECONDS, "the question")
            asked = told(world, path)[0]
            same((asked["Message_Type"], asked["WSGISubscribeURL"]), ("SubscriptionConfirmation", "https://cloud/m" + item + "/confirm"))
            client.post("unwanted")
            headers = {name.replace("-", "_"): asked[name] for name in ("URL-Signature", "URL-Methods", "URL-Paths", "URL-Expires", "X-Project-ID")}
            stranger = zaqar.Client(server, project="other")
            forged = dict(headers, URL_Signature="0" * 64)
            same(stranger.call("PUT", item + "/confirm", asked["SubscribeBody"], **forged).status, 404)
            same(stranger.call("PUT", item + "/confirm", asked["SubscribeBody"], **headers).status, 204)
            client.post("wanted")
            until(lambda: len(told(world, path)) == 2, SECONDS, "what is wanted")
            same(told(world, path)[1]["body"], "wanted")
            same(stranger.call("PUT", item + "/confirm", asked["UnsubscribeBody"], **headers).status, 204)
            until(lambda: len(told(world, path)) == 3, SECONDS, "the goodbye")
            same(told(world, path)[2]["Message_Type"], "UnsubscribeConfirmation")
            client.post("unwanted again")
            subscribe(client, "mailto:a@b.example")
            mails = lambda: [name for name in os.listdir(folder) if name.endswith(".mail")]
            until(mails, SECONDS, "a mail by the command")
            time.sleep(0.5)
            with open(os.path.join(folder, mails()[0]), "rb") as file:
                mail = email.message_from_binary_file(file, policy=email.policy.default)
            same((mail["to"], mail["subject"]), ("a@b.example", "Zaqar Notification - Subscription Confirmation"))
            link = mail.get_content().split("https://page/c?")[1].split()[0]
            assert "Methods=PUT" in link and "Project=" + client.project in link and "Queue=q" in link, link
            same((len(told(world, path)), len(mails())), (3, 1))


def test_posts_that_break_the_servers_schema_are_refused_and_defaults_filled_in(world):
    with servers.folder("stages") as folder:
        file = os.path.join(folder, "schema.json")
        with open(file, "w") as out:
            json.dump({"type": "object", "required": ["kind"], "properties": {"kind": {"type": "string"}, "level": {"default": 3}}}, out)
        settings = world.settings + ["zaqar.pipeline=json_schema, notification", "zaqar.json_schema_file=" + file]
        with zaqar.running("zaqar-stages", settings) as server:
            client, path = zaqar.Client(server), "/take/" + uuid.uuid4().hex
            subscribe(client, world.hook.url(path))
            refused = client.call("POST", client.queue("/messages"), {"messages": [{"body": {"kind": "a"}}, {"body": {"kind": 1}}]})
            assert "The message 1 breaks the schema of this server" in refused.of(400)["description"], refused
            client.post({"kind": "b"})
            until(lambda: told(world, path), SECONDS, "the notification")
            same([one["body"] for one in told(world, path)], [{"kind": "b", "level": 3}])


def test_nobody_is_told_without_the_stage(world):
    with zaqar.running("zaqar-silent", world.settings + ["zaqar.pipeline="]) as server:
        client, path = zaqar.Client(server), "/take/" + uuid.uuid4().hex
        item = subscribe(client, world.hook.url(path))
        client.post(1)
        same(client.call("GET", item).of(200)["confirmed"], False)
        time.sleep(1)
        same(told(world, path), [])
