"""Raw HTTP to the AMS dialect, and the exact error bodies of the contract.

Owns connections and the short names of errors (E404 and so on). Never retries, never interprets an answer.
"""

import base64
import contextlib
import http.client
import json
import socket
import threading
from collections import namedtuple

import server as servers

JSON_TYPE = "application/json; charset=utf-8"


class Answer(namedtuple("Answer", "status headers body")):
    """What came back: status, headers (lower-case names), body bytes."""

    def json(self):
        return json.loads(self.body.decode("utf-8"))

    def ok(self):
        """The JSON of a 200 answer, or {} for an empty one; anything else fails."""
        assert self.status == 200, "expected 200, got %d: %s" % (self.status, self.body[:500])
        return self.json() if self.body else {}


class Wire:
    """Requests to one server, as one token; one connection each."""

    def __init__(self, server, token=servers.SERVICE_TOKEN, project=None):
        self.server = server
        self.token = token
        self.project = project

    def as_user(self, token):
        return Wire(self.server, token, self.project)

    def call(self, method, path, body=None, headers=None, token="", timeout=30):
        """One request on its own connection. A dict or list becomes JSON; str and bytes go as they are."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.server.ports["ams"], timeout=timeout)) as line:
            return self.send(line, method, path, body, headers, token)

    def send(self, line, method, path, body=None, headers=None, token=""):
        """One request on this connection."""
        sent = dict(headers or {})
        token = self.token if token == "" else token
        if token is not None and "x-api-key" not in {name.lower() for name in sent}:
            sent["x-api-key"] = token
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode("utf-8")
        line.request(method, path, body=body, headers=sent)
        got = line.getresponse()
        return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())

    def raw(self, request, timeout=10, port="ams"):
        """Sends these bytes and reads until the server closes or falls silent for the time given; all it sent."""
        with contextlib.closing(socket.create_connection(("127.0.0.1", self.server.ports[port]), timeout=timeout)) as line:
            line.sendall(request)
            got = b""
            with contextlib.suppress(socket.timeout, ConnectionError):
                while True:
                    piece = line.recv(65536)
                    if not piece:
                        break
                    got += piece
            return got

    # The resources of one project, each one request.

    def path(self, kind, name="", verb=""):
        return "/v1/projects/%s/%s%s%s" % (self.project, kind, name and "/" + name, verb and ":" + verb)

    def topic(self, name, method="PUT", body=None, verb="", **named):
        return self.call(method, self.path("topics", name, verb), body, **named)

    def subscription(self, name, method="GET", body=None, verb="", **named):
        return self.call(method, self.path("subscriptions", name, verb), body, **named)

    def subscribe(self, name, topic, **fields):
        body = {"topic": "projects/%s/topics/%s" % (self.project, topic), **fields}
        return self.subscription(name, "PUT", body)

    def publish(self, topic, *messages, **named):
        """Publishes messages given as text, bytes or ready objects; the answer."""
        return self.topic(topic, "POST", {"messages": [message(one) for one in messages]}, "publish", **named)

    def pull(self, name, count=1, now="true", **named):
        return self.subscription(name, "POST", {"maxMessages": str(count), "returnImmediately": now}, "pull", **named)

    def pulled(self, name, count=1):
        """The received messages as (ackId, data bytes) pairs."""
        got = self.pull(name, count).ok()["receivedMessages"]
        return [(one["ackId"], base64.b64decode(one["message"]["data"])) for one in got]

    def ack(self, name, ids, **named):
        return self.subscription(name, "POST", {"ackIds": ids}, "acknowledge", **named)

    def ack_id(self, name, offset):
        return "projects/%s/subscriptions/%s:%s" % (self.project, name, offset)

    def offsets(self, name):
        return self.subscription(name, "GET", verb="offsets").ok()

    def move(self, name, offset):
        return self.subscription(name, "POST", {"offset": offset}, "modifyOffset")


class Session(Wire):
    """The same, but each thread keeps its connection to one process of the server for as long as it works."""

    def __init__(self, server, token=servers.SERVICE_TOKEN, project=None):
        super().__init__(server, token, project)
        self.kept = threading.local()

    def call(self, method, path, body=None, headers=None, token="", timeout=30):
        if getattr(self.kept, "of", None) != self.server.starts:
            self.kept.of = self.server.starts
            self.kept.line = http.client.HTTPConnection("127.0.0.1", self.server.ports["ams"], timeout=timeout)
        try:
            return self.send(self.kept.line, method, path, body, headers, token)
        except (OSError, http.client.HTTPException):
            self.kept.line.close()
            raise


def received(answer):
    """A pull's answer as (offset, data, publish time that sorts), for `history`."""
    return [(int(one["message"]["messageId"]), base64.b64decode(one["message"].get("data", "")), sortable(one["message"]["publishTime"]))
            for one in answer.ok()["receivedMessages"]]


def sortable(time):
    """A publish time with all nine fraction digits."""
    head, _, fraction = time.rstrip("Z").partition(".")
    return "%s.%s" % (head, fraction.ljust(9, "0"))


def message(one):
    """A message object: text and bytes become base64 data, objects stay."""
    if isinstance(one, str):
        one = one.encode("utf-8")
    return {"data": base64.b64encode(one).decode("ascii")} if isinstance(one, bytes) else one


def error(code, text, status):
    """The envelope of an error, byte for byte, with its HTTP status."""
    body = {"error": {"code": code, "message": text, "status": status}}
    return code, json.dumps(body, indent=3, ensure_ascii=False).encode("utf-8")


def E400A(text):
    return error(400, text, "INVALID_ARGUMENT")


def E400N(what):
    return E400A("Invalid %s name" % what)


def E400G(what):
    return E400A("Invalid %s Arguments" % what)


def E403M(text):
    return error(403, "Access to this resource is forbidden. " + text, "FORBIDDEN")


def E404(what):
    return E404M("%s doesn't exist" % what)


def E404M(text):
    return error(404, text, "NOT_FOUND")


def E409E(what):
    return error(409, "%s already exists" % what, "ALREADY_EXISTS")


def E409C(text):
    return error(409, text, "CONFLICT")


def E500(text):
    return error(500, text, "INTERNAL_SERVER_ERROR")


def E503(text):
    return error(503, text, "UNAVAILABLE")


E400B = error(400, "Invalid Request Body", "BAD_REQUEST")
E401 = error(401, "Unauthorized", "UNAUTHORIZED")
E403 = error(403, "Access to this resource is forbidden", "FORBIDDEN")
E408 = error(408, "ack timeout", "TIMEOUT")
E413 = error(413, "Message size is too large", "INVALID_ARGUMENT")
PAGE404 = (404, b"404 page not found\n")


def refused(answer, wanted):
    """Fails unless the answer is exactly this error."""
    got = (answer.status, answer.body)
    assert got == wanted, "expected\n  %d %r\ngot\n  %d %r" % (wanted[0], wanted[1], answer.status, answer.body[:600])
