"""Logins by client certificate: the unmodified client library with `cert` and `key`, and raw TLS with every wrong certificate.

The library takes one host name for AMS (port 443) and for the login (8443), so its test needs an address of the loopback where
both ports are free and may be opened; it is skipped elsewhere.
"""

import contextlib
import datetime
import errno
import ipaddress
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess

import requests
from argo_ams_library import AmsMessage, AmsServiceException, ArgoMessagingService
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import runner
import server as servers
import wire
from runner import raises, same

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.timezone.utc)
PATH = "/v1/service-types/ams/hosts/127.0.0.1:authx509"


class Authority:
    """An authority, below another or its own."""

    def __init__(self, name, above=None, revoked=False):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "GR"), x509.NameAttribute(NameOID.COMMON_NAME, name)])
        above = above or self
        usage = dict.fromkeys(["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                               "encipher_only", "decipher_only"], False)
        self.certificate = above.signed(self.name, self.key, [
            (x509.BasicConstraints(ca=True, path_length=None), True),
            (x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), True)])

    def signed(self, name, key, extensions, begins=NOW - DAY, ends=NOW + DAY):
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self.name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(ends)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())

    def client(self, folder, name, attributes=None, chain=(), **times):
        """A client's certificate with what leads to its authority, as files; the certificate with the two paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = attributes or [(NameOID.COUNTRY_NAME, "GR"), (NameOID.ORGANIZATION_NAME, "Site, Inc."), (NameOID.COMMON_NAME, name)]
        subject = x509.Name([x509.NameAttribute(*pair) for pair in attributes])
        made = self.signed(subject, key, [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)], **times)
        return (made,) + keep(folder, name.replace("/", "-"), key, [made] + [one.certificate for one in chain])

    def server(self, folder, address):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        return keep(folder, "server", key, [self.signed(subject, key, [(names, False)])])

    def revocations(self, *revoked, until=NOW + DAY):
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(NOW - DAY).next_update(until)
        builder = builder.add_extension(x509.CRLNumber(1), False)
        for one in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(NOW - DAY).build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def keep(folder, name, key, chain):
    """Writes chain and key; their paths."""
    paths = os.path.join(folder, name + ".crt.pem"), os.path.join(folder, name + ".key.pem")
    write(paths[0], b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain))
    write(paths[1], key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return paths


def write(path, content):
    """Whole or not at all, as fetch tools do."""
    with open(path + ".new", "wb") as file:
        file.write(content)
    os.replace(path + ".new", path)


class World:
    """A server that asks for certificates of `root`, with revocation lists in a folder."""

    def __init__(self, folder, address="127.0.0.1", ports=(0, 0)):
        self.folder, self.address = folder, address
        self.trust = os.path.join(folder, "trust")
        os.makedirs(self.trust)
        self.root = Authority("Root")
        self.between = Authority("Between", self.root)
        write(os.path.join(self.trust, "root.pem"), self.root.pem())
        self.revoke()
        write(os.path.join(self.trust, "between.r0"), self.between.revocations())
        chain, key = self.root.server(folder, address)
        settings = ["listen.ams_tls=%s:%d" % (address, ports[0]), "listen.ams_x509=%s:%d" % (address, ports[1]),
                    "tls.cert_file=" + chain, "tls.key_file=" + key, "ams_x509.ca_path=" + self.trust,
                    "ams_x509.crl_path=" + self.trust, "ams_x509.reload_seconds=1", "ams_x509.hosts=%s,other.example.org" % address]
        self.server = servers.Server(folder, settings)

    def revoke(self, *certificates, until=NOW + DAY):
        write(os.path.join(self.trust, "root.r0"), self.root.revocations(*certificates, until=until))

    def start(self):
        self.server.start()
        os.environ["REQUESTS_CA_BUNDLE"] = os.path.join(self.trust, "root.pem")
        self.admin = wire.Wire(self.server, token=servers.SERVICE_TOKEN)

    def bind(self, name, subject, user, **more):
        """A user with a binding; the user's token."""
        made = self.admin.call("POST", "/v1/users/" + user, {}).json()
        answer = self.admin.call("POST", "/v1/bindings/" + name, dict(auth_identifier=subject, unique_key=made["uuid"], **more))
        same(answer.status, 200, answer)
        return made["token"]

    def connect(self, files=None, versions=ssl.TLSVersion.TLSv1_3, port=None):
        context = ssl.create_default_context(cafile=os.path.join(self.trust, "root.pem"))
        context.maximum_version = versions
        if files:
            context.load_cert_chain(*files)
        stream = socket.create_connection((self.address, port or self.server.ports["ams_x509"]), timeout=10)
        return context.wrap_socket(stream, server_hostname=self.address)

    def ask(self, files=None, path=PATH, method="GET", **options):
        """One login; status and body."""
        with contextlib.closing(self.connect(files, **options)) as stream:
            return exchange(stream, path, method)

    def refused(self, files, **options):
        """Fails unless the connection ends in TLS with an alert."""
        try:
            answer = self.ask(files, **options)
        except ssl.SSLError as error:
            return str(error)
        except ConnectionError as error:
            return str(error)
        raise AssertionError("TLS let it in: %r" % (answer,))


