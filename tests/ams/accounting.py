"""The flow of APEL's Secure Stomp Messenger over AMS: accounting messages, signed by the site and encrypted for the receiver with S/MIME,
published and pulled through the unmodified library, byte for byte.

The site and the receiver have certificates of a test authority, made with `openssl`, which also signs, encrypts, decrypts and verifies, as
SSM has it. Skipped where there is no `openssl`.
"""

import contextlib
import os
import shutil
import subprocess
import uuid

from argo_ams_library import AmsMessage

import records
import runner
import scene
import server as servers
from runner import same

SITE, RECEIVER = "/DC=org/DC=example/CN=site.example.org", "/DC=org/DC=example/CN=accounting.example.org"


class World:
    """Two parties with certificates, a topic between them, and the library of each."""

    def __init__(self, server):
        self.folder = os.path.join(server.root, "certificates")
        os.makedirs(self.folder)
        self.openssl(None, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Test authority", "-days", "2",
                     "-keyout", "ca.key", "-out", "ca.pem")
        for party, name in (("site", SITE), ("receiver", RECEIVER)):
            self.openssl(None, "req", "-newkey", "rsa:2048", "-nodes", "-subj", name, "-keyout", party + ".key", "-out", party + ".csr")
            self.openssl(None, "x509", "-req", "-in", party + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                         "-out", party + ".pem")
        ams = scene.project(server, "accounting", ["gLite-APEL"])
        ams.create_sub("IRIS-APEL", "gLite-APEL", ackdeadline=60)
        self.site = scene.member(server, ams, "site", ["publisher"])
        self.receiver = scene.member(server, ams, "receiver", ["consumer"])
        ams.modifyacl_topic("gLite-APEL", ["site"])
        ams.modifyacl_sub("IRIS-APEL", ["receiver"])

    def openssl(self, sent, *words):
        done = subprocess.run(["openssl", *words], cwd=self.folder, input=sent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 0, "openssl %s: %s" % (words[0:2], done.stderr.decode("utf-8", "replace"))
        return done.stdout

    def seal(self, text, encrypted=True):
        """What a site sends: a text signed by it, and then encrypted for the receiver."""
        signed = self.openssl(text.encode("utf-8"), "smime", "-sign", "-inkey", "site.key", "-signer", "site.pem", "-text")
        return self.openssl(signed, "smime", "-encrypt", "-aes128", "receiver.pem") if encrypted else signed

    def open(self, sealed):
        """What the receiver reads: the text and its signer's name; fails when the signature is not right."""
        if b"application/x-pkcs7-mime" in sealed[:500]:
            sealed = self.openssl(sealed, "smime", "-decrypt", "-recip", "receiver.pem", "-inkey", "receiver.key")
        text = self.openssl(sealed, "smime", "-verify", "-CAfile", "ca.pem", "-purpose", "any", "-text", "-signer", "signer.pem")
        signer = self.openssl(None, "x509", "-in", "signer.pem", "-noout", "-subject", "-nameopt", "compat")
        return text.decode("utf-8").replace("\r\n", "\n"), signer.decode().partition("subject=")[2].strip()

    def send(self, sealed):
        """As SSM's sender does it: each message by itself, with an id of its own."""
        empaid = str(uuid.uuid4())
        message = AmsMessage(data=sealed, attributes={"empaid": empaid}).dict()
        self.site.publish("gLite-APEL", message, retry=3)
        return empaid

    def receive(self):
        """As SSM's receiver does it: one message, acknowledged after it is kept."""
        pulled = self.receiver.pull_sub("IRIS-APEL", 1, return_immediately=True, retry=3)
        kept = [(message.get_attr()["empaid"], message.get_data()) for _, message in pulled]
        if pulled:
            self.receiver.ack_sub("IRIS-APEL", [ack_id for ack_id, _ in pulled], retry=3)
        return kept


@contextlib.contextmanager
def world(_options):
    if shutil.which("openssl") is None:
        raise runner.Skip("openssl is not installed")
    with servers.running("accounting") as server:
        yield World(server)


def test_signed_and_encrypted_messages_arrive_byte_for_byte_in_order(world):
    texts = list(records.messages(11, 400))
    sent = [(world.seal(text), text) for text in texts]
    sent = [(world.send(sealed), sealed, text) for sealed, text in sent]
    for empaid, sealed, text in sent:
        (got,) = world.receive()
        same(got, (empaid, sealed))
        same(world.open(got[1]), (text, SITE))
    same(world.receive(), [])


def test_signed_messages_that_are_not_encrypted_arrive_too(world):
    text = next(iter(records.messages(12, 10)))
    sealed = world.seal(text, encrypted=False)
    empaid = world.send(sealed)
    (got,) = world.receive()
    same(got, (empaid, sealed))
    same(world.open(got[1]), (text, SITE))


def test_a_message_that_was_not_acknowledged_comes_again_whole(world):
    text = next(iter(records.messages(13, 2000)))
    sealed = world.seal(text)
    empaid = world.send(sealed)
    for _ in range(2):
        ((_, message),) = world.receiver.pull_sub("IRIS-APEL", 1, return_immediately=True)
        same((message.get_attr(), message.get_data()), ({"empaid": empaid}, sealed))
    same([one[0] for one in world.receive()], [empaid])


def test_a_message_that_was_changed_on_the_way_is_found(world):
    """Only so that the comparisons above mean something: the signature covers every byte."""
    sealed = world.seal(next(iter(records.messages(14, 10))), encrypted=False)
    changed = sealed.replace(b"APEL", b"APEX", 1)
    assert changed != sealed, "nothing to change"
    runner.raises(AssertionError, world.open, changed)
