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
        run(folder, environment, 60, "init", folder)
        with open(os.path.join(folder, "etc", "tempest.conf"), "w") as file:
            file.write(CONF % {"password": keystone.PASSWORD, "url": cloud.keystone.url, "folder": folder})
        done = run(folder, environment, SECONDS, "run", "--regex", "^zaqar_tempest_plugin", "--concurrency", str(WORKERS))
        results = {name: result for name, result in RESULT.findall(done.stdout)}
        failed = sorted(name.rsplit("tests.v2.", 1)[-1] for name, result in results.items() if result != "ok")
        for name in failed:
            print("     tempest: %s" % name)
        assert not failed, "%d of %d failed\n%s" % (len(failed), len(results), done.stdout[-6000:])
        same(len(results), CASES)


def run(folder, environment, seconds, *words):
    environment = dict(environment, HOME=folder)
    done = subprocess.run([keystone.program("tempest")] + list(words), cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0 or words[0] == "run", "tempest %s: %s" % (words[0], (done.stdout + done.stderr)[-3000:])
    return done
