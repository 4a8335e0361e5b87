"""Works a XAPI as clients written for real hosts do, with the official Python client: old spellings, integers
as text, transfers by http.client. Called with URL, user and password; stops at the first surprise."""

import http.client
import sys
import time
import urllib.parse

import XenAPI

URL, USER, PASSWORD = sys.argv[1:4]
MIB = 1 << 20
TAG = {"old-client": "yes"}


def check(what, found, expected):
    if found != expected:
        raise SystemExit(f"{what} is {found!r}, expected {expected!r}")


def refused(code, call, *args):
    try:
        answer = call(*args)
    except XenAPI.Failure as failure:
        check("failure", failure.details[0], code)
        return failure.details
    raise SystemExit(f"expected {code}, got {answer!r}")


def log_in(*more):
    session = XenAPI.Session(URL, ignore_ssl=True)
    session.login_with_password(USER, PASSWORD, *more)
    return session


def sessions():
    for more in [(), ("1.0",), ("2.0", "old client")]:
        session = log_in(*more)
        assert session.xenapi.host.get_all()
        check("API version", session.API_version.split(".")[0], "2")
        session.xenapi.session.logout()
    session = XenAPI.Session(URL, ignore_ssl=True)
    details = refused("SESSION_AUTHENTICATION_FAILED", session.login_with_password, USER, "wrong " + PASSWORD)
    check("user", details[1], USER)


def records(session, xapi):
    """Everything of every class can be read; what was removed says so."""
    methods = session.system.listMethods()
    classes = sorted(m.split(".")[0] for m in methods if m.endswith(".get_all_records"))
    assert {"VM", "VDI", "host", "pool", "task"} <= set(classes), classes
    count = 0
    for name in classes:
        try:
            count += len(getattr(xapi, name).get_all_records())
        except XenAPI.Failure as failure:
            check(f"{name}.get_all_records", failure.details, ["MESSAGE_REMOVED"])
    assert count > 10, count
    return len(classes), count


def vm_record(name):
    """The record of OpenStack Nova's driver: integers as text, no affinity, no bootloader."""
    return {
        "actions_after_crash": "destroy", "actions_after_reboot": "restart", "actions_after_shutdown": "destroy",
        "affinity": "", "blocked_operations": {}, "ha_always_run": False, "ha_restart_priority": "",
        "HVM_boot_params": {"order": "dc"}, "HVM_boot_policy": "BIOS order", "is_a_template": False,
        "memory_static_min": "0", "memory_dynamic_min": str(256 * MIB), "memory_dynamic_max": str(256 * MIB),
        "memory_static_max": str(256 * MIB), "memory_target": str(256 * MIB),
        "name_description": "", "name_label": name, "other_config": dict(TAG, nova_uuid="6a0a3b1e"), "PCI_bus": "",
        "platform": {"acpi": "true", "apic": "true", "pae": "true", "viridian": "true", "timeoffset": "0"},
        "PV_args": "", "PV_bootloader": "", "PV_bootloader_args": "", "PV_kernel": "", "PV_legacy_args": "",
        "PV_ramdisk": "", "recommendations": "", "tags": [], "user_version": "0", "VCPUs_at_startup": "1",
        "VCPUs_max": "1", "VCPUs_params": {}, "xenstore_data": {"vm-data/allowvssprovider": "false"},
    }


def vdi_record(sr, name):
    return {
        "name_label": name, "name_description": "", "SR": sr, "virtual_size": str(4 * MIB), "type": "User",
        "sharable": False, "read_only": False, "xenstore_data": {}, "other_config": dict(TAG), "sm_config": {},
        "tags": [],
    }


def vbd_record(vm, vdi):
    return {
        "VM": vm, "VDI": vdi, "userdevice": "0", "bootable": True, "mode": "rw", "type": "disk",
        "unpluggable": True, "empty": False, "other_config": {}, "qos_algorithm_type": "",
        "qos_algorithm_params": {}, "qos_supported_algorithms": [],
    }


def ended(xapi, task):
    """Polls a task to its end and takes it away."""
    for _ in range(600):
        if xapi.task.get_status(task) not in ("pending", "cancelling"):
            break
        time.sleep(0.1)
    record = xapi.task.get_record(task)
    xapi.task.destroy(task)
    return record


def request(method, path, query, body=None):
    """One request on a connection of its own, as OpenStack's image code makes them."""
    parts = urllib.parse.urlsplit(URL)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.putrequest(method, f"{path}?{urllib.parse.urlencode(query)}")
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    if body:
        connection.send(body)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, data