def exchange(stream, path=PATH, method="GET"):
    stream.sendall(("%s %s HTTP/1.1\r\nHost: x\r\n\r\n" % (method, path)).encode())
    got = b""
    while b"\r\n\r\n" not in got:
        piece = stream.recv(65536)
        if not piece:
            raise ConnectionError("closed after %r" % got)
        got += piece
    head, body = got.split(b"\r\n\r\n", 1)
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += stream.recv(65536)
    return int(head.split(b" ")[1]), body.decode()


@contextlib.contextmanager
def world(_options):
    with servers.folder("x509") as folder:
        made = World(folder)
        try:
            made.start()
            yield made
        finally:
            made.server.close()


def test_a_bound_certificate_gets_its_users_token_in_authns_bytes(world):
    token = world.bind("plain", "CN=robot,O=Site\\, Inc.,C=GR", "robot")
    _, *files = world.root.client(world.folder, "robot")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        same(world.ask(files, versions=version), (200, '{\n "token": "%s"\n}' % token))
    same(world.ask(files, path=PATH.replace("127.0.0.1", "OTHER.example.org"))[0], 200)


def test_refusals_are_authns(world):
    world.bind("refusals", "/C=GR/O=Site/CN=known", "known")
    _, *files = world.root.client(world.folder, "unbound")
    body = '{\n "error": {\n  "message": "%s",\n  "code": %d,\n  "status": "%s"\n }\n}'
    same(world.ask(), (400, body % ("No certificate provided", 400, "BAD REQUEST")))
    same(world.ask(files), (404, body % ("Binding was not found", 404, "NOT FOUND")))
    same(world.ask(files, path=PATH.replace("/ams/", "/web-api/")), (404, body % ("Service-type was not found", 404, "NOT FOUND")))
    same(world.ask(files, path=PATH.replace("127.0.0.1", "h.example.org")), (404, body % ("Host was not found", 404, "NOT FOUND")))
    same(world.ask(files, method="POST")[0], 405)


def test_nothing_of_ams_is_served_beside_the_login(world):
    _, *files = world.root.client(world.folder, "nosy")
    for path in ("/v1/version", "/v1/status", "/v1/projects?key=" + servers.SERVICE_TOKEN, "/v1/bindings", "/metrics", "/",
                 "/v1/service-types/ams/hosts/a/b:authx509", "/v1/service-types/ams/hosts/:authx509"):
        same(world.ask(files, path=path), (404, "404 page not found\n"), path)


def test_names_that_look_alike_open_nothing(world):
    world.bind("alike", "/C=GR/O=Alike/CN=victim", "victim")
    oids = NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME
    for at, values in enumerate([
            ("GR", "Alike", "Victim"), ("GR", "Alike", "vict\u0456m"), ("GR", "Alike", "victim "), ("GR", "Alike", "victim\0.evil"),
            ("GR", "Alike", "victim,O=Alike"), ("GR", "Alike/CN=victim", "x"), ("GR", "x", "Alike/CN=victim")]):
        _, *files = world.root.client(world.folder, "alike%d" % at, list(zip(oids, values)))
        same(world.ask(files)[0], 404, values)
    one = [(oids[0], "GR"), (oids[1], "Alike/CN=victim")]
    _, *files = world.root.client(world.folder, "slash", one)
    same(world.ask(files)[0], 404)
    _, *files = world.root.client(world.folder, "order", list(zip(oids, ("GR", "Alike", "victim")))[::-1])
    same(world.ask(files)[0], 404)
    _, *files = world.root.client(world.folder, "right", list(zip(oids, ("GR", "Alike", "victim"))))
    same(world.ask(files)[0], 200)


