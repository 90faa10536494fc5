"""The republisher's binary under test: its configuration, its process, what it tells.

Owns the folder with configuration, token and log. Never looks at messages; the suite does.
"""

import os
import re
import subprocess
import urllib.error
import urllib.request

import runner
from child import Child
from server import SERVICE_TOKEN

SCHEMA = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "schemas", "metric_data.avsc"))
LISTENING = re.compile(rb"^listening ops=(http://\S+)$", re.MULTILINE)

HEAD = """
[ops]
listen = "127.0.0.1:0"
[log]
level = "debug"
[retry]
longest_seconds = 1
problem_seconds = 1
stop_seconds = 15
"""


def service(name, url, more=""):
    """A [service] of the configuration."""
    return '[service.%s]\nurl = "%s"\ntoken_file = "token"\n%s\n' % (name, url, more)


def pair(name, subscription, rules, source="here", target="there", project="flow", more=""):
    """A [[pair]] from and to projects of one name."""
    return """
[[pair]]
name = "%s"
source = { service = "%s", project = "%s", subscription = "%s" }
target = { service = "%s", project = "%s" }
poll_millis = 20
%s
%s
""" % (name, source, project, subscription, target, project, more, rules)


def rule(topic, conditions="", more=""):
    """A [[pair.rule]]."""
    return '[[pair.rule]]\ntopic = "%s"\nmatch = [%s]\n%s\n' % (topic, conditions, more)


class Republisher(Child):
    """One configuration and at most one process."""

    what = "the republisher"

    def __init__(self, root, text):
        super().__init__(os.path.join(root, "republisher.log"))
        self.root = root
        os.makedirs(root, exist_ok=True)
        self.config = os.path.join(root, "republisher.toml")
        self.ops = None
        with open(os.path.join(root, "token"), "w") as token:
            token.write(SERVICE_TOKEN + "\n")
        self.write(HEAD + text)

    def write(self, text):
        with open(self.config, "w") as file:
            file.write(text)

    def ask(self, *words):
        """Runs a command to its end: exit code, standard output, standard error."""
        done = subprocess.run([binary(), *words, "--config", self.config], stdin=subprocess.DEVNULL, timeout=30,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return done.returncode, done.stdout, done.stderr

    def command(self):
        return [binary(), "run", "--config", self.config]

    def start(self):
        """Starts the process and waits until it says where it listens."""
        self.launch()
        self.ops = runner.until(lambda: LISTENING.search(self.output()), 20, self.tail).group(1).decode()
        return self

    def get(self, path):
        """Status and text of a page for operators."""
        try:
            with urllib.request.urlopen(self.ops + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def metric(self, name, pair, more=""):
        """A metric's value; none if it is not there."""
        line = 'republisher_%s{%spair="%s"} ' % (name, more, pair)
        text = self.get("/metrics")[1]
        return next((float(one[len(line):]) for one in text.splitlines() if one.startswith(line)), None)


def binary():
    path = os.environ.get("REPUBLISHER_BINARY", "target/debug/republisher")
    if not os.path.exists(path):
        raise AssertionError("there is no binary %s; build it, or set REPUBLISHER_BINARY" % path)
    return os.path.abspath(path)
