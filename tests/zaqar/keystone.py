"""A real Keystone with the people of a small cloud, and the server that believes it.

Keystone is installed from PyPI into the target folder, once; its database with projects, users and roles is made once, and copied for each
run. Owns the processes and their folders. Never speaks to the server under test: the suites' clients do.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile

import requests
import child
import runner
import server as servers
from keystoneauth1 import session as sessions
from keystoneauth1.identity import v3

PACKAGES = ["keystone==30.0.0", "gunicorn==27.0.1", "tempest==47.0.0", "zaqar-tempest-plugin==4.3.0"]
HOME = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "target", "openstack"))
INSTALL_SECONDS = 600
STEP_SECONDS = 900
START_SECONDS = 300
PASSWORD = "a password of the tests"
# What stands in the stored catalogue for the addresses of a run.
OWN, MESSAGING = "http://keystone.invalid/v3", "http://messaging.invalid"
# Of the template; rises with whatever else is made in it.
FORM = 1
PROJECTS = ["alpha", "beta", "service"]
# User, project, role.
PEOPLE = [("ann", "alpha", "member"), ("ben", "beta", "member"), ("eve", "alpha", "reader"), ("zaqar", "service", "service"),
          ("olga", "alpha", "operator")]
CONF = """[database]
connection = sqlite:///%(folder)s/keystone.db
[token]
provider = fernet
[fernet_tokens]
key_repository = %(folder)s/fernet-keys
[fernet_receipts]
key_repository = %(folder)s/fernet-keys
[credential]
key_repository = %(folder)s/credential-keys
[cache]
enabled = true
backend = dogpile.cache.memory
[identity]
password_hash_rounds = 4
"""
# Keystone reads sys.argv, which is gunicorn's.
APPLICATION = "import sys\nsys.argv = sys.argv[:1]\nfrom keystone.wsgi.api import application\n"


def program(name):
    return os.path.join(HOME, "venv", "bin", name)


def ready():
    """Installs everything and makes the template, unless that was done; skips where it cannot be."""
    os.makedirs(HOME, exist_ok=True)
    with open(os.path.join(HOME, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _once("venv", "\n".join(PACKAGES), _install)
        _once("template", json.dumps([FORM, PACKAGES, PASSWORD, PROJECTS, PEOPLE]), _make_template)


def _once(name, recipe, make):
    folder = os.path.join(HOME, name)
    stamp = os.path.join(folder, "made-from.txt")
    with contextlib.suppress(FileNotFoundError), open(stamp) as made:
        if made.read() == recipe:
            return
    shutil.rmtree(folder, ignore_errors=True)
    make(folder)
    with open(stamp, "w") as made:
        made.write(recipe)


def _install(folder):
    for command in ([sys.executable, "-m", "venv", folder],
                    [program("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"] + PACKAGES):
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        if done.returncode:
            raise runner.Skip("no Keystone: `%s` failed: %s" % (" ".join(command[1:5]), (done.stdout + done.stderr)[-500:].strip()))


def _make_template(folder):
    # Hundreds of small commits, that need not last yet.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as made:
        _fill_template(made)
        shutil.copytree(made, folder)


def _fill_template(folder):
    keystone = Keystone(folder)
    for keys in ("fernet-keys", "credential-keys"):
        os.mkdir(os.path.join(folder, keys), 0o700)
    who = ["--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid())]
    for step in (["db_sync"], ["fernet_setup"] + who, ["credential_setup"] + who,
                 ["bootstrap", "--bootstrap-password", PASSWORD, "--bootstrap-region-id", "RegionOne",
                  "--bootstrap-public-url", OWN, "--bootstrap-internal-url", OWN, "--bootstrap-admin-url", OWN]):
        keystone.manage(*step)
    with keystone.serving():
        made = _people(keystone)
    with open(os.path.join(folder, "ids.json"), "w") as ids:
        json.dump(made, ids)


def _people(keystone):
    """Makes projects, users and the catalogue's entry; their ids by name."""
    token = keystone.token("admin", "admin")

    def call(method, path, body=None):
        answer = requests.request(method, keystone.url + path, json=body, headers={"X-Auth-Token": token}, timeout=120)
        assert answer.ok, "%s %s: %s" % (method, path, answer.text)
        return answer.json() if answer.content else {}

    roles = {role["name"]: role["id"] for role in call("GET", "/roles")["roles"]}
    roles["operator"] = call("POST", "/roles", {"role": {"name": "operator"}})["role"]["id"]
    projects = {name: call("POST", "/projects", {"project": {"name": name}})["project"]["id"] for name in PROJECTS}
    users = {}
    for name, project, role in PEOPLE:
        users[name] = call("POST", "/users", {"user": {"name": name, "password": PASSWORD}})["user"]["id"]
        call("PUT", "/projects/%s/users/%s/roles/%s" % (projects[project], users[name], roles[role]))
    service = call("POST", "/services", {"service": {"name": "zaqar", "type": "messaging"}})["service"]["id"]
    for interface in ("public", "internal", "admin"):
        call("POST", "/endpoints", {"endpoint": {"service_id": service, "interface": interface, "region_id": "RegionOne", "url": MESSAGING}})
    return {"projects": projects, "users": users, "roles": roles}