def test_certificates_that_tls_refuses(world):
    world.bind("tls", "CN=late,O=Site\\, Inc.,C=GR", "late")
    _, *expired = world.root.client(world.folder, "late", ends=NOW - DAY / 2)
    _, *early = world.root.client(world.folder, "late", begins=NOW + DAY / 2)
    outside = Authority("Root")
    _, *foreign = outside.client(world.folder, "foreign", chain=[outside])
    for files in (expired, early, foreign):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            world.refused(files, versions=version)
    _, *files = world.root.client(world.folder, "late")
    same(world.ask(files)[0], 200)


def test_an_authority_in_between_is_followed_and_its_own_list_is_asked(world):
    token = world.bind("between", "CN=deep,O=Site\\, Inc.,C=GR", "deep")
    own, *files = world.between.client(world.folder, "deep", chain=[world.between])
    same(json.loads(world.ask(files)[1])["token"], token)
    _, *alone = world.between.client(world.folder, "alone")
    world.refused(alone)
    write(os.path.join(world.trust, "between.r0"), world.between.revocations(own))
    runner.until(lambda: _is_refused(world, files), 20, "the list of the authority in between is taken over")
    write(os.path.join(world.trust, "between.r0"), world.between.revocations())


def test_a_pinned_issuer_shuts_other_authorities_out(world):
    world.bind("pinned", "CN=pin,O=Site\\, Inc.,C=GR", "pin", issuer="/C=GR/CN=Between")
    _, *direct = world.root.client(world.folder, "pin")
    same(world.ask(direct)[0], 404)
    _, *files = world.between.client(world.folder, "pin", chain=[world.between])
    same(world.ask(files)[0], 200)


def test_a_huge_certificate_ends_in_tls(world):
    units = [(NameOID.ORGANIZATIONAL_UNIT_NAME, "x" * 60 + str(at)) for at in range(2_000)]
    _, *files = world.root.client(world.folder, "huge", units)
    world.refused(files)
    units = [(NameOID.ORGANIZATIONAL_UNIT_NAME, "x%d" % at) for at in range(100)]
    _, *files = world.root.client(world.folder, "large", units)
    same(world.ask(files)[0], 404)


def test_a_revocation_is_taken_over_without_a_restart(world):
    world.bind("revoked", "CN=gone,O=Site\\, Inc.,C=GR", "gone")
    own, *files = world.root.client(world.folder, "gone")
    same(world.ask(files)[0], 200)
    held = world.connect(files)
    same(exchange(held)[0], 200)
    world.revoke(own)
    runner.until(lambda: _is_refused(world, files), 20, "the revocation is seen by looking for changed files")
    try:
        same(exchange(held)[0], 403, "a connection that outlived its certificate")
    except ConnectionError:
        pass
    world.revoke()
    world.server.process.send_signal(signal.SIGHUP)
    runner.until(lambda: not _is_refused(world, files), 20, "the new list is read")
    # A list past its next update lets nobody in.
    world.revoke(until=NOW - DAY / 2)
    world.server.process.send_signal(signal.SIGHUP)
    runner.until(lambda: _is_refused(world, files), 20, "a stale list refuses")
    world.revoke()
    world.server.process.send_signal(signal.SIGHUP)
    runner.until(lambda: not _is_refused(world, files), 20, "the next list is read")


def _is_refused(world, files):
    try:
        return world.ask(files)[0] != 200
    except (ssl.SSLError, ConnectionError):
        return True


def test_no_session_is_resumed(world):
    world.bind("resumed", "CN=again,O=Site\\, Inc.,C=GR", "again")
    _, *files = world.root.client(world.folder, "again")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with contextlib.closing(world.connect(files, versions=version)) as first:
            exchange(first)
            session, context = first.session, first.context
        stream = socket.create_connection((world.address, world.server.ports["ams_x509"]), timeout=10)
        with contextlib.closing(context.wrap_socket(stream, server_hostname=world.address, session=session)) as second:
            same(exchange(second)[0], 200)
            same(second.session_reused, False)


