"""How the examples reach the service: the unmodified python-zaqarclient, as one client of one project."""

import uuid

from zaqarclient.queues import client as library


def queue(url, project, name):
    """A queue as a client of its own sees it: what it posts itself is not echoed to it."""
    conf = {"auth_opts": {"backend": "noauth", "options": {"os_project_id": project}}, "client_uuid": uuid.uuid4().hex}
    return library.Client(url, version=2, conf=conf).queue(name)
