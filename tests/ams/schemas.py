"""Schemas, quotas and the audit topic from outside: the unmodified library where it has a method, raw requests elsewhere.

Avro data are written by `fastavro`, as ARGO's own producers write theirs.
"""

import base64
import contextlib
import io
import json
import re
import time

import fastavro
from argo_ams_library import AmsMessage, AmsServiceException

import scene
import server as servers
import wire
from runner import same

PERSON = {"type": "object", "required": ["name", "email"], "properties": {"name": {"type": "string"}, "telephone": {"type": "string"}}}
METRIC_DATA = {
    "type": "record", "name": "metric_data", "namespace": "argo.avro", "fields": [
        {"name": "timestamp", "type": "string"}, {"name": "service", "type": "string"}, {"name": "hostname", "type": "string"},
        {"name": "metric", "type": "string"}, {"name": "monitoring_host", "type": ["null", "string"]},
        {"name": "status", "type": "string"}, {"name": "summary", "type": ["null", "string"]},
        {"name": "message", "type": ["null", "string"]},
        {"name": "tags", "type": ["null", {"type": "map", "values": ["null", "string"]}]}]}
METRIC = {
    "timestamp": "2026-01-02T03:04:05Z", "service": "org.argo.ams", "hostname": "ams.example.org", "metric": "argo.AMS-Check",
    "monitoring_host": "mon.example.org", "status": "OK", "summary": "grün", "message": None,
    "tags": {"endpoint_group": "SITE-A", "vo": None}}


class World:
    """A server and projects as they are needed."""

    def __init__(self, server):
        self.server = server
        self.made = 0

    def project(self, kind="json", schema=None, **more):
        """A fresh project with a schema `s`, and a topic `t` that has it: the library, and a wire."""
        self.made += 1
        ams = scene.project(self.server, "S%d" % self.made, ["t"])
        raw = wire.Wire(self.server, project=ams.project)
        body = {"type": kind, "schema": PERSON if schema is None else schema, **more}
        raw.call("POST", raw.path("schemas", "s"), body).ok()
        raw.topic("t", "POST", {"schema": "projects/%s/schemas/s" % ams.project}, "attachSchema").ok()
        ams.create_sub("all", "t")
        return ams, raw


@contextlib.contextmanager
def world(_options):
    with servers.running("schemas", settings=["audit.project=OPS", "audit.topic=audit"]) as server:
        yield World(server)


def refused(ams, *messages):
    """The server's words for what the library may not publish."""
    try:
        ams.publish("t", list(messages))
    except AmsServiceException as error:
        same(error.code, 400)
        return re.sub(r"^.*?(?=Message \d)", "", str(error.msg))
    raise AssertionError("it was published")


def datum(schema, record):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), record)
    return out.getvalue()


def test_messages_that_keep_the_schema_pass_and_others_are_named(world):
    ams, raw = world.project()
    good = json.dumps({"name": "a", "email": "b"})
    ams.publish("t", [AmsMessage(data=good), AmsMessage(data=good)])
    words = refused(ams, AmsMessage(data=good), AmsMessage(data=json.dumps({"name": "a", "telephone": 5})))
    assert words.startswith("Message 1 data is not valid.1)(root): email is required.2)telephone: Invalid type. Expected: string, given: integer."), words
    assert refused(ams, AmsMessage(attributes={"a": "b"})).startswith("Message 0 data is not valid JSON format,EOF")
    same(len(ams.pull_sub("all", 10, True)), 2)
    same(raw.publish("t", {"data": "not base64!"}).json()["error"]["message"],
         "Message 0 is not in valid base64 enocding,illegal base64 data at input byte 3")


def test_the_library_shows_a_topic_with_its_schema(world):
    ams, raw = world.project()
    same(raw.topic("t", "GET").ok()["schema"], "projects/%s/schemas/s" % ams.project)
    same([topic.fullname for topic in ams.iter_topics()], ["/projects/%s/topics/t" % ams.project])
    raw.call("DELETE", raw.path("schemas", "s")).ok()
    ams.publish("t", AmsMessage(data="free again"))
    assert "schema" not in raw.topic("t", "GET").ok()