def test_counters_tell_what_was_refused(world):
    _, *files = world.root.client(world.folder, "counted", ends=NOW - DAY / 2)
    world.refused(files)
    text = requests.get("http://127.0.0.1:%d/metrics" % world.server.ports["ops"], timeout=10).text
    assert 'angelia_client_certificates_refused_total{reason="expired"}' in text, text
    assert 'angelia_requests_total{dialect="ams_x509",operation="authx509",status="200"}' in text, text
    assert "angelia_revocation_lists_until_seconds" in text, text


def test_the_library_logs_in_with_certificate_and_key(_world):
    address = free_address()
    with servers.folder("x509-library") as folder:
        made = World(folder, address, (443, 8443))
        try:
            made.start()
            token = made.bind("library", "/C=GR/O=Site/CN=robot", "robot")
            oids = NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME
            own, cert, key = made.root.client(folder, "robot", list(zip(oids, ("GR", "Site", "robot"))))
            admin = ArgoMessagingService(endpoint=address, token=servers.SERVICE_TOKEN, project="P")
            admin.create_project("P", "")
            admin.create_topic("t")
            admin.add_project_member("robot", roles=["publisher"])
            admin.modifyacl_topic("t", ["robot"])
            robot = ArgoMessagingService(endpoint=address, project="P", cert=cert, key=key)
            same(robot.token, token)
            same(robot.publish("t", AmsMessage(data="x")), {"messageIds": ["0"]})
            _, *other = made.root.client(folder, "other")
            error = raises(AmsServiceException, ArgoMessagingService, endpoint=address, project="P", cert=other[0], key=other[1])
            same((error.code, error.msg), (404, "While trying the [auth_x509]: Binding was not found"))
            error = raises(AmsServiceException, ArgoMessagingService, endpoint=address, project="P")
            same(error.code, 400)
        finally:
            made.server.close()


def test_the_haproxy_example_hands_certificates_through(world):
    program = shutil.which("haproxy")
    if not program:
        raise runner.Skip("haproxy is not installed: its example is not tried")
    token = world.bind("proxied", "CN=proxied,O=Site\\, Inc.,C=GR", "proxied")
    _, *files = world.root.client(world.folder, "proxied")
    chain, key = world.root.server(world.folder, "127.0.0.1")
    both = os.path.join(world.folder, "haproxy.pem")
    with open(chain, "rb") as one, open(key, "rb") as other:
        write(both, one.read() + other.read())
    with open(os.path.join(os.path.dirname(__file__), "../../config/examples/haproxy-ams.cfg")) as example:
        text = example.read()
    doors, ports = [free_port(), free_port()], world.server.ports
    for shown, used in (("bind :443 ssl crt /etc/haproxy/msg.example.org.pem", "bind 127.0.0.1:%d ssl crt %s" % (doors[0], both)),
                        ("bind :8443", "bind 127.0.0.1:%d" % doors[1]), ("127.0.0.1:8080", "127.0.0.1:%d" % ports["ams"]),
                        ("127.0.0.1:9443", "127.0.0.1:%d" % ports["ams_x509"]), ("port 8081", "port %d" % ports["ops"])):
        assert shown in text, shown
        text = text.replace(shown, used)
    write(os.path.join(world.folder, "haproxy.cfg"), text.encode())
    proxy = subprocess.Popen([program, "-db", "-f", os.path.join(world.folder, "haproxy.cfg")], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    try:
        runner.until(lambda: all(map(servers.can_connect, doors)), 20, "haproxy listens")
        same(json.loads(world.ask(files, port=doors[1])[1])["token"], token)
        same(world.ask(port=doors[1])[0], 400)
        _, *expired = world.root.client(world.folder, "proxied", ends=NOW - DAY / 2)
        world.refused(expired, port=doors[1])
        answer = requests.get("https://127.0.0.1:%d/v1/users/profile" % doors[0], headers={"x-api-key": token}, timeout=10,
                              verify=os.path.join(world.trust, "root.pem"))
        same(answer.json()["name"], "proxied")
    finally:
        proxy.terminate()
        proxy.wait(20)


def free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_address():
    """An address of the loopback where 443 and 8443 are free for us."""
    for last in range(2, 255):
        address = "127.0.0.%d" % last
        try:
            for port in (443, 8443):
                with contextlib.closing(socket.socket()) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((address, port))
            return address
        except PermissionError:
            raise runner.Skip("port 443 may not be opened by this user: run it as root") from None
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                raise
    raise runner.Skip("no address of the loopback has 443 and 8443 free")
