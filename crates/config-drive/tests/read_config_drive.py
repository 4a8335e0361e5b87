# What cloud-init makes of an unpacked config drive, as JSON.
import base64
import json
import sys

from cloudinit.sources import DataSourceConfigDrive
from cloudinit.sources.helpers import openstack

seen = DataSourceConfigDrive.read_config_drive(sys.argv[1])
macs = {"fa:16:3e:00:00:01": "eth0", "fa:16:3e:00:00:02": "eth1"}
metadata = seen["metadata"]
print(json.dumps({
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
    "network": openstack.convert_net_json(seen["networkdata"], known_macs=macs),
}))
