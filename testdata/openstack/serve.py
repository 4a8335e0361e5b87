"""A real Keystone and a real Glance on 127.0.0.1, for as long as the standard input is open.

Run with the Python of an environment that has keystone and glance installed. When both services answer, one
line of JSON says how to reach them; when the standard input ends, they and all their data are gone.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

PASSWORD = "a \u00fcseful secret"
BIN = pathlib.Path(sys.executable).parent
# What a request passes on its way into Glance: no more than it takes. The file that comes with Glance names
# filters that newer releases of their library refuse.
PASTE = """[pipeline:glance-api-keystone]
pipeline = versionnegotiation authtoken context rootapp
[composite:rootapp]
paste.composite_factory = glance.api:root_app_factory
/: apiversions
/v2: apiv2app
[app:apiversions]
paste.app_factory = glance.api.versions:create_resource
[app:apiv2app]
paste.app_factory = glance.api.v2.router:API.factory
[filter:versionnegotiation]
paste.filter_factory = glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory
[filter:context]
paste.filter_factory = glance.api.middleware.context:ContextMiddleware.factory
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
delay_auth_decision = true
"""
children = []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(tool, *arguments):
    subprocess.run([BIN / tool, *arguments], check=True, stdout=sys.stderr)


def start(home, tool, *arguments):
    log = open(home / f"{tool}.out", "a")
    # In a group of its own: workers go with their parent.
    child = subprocess.Popen([BIN / tool, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                             start_new_session=True)
    child.log = log.name
    children.append(child)
    return child


def let_readers_and_writers_be(database):
    # Otherwise one makes the other fail: the database is locked. The setting stays with the file.
    sqlite3.connect(database).execute("PRAGMA journal_mode=WAL")


def call(method, url, token=None, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    if token:
        request.add_header("X-Auth-Token", token)
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
        return answer.headers, json.loads(text) if text else None


def wait_for(child, url):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if child.poll() is not None:
            shutil.copyfileobj(open(child.log), sys.stderr)
            raise SystemExit(f"{child.args[0]} ended with {child.returncode}")
        try:
            urllib.request.urlopen(url, timeout=5)
            return
        except urllib.error.HTTPError:
            return  # 300 and 401 are answers, too
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"{url} does not answer")


def keystone(home):
    port = free_port()
    url = f"http://127.0.0.1:{port}/v3"
    keys = home / "keys"
    keys.mkdir(mode=0o700)
    conf = home / "keystone.conf"
    conf.write_text(f"""[DEFAULT]
log_file = {home}/keystone.log
[database]
connection = sqlite:///{home}/keystone.db
[token]
provider = fernet
[fernet_tokens]
key_repository = {keys}
[credential]
key_repository = {keys}
""")
    # oslo.config would otherwise prefer a configuration of the machine.
    option = ("--config-file", str(conf))
    user = ("--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid()))
    run("keystone-manage", *option, "db_sync")
    let_readers_and_writers_be(home / "keystone.db")
    run("keystone-manage", *option, "fernet_setup", *user)
    run("keystone-manage", *option, "bootstrap", "--bootstrap-password", PASSWORD,
        "--bootstrap-public-url", url, "--bootstrap-internal-url", url, "--bootstrap-region-id", "one")
    os.environ["OS_KEYSTONE_CONFIG_FILES"] = str(conf)
    os.environ["OS_KEYSTONE_CONFIG_DIR"] = str(home)
    wait_for(start(home, "keystone-wsgi-public", "--host", "127.0.0.1", "--port", str(port)), url)
    return url


def glance(home, auth_url):
    port = free_port()
    for name in ("store", "staging", "tasks"):
        (home / name).mkdir()
    paste = home / "glance-api-paste.ini"
    paste.write_text(PASTE)
    conf = home / "glance-api.conf"
    conf.write_text(f"""[DEFAULT]
bind_host = 127.0.0.1
bind_port = {port}
workers = 0
log_file = {home}/glance.log
enabled_backends = here:file
enforce_secure_rbac = true
[oslo_policy]
enforce_new_defaults = true
[database]
connection = sqlite:///{home}/glance.db
[glance_store]
default_backend = here
[here]
filesystem_store_datadir = {home}/store
[os_glance_staging_store]
filesystem_store_datadir = {home}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {home}/tasks
[image_format]
container_formats = ami,ari,aki,bare,ovf,ova,docker,compressed,tgz
[keystone_authtoken]
www_authenticate_uri = {auth_url}
auth_url = {auth_url}
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = admin
username = admin
password = {PASSWORD}
[paste_deploy]
flavor = keystone
config_file = {paste}
""")
    option = ("--config-file", str(conf))
    run("glance-manage", *option, "db_sync")
    let_readers_and_writers_be(home / "glance.db")
    url = f"http://127.0.0.1:{port}"
    wait_for(start(home, "glance-api", *option), f"{url}/versions")
    return url


def log_in(auth_url, scope):
    user = {"name": "admin", "domain": {"name": "Default"}, "password": PASSWORD}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    headers, granted = call("POST", f"{auth_url}/auth/tokens", body=body)
    return headers["X-Subject-Token"], granted["token"]["user"]["id"]


def main(home):
    auth_url = keystone(home)
    token, owner = log_in(auth_url, {"project": {"name": "admin", "domain": {"name": "Default"}}})
    system, _ = log_in(auth_url, {"system": {"all": True}})
    url = glance(home, auth_url)
    _, made = call("POST", f"{auth_url}/services", system, {"service": {"type": "image", "name": "glance"}})
    for interface, address in (("public", url), ("internal", f"{url}/v2/")):
        endpoint = {"service_id": made["service"]["id"], "interface": interface, "url": address, "region_id": "one"}
        call("POST", f"{auth_url}/endpoints", system, {"endpoint": endpoint})
    _, credential = call("POST", f"{auth_url}/users/{owner}/application_credentials", token,
                         {"application_credential": {"name": "test"}})
    credential = credential["application_credential"]
    print(json.dumps({
        "auth_url": auth_url, "glance": url, "password": PASSWORD, "token": token,
        "credential_id": credential["id"], "credential_secret": credential["secret"],
    }), flush=True)
    sys.stdin.read()


with tempfile.TemporaryDirectory(prefix="openstack.") as directory:
    try:
        main(pathlib.Path(directory))
    except OSError:
        sys.stderr.write(pathlib.Path(directory, "keystone.log").read_text()[-8000:])
        raise
    finally:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
