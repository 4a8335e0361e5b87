# What cloud-init makes of an unpacked drive, as JSON: cloud_init.py config-drive|nocloud DIRECTORY
# and of the network of several drives, rendered: cloud_init.py networks DIRECTORY
import base64
import copy
import json
import logging
import os
import sys
import tempfile
from unittest import mock

import yaml
from cloudinit import helpers
from cloudinit.net import eni, netplan, network_state
from cloudinit.sources import DataSourceConfigDrive, DataSourceNoCloud
from cloudinit.sources.helpers import openstack

MACS = {"fa:16:3e:00:00:01": "eth0", "fa:16:3e:00:00:02": "eth1"}


# What a rendered configuration must say somewhere; how differs between versions of cloud-init.
FACTS = (
    "fa:16:3e:00:00:01", "fa:16:3e:00:00:02", "10.0.0.5/24", "10.0.0.1", "10.0.0.53", "dhcp", "1450",
    # Of bonds, VLANs and IPv6.
    "bond0", "active-backup", "layer2+3", "bond0.101", "fa:16:3e:00:00:03", "fd00::5/64", "fd00::1", "fd00::53",
    "192.168.0.0/16", "inet6 dhcp", "dhcp6: true",
)


def files(config):
    """The files that a guest with netplan and one with ifupdown would get."""
    texts = {}
    for kind, renderer in (
        ("netplan", netplan.Renderer({"netplan_path": "out"})),
        ("eni", eni.Renderer({"eni_path": "out", "netrules_path": None})),
    ):
        with mock.patch("cloudinit.net.get_interfaces_by_mac", return_value=MACS), \
             tempfile.TemporaryDirectory() as target:
            state = network_state.parse_net_config_data(copy.deepcopy(config))
            renderer.render_network_state(state, target=target)
            with open(os.path.join(target, "out")) as file:
                texts[kind] = file.read()
    return texts


def rendered(config):
    """What the files say of the facts."""
    return {kind: [fact for fact in FACTS if fact in text] for kind, text in files(config).items()}


def networks(directory):
    """Each drive's network in both layouts, and what cloud-init complained about meanwhile."""
    complaints = []

    class Listener(logging.Handler):
        def emit(self, record):
            complaints.append(record.getMessage())

    logging.getLogger().addHandler(Listener(logging.WARNING))
    seen = {}
    for name in sorted(os.listdir(directory)):
        with open(os.path.join(directory, name)) as file:
            content = json.load(file)
        openstacks = name.endswith("network_data.json")
        config = openstack.convert_net_json(content, known_macs=MACS) if openstacks else content
        seen[name] = files(config)
        # What was written can be read again.
        yaml.safe_load(seen[name]["netplan"])
        interfaces = {}
        eni._parse_deb_config_data(interfaces, seen[name]["eni"], "", "")
        seen[name]["interfaces"] = sorted(interfaces)
        seen[name]["complaints"], complaints[:] = list(complaints), []
    return seen


def config_drive(directory):
    seen = DataSourceConfigDrive.read_config_drive(directory)
    metadata = seen["metadata"]
    network = openstack.convert_net_json(seen["networkdata"], known_macs=MACS)
    return {
        "version": seen["version"],
        "instance-id": metadata["instance-id"],
        "local-hostname": metadata["local-hostname"],
        "public-keys": metadata["public_keys"],
        "admin_pass": metadata["admin_pass"],
        "random_seed": base64.b64encode(metadata["random_seed"]).decode()[:12],
        "userdata": seen["userdata"].decode(),
        "vendordata": seen["vendordata"],
        "vendordata2": seen["vendordata2"],
        "files": {path: len(content) for path, content in seen["files"].items()},
        "ec2 instance-id": seen["ec2-metadata"]["instance-id"],
        "network": network,
        "rendered": rendered(network),
    }


def nocloud(directory):
    with tempfile.TemporaryDirectory() as root:
        paths = helpers.Paths({"cloud_dir": root, "run_dir": root})
        source = DataSourceNoCloud.DataSourceNoCloud({"datasource": {"NoCloud": {"fs_label": None}}}, None, paths)
        source.seed_dirs = [directory]
        with mock.patch("cloudinit.dmi.read_dmi_data", return_value=None), \
             mock.patch("cloudinit.util.get_cmdline", return_value=""):
            assert source._get_data()
    source.metadata["random_seed"] = source.metadata["random_seed"][:12]
    return {
        "metadata": source.metadata,
        "public-keys": source.get_public_ssh_keys(),
        "userdata": source.userdata_raw.decode(),
        "vendordata": source.vendordata_raw.decode(),
        "network": source.network_config,
        "rendered": rendered(source.network_config),
    }


what = {"config-drive": config_drive, "nocloud": nocloud, "networks": networks}
print(json.dumps(what[sys.argv[1]](sys.argv[2])))
