"""Zaqar over WebSocket on the real binary: the unmodified python-zaqarclient, every action by text and by MessagePack, pushes, and
clients that are hostile, silent or many."""

import contextlib
import json
import socket
import time
import uuid

import crowd
import frames
import msgpack
import runner
import server as servers
import websocket
import zaqar
from frames import Socket
from runner import raises, same
from zaqarclient import transport
from zaqarclient.transport import errors
from zaqarclient.transport import request as requests

# Seconds after which this suite's server asks silent clients, and within which a frame must have come.
SILENCE = 2
MIB = 1 << 20
# Ten thousand, where the limit on open files has room for them in the server: it takes two for each.
IDLE = min(10_000, crowd.allow_files(20_000) // 2 - 500)


@contextlib.contextmanager
def world(_options):
    with zaqar.running("zaqar-socket", ["limits.keep_alive_seconds=%d" % SILENCE, "limits.body_seconds=%d" % SILENCE]) as server:
        yield server
        assert b"panicked" not in server.all_output(), server.tail()


def connect(server, **named):
    return Socket(server, project=uuid.uuid4().hex, **named)


@contextlib.contextmanager
def raw(server, *more):
    """A raw connection whose handshake is done."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", server.ports["zaqar_websocket"]), timeout=30)) as line:
        line.sendall(frames.handshake(server, *more))
        got = b""
        while b"\r\n\r\n" not in got:
            got += line.recv(1)
        assert got.startswith(b"HTTP/1.1 101 "), got
        yield line


def farewell(line):
    """The code of the close frame that ends a raw connection; none when it just ends."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while piece := line.recv(65536):
            got += piece
    at = got.find(b"\x88")
    return int.from_bytes(got[at + 2:at + 4], "big") if at >= 0 else None


def test_the_client_library_makes_asks_and_is_refused(server):
    endpoint = frames.url(server)
    conf = {"auth_opts": {"backend": "noauth", "options": {"os_auth_token": "any", "os_project_id": uuid.uuid4().hex}}}

    def ask(action, **body):
        return line.send(requests.Request(endpoint, action, content=json.dumps(body))).deserialized_content

    with transport.get_transport_for(endpoint, options=conf) as line:
        same(ask("queue_create", queue_name="w1"), "Queue w1 created.")
        ids = ask("message_post", queue_name="w1", messages=[{"ttl": 100, "body": {"n": n}} for n in range(3)])["message_ids"]
        claim = ask("claim_create", queue_name="w1", ttl=100, grace=60, limit=2)
        same([message["id"] for message in claim["messages"]], ids[:2])
        same(ask("message_delete_many", queue_name="w1", pop=1)["messages"][0]["body"], {"n": 2})
        error = raises(errors.ResourceNotFound, ask, "claim_get", queue_name="w1", claim_id=str(uuid.uuid4()))
        assert "does not exist" in str(error), error
        raises(errors.MalformedRequest, ask, "message_post", queue_name="w1", messages=[{"ttl": 1, "body": 1}])
        raises(errors.MalformedRequest, ask, "no_such_action")


def test_every_action_by_text_and_packed(server):
    for packed in (False, True):
        with connect(server, packed=packed) as line:
            same(line.ask("authenticate", {"X-Auth-Token": "t"}).of(200), {"message": "Authentified."})
            same(line.ask("queue_create", queue_name="q", metadata={"é": [1, 2.5]}).of(201), "Queue q created.")
            same(line.ask("queue_get", queue_name="q").of(200), {"é": [1, 2.5]})
            same(line.ask("queue_list", detailed=True).of(200), {"queues": [{"name": "q", "metadata": {"é": [1, 2.5]}}]})
            bodies = [{"deep": [{"é": None}]}, "text", 3, -1.5, True, None, [], {}]
            ids = line.post("q", *bodies)
            listed = line.ask("message_list", queue_name="q", echo=True).of(200)["messages"]
            same([message["body"] for message in listed], bodies)
            same(sorted(listed[0]), ["age", "body", "claim_id", "id", "ttl"])
            same(line.ask("message_get", queue_name="q", message_id=ids[1]).of(200)["messages"]["body"], "text")
            same(len(line.ask("message_get_many", queue_name="q", message_ids=ids[:3]).of(200)["messages"]), 3)
            claim = line.ask("claim_create", queue_name="q", ttl=100, grace=60, limit=1).of(201)
            same((claim["messages"][0]["id"], claim["messages"][0]["claim_id"]), (ids[0], claim["claim_id"]))
            named = {"queue_name": "q", "claim_id": claim["claim_id"]}
            same(line.ask("claim_update", ttl=200, **named).of(204), "Claim %s updated." % claim["claim_id"])
            same(line.ask("claim_get", **named).of(200)["ttl"], 200)
            line.ask("message_delete", message_id=ids[0], queue_name="q").of(403)
            same(line.ask("message_delete", message_id=ids[0], **named).of(204), {})
            same(line.ask("claim_delete", **named).of(204), "Claim %s deleted." % claim["claim_id"])
            same(line.ask("message_delete_many", queue_name="q", message_ids=ids[1:3]).of(204), {})
            same(line.ask("queue_get_stats", queue_name="q").of(200)["messages"]["total"], 5)
            same(len(line.ask("message_delete_many", queue_name="q", pop=2).of(200)["messages"]), 2)
            same(line.ask("queue_purge", queue_name="q").of(204), {})
            same(line.ask("queue_delete", queue_name="q").of(204), "Queue q removed.")
            same(line.ask("queue_get_stats", queue_name="q").of(404)["messages"]["total"], 0)


def test_both_transports_share_their_queues_and_errors(server):
    http = zaqar.Client(server, project=uuid.uuid4().hex)
    with Socket(server, project=http.project, client=http.client) as line:
        ids = http.post({"from": "http"}, ttl=300) + line.post("q", {"from": "socket"})
        page = http.call("GET", http.queue("/messages?echo=true")).of(200)["messages"]
        same([message["id"] for message in page], ids)
        same(line.ask("message_list", queue_name="q").of(200), {"messages": []}, "one's own, by either")
        same(len(line.ask("message_list", queue_name="q", echo=True, marker=ids[0]).of(200)["messages"]), 1)
        for body, path in (({"limit": 21}, "?limit=21"), ({"limit": 0}, "?limit=0")):
            said = line.ask("message_list", queue_name="q", **body)
            http.call("GET", http.queue("/messages" + path)).says(said.status, said.body["error"])


def test_a_signed_url_opens_its_queue(server):
    http = zaqar.Client(server, project=uuid.uuid4().hex)
    http.post(1, ttl=300)
    signed = http.call("POST", http.queue("/share"), {"paths": ["messages"], "methods": ["GET", "POST"]}).of(200)
    headers = {"URL-Signature": signed["signature"], "URL-Expires": signed["expires"], "URL-Methods": signed["methods"], "URL-Paths": signed["paths"]}
    with Socket(server, project=http.project) as line:
        same(len(line.ask("message_list", headers, queue_name="q", echo=True).of(200)["messages"]), 1)
        line.ask("message_post", headers, queue_name="q", messages=[{"ttl": 60, "body": 2}]).of(201)
        for action, body in (("message_list", {"queue_name": "other"}), ("message_delete_many", {"queue_name": "q", "pop": 1}), ("queue_get", {"queue_name": "q"})):
            same(line.ask(action, headers, **body).of(403), {"error": "Not authentified."})
        forged = dict(headers, **{"URL-Paths": ["/v2/queues/other/messages"]})
        line.ask("message_list", forged, queue_name="other").of(403)


def test_a_connection_is_told_what_is_posted_until_it_closes(server):
    http = zaqar.Client(server, project=uuid.uuid4().hex)
    http.post("before", ttl=300)
    for packed in (False, True):
        with Socket(server, project=http.project, packed=packed) as line:
            made = line.ask("subscription_create", queue_name="q", ttl=10_000).of(201)
            same(made["message"], "Subscription q created.")
            named = {"queue_name": "q", "subscription_id": made["subscription_id"]}
            same(line.ask("subscription_create", queue_name="q").of(409), "Subscription q not created.")
            http.post({"deep": [1, None]}, "é", ttl=300)
            told = [line.pushed() for _ in range(2)]
            same([push["body"] for push in told], [{"deep": [1, None]}, "é"])
            same((told[0]["Message_Type"], told[0]["queue_name"], told[0]["ttl"]), ("Notification", "q", 300))
            line.post("q", "own")
            same(line.pushed()["body"], "own", "one's own are told, too")
            shown = line.ask("subscription_get", **named).of(200)
            same((shown["source"], shown["ttl"], shown["id"]), ("q", 10_000, made["subscription_id"]))
            same(line.ask("subscription_list", queue_name="q").of(200)["subscriptions"], [shown])
            listed = http.call("GET", http.queue("/subscriptions")).of(200)["subscriptions"]
            same([one["id"] for one in listed], [shown["id"]])
        gone = http.queue("/subscriptions/") + made["subscription_id"]
        runner.until(lambda gone=gone: http.call("GET", gone).status == 404, 10, "the subscription goes with its connection")
    same(http.call("GET", http.queue("/stats")).of(200)["messages"]["total"], 7, "who is told takes nothing away")


def test_a_subscription_that_is_removed_tells_nothing_more(server):
    http = zaqar.Client(server, project=uuid.uuid4().hex)
    with Socket(server, project=http.project) as line:
        kept = line.ask("subscription_create", queue_name="kept").of(201)["subscription_id"]
        removed = line.ask("subscription_create", queue_name="removed").of(201)["subscription_id"]
        same(line.ask("subscription_delete", queue_name="removed", subscription_id=removed).of(204), "Subscription %s removed." % removed)
        said = line.ask("subscription_get", queue_name="removed", subscription_id=removed).of(404)["error"]
        same(said, "Subscription %s for queue removed does not exist." % removed)
        http.post("no", name="removed", ttl=300)
        http.post("yes", name="kept", ttl=300)
        same(line.pushed()["body"], "yes")
        same(http.call("DELETE", http.queue("/subscriptions/" + kept, "kept")).status, 204)
        runner.until(lambda: line.ask("subscription_get", queue_name="kept", subscription_id=kept).status == 404, 10, "it is over")
        webhook = line.ask("subscription_create", queue_name="kept", subscriber="http://127.0.0.1:1/x", ttl=60).of(201)
        same(len(line.ask("subscription_list", queue_name="kept").of(200)["subscriptions"]), 1)
        line.ask("subscription_delete", queue_name="kept", subscription_id=webhook["subscription_id"]).of(204)
        for wrong in ({"ttl": 5}, {"subscriber": "nope://x"}, {"ttl": "x"}, {"options": []}):
            line.ask("subscription_create", queue_name="kept", **wrong).of(400)


def test_a_slow_listener_misses_nothing_and_replies_come_between_pushes(_server):
    with zaqar.running("zaqar-slow") as server, connect(server) as line:
        http = zaqar.Client(server, project=line.project)
        line.ask("subscription_create", queue_name="q").of(201)
        for at in range(0, 300, 5):
            http.post(*["%03d" % n + "x" * 20_000 for n in range(at, at + 5)], ttl=300)
        # Far more than any buffer holds was posted before the first was read.
        line.ask("queue_get_stats", queue_name="q").of(200)
        same([line.pushed()["body"][:3] for _ in range(300)], ["%03d" % n for n in range(300)])


def test_requests_are_answered_in_order_however_many_are_sent_at_once(server):
    with connect(server) as line:
        headers = {"Client-ID": line.client, "X-Project-ID": line.project}
        for n in range(500):
            line.send({"action": "message_post", "headers": headers, "body": {"queue_name": "q", "messages": [{"ttl": 60, "body": n}]}})
        ids = [line.reply().of(201)["message_ids"][0] for _ in range(500)]
        same(ids, sorted(ids))
        same(line.ask("queue_get_stats", queue_name="q").of(200)["messages"]["free"], 500)


def test_a_fragmented_frame_is_one_request_and_pings_are_answered_within(server):
    request = json.dumps({"action": "authenticate", "headers": {"X-Auth-Token": "t", "X-Project-ID": "p"}}).encode()
    with raw(server) as line:
        line.sendall(frames.frame(request[:10], first=0x01) + frames.frame(b"hi", first=0x89) + frames.frame(request[10:], first=0x80))
        got = b""
        while b"Authentified" not in got:
            got += line.recv(4096)
        assert got.startswith(b"\x8a\x02hi"), got


def test_what_is_no_websocket_is_told_so(server):
    port = server.ports["zaqar_websocket"]

    def status(head):
        with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as line:
            line.sendall(head)
            return line.recv(65536).split(b"\r\n", 1)[0]

    good = frames.handshake(server)
    same(status(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), b"HTTP/1.1 200 OK")
    same(status(good.replace(b"Version: 13", b"Version: 8")), b"HTTP/1.1 426 Upgrade Required")
    same(status(good.replace(b"GET ", b"POST ")), b"HTTP/1.1 400 Bad Request")
    same(status(good.replace(b"Connection: Upgrade\r\n", b"")), b"HTTP/1.1 400 Bad Request")
    same(status(good.replace(b"Sec-WebSocket-Key: ", b"Sec-WebSocket-Key: x")), b"HTTP/1.1 400 Bad Request")
    same(status(frames.handshake(server, "Origin: http://evil.example")), b"HTTP/1.1 403 Forbidden")
    same(status(good.replace(b"Host: 127.0.0.1", b"Host: evil.example")), b"HTTP/1.1 403 Forbidden")
    same(status(good), b"HTTP/1.1 101 Switching Protocols")


def test_frames_too_large_or_against_the_standard_end_the_connection_at_once(server):
    resident = server.resident()
    for code, sent in (
        (1009, frames.frame(b"", length=1 << 40)),
        (1009, frames.frame(b"", length=400_000)),
        (1009, frames.frame(bytes(200_000), first=0x01) + frames.frame(bytes(200_000), first=0x80)),
        (1002, frames.frame(b"{}", masked=False)),
        (1002, frames.frame(b"{}", first=0xc1)),
        (1002, frames.frame(b"{}", first=0x80)),
        (1002, frames.frame(bytes(126), first=0x89)),
    ):
        with raw(server) as line:
            line.sendall(sent)
            same(farewell(line), code, sent[:12])
    assert server.resident() < resident + 100 * MIB


def test_bombs_are_refused_and_the_connection_goes_on(server):
    nested = b"\x91" * 200_000
    with connect(server, packed=True) as line:
        for bomb in (nested, b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff" + b"\xa0\xc0" * 1000, b"\xdb\xff\xff\xff\xffx", b"", b"\xc1",
                     msgpack.packb({"action": b"bytes"}), msgpack.packb({1: 2}), msgpack.packb(1e999)):
            line.line.send(bomb, websocket.ABNF.OPCODE_BINARY)
            reply = line.reply()
            assert reply.of(400)["error"].startswith("Can't decode binary (MessagePack) request. "), reply.body
        for bomb in ("[" * 200_000, '{"a":' * 50_000, '{"a": 1e999999', "nope", '{"a": 123456789012345678901234567890}'):
            line.line.send(bomb)
            reply = line.reply()
            assert reply.of(400)["error"].startswith("Can't decode text (JSON) request. "), reply.body
        line.post("q", 1)


def test_a_frame_that_comes_too_slowly_ends_the_connection(server):
    with raw(server) as line:
        begun = time.monotonic()
        line.sendall(frames.frame(b"{", length=1000))
        line.settimeout(0.3)
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < begun + 30:
                with contextlib.suppress(TimeoutError):
                    if b"\x03\xf0" in line.recv(100):
                        break
                line.sendall(b" ")
        took = time.monotonic() - begun
        assert SILENCE - 0.5 < took < 20, took


def test_a_silent_client_that_answers_pings_stays_and_one_that_does_not_goes(server):
    with connect(server) as alive, raw(server) as dead:
        begun = time.monotonic()
        alive.line.settimeout(0.2)
        while time.monotonic() < begun + 4 * SILENCE:
            with contextlib.suppress(websocket.WebSocketTimeoutException):
                # Answers pings meanwhile.
                alive.line.recv_data()
        alive.line.settimeout(30)
        alive.post("q", 1)
        same(farewell(dead), None)


def test_a_client_that_never_reads_is_cut_and_costs_little(server):
    with connect(server) as other:
        other.post("q", *["x" * 100_000] * 2)
        request = {"action": "message_list", "headers": {"Client-ID": other.client, "X-Project-ID": other.project}, "body": {"queue_name": "q", "echo": True}}
        sent = frames.frame(json.dumps(request).encode()) * 2_000
        with raw(server) as line:
            line.settimeout(60)
            begun = time.monotonic()
            # Either the sending fails, or what was sent is thrown away with the connection.
            with contextlib.suppress(ConnectionError):
                line.sendall(sent)
                while time.monotonic() < begun + 60:
                    line.sendall(frames.frame(b"{}"))
                    time.sleep(0.2)
            assert time.monotonic() - begun < 50, "the connection is still there"
        resident = server.resident()
        assert resident < 300 * MIB, resident
    with connect(server) as other:
        other.post("q", 1)


def test_ten_thousand_connections_leave_a_normal_client_prompt(_server):
    with zaqar.running("zaqar-crowd", ["limits.connections=12000"]) as server, crowd.Crowd(server.ports["zaqar_websocket"]) as idle:
        begun = time.monotonic()
        lines = idle.add(IDLE, frames.handshake(server), keep=200)
        assert idle.drive(60, lambda: all(b" 101 " in line.got for line in lines)), sum(b" 101 " in line.got for line in lines)
        opened = time.monotonic() - begun
        worst = 0.0
        with connect(server) as line:
            for n in range(50):
                begun = time.monotonic()
                line.post("q", n)
                worst = max(worst, time.monotonic() - begun)
        same([line.closed for line in lines if line.closed is not None], [])
        resident = server.resident()
        print("     %d connections in %.1f s, resident %d MiB, a post at most %.3f s" % (len(lines), opened, resident // MIB, worst))
        assert resident < 700 * MIB and worst < crowd.PROMPT_SECONDS, (resident, worst)


def test_a_stop_says_farewell(_server):
    with servers.running("zaqar-farewell", zaqar.SETTINGS + ["limits.drain_seconds=30"]) as server, connect(server) as line:
        line.post("q", 1)
        begun = time.monotonic()
        server.process.send_signal(15)
        same(line.ended(), 1001)
        same(server.ended(), 0)
        assert time.monotonic() - begun < 15
