"""What stands in deploy/: each file before its own validator, and what the files say of each other and of the product.

A validator that is not installed is skipped with a line that names it; nothing is installed here. The behaviour of the alerts is tested
beside them, in deploy/prometheus/angelia.rules.test.yml.
"""

import contextlib
import glob
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import threading

import requests
import runner
import server as servers
from runner import same

try:
    import tomllib
except ImportError:
    tomllib = None

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
CLUSTER = "angelia_cql_"
FOREIGN = ("up", "ALERTS")
# Without a cluster to ask, helm takes an old one for granted.
KUBERNETES = ["--kube-version", "1.30.0"]
SECRET = ["--set", "secretName=angelia"]
CQL = ["--set", "store.url=cql://one\\,two/angelia", "--set", "replicas=3", "--set", "config.store\\.cql.datacenter=dc1"] + SECRET
MONITORED = ["--set", "monitoring.serviceMonitor=true,monitoring.rules=true,monitoring.dashboard=true,tls.secretName=t"]


def at(*parts):
    return os.path.join(ROOT, *parts)


def read(*parts):
    with open(at(*parts), encoding="utf-8") as file:
        return file.read()


def program(name):
    """Where a validator is, or a skip."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if not found:
        raise runner.Skip("%s is not installed" % name)
    return found


def toml(path):
    if tomllib is None:
        raise runner.Skip("this Python (before 3.11) reads no TOML")
    return tomllib.loads(read(path))


def call(*words, ok=True, cwd=None):
    """What a program printed on both outputs; fails unless it ended as it should."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, cwd=cwd)
    text = done.stdout.decode("utf-8", "replace")
    assert (done.returncode == 0) == ok, "%s ended with %s:\n%s" % (" ".join(words), done.returncode, text)
    return text


# Alerts and dashboard


def alerts():
    """Each alert's name and expression, of a file whose form promtool has checked."""
    text = read("deploy/prometheus/angelia.rules.yml")
    found = re.findall(r"- alert: (\w+)\n\s+expr: (?:\|\n((?:\s{10,}.*\n)+)|(.*)\n)", text)
    same(len(found), text.count("- alert:"), "alerts that were understood")
    return {name: " ".join((block or line).split()) for name, block, line in found}


def panels():
    return json.loads(read("deploy/grafana/angelia.json"))["panels"]


def queries():
    """Each panel's title with each of its expressions."""
    return [(panel["title"], target["expr"]) for panel in panels() for target in panel.get("targets", [])]


def metrics_of(expression):
    """The metrics that an expression names, without what a histogram adds."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\b(by|on|ignoring|without|group_left|group_right)\s*(\([^)]*\))?", " ", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    names = re.findall(r"\b[a-zA-Z_][a-zA-Z0-9_]*\b(?!\s*\()", bare)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names} - {"and", "or", "unless", "offset", "bool"} - {""}


def named():
    """All metrics of alerts and dashboard."""
    return set().union(*map(metrics_of, list(alerts().values()) + [expression for _, expression in queries()]))


def declared():
    """The metrics that the product's own sources name, and the labels of those that have some."""
    text = read("src/telemetry/metrics.rs").split("#[cfg(test)]")[0]
    names = set(re.findall(r'"(angelia_[a-z0-9_]+)"', text))
    labels = {}
    for name, given in re.findall(r'"(angelia_[a-z0-9_]+)",\s*"[^"]*"(?:,|\),)\s*(&\[[^\]]*\]|&?[A-Za-z_]+)', text):
        if not given.startswith("&["):
            found = re.search(r"\b%s\b[^=]*=\s*(&?\[[^\]]*\])" % given.strip("&"), text)
            given = found.group(1) if found else ""
        if '"' in given:
            labels[name] = given
    other = read("republisher/src/metrics.rs")
    names |= {"republisher_" + name for name in re.findall(r'(?:counter|gauge)\(\s*"([a-z_]+)"', other)}
    return names | set(re.findall(r'"(republisher_[a-z_]+)"', other)), labels


def test_the_alerts_are_rules_and_each_fires_when_it_should_and_not_before():
    promtool = program("promtool")
    call(promtool, "check", "rules", at("deploy/prometheus/angelia.rules.yml"))
    call(promtool, "test", "rules", at("deploy/prometheus/angelia.rules.test.yml"), cwd=at("deploy/prometheus"))