class Keystone:
    """One folder with a database and keys, and at most one process over it."""

    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = "http://127.0.0.1:%d/v3" % self.port
        self.process = None
        for name, text in (("keystone.conf", CONF % {"folder": self.folder}), ("application.py", APPLICATION)):
            with open(os.path.join(self.folder, name), "w") as file:
                file.write(text)

    def environment(self):
        # Our own modules are none of its.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return dict(inherited, OS_KEYSTONE_CONFIG_DIR=self.folder, PYTHONWARNINGS="ignore")

    def manage(self, *step):
        done = subprocess.run([program("keystone-manage"), "--config-dir", self.folder] + list(step), cwd=self.folder,
                              env=self.environment(), capture_output=True, text=True, timeout=STEP_SECONDS)
        assert done.returncode == 0, "keystone-manage %s: %s" % (step[0], done.stderr[-2000:])

    def set_addresses(self, messaging):
        """Writes the run's addresses into the catalogue."""
        with contextlib.closing(sqlite3.connect(os.path.join(self.folder, "keystone.db"))) as database, database:
            for old, new in ((OWN, self.url), (MESSAGING, messaging)):
                database.execute("UPDATE endpoint SET url = ? WHERE url = ?", (new, old))

    def start(self):
        # One thread: SQLite refuses one of two who begin to read and then both write.
        with open(os.path.join(self.folder, "keystone.log"), "ab") as log:
            self.process = child.LAUNCHER.submit(
                subprocess.Popen,
                [program("gunicorn"), "--chdir", self.folder, "--no-control-socket", "-w", "1", "-k", "gthread", "--threads", "1",
                 "-b", "127.0.0.1:%d" % self.port, "application:application"],
                cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=lambda: runner.die_with_parent(signal.SIGTERM)).result()
        runner.until(self._answers, START_SECONDS, self._words, every=0.1)

    def _answers(self):
        assert self.process.poll() is None, "Keystone ended: %s" % self._words()
        try:
            return requests.get(self.url, timeout=60).ok
        except requests.RequestException:
            return False

    def _words(self):
        with open(os.path.join(self.folder, "keystone.log"), "rb") as log:
            return log.read()[-3000:].decode("utf-8", "replace")

    def stop(self):
        process, self.process = self.process, None
        if process is not None:
            # At once, with its worker: nobody waits for connections that are idle.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @contextlib.contextmanager
    def serving(self):
        try:
            self.start()
            yield self
        finally:
            self.stop()

    def token(self, user, project):
        """A fresh token of a user for a project."""
        user = {"name": user, "domain": {"id": "default"}, "password": PASSWORD}
        scope = {"project": {"name": project, "domain": {"id": "default"}}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
        answer = requests.post(self.url + "/auth/tokens", json=body, timeout=30)
        assert answer.status_code == 201, answer.text
        return answer.headers["X-Subject-Token"]

    def revoke(self, token):
        headers = {"X-Auth-Token": token, "X-Subject-Token": token}
        assert requests.delete(self.url + "/auth/tokens", headers=headers, timeout=30).status_code == 204

    def session(self, user, project):
        """A session as OpenStack's clients take it."""
        return sessions.Session(auth=self.login(user, project))

    def login(self, user, project):
        return v3.Password(auth_url=self.url, username=user, password=PASSWORD, project_name=project,
                           user_domain_id="default", project_domain_id="default")


class Cloud:
    """Keystone, the server, and who is who."""

    def __init__(self, keystone, server, ids):
        self.keystone = keystone
        self.server = server
        self.ids = ids
        self.endpoint = "http://127.0.0.1:%d" % server.ports["zaqar"]


@contextlib.contextmanager
def cloud(name, settings=()):
    """A server behind a Keystone, both fresh."""
    ready()
    with servers.folder(name + "-keystone") as folder:
        own = os.path.join(folder, "keystone")
        shutil.copytree(os.path.join(HOME, "template"), own)
        with open(os.path.join(own, "ids.json")) as file:
            ids = json.load(file)
        keystone = Keystone(own)
        password = os.path.join(folder, "password")
        with open(password, "w") as file:
            file.write(PASSWORD + "\n")
        ours = ["listen.zaqar=127.0.0.1:0", "listen.zaqar_websocket=127.0.0.1:0", "zaqar.auth_strategy=keystone", "keystone.url=" + keystone.url,
                "keystone.password_file=" + password, "keystone.timeout_seconds=60"]
        settings = settings(ids) if callable(settings) else list(settings)
        with servers.running(name, ours + settings) as server:
            keystone.set_addresses("http://127.0.0.1:%d" % server.ports["zaqar"])
            with keystone.serving():
                yield Cloud(keystone, server, ids)
