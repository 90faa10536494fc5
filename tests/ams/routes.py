"""Each of the contract's 64 routes asked of the real binary: its answer, who may ask, and the README's table of them.

The table stands between two markers in the README; it must be what this run saw. `ANGELIA_WRITE_README=1 cargo xtask test routes`
writes it anew.
"""

import contextlib
import json
import os
import re

import contract
import runner
import server as servers
import wire
from contract import ANY_USER, ANYBODY, ROUTES
from runner import same

HERE = os.path.dirname(os.path.abspath(__file__))
README = os.path.join(HERE, "..", "..", "README.md")
DOCUMENT = os.path.join(HERE, "..", "..", "schemas", "openapi", "ams-v1.json")
WRITE = "ANGELIA_WRITE_README"
MARKERS = ("<!-- the routes, written by `%s=1 cargo xtask test routes` -->\n" % WRITE, "<!-- end of the routes -->\n")

PROJECT_ROLES = ("project_admin", "publisher", "consumer")
SERVICE_ROLES = ("service_admin", "push_worker", "metrics_viewer", "admin_viewer", "argo_api_authn", "register_admin")


class NotServed(Exception):
    """A route answered as a path that does not exist."""


class Caller(wire.Wire):
    """Requests as one token; a page that is not there ends the asking."""

    def call(self, method, path, body=None, **named):
        answer = super().call(method, path, body, **named)
        if (answer.status, answer.body) == wire.PAGE404:
            raise NotServed("%s %s" % (method, path))
        return answer

    def as_user(self, token):
        return Caller(self.server, token, self.project)

    def get(self, path):
        return self.call("GET", path)

    def post(self, path, body=None):
        return self.call("POST", path, body)

    def put(self, path, body=None):
        return self.call("PUT", path, body)

    def delete(self, path):
        return self.call("DELETE", path)


class World(Caller):
    """A server with a project R, a topic and a subscription, and a user for each role, named like it."""

    def __init__(self, server):
        super().__init__(server, project="R")
        self.tokens = {}
        self.seen = {}
        self.post("/v1/projects/R", {"description": "every route"}).ok()
        for role in PROJECT_ROLES:
            self.tokens[role] = self.user(role, projects=[{"project": "R", "roles": [role]}])["token"]
        for role in SERVICE_ROLES:
            self.tokens[role] = self.user(role, service_roles=[role])["token"]
        self.topic_with("t", "s", messages=3)
        for path, user in (("topics/t", "publisher"), ("subscriptions/s", "consumer")):
            self.post("/v1/projects/R/%s:modifyAcl" % path, {"authorized_users": [user]}).ok()

    def token_of(self, role):
        return self.tokens[role]

    def user(self, name, **fields):
        return self.post("/v1/users/" + name, fields).ok()

    def project_named(self, name):
        self.post("/v1/projects/" + name, {}).ok()

    def topic_with(self, topic, *subscriptions, messages=0):
        """A topic of R with these subscriptions and then so many messages of one byte."""
        self.put("/v1/projects/R/topics/" + topic).ok()
        for name in subscriptions:
            self.put("/v1/projects/R/subscriptions/" + name, {"topic": "projects/R/topics/" + topic}).ok()
        if messages:
            self.post("/v1/projects/R/topics/%s:publish" % topic, {"messages": [{"data": "YQ=="}] * messages}).ok()

    def registration(self, name):
        """The path of a pending registration."""
        return "/v1/registrations/" + self.post("/v1/registrations", {"name": name}).ok()["uuid"]

    def schema(self, name):
        self.post("/v1/projects/R/schemas/" + name, {"type": "json", "schema": contract.SCHEMA}).ok()


@contextlib.contextmanager
def world(_options):
    with servers.running("routes") as server:
        yield World(server)


# Routes beyond the contract.
EXTENSIONS = ("bindings:",)


