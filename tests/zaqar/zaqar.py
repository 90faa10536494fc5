"""Raw HTTP to the Zaqar dialect: a server with the listener open, and requests as one client of one project.

Owns connections and headers. Never retries, never interprets an answer.
"""

import contextlib
import http.client
import json
import uuid
from collections import namedtuple

import server as servers

SECRET = "a long and random secret"
SETTINGS = ["listen.zaqar=127.0.0.1:0", "listen.zaqar_websocket=127.0.0.1:0", "zaqar.admin_mode=true", "zaqar.noauth_trust_roles=true", "zaqar.signed_url_secret=" + SECRET]
PATCH = "application/openstack-messaging-v2.0-json-patch"


class Answer(namedtuple("Answer", "status headers body")):
    """What came back: status, headers (lower-case names), body bytes."""

    def json(self):
        return json.loads(self.body.decode("utf-8")) if self.body else None

    def of(self, status):
        """The JSON, if the status is this one; anything else fails."""
        assert self.status == status, "expected %d, got %d: %s" % (status, self.status, self.body[:500])
        return self.json()

    def says(self, status, description):
        got = self.of(status).get("description")
        assert got == description, "expected %r, got %r" % (description, got)


class Client:
    """Requests of one client to one project."""

    def __init__(self, server, project="proj1", client=None):
        self.server = server
        self.project = project
        self.client = client or uuid.uuid4().hex

    def call(self, method, path, body=None, **headers):
        """One request on its own connection. What is no text becomes JSON; a header of None is left out."""
        sent = {"Client-ID": self.client, "X-Project-ID": self.project}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        sent = {name: value for name, value in sent.items() if value is not None}
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode("utf-8")
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.server.ports["zaqar"], timeout=30)) as line:
            line.request(method, path, body=body, headers=sent)
            got = line.getresponse()
            return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())

    def queue(self, rest="", name="q"):
        return "/v2/queues/%s%s" % (name, rest)

    def post(self, *bodies, name="q", **fields):
        """Posts messages; their ids."""
        messages = [dict(fields, body=body) for body in bodies]
        got = self.call("POST", self.queue("/messages", name), {"messages": messages}).of(201)
        return [href.rsplit("/", 1)[1] for href in got["resources"]]


@contextlib.contextmanager
def running(name, settings=()):
    with servers.running(name, SETTINGS + list(settings)) as server:
        yield server
