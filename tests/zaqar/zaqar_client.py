"""The unmodified python-zaqarclient over HTTP: queues, messages, claims, signed URLs, as its users call it."""

import contextlib
import uuid

import zaqar
from runner import raises, same
from zaqarclient.queues import client as library
from zaqarclient.transport import errors


@contextlib.contextmanager
def world(_options):
    with zaqar.running("zaqar-client") as server:
        yield server


def connect(server, project=None, backend="noauth", **options):
    options["os_project_id"] = project or uuid.uuid4().hex
    conf = {"auth_opts": {"backend": backend, "options": options}}
    return library.Client("http://127.0.0.1:%d" % server.ports["zaqar"], version=2, conf=conf)


def bodies(messages):
    return [message.body for message in messages]


def test_the_service_answers(server):
    client = connect(server)
    assert client.ping()
    assert "rel/queue" in client.homedoc()["resources"]


def test_queues_are_made_listed_and_deleted(server):
    client = connect(server)
    for name in ("one", "two", "three"):
        client.queue(name, force_create=True)
    queues, count = client.queues(limit=2, with_count=True)
    same(([queue.name for queue in queues], count), (["one", "three"], 3))
    same([queue.name for queue in client.queues(name="tw")[0]], ["two"])
    assert client.queue("one").exists()
    client.queue("one").delete()
    same([queue.name for queue in client.queues()[0]], ["three", "two"])


def test_metadata_is_read_and_written(server):
    queue = connect(server).queue("q", force_create=True)
    same(queue.metadata()["_default_message_ttl"], 3600)
    queue.metadata({"_default_message_ttl": 120, "own": [1, {"deep": "é"}]})
    now = queue.metadata(force_reload=True)
    same((now["_default_message_ttl"], now["own"]), (120, [1, {"deep": "é"}]))
    queue.metadata({"other": 1})
    now = queue.metadata(force_reload=True)
    same((now["_default_message_ttl"], now.get("own"), now["other"]), (3600, None, 1))


def test_messages_are_posted_listed_fetched_and_deleted(server):
    queue = connect(server).queue("q")
    posted = queue.post([{"body": {"n": n}, "ttl": 300} for n in range(15)])
    ids = [href.rsplit("/", 1)[1] for href in posted["resources"]]
    same(bodies(queue.messages(echo=True)), [{"n": n} for n in range(10)])
    same(bodies(queue.messages(echo=True, limit=4).stream()), [{"n": n} for n in range(15)])
    same(list(queue.messages()), [])
    same(bodies(queue.messages(*ids[3:5])), [{"n": 3}, {"n": 4}])
    message = queue.message(ids[0])
    same((message.body, message.ttl, message.id), ({"n": 0}, 300, ids[0]))
    message.delete()
    raises(errors.ResourceNotFound, queue.message, ids[0])
    queue.delete_messages(*ids[1:10])
    same(bodies(queue.pop(count=2)), [{"n": 10}, {"n": 11}])
    same((queue.stats["messages"]["free"], queue.stats["messages"]["claimed"]), (3, 0))
    queue.purge()
    same(queue.stats["messages"]["total"], 0)


def test_claims_are_worked_off(server):
    queue = connect(server).queue("q")
    queue.post([{"body": n, "ttl": 300} for n in range(5)])
    claim = queue.claim(ttl=600, grace=60, limit=2)
    for message in claim:
        assert message.claim_id == claim.id
        message.delete()
    same(queue.stats["messages"]["total"], 3)
    claim = queue.claim()
    same(sorted(bodies(claim)), [2, 3, 4])
    same(list(queue.claim(ttl=60, grace=60)), [])
    claim.update(ttl=700)
    again = queue.claim(id=claim.id)
    same((again.ttl, sorted(bodies(again))), (700, [2, 3, 4]))
    claim.delete()
    same(queue.stats["messages"]["free"], 3)


def test_an_error_is_raised_as_what_it_is(server):
    queue = connect(server).queue("q")
    error = raises(errors.MalformedRequest, queue.post, {"body": 1, "ttl": 5})
    assert "may not exceed 1209600 seconds" in str(error), error
    raises(errors.MalformedRequest, lambda: list(queue.messages(limit=500)))


def test_a_signed_url_opens_what_it_says(server):
    project = uuid.uuid4().hex
    queue = connect(server, project).queue("q")
    signed = queue.signed_url(paths=["messages"], methods=["GET", "POST"], ttl_seconds=600)
    named = {name: signed[name] for name in ("signature", "expires", "paths", "methods")}
    guest = connect(server, project, "signed-url", **named).queue("q")
    guest.post({"body": "from a guest", "ttl": 60})
    same(bodies(queue.messages(echo=True)), ["from a guest"])