def test_the_contracts_routes_are_64_and_hold_all_that_are_published():
    same(len(ROUTES), 64)
    with open(DOCUMENT) as file:
        paths = json.load(file)["paths"]
    published = {(operation["operationId"], method.upper(), path) for path, methods in paths.items()
                 for method, operation in methods.items() if method != "parameters" and not operation["operationId"].startswith(EXTENSIONS)}
    known = {(route.name, route.method, "/v1" + route.path) for route in ROUTES}
    same(sorted(published - known), [])


def test_every_route_answers_as_the_contract_says(world):
    """What is not served at all is no failure here: the table says so."""
    failures = []
    for route in ROUTES:
        try:
            route.ask(world)
            world.seen[route.name] = True
        except NotServed:
            world.seen[route.name] = False
        except Exception as error:
            failures.append("%s: %s %s\n  %s: %s" % (route.name, route.method, route.path, type(error).__name__, error))
    assert not failures, "%d of %d routes:\n%s" % (len(failures), len(ROUTES), "\n".join(failures))


def test_the_readme_has_the_table_that_was_seen(world):
    with open(README, encoding="utf-8") as file:
        text = file.read()
    before, found, rest = text.partition(MARKERS[0])
    told, end, after = rest.partition(MARKERS[1])
    assert found and end, "the README's markers are gone: %s … %s" % MARKERS
    seen = table(world.seen)
    if os.environ.get(WRITE):
        with open(README, "w", encoding="utf-8") as file:
            file.write(before + found + seen + end + after)
    else:
        rows = [(was, now) for was, now in zip(told.splitlines(), seen.splitlines()) if was != now]
        assert told == seen, "write it anew: %s=1 cargo xtask test routes\n%s" % (WRITE, "\n".join("- %s\n+ %s" % row for row in rows[:5]))


def table(seen):
    lines = ["| | route (after `/v1`) | served | differs from AMS 1.7 |", "|---|---|---|---|"]
    for number, route in enumerate(ROUTES, 1):
        served = "yes" if seen[route.name] else "not yet: 404 page"
        lines.append("| %d | `%s %s` | %s | %s |" % (number, route.method, route.path, served, route.differs))
    return "".join(line.rstrip() + "\n" for line in lines)


def test_who_may_ask_is_as_the_contract_says(world):
    """Every route by every role, without token and with one that nobody has. Things that are not there are asked for, so that who is let in
    changes as little as possible."""
    failures = []
    for route in ROUTES:
        if world.seen.get(route.name) is False or route.roles in (ANYBODY, ANY_USER):
            continue
        # An access list is asked about before the thing on its metrics, so those are of what is there.
        known = {"project": "absent" if route.name == "projects:create" else "R",
                 "topic": "t" if "metrics" in route.name else "absent", "subscription": "s" if "metrics" in route.name else "absent",
                 "uuid": "0" * 32, "token": "ab" * 32}
        path = "/v1" + re.sub(r"\{(\w+)\}", lambda found: known.get(found.group(1), "absent"), route.path)
        inside = "{project}" in route.path and route.name != "projects:create"
        callers = [(None, 401), ("f" * 64, 401)]
        for role in PROJECT_ROLES + SERVICE_ROLES:
            refused = 403 if inside or role in SERVICE_ROLES else 401
            may = role in route.roles and (inside or role in SERVICE_ROLES)
            callers.append((world.token_of(role), 0 if may else refused))
        for at, (token, wanted) in enumerate(callers):
            if not wanted and route.name == "projects:delete":
                continue
            answer = world.as_user(token).call(route.method, path)
            got = answer.status if answer.status in (401, 403) else 0
            if got != wanted:
                who = ("nobody", "a stranger", *PROJECT_ROLES, *SERVICE_ROLES)[at]
                failures.append("%s by %s: %d, expected %s" % (route.name, who, answer.status, wanted or "to be let in"))
    assert not failures, "\n".join(failures)


def test_a_route_that_any_user_may_ask_wants_a_user(world):
    for route in ROUTES:
        if route.roles == ANY_USER:
            for token in (None, "f" * 64, servers.SERVICE_TOKEN):
                wire.refused(world.as_user(token).call(route.method, "/v1" + route.path), wire.E401)
            same(world.as_user(world.token_of("consumer")).call(route.method, "/v1" + route.path).status, 200)
