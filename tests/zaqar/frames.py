"""Zaqar over WebSocket: a connection that sends frames and tells replies from what is pushed.

Owns one connection. Never retries, never interprets a reply.
"""

import base64
import contextlib
import json
import os
import uuid

import msgpack
import websocket

TIMEOUT = 30


class Reply:
    """What came back: status, body, and the request as the server read it."""

    def __init__(self, frame):
        self.status = frame["headers"]["status"]
        self.body = frame["body"]
        self.request = frame["request"]

    def of(self, *status):
        """The body, if the status is one of these; anything else fails."""
        assert self.status in status, "expected %s, got %d: %s" % (status, self.status, self.body)
        return self.body


class Socket:
    """One client of one project."""

    def __init__(self, server, project="proj1", client=None, packed=False):
        self.line = websocket.create_connection(url(server), timeout=TIMEOUT)
        self.project = project
        self.client = client or str(uuid.uuid4())
        self.packed = packed
        self.pushes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.line.close(timeout=1)

    def send(self, frame):
        if self.packed:
            self.line.send(msgpack.packb(frame), websocket.ABNF.OPCODE_BINARY)
        else:
            self.line.send(json.dumps(frame))

    def receive(self):
        """The next frame, whatever it is."""
        opcode, data = self.line.recv_data()
        assert opcode in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY), (opcode, data)
        packed = opcode == websocket.ABNF.OPCODE_BINARY
        return msgpack.unpackb(data) if packed else json.loads(data.decode("utf-8"))

    def ask(self, action, headers=None, **body):
        """One action and its reply; what is pushed meanwhile is kept."""
        headers = dict({"Client-ID": self.client, "X-Project-ID": self.project}, **headers or {})
        self.send({"action": action, "headers": headers, "body": body})
        return self.reply()

    def reply(self):
        while True:
            frame = self.receive()
            if "request" in frame:
                return Reply(frame)
            self.pushes.append(frame)

    def pushed(self):
        """The next thing that was or will be pushed."""
        if self.pushes:
            return self.pushes.pop(0)
        frame = self.receive()
        assert "request" not in frame, frame
        return frame

    def post(self, queue, *bodies, ttl=300):
        return self.ask("message_post", queue_name=queue, messages=[{"ttl": ttl, "body": body} for body in bodies]).of(201)["message_ids"]

    def ended(self):
        """Waits for the server's farewell; its code, or none when there was none."""
        with contextlib.suppress(websocket.WebSocketConnectionClosedException, ConnectionError):
            while True:
                opcode, data = self.line.recv_data()
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    return int.from_bytes(data[:2], "big")
        return None


def url(server):
    return "ws://127.0.0.1:%d/" % server.ports["zaqar_websocket"]


def handshake(server, *more):
    """The head that opens a connection, for raw ones."""
    key = base64.b64encode(os.urandom(16)).decode()
    head = ["GET / HTTP/1.1", "Host: 127.0.0.1:%d" % server.ports["zaqar_websocket"], "Upgrade: websocket", "Connection: Upgrade",
            "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + key]
    return "\r\n".join(head + list(more) + ["", ""]).encode()


def frame(payload, first=0x81, length=None, masked=True):
    """A raw frame of a client, true or not."""
    length = len(payload) if length is None else length
    if length < 126:
        head = bytes([first, length | (0x80 if masked else 0)])
    elif length < 65536:
        head = bytes([first, 126 | 0x80]) + length.to_bytes(2, "big")
    else:
        head = bytes([first, 127 | 0x80]) + length.to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + payload