def transfers(session, xapi, vdi):
    data = bytes(i * 7 % 251 for i in range(4 * MIB))

    def query(**more):
        return dict(session_id=session.handle, vdi=vdi, format="raw", **more)

    task = xapi.task.create("import", "")
    check("upload", request("PUT", "/import_raw_vdi/", query(task_id=task), data)[0], 200)
    record = ended(xapi, task)
    check("upload's task", (record["status"], record["result"]), ("success", f"<value>{vdi}</value>"))
    # The probe that some clients send before a streamed upload: accepted, and nothing changes.
    check("probe", request("PUT", "/import_raw_vdi", query(), b"")[0], 200)
    task = xapi.task.create("export", "")
    status, found = request("GET", "/export_raw_vdi/", query(task_id=task))
    check("download", (status, len(found), found == data), (200, len(data), True))
    check("download's task", ended(xapi, task)["status"], "success")
    for _ in range(600):
        if not xapi.VDI.get_VBDs(vdi):
            return
        time.sleep(0.1)
    raise SystemExit("the disk is still attached after its transfers")


def events(xapi):
    def event_from(classes, token, timeout):
        return getattr(xapi.event, "from")(classes, token, timeout)

    batch = event_from(["vm", "task"], "", 0.0)
    assert batch["events"] and all(e["operation"] == "add" for e in batch["events"])
    assert isinstance(batch["valid_ref_counts"]["vm"], int), batch["valid_ref_counts"]
    task = xapi.task.create("seen", "")
    batch = event_from(["vm", "task"], batch["token"], 10.0)
    seen = [e for e in batch["events"] if e["ref"] == task]
    check("events of the task", [(e["class"], e["operation"]) for e in seen], [("task", "add")])
    check("its record", seen[0]["snapshot"]["name_label"], "seen")
    xapi.task.set_status(task, "success")
    xapi.task.destroy(task)
    assert "," in xapi.event.inject("pool", xapi.pool.get_all()[0])


def guests(session, xapi):
    sr = xapi.pool.get_default_SR(xapi.pool.get_all()[0])
    vdi = xapi.VDI.create(vdi_record(sr, "old client's disk"))
    check("type", xapi.VDI.get_type(vdi), "user")
    check("virtual_size", xapi.VDI.get_virtual_size(vdi), str(4 * MIB))
    transfers(session, xapi, vdi)
    vm = xapi.VM.create(vm_record("old client's guest"))
    vbd = xapi.VBD.create(vbd_record(vm, vdi))
    check("VBD", (xapi.VBD.get_mode(vbd), xapi.VBD.get_type(vbd)), ("RW", "Disk"))
    query = f'field "name__label"="old client\'s disk" and field "SR" = "{sr}"'
    check("found", list(xapi.VDI.get_all_records_where(query)), [vdi])
    network = xapi.network.create({"name_label": "old", "name_description": "", "other_config": dict(TAG)})
    vif = xapi.VIF.create({
        "device": "0", "network": network, "VM": vm, "MAC": "", "MTU": "1500", "other_config": {},
        "qos_algorithm_type": "", "qos_algorithm_params": {},
    })
    assert xapi.VIF.get_MAC(vif)
    xapi.VM.remove_from_other_config(vm, "no such key")
    clone = xapi.VDI.clone(vdi)
    record = ended(xapi, xapi.Async.VM.start(vm, False, False))
    check("start", (record["status"], record["error_info"]), ("success", []))
    check("power_state", xapi.VM.get_power_state(vm), "Running")
    check("domid", int(xapi.VM.get_domid(vm)) > 0, True)
    check("actual", refused("VM_BAD_POWER_STATE", xapi.VM.start, vm, False, False)[2:], ["halted", "running"])
    xapi.VM.hard_shutdown(vm)
    # A disk may go before what attaches it.
    xapi.VDI.destroy(vdi)
    xapi.VDI.destroy(clone)
    xapi.VM.destroy(vm)
    xapi.network.destroy(network)
    check("gone", refused("HANDLE_INVALID", xapi.VM.get_record, vm)[1:], ["VM", vm])


def main():
    sessions()
    session = log_in("1.0", "old client")
    xapi = session.xenapi
    classes, count = records(session, xapi)
    guests(session, xapi)
    events(xapi)
    handle = session.handle
    xapi.session.logout()
    check("after logout", session.host.get_all(handle)["ErrorDescription"], ["SESSION_INVALID", handle])
    print(f"{count} records of {classes} classes read; everything else as on a real host")


main()
