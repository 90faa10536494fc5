"""An HTTPS endpoint that does what its path says, well or badly, and keeps what it gets. Never speaks to the server under test.

    /take…        200                         /status/N…   that status
    /flaky/N…     500 for the first N posts   /fault…      500 with a large text
    /slow…        no answer                   /late/MS…    200 after so many milliseconds
    /redirect…    to /private                 /huge…       200 and a body without end
    /close…       closes without an answer    /garbage…    something that is not HTTP
    /interim…     102, then 200
"""

import base64
import collections
import contextlib
import datetime
import http.server
import ipaddress
import json
import os
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Got = collections.namedtuple("Got", "path body headers peer")


def certificate(folder, name):
    """A self-signed certificate for 127.0.0.1 in two files: certificate and key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")])
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
    made = made.not_valid_after(now + datetime.timedelta(days=1)).add_extension(names, critical=False).sign(key, hashes.SHA256())
    files = os.path.join(folder, name + ".pem"), os.path.join(folder, name + ".key")
    with open(files[0], "wb") as file:
        file.write(made.public_bytes(serialization.Encoding.PEM))
    with open(files[1], "wb") as file:
        file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return files


class Webhook:
    """The endpoint, on a free port, until it is closed."""

    def __init__(self, files, listen="127.0.0.1"):
        self.lock = threading.Lock()
        self.got = []
        self.posts = collections.Counter()
        self.hash = ""
        self.over = threading.Event()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*files)
        self.server = http.server.ThreadingHTTPServer((listen, 0), _handler(self))
        self.server.daemon_threads = True
        self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.server.handle_error = lambda *_: None
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path):
        return "https://127.0.0.1:%d%s" % (self.port, path)

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    def at(self, path):
        """What came to a path, in order."""
        with self.lock:
            return [got for got in self.got if got.path == path]

    def texts(self, path):
        """The messages' data that came to a path, decoded, in order."""
        return [text for got in self.at(path) for text in texts(json.loads(got.body))]

    def ids(self, path):
        """The messages' ids that came to a path, delivery by delivery."""
        return [[int(item["message"]["messageId"]) for item in items(json.loads(got.body))] for got in self.at(path)]


def items(body):
    return body["messages"] if "messages" in body else [body]


def texts(body):
    return [base64.b64decode(item["message"]["data"]).decode() for item in items(body)]


@contextlib.contextmanager
def open_at(files):
    webhook = Webhook(files)
    try:
        yield webhook
    finally:
        webhook.close()


def _handler(webhook):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def log_message(self, *_):
            pass

        def do_GET(self):
            self._keep(b"")
            if self.path == "/ams_verification_hash":
                self._answer(200, webhook.hash.encode())
            else:
                self._answer(404, b"")

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            nth = self._keep(body)
            parts = self.path.split("/")[1:]
            kind, number = parts[0], int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
            if kind == "slow":
                webhook.over.wait(60)
                self.close_connection = True
            elif kind == "close":
                self.close_connection = True
            elif kind == "garbage":
                self.wfile.write(b"\x00\x01 this is not HTTP\r\n\r\n")
                self.close_connection = True
            elif kind == "huge":
                self._huge()
            elif kind == "redirect":
                self._answer(307, b"", {"Location": webhook.url("/private")})
            elif kind == "interim":
                self.wfile.write(b"HTTP/1.1 102 Processing\r\n\r\n")
                self._answer(200, b"")
            elif kind == "late":
                webhook.over.wait(number / 1000)
                self._answer(200, b"")
            elif kind == "flaky":
                self._answer(500 if nth <= number else 201, b"not yet\n")
            elif kind == "fault":
                self._answer(500, b"x" * 100_000)
            else:
                self._answer(number if kind == "status" else 200, b"")

        def _keep(self, body):
            with webhook.lock:
                headers = {name.lower(): value for name, value in self.headers.items()}
                webhook.got.append(Got(self.path, body, headers, self.client_address))
                webhook.posts[self.path] += 1
                return webhook.posts[self.path]

        def _answer(self, status, body, headers=()):
            self.send_response(status)
            for name, value in dict(headers).items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if status != 204:
                self.wfile.write(body)

        def _huge(self):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            with contextlib.suppress(OSError):
                while not webhook.over.is_set():
                    self.wfile.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            self.close_connection = True

    return Handler
