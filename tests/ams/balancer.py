"""A balancer over TLS in front of the server, as installations have one, that fails requests on demand.

Owns its listener and what it does to the next requests. Forwards everything else as it came; knows nothing of the dialect.
"""

import contextlib
import http.client
import http.server
import socket
import ssl
import struct
import threading

# What it may do to a request instead of forwarding it.
DROP = "closes the connection before it forwards"
DROP_ANSWER = "forwards, and closes the connection instead of answering"


class Balancer:
    """Listens on a free port with the server's own certificate. `faults` are used up by the next requests, one each."""

    def __init__(self, server):
        self.server = server
        self.faults = []
        self.seen = []
        self.lock = threading.Lock()
        self.listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.listener.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server.certificate, server.store + ".tls-key.pem")
        self.listener.socket = context.wrap_socket(self.listener.socket, server_side=True)
        threading.Thread(target=self.listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def endpoint(self):
        return "127.0.0.1:%d" % self.listener.server_address[1]

    def close(self):
        self.listener.shutdown()
        self.listener.server_close()

    @contextlib.contextmanager
    def failing(self, *faults):
        """The next requests meet these faults; fails when some are left at the end. Yields the list of requests seen from now on."""
        with self.lock:
            self.faults, self.seen = list(faults), []
        yield self.seen
        assert not self.faults, "not met: %r" % self.faults

    def _take(self, request):
        with self.lock:
            self.seen.append(request)
            return self.faults.pop(0) if self.faults else None

    def _forward(self, method, path, headers, body):
        line = http.client.HTTPConnection("127.0.0.1", self.server.ports["ams"], timeout=30)
        with contextlib.closing(line):
            line.request(method, path, body=body, headers=headers)
            got = line.getresponse()
            return got.status, got.getheader("content-type"), got.read()

    def _handler(balancer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                fault = balancer._take("%s %s" % (self.command, self.path))
                if fault == DROP:
                    return self.hang_up()
                if isinstance(fault, int):
                    # The words of a balancer, no JSON.
                    return self.send(fault, "text/html", b"<html><body><h1>%d</h1>No server is available.</body></html>" % fault)
                sent = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
                got = balancer._forward(self.command, self.path, sent, body)
                return self.hang_up() if fault == DROP_ANSWER else self.send(*got)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def send(self, status, kind, body):
                self.send_response(status)
                self.send_header("content-type", kind or "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def hang_up(self):
                # A reset, as of a balancer whose server died.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True

            def finish(self):
                with contextlib.suppress(OSError, ValueError):
                    super().finish()

            def log_message(self, *_):
                pass

        return Handler