def test_every_alert_is_tested_and_explained_and_nothing_else_is():
    names = set(alerts())
    tested = re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n\s+- exp_labels", read("deploy/prometheus/angelia.rules.test.yml"))
    same(set(tested), names, "alerts that a test sees firing")
    same(set(re.findall(r"^\| `(\w+)` \|", read("deploy/README.md"), re.MULTILINE)) & (names | set(tested)), names, "alerts in the guide")


def test_prometheus_takes_its_configuration():
    call(program("promtool"), "check", "config", at("deploy/prometheus/prometheus.yml"))


def test_each_expression_of_the_dashboard_is_one():
    promtool = program("promtool")
    with servers.folder("dashboard") as folder:
        rules = []
        for number, (_, expression) in enumerate(queries()):
            filled = expression.replace("$__rate_interval", "5m").replace("$__range", "3h")
            rules.append({"record": "panel:%d" % number, "expr": filled})
        path = os.path.join(folder, "panels.yml")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"groups": [{"name": "panels", "rules": rules}]}, file)
        call(promtool, "check", "rules", path)


def test_the_dashboard_answers_each_question_and_can_be_loaded():
    same([panel["title"].split("?")[0] for panel in panels() if panel["type"] == "row" and "?" in panel["title"]],
         ["Is it up", "Is it losing", "Who is behind", "Why is this subscription stuck",
          "Is the disk slow, or the cluster's conditional writes (LWT)", "Which push endpoint fails"])
    ids = [panel["id"] for panel in panels()]
    same(len(set(ids)), len(ids), "panels with an id of their own")
    taken = set()
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, "%s lies over another panel" % panel["title"]
        taken |= cells


def test_alerts_and_dashboard_name_only_metrics_and_labels_that_the_product_has():
    names, labels = declared()
    ours = {name for name in named() if name.startswith(("angelia_", "republisher_"))}
    assert len(ours) > 30, ours
    if not any(name.startswith(CLUSTER) for name in names):
        print("     the cluster's metrics (%s…) are not in this build: not compared" % CLUSTER)
        ours = {name for name in ours if not name.startswith(CLUSTER)}
    same(ours - names, set(), "named, but not there")
    for expression in list(alerts().values()) + [expression for _, expression in queries()]:
        for name, conditions in re.findall(r"\b(angelia_\w+)\{([^}]*)\}", expression):
            known = labels.get(re.sub(r"_(bucket|sum|count)$", "", name))
            for label in re.findall(r"(\w+)\s*[=!]~?", re.sub(r'"[^"]*"', "", conditions)):
                assert known is None or '"%s"' % label in known, "%s has no label %s" % (name, label)


def test_a_running_service_tells_the_metrics_that_need_no_traffic():
    with servers.running("deploy-metrics") as server:
        text = requests.get("http://127.0.0.1:%d/metrics" % server.ports["ops"], timeout=10).text
        told = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
        # Those with labels are told from their first value on; a store in a cluster has its own.
        later = {"angelia_oldest_unacknowledged_seconds", "angelia_push_last_seconds", "angelia_client_certificates_refused_total"}
        later |= set(declared()[1]) | {name for name in named() if name.startswith(CLUSTER)}
        same({name for name in named() if name.startswith("angelia_")} - later - told, set(), "named, but not told")
        if shutil.which("promtool"):
            done = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), capture_output=True, timeout=30)
            same(done.returncode, 0, done.stderr.decode())


