"""An HTTP proxy in front of a service that misbehaves as it is told: refusals, connections that end before or after the request.

Owns the connections. What it does with a request is a function's answer; what came by is counted.
"""

import contextlib
import http.client
import http.server
import threading
import time

FORWARD, DROP_BEFORE, DROP_AFTER = "forward", "drop before", "drop after"


class Refuse:
    """A refusal by the proxy itself."""

    def __init__(self, status, **headers):
        self.status = status
        self.headers = headers


class Proxy:
    """Listens on a free port; `decide(verb, body)` says what becomes of a request."""

    def __init__(self, server, decide):
        self.server = server
        self.decide = decide
        self.seen = []
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                proxy.handle(self)

            do_GET = do_PUT = do_POST

            def log_message(self, *_):
                pass

        self.listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.listener.daemon_threads = True
        self.url = "http://127.0.0.1:%d" % self.listener.server_address[1]
        threading.Thread(target=self.listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.listener.shutdown()
        self.listener.server_close()

    def handle(self, request):
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        verb = request.path.partition("?")[0].rpartition(":")[2] if ":" in request.path else "show"
        done = self.decide(verb, body)
        self.seen.append((time.monotonic(), verb, done))
        if done == DROP_BEFORE:
            request.close_connection = True
            return
        if isinstance(done, Refuse):
            text = b'{"error": {"code": %d, "message": "told to", "status": "X"}}' % done.status
            self.answer(request, done.status, done.headers, text)
            return
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.server.ports["ams"], timeout=30)) as line:
            line.request(request.command, request.path, body, {"x-api-key": request.headers.get("x-api-key", "")})
            got = line.getresponse()
            text = got.read()
        if done == DROP_AFTER:
            request.close_connection = True
            return
        self.answer(request, got.status, {}, text)

    @staticmethod
    def answer(request, status, headers, text):
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("content-length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)