def test_metric_data_in_avro_pass_whole_and_nothing_else_does(world):
    ams, _raw = world.project("avro", METRIC_DATA)
    whole = datum(METRIC_DATA, METRIC)
    ams.publish("t", AmsMessage(data=whole, attributes={"site": "SITE-A"}))
    (_, message), = ams.pull_sub("all", 10, True)
    same(fastavro.schemaless_reader(io.BytesIO(scene.raw(message)), METRIC_DATA), METRIC)
    for cut in (whole[:-1], whole[:10], b"\xff" * 20, b"\x02" * 5):
        assert refused(ams, AmsMessage(data=cut)).startswith("Message 0 is not valid.cannot decode binary record \"argo.avro.metric_data\" field "), cut
    container = io.BytesIO()
    fastavro.writer(container, METRIC_DATA, [METRIC])
    assert "negative size: -40" in refused(ams, AmsMessage(data=container.getvalue()))


def test_attributes_are_held_to_their_own_rules(world):
    rules = {"required": ["site"], "properties": {"site": {"enum": ["A", "B"]}}}
    ams, _raw = world.project("json", {}, attributes=rules)
    ams.publish("t", AmsMessage(data="{}", attributes={"site": "A", "more": "x"}))
    assert refused(ams, AmsMessage(data="{}", attributes={"site": "C"})).startswith("Message 0 attributes are not valid,site: site must be one of")
    storm = {"a%d" % at: "x" for at in range(1000)}
    assert refused(ams, AmsMessage(data="{}", attributes=storm)).startswith("Message 0 attributes are not valid,(root): site is required")


def test_bombs_are_answered_soon_and_the_service_goes_on(world):
    ams, raw = world.project("json", {"pattern": "^(a+)+$", "items": {"type": "string"}})
    chain = {"d%d" % at: {"allOf": [{"$ref": "#/definitions/d%d" % (at + 1)}] * 2} for at in range(60)}
    deep = "true"
    for _ in range(120):
        deep = '{"not":%s}' % deep
    bombs = [json.dumps({"$ref": "#"}), json.dumps({"$ref": "file:///etc/passwd"}), json.dumps({"$ref": "http://127.0.0.1:1/x"}), deep,
             json.dumps({"$ref": "#/definitions/d0", "definitions": dict(chain, d60={})}), json.dumps({"pattern": "(a{1000}){1000}"})]
    begun = time.monotonic()
    for bomb in bombs:
        answer = raw.call("POST", raw.path("schemas", "bomb"), '{"type":"json","schema":%s}' % bomb)
        same(answer.status, 400)
    huge = {"type": "record", "name": "R", "fields": [{"name": "f%d" % at, "type": "int"} for at in range(9_000)]}
    assert raw.call("POST", raw.path("schemas", "bomb"), {"type": "avro", "schema": huge}).status == 400
    assert "does not match" in refused(ams, AmsMessage(data=json.dumps("a" * 900_000 + "!"))).lower()
    assert refused(ams, AmsMessage(data="[" * 900_000)).startswith("Message 0 data is not valid JSON format")
    assert refused(ams, AmsMessage(data=json.dumps([1] * 300_000))).startswith("Message 0 data is not valid")
    same(raw.publish("t", {"data": base64.b64encode(b"\"" + b"a" * 10_000_000).decode()}).status, 413)
    assert time.monotonic() - begun < 60
    ams.publish("t", AmsMessage(data='"aaa"'))


def test_above_its_quota_a_project_gets_429_and_when_to_come_again(world):
    ams, raw = world.project("json", {})
    raw.call("PUT", "/v1/projects/" + ams.project, {"quota": {"messagesPerSecond": 1, "topics": 1}}).ok()
    raw.publish("t", "{}", "{}").ok()
    answer = raw.publish("t", "{}")
    same((answer.status, answer.json()["error"]["status"]), (429, "RESOURCE_EXHAUSTED"))
    wait = int(answer.headers["retry-after"])
    assert 1 <= wait <= 3, wait
    time.sleep(wait + 0.1)
    raw.publish("t", "{}").ok()
    same(raw.topic("more").status, 429)


def test_the_audit_topic_tells_who_did_what_and_is_nobodys_to_change(world):
    ops = scene.service(world.server, "OPS")
    ops.create_sub("watch", "audit")
    ams = scene.project(world.server, "Told", ["one"])
    told = [json.loads(scene.raw(message)) for _, message in ops.pull_sub("watch", 100, True)]
    calls = [(one["operation"], one["who"], one["outcome"], one["from"]) for one in told if one["path"].startswith("/v1/projects/Told")]
    same(calls, [("projects:create", "(service token)", "done", "127.0.0.1"), ("topics:create", "(service token)", "done", "127.0.0.1")])
    assert all(one["request_id"] and one["time"] for one in told)
    raw = wire.Wire(world.server, project="OPS")
    same(raw.publish("audit", "forged").status, 403)
    same(raw.topic("audit", "DELETE").status, 403)
    assert ams.has_topic("one")