def test_what_is_asked_of_others_is_told_by_them():
    foreign = {name for name in named() if not name.startswith(("angelia_", "republisher_"))} - set(FOREIGN)
    same({name for name in foreign if not name.startswith(("haproxy_", "node_"))}, set(), "metrics of unknown origin")
    exporter = program("prometheus-node-exporter")
    port = free_port()
    process = subprocess.Popen([exporter, "--web.listen-address=127.0.0.1:%d" % port], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        runner.until(lambda: servers.can_connect(port), 20, "the node exporter listens")
        told = requests.get("http://127.0.0.1:%d/metrics" % port, timeout=20).text
        same({name for name in foreign if name.startswith("node_") and "# TYPE %s " % name not in told}, set())
    finally:
        process.terminate()
        process.wait(20)


# haproxy


class Node(http.server.BaseHTTPRequestHandler):
    """A stand-in: says who it is, and whether it is ready."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.server.name.encode()
        status = 503 if self.path == "/readyz" and not self.server.ready else 200
        # All in one piece: who only checks closes after the first.
        self.wfile.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    def log_message(self, *_):
        pass


def free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def nodes(names):
    started = []
    try:
        for name in names:
            node = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Node)
            node.name, node.ready, node.daemon_threads = name, True, True
            threading.Thread(target=node.serve_forever, args=(0.05,), daemon=True).start()
            started.append(node)
        yield started
    finally:
        for node in started:
            node.shutdown()
            node.server_close()


def certificate(folder):
    """A key and its certificate in one file, as haproxy wants it."""
    both, key = os.path.join(folder, "haproxy.pem"), os.path.join(folder, "key.pem")
    call(program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", both)
    with open(both, "a", encoding="utf-8") as file, open(key, encoding="utf-8") as more:
        file.write(more.read())
    return both


def replaced(text, *pairs):
    for shown, used in pairs:
        assert shown in text, shown
        text = text.replace(shown, used)
    return text


@contextlib.contextmanager
def proxy(folder, text):
    haproxy, path = program("haproxy"), os.path.join(folder, "haproxy.cfg")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    call(haproxy, "-c", "-f", path)
    process = subprocess.Popen([haproxy, "-db", "-f", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def test_the_proxy_before_one_node_is_valid():
    haproxy = program("haproxy")
    with servers.folder("haproxy-one") as folder:
        text = replaced(read("config/examples/haproxy-ams.cfg"), ("/etc/haproxy/msg.example.org.pem", certificate(folder)))
        path = os.path.join(folder, "haproxy.cfg")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        call(haproxy, "-c", "-f", path)


def test_a_subscription_has_one_node_until_that_is_not_ready():
    program("haproxy")
    with servers.folder("haproxy-three") as folder, nodes(["one", "two", "three"]) as three:
        ports = [node.server_address[1] for node in three]
        door, told, pem = free_port(), free_port(), certificate(folder)
        text = replaced(read("deploy/compose/haproxy.cfg"), ("bind :8443 ssl crt /run/secrets/haproxy_pem",
                                                             "bind 127.0.0.1:%d ssl crt %s" % (door, pem)),
                        ("bind :8405", "bind 127.0.0.1:%d" % told), ("check port 8081 inter 1s", "check inter 100ms"),
                        ("maxconn 10000", "maxconn 100"), (" resolvers containers\n", "\n"),
                        *(("angelia%d:8080" % (index + 1), "127.0.0.1:%d" % port) for index, port in enumerate(ports)))
        with proxy(folder, text):
            runner.until(lambda: servers.can_connect(door), 20, "haproxy listens")
            session = requests.Session()
            # What the machine or another test says of certificates is not asked.
            session.trust_env, session.verify = False, pem

            def ask(path):
                return session.get("https://127.0.0.1:%d/v1/projects/P/%s" % (door, path), timeout=10)

            def places():
                return {name: ask("subscriptions/%s:pull" % name).text for name in map("s{}".format, range(12))}

            runner.until(lambda: len(set(places().values())) == 3, 20, "each node gets a share")
            before = places()
            for name, node in before.items():
                for word in ("pull", "acknowledge", "offsets"):
                    same(ask("subscriptions/%s:%s?key=%s" % (name, word, word)).text, node, name)
            three[0].ready = False
            runner.until(lambda: "one" not in places().values(), 20, "a node that is not ready gets nothing")
            after = places()
            same({name: after[name] for name, node in before.items() if node != "one"},
                 {name: node for name, node in before.items() if node != "one"}, "the other nodes' subscriptions stay")
            metrics = requests.get("http://127.0.0.1:%d/metrics" % told, timeout=10).text
            asked = {name for name in named() if name.startswith("haproxy_")}
            same({name for name in asked if "# TYPE %s " % name not in metrics}, set(), "named, but not told by haproxy")
            assert re.search(r'haproxy_server_status\{proxy="ams",server="angelia1",state="DOWN"\} 1\b', metrics), "one is told as down"
            assert re.search(r'haproxy_backend_active_servers\{proxy="ams"\} 2\b', metrics), "two are left"
            same(ask("topics/T").status_code, 200)


# Units and packages


def test_the_units_are_understood_and_confined():
    analyze = program("systemd-analyze")
    with servers.folder("units") as folder:
        for name in ("angelia", "republisher"):
            text = read("deploy/systemd/%s.service" % name)
            assert "ExecStart=/usr/bin/%s " % name in text
            path = os.path.join(folder, name + ".service")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text.replace("ExecStart=/usr/bin/" + name, "ExecStart=/bin/true"))
            # Unknown words are only warned of.
            same(call(analyze, "verify", path), "")
            told = call(analyze, "security", "--offline=true", path)
            exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", told).group(1))
            assert exposure <= 2.0, told


def test_what_the_package_holds_is_there():
    deb = toml("Cargo.toml")["package"]["metadata"]["deb"]
    targets = {}
    for source, target, mode in deb["assets"]:
        assert source.startswith("target/release/") or os.path.isfile(at(source)), source
        targets["/" + (target + os.path.basename(source) if target.endswith("/") else target)] = mode
    same(len(targets), len(deb["assets"]), "files with a place of their own")
    for path in deb["conf-files"]:
        assert path in targets, path
    for source in [deb["changelog"], deb["license-file"][0]]:
        assert os.path.isfile(at(source)), source
    for script in ("postinst", "prerm", "postrm"):
        call("sh", "-n", at(deb["maintainer-scripts"], script))


def test_a_package_can_be_made_of_it():
    build = program("dpkg-deb")
    package = toml("Cargo.toml")["package"]
    deb = package["metadata"]["deb"]
    with servers.folder("deb") as folder:
        tree, control = os.path.join(folder, "tree"), os.path.join(folder, "tree", "DEBIAN")
        os.makedirs(control)
        for source, target, mode in deb["assets"]:
            path = os.path.join(tree, target + os.path.basename(source) if target.endswith("/") else target)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            # A small program in the place of the large ones: their bytes are not the question.
            shutil.copyfile("/bin/true" if source.startswith("target/") else at(source), path)
            os.chmod(path, int(mode, 8))
            if "/man/" in path:
                call("gzip", "-9n", path)
        for script in ("postinst", "prerm", "postrm"):
            shutil.copy(at(deb["maintainer-scripts"], script), control)
        document = os.path.join(tree, "usr/share/doc/angelia")
        shutil.copyfile(at(deb["license-file"][0]), os.path.join(document, "copyright"))
        shutil.copyfile(at(deb["changelog"]), os.path.join(document, "changelog.Debian"))
        call("gzip", "-9n", os.path.join(document, "changelog.Debian"))
        description = "\n".join(" " + line for line in deb["extended-description"].strip().split("\n"))
        fields = {"Package": package["name"], "Version": "0.1.0-1", "Architecture": "amd64", "Maintainer": deb["maintainer"],
                  "Section": deb["section"], "Priority": "optional", "Depends": deb["depends"].replace("$auto", "libc6"),
                  "Description": package["description"].replace("A topic", "topic") + "\n" + description}
        for name, text in (("control", "".join("%s: %s\n" % pair for pair in fields.items())),
                           ("conffiles", "".join(path + "\n" for path in deb["conf-files"]))):
            with open(os.path.join(control, name), "w", encoding="utf-8") as file:
                file.write(text)
        for place, _, files in os.walk(tree):
            os.chmod(place, 0o755)
        made = os.path.join(folder, "angelia_0.1.0-1_amd64.deb")
        call(build, "--root-owner-group", "--build", tree, made)
        told = call(build, "--info", made)
        assert re.search(r"^ +\d+ bytes, +\d+ lines +\* +postinst", told, re.MULTILINE) and "conffiles" in told, told
        held = call(build, "--contents", made)
        for path in ("./usr/bin/angelia", "./usr/lib/systemd/system/angelia.service", "./usr/share/man/man1/angelia.1.gz"):
            assert path in held, held


# Images, compose, chart, configurations


def test_the_dockerfile_is_good():
    call(program("hadolint"), "--ignore", "DL3008", at("deploy/Dockerfile"))


def test_the_image_gets_all_that_its_build_needs():
    wanted = {line[1:] for line in read("deploy/Dockerfile.dockerignore").split() if line.startswith("!")}
    same({path for path in wanted if not os.path.exists(at(path))}, set(), "named, but not there")
    members = set(toml("Cargo.toml")["workspace"]["members"]) - {"."}
    same(members - wanted, set(), "parts of the workspace that the build would miss")


def test_compose_takes_its_file():
    """`composecheck` is any program that loads a compose file and fails on what is wrong, as `docker compose config` does."""
    check = shutil.which("composecheck")
    if check:
        call(check, at("deploy/compose/compose.yaml"))
        return
    program("docker")
    if subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=30).returncode != 0:
        raise runner.Skip("neither docker compose nor composecheck is installed")
    call("docker", "compose", "--file", at("deploy/compose/compose.yaml"), "config", "--quiet")


def test_what_compose_mounts_is_there():
    folder = at("deploy/compose")
    for path in re.findall(r"- (\.{1,2}/[^:]+):/", read("deploy/compose/compose.yaml")):
        assert os.path.exists(os.path.join(folder, path)), path


def known_keys():
    return toml("config/default.toml")


def check_config(text, folder):
    """A configuration as the product itself reads it; what a cluster needs is left out where the build has none."""
    if "cql://" in text and "cql" not in known_keys()["store"]:
        raise runner.Skip("this build has no store in a cluster: its configuration is not checked")
    for name in ("store.key", "service.token"):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write("5e" * 32)
    for shown in re.findall(r'"(/[^"]*(?:service.token|service_token|store.key|store_key))"', text):
        text = text.replace('"%s"' % shown, '"%s"' % os.path.join(folder, "service.token" if "token" in shown else "store.key"))
    path = os.path.join(folder, "angelia.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    assert "the configuration is valid" in call(servers.binary(), "check-config", "--config", path)


def test_the_configurations_of_one_node_are_valid():
    with servers.folder("configurations") as folder:
        for path in ("deploy/systemd/angelia.toml", "deploy/image.toml"):
            check_config(read(path), folder)


def test_the_configuration_of_the_cluster_is_valid():
    with servers.folder("configuration") as folder:
        check_config(read("deploy/compose/angelia.toml"), folder)


def rendered(*words):
    return call(program("helm"), "template", "release", at("deploy/helm/angelia"), *KUBERNETES, *words)


def test_the_chart_is_well_formed_for_one_node_and_for_a_cluster():
    helm = program("helm")
    for words in ([], SECRET, CQL, CQL + MONITORED):
        call(helm, "lint", "--strict", at("deploy/helm/angelia"), *words)
    one = rendered()
    assert "volumeClaimTemplates" in one and "kind: Job" not in one and "initContainers" not in one
    three = rendered(*CQL, *MONITORED)
    assert "volumeClaimTemplates" not in three and "kind: Job" in three and "kind: PodDisruptionBudget" in three
    assert three.count("name: keys\n") >= 2 and "replicas: 3" in three
    assert three.count("- alert:") == len(alerts()), "the alerts are in the chart"
    assert '"title": "Angelia at 3 a.m."' in three, "the dashboard is in the chart"


def check_rendered(*words):
    with servers.folder("chart") as folder:
        text = rendered(*words).split("angelia.toml: |\n", 1)[1].split("\n---", 1)[0]
        check_config("\n".join(line[4:] for line in text.split("\n")), folder)


def test_the_chart_writes_configurations_of_one_node_that_the_product_takes():
    for words in ([], SECRET, ["--set", "config.retention.days=30,config.push.enabled=true,store.cache_bytes=67108864"]):
        check_rendered(*words)


def test_the_chart_writes_a_configuration_of_the_cluster_that_the_product_takes():
    check_rendered(*CQL)


def test_the_chart_refuses_what_cannot_work():
    for words, why in ((["--set", "replicas=2"], "a store inside has one node"), (["--set", "replica=2"], "replica"),
                       (["--set", "store.url=cql://one/angelia"], "the same store.key"), (["--set", "store.url=memory:"], "url"),
                       (["--set", "config.listen.ams=off"], "the chart writes this section itself")):
        told = call(program("helm"), "template", "release", at("deploy/helm/angelia"), *KUBERNETES, *words, ok=False)
        assert why in told, told


def test_the_guide_names_only_files_and_settings_that_are_there():
    text = read("deploy/README.md")
    for path in re.findall(r"\]\(([^)#:]+)\)", text):
        assert os.path.exists(os.path.join(at("deploy"), path)), path
    known = known_keys()
    for section, key in re.findall(r"`((?:store|listen|tls|ams|push|secrets|limits|retention|quota|audit|log|ams_x509)(?:\.cql)?)\.([a-z0-9_]+)`", text):
        table = known
        for part in section.split("."):
            table = table.get(part)
            if table is None:
                break
        if section == "store.cql" and table is None or (section, key) == ("store", "cql"):
            continue
        assert table and key in table, "%s.%s is no setting" % (section, key)
    for test in re.findall(r"`(test_\w+)`", text):
        assert any("def %s(" % test in read(path) for path in glob.glob(at("tests/**/*.py"), recursive=True)), test
