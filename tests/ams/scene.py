"""The people and things of a test project, made through the unmodified client library.

Never checks anything: what a suite wants to see it looks at itself.
"""

import base64
import contextlib
import json

import requests
from argo_ams_library import AmsBalancerException, AmsConnectionException, AmsMessage, AmsTimeoutException
from argo_ams_library import ArgoMessagingService

import server as servers
import wire
from server import SERVICE_TOKEN

# What a client meets while the server is down or has just died, and may try again after.
TRANSIENT = (AmsConnectionException, AmsTimeoutException, AmsBalancerException, requests.RequestException)


class Projects:
    """A server, and fresh projects on it as they are needed."""

    def __init__(self, server, name):
        self.server = server
        self.name = name
        self.made = 0

    def project(self, topics=(), subs=()):
        """The library as service admin of a fresh project with these topics, and these (subscription, topic) pairs."""
        self.made += 1
        ams = project(self.server, "%s%d" % (self.name.upper(), self.made), topics)
        for sub, topic in subs:
            ams.create_sub(sub, topic)
        return ams


@contextlib.contextmanager
def projects(name):
    """A server for a suite whose tests each take a project."""
    with servers.running(name) as server:
        yield Projects(server, name)


def service(server, project, token=SERVICE_TOKEN):
    """The library as this user, over TLS."""
    return ArgoMessagingService(endpoint=server.endpoint(), project=project, token=token)


def project(server, name, topics=()):
    """A new project with topics; the library as service admin."""
    ams = service(server, name)
    ams.create_project(name, "made by a test")
    for topic in topics:
        ams.create_topic(topic)
    return ams


def member(server, ams, name, roles):
    """A new member of the project; the library as that member."""
    made = ams.create_project_member(name, roles=list(roles), email=name + "@example.org")
    return service(server, ams.project, made.token)


def packed(attributes, data):
    """Attributes and data as one byte string: what must arrive unchanged."""
    return json.dumps(attributes or {}, sort_keys=True).encode("utf-8") + b"\0" + data


def to_send(attributes, data):
    return AmsMessage(data=data, attributes=attributes)


def batch(pulled):
    """The library's pull answer as (offset, packed bytes, publish time), for `history`."""
    return [(int(message.get_msgid()), packed(message.get_attr(), raw(message)), stamp(message)) for _, message in pulled]


def raw(message):
    """The data bytes; none for a message of attributes only."""
    return base64.b64decode(message.dict().get("data", ""), validate=True)


def stamp(message):
    """The publish time in a form that sorts."""
    return wire.sortable(message.get_publishtime())
