"""OpenStack's own acceptance tests of messaging, zaqar-tempest-plugin, unmodified, against the server behind a real Keystone."""

import os
import re
import subprocess

import keystone
import server as servers
from runner import same

CASES = 135
WORKERS = 3
SECONDS = 480
INIT_SECONDS = 180
SETTINGS = ["zaqar.admin_mode=true", "zaqar.signed_url_secret=a long and random secret", "push.allow_networks=127.0.0.0/8"]
CONF = """[DEFAULT]
log_file = tempest.log
[auth]
use_dynamic_credentials = true
create_isolated_networks = false
admin_username = admin
admin_password = %(password)s
admin_project_name = admin
admin_domain_name = Default
[identity]
uri_v3 = %(url)s
auth_version = v3
region = RegionOne
[identity-feature-enabled]
api_v2 = false
[oslo_concurrency]
lock_path = %(folder)s
[service_available]
zaqar = true
cinder = false
glance = false
neutron = false
nova = false
swift = false
"""
RESULT = re.compile(r"^\{\d+\} (?:setUpClass \()?([\w.]+)\S* .*\.\.\. (\w+)$", re.MULTILINE)


def test_every_case_of_the_plugin_passes():
    with keystone.cloud("tempest", SETTINGS) as cloud, servers.folder("tempest-workspace") as folder:
        environment = cloud.keystone.environment()
        workspace = os.path.join(folder, "workspace")
        run(folder, environment, INIT_SECONDS, "init", workspace)
        with open(os.path.join(workspace, "etc", "tempest.conf"), "w") as file:
            file.write(CONF % {"password": keystone.PASSWORD, "url": cloud.keystone.url, "folder": folder})
        told = run(workspace, environment, SECONDS, "run", "--regex", "^zaqar_tempest_plugin", "--concurrency", str(WORKERS))
        results = dict(RESULT.findall(told))
        failed = sorted(name.rsplit("tests.v2.", 1)[-1] for name, result in results.items() if result != "ok")
        for name in failed:
            print("     tempest: %s" % name)
        assert not failed, "%d of %d failed\n%s" % (len(failed), len(results), told[-6000:])
        same(len(results), CASES)


def run(folder, environment, seconds, *words):
    """What a command of tempest prints, however far it comes in its time; who wants it whole counts."""
    log = os.path.join(folder, "output-of-%s.txt" % words[0])
    with open(log, "w") as out:
        process = subprocess.Popen([keystone.program("tempest")] + list(words), cwd=folder, env=dict(environment, HOME=folder),
                                   stdout=out, stderr=subprocess.STDOUT)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            print("     tempest %s was stopped after %d s" % (words[0], seconds))
        finally:
            process.terminate()
            process.wait()
    with open(log) as out:
        told = out.read()
    assert process.returncode == 0 or words[0] == "run", "tempest %s: %s" % (words[0], told[-3000:])
    return told
