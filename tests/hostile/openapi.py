"""Schemathesis against the running binary: no 5xx but those that the contract names, and no status that the document does not have.

It reads `schemas/openapi/ams-v1.json` as published, and once more with its variables held to things that exist, so that bodies reach the
handlers. Skipped where schemathesis is not installed. Bounded in time.
"""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys

import runner
import server as servers
import wire

HERE = os.path.dirname(os.path.abspath(__file__))
DOCUMENT = os.path.join(HERE, "..", "..", "schemas", "openapi", "ams-v1.json")
SECONDS = 20
# The contract answers acknowledgements that do not fit with 500; that is in the document, and told apart by its text.
CONFIGURATION = """
[[operations]]
include-operation-id = "subscriptions:acknowledge"
checks.not_a_server_error.enabled = false
"""
# What each variable is held to in the second run: one that is there, one that is not.
KNOWN = {"project": ["P", "absent"], "topic": ["t", "u"], "subscription": ["s", "i"], "user": ["consumer", "absent"],
         "token": ["ab" * 32], "uuid": ["0" * 32], "schema": ["c", "absent"], "binding": ["absent"]}


class World:
    def __init__(self, server):
        self.server = server
        self.raw = wire.Wire(server, project="P")
        self.raw.call("POST", "/v1/projects/P", {}).ok()
        for topic in ("t", "u"):
            self.raw.topic(topic).ok()
        self.raw.subscribe("s", "t").ok()
        self.raw.subscribe("i", "t", ackMode="individual").ok()
        self.raw.call("POST", "/v1/projects/P/members/consumer", {"roles": ["consumer"]}).ok()
        self.raw.publish("t", "one", "two", "three").ok()
        self.raw.call("POST", "/v1/projects/P/schemas/c", {"type": "json", "schema": {"type": "object"}}).ok()

    def check(self, name, document, *more):
        """Runs schemathesis over a document; fails with what it found."""
        folder = os.path.join(self.server.root, name)
        os.makedirs(folder)
        with open(os.path.join(folder, "openapi.json"), "w") as file:
            json.dump(document, file)
        with open(os.path.join(folder, "schemathesis.toml"), "w") as file:
            file.write(CONFIGURATION)
        command = [sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", "http://127.0.0.1:%d" % self.server.ports["ams"],
                   "--header", "x-api-key:" + self.raw.token, "--phases", "coverage,fuzzing", "--max-time", str(SECONDS), "--request-timeout", "10",
                   "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
                   "--continue-on-failure", "--suppress-health-check", "all", "--no-color", *more]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS * 6)
        output = done.stdout.decode("utf-8", "replace")
        print("\n".join("     " + line for line in output.splitlines() if "cases" in line or "passed" in line)[:2_000])
        assert done.returncode == 0, output[-6_000:]
        assert b"panicked" not in self.server.all_output(), self.server.tail()


@contextlib.contextmanager
def world(_options):
    if importlib.util.find_spec("schemathesis") is None:
        raise runner.Skip("schemathesis is not installed")
    # Nothing that the service answers may take longer than a request's time: pulls do not wait here.
    with servers.running("openapi", ["limits.waiting_pulls=1", "store.segment_bytes=16777216"]) as server:
        yield World(server)


def published():
    with open(DOCUMENT) as file:
        return json.load(file)


def test_arbitrary_requests_get_documented_answers(world):
    world.check("arbitrary", published())


def test_requests_about_things_that_exist_get_documented_answers(world):
    document = published()
    for path in document["paths"].values():
        for parameter in path["parameters"]:
            parameter["schema"] = {"enum": KNOWN[parameter["name"]]}
        # What exists must stay.
        path.pop("delete", None)
    # Their success has no body, as in the original, whatever its content type says.
    for action in ("attachSchema", "detachSchema"):
        document["paths"].pop("/v1/projects/{project}/topics/{topic}:" + action)
    pull = document["paths"]["/v1/projects/{project}/subscriptions/{subscription}:pull"]["post"]
    pull["requestBody"]["content"]["application/json"]["schema"]["properties"]["returnImmediately"] = {"const": "true"}
    acknowledge = document["paths"]["/v1/projects/{project}/subscriptions/{subscription}:acknowledge"]["post"]
    acknowledge["requestBody"]["content"]["application/json"]["schema"]["properties"]["ackIds"]["items"] = {
        "pattern": r"^projects/P/subscriptions/[si]:[0-3](\.[0-9])?$"}
    world.check("existing", document)


def test_the_contracts_own_500s_have_their_texts(world):
    raw = world.raw
    raw.subscribe("fresh", "t").ok()
    raw.publish("t", "four", "five").ok()
    wire.refused(raw.ack("fresh", [raw.ack_id("fresh", raw.offsets("fresh")["max"] - 1)]), wire.E500("no ack pending"))
    raw.pull("fresh", 1).ok()
    wire.refused(raw.ack("fresh", [raw.ack_id("fresh", raw.offsets("fresh")["max"] - 1)]), wire.E500("wrong ack"))
