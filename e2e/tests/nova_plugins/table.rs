//! The calls, with what Nova's driver looks for in their answers.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use xapi_plugins::pickle::Pickle;

use crate::host::Host;

pub(crate) const HOST: &str = "0a1b2c3d-0000-4000-8000-0000000000ff";
pub(crate) const SR: &str = "0a1b2c3d-0000-4000-8000-000000000099";
pub(crate) const VDI: &str = "0a1b2c3d-0000-4000-8000-000000000001";
const NEW: &str = "0a1b2c3d-0000-4000-8000-00000000000";

pub(crate) struct Row {
    pub(crate) plugin: &'static str,
    pub(crate) function: &'static str,
    pub(crate) args: Args,
    pub(crate) wanted: Wanted,
    /// What else has to be so afterwards.
    pub(crate) after: Option<fn(&Host) -> Result<()>>,
}

#[derive(Debug)]
pub(crate) enum Wanted {
    Text(String),
    Json(Value),
    Pickled(Pickle),
    /// What this becomes by zlib and base64.
    Log(&'static str),
    /// The class and a part of the text.
    Failure(&'static str, &'static str),
}

pub(crate) enum Args {
    Plain(Vec<(&'static str, String)>),
    /// By place and by name.
    Pickled(Pickle, Pickle),
}

impl fmt::Display for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(texts) => write!(f, "{texts:?}"),
            Self::Pickled(args, kwargs) => write!(f, "{}, {}", json_of(args), json_of(kwargs)),
        }
    }
}

impl Args {
    pub(crate) fn map(&self) -> BTreeMap<String, String> {
        match self {
            Self::Plain(texts) => texts.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
            Self::Pickled(..) => BTreeMap::from([("params".to_owned(), self.params())]),
        }
    }

    /// As Python 2 pickles `dict(args=args, kwargs=kwargs)`.
    pub(crate) fn params(&self) -> String {
        let Self::Pickled(Pickle::List(args), kwargs) = self else { return String::new() };
        let mut out = "(dp0\n".to_owned();
        let mut memo = 1;
        python2(&text("args"), &mut out, &mut memo);
        out.push('(');
        args.iter().for_each(|arg| python2(arg, &mut out, &mut memo));
        out.push('t');
        if !args.is_empty() {
            remember(&mut out, &mut memo);
        }
        out.push('s');
        python2(&text("kwargs"), &mut out, &mut memo);
        python2(kwargs, &mut out, &mut memo);
        out + "s."
    }
}

fn python2(value: &Pickle, out: &mut String, memo: &mut u32) {
    match value {
        Pickle::None => out.push('N'),
        Pickle::Bool(flag) => out.push_str(if *flag { "I01\n" } else { "I00\n" }),
        Pickle::Int(number) => *out += &format!("I{number}\n"),
        Pickle::Str(text) => {
            *out += &format!("S'{text}'\n");
            remember(out, memo);
        }
        Pickle::List(items) => {
            out.push_str("(l");
            remember(out, memo);
            for item in items {
                python2(item, out, memo);
                out.push('a');
            }
        }
        Pickle::Dict(dict) => {
            out.push_str("(d");
            remember(out, memo);
            for (key, item) in dict {
                python2(&text(key), out, memo);
                python2(item, out, memo);
                out.push('s');
            }
        }
    }
}

fn remember(out: &mut String, memo: &mut u32) {
    *out += &format!("p{memo}\n");
    *memo += 1;
}

pub(crate) fn json_of(value: &Pickle) -> Value {
    match value {
        Pickle::None => Value::Null,
        Pickle::Bool(flag) => (*flag).into(),
        Pickle::Int(number) => (*number).into(),
        Pickle::Str(text) => text.as_str().into(),
        Pickle::List(items) => items.iter().map(json_of).collect(),
        Pickle::Dict(dict) => dict.iter().map(|(key, item)| (key.clone(), json_of(item))).collect(),
    }
}

fn of_json(value: Value) -> Pickle {
    match value {
        Value::Null => Pickle::None,
        Value::Bool(flag) => Pickle::Bool(flag),
        Value::Number(number) => Pickle::Int(number.as_i64().unwrap_or_default()),
        Value::String(text) => Pickle::Str(text),
        Value::Array(items) => Pickle::List(items.into_iter().map(of_json).collect()),
        Value::Object(map) => Pickle::Dict(map.into_iter().map(|(key, item)| (key, of_json(item))).collect()),
    }
}

fn text(text: &str) -> Pickle {
    Pickle::Str(text.to_owned())
}

fn plain<const N: usize>(args: [(&'static str, &str); N]) -> Args {
    Args::Plain(args.map(|(name, text)| (name, text.to_owned())).into())
}

fn by_place(args: Value) -> Args {
    Args::Pickled(of_json(args), of_json(json!({})))
}

pub(crate) fn by_name(kwargs: Value) -> Args {
    Args::Pickled(of_json(json!([])), of_json(kwargs))
}

fn answer(value: Value) -> Wanted {
    Wanted::Pickled(of_json(value))
}

fn says(text: &str) -> Wanted {
    Wanted::Text(text.to_owned())
}

fn row(plugin: &'static str, function: &'static str, args: Args, wanted: Wanted) -> Row {
    Row { plugin, function, args, wanted, after: None }
}

impl Row {
    fn and(self, after: fn(&Host) -> Result<()>) -> Self {
        Self { after: Some(after), ..self }
    }
}

/// All of them, in the order in which they are called.
pub(crate) fn rows(host: &Host) -> Vec<Row> {
    [
        agent(),
        xenstore(),
        small(),
        xenhost(),
        devices(),
        network(),
        files(host),
        partitions(),
        disks(host),
        glance(host),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn agent() -> Vec<Row> {
    let reply = r#"{"returncode": "0", "message": "file_inject,password"}"#;
    let guest = [("id", "0a1b-1"), ("dom_id", "7"), ("timeout", "30")];
    let with = |extra: &[(&'static str, &str)]| {
        Args::Plain([&guest, extra].concat().into_iter().map(|(k, v)| (k, v.to_owned())).collect())
    };
    let gone = || {
        plain([
            ("id", "0a1b-1"),
            ("dom_id", "9"),
            ("timeout", "1"),
            ("pub", "5"),
            ("enc_pass", "x"),
            ("url", "u"),
            ("md5sum", "m"),
            ("b64_path", "YQ=="),
            ("b64_contents", ""),
        ])
    };
    let calls: [(&str, &[(&str, &str)]); 6] = [
        ("version", &[]),
        ("key_init", &[("pub", "12345")]),
        ("password", &[("enc_pass", "c2VhbGVk")]),
        ("resetnetwork", &[]),
        ("inject_file", &[("b64_path", "L2V0Yy9tb3Rk"), ("b64_contents", "aGk=")]),
        ("agentupdate", &[("url", "http://x"), ("md5sum", "00")]),
    ];
    let answers = calls.map(|(function, extra)| row("agent", function, with(extra), says(reply)));
    // A domain that is not there any more: the client looks for its new one, and repeats.
    let reboots = calls.map(|(function, _)| {
        row("agent", function, gone(), Wanted::Failure("RebootDetectedError", "REBOOT: "))
    });
    answers.into_iter().chain(reboots).collect()
}

fn xenstore() -> Vec<Row> {
    let key = |path: &'static str| plain([("dom_id", "7"), ("path", path)]);
    let write = |path, value| plain([("dom_id", "7"), ("path", path), ("value", value)]);
    let read = |path, ignore| plain([("dom_id", "7"), ("path", path), ("ignore_missing_path", ignore)]);
    let own = || plain([("dom_id", "0"), ("path", "a")]);
    let f = |function, args, wanted| row("xenstore", function, args, wanted);
    vec![
        f("read_record", read("vm-data/hostname", "True"), says("\"web1\"")),
        f("read_record", read("vm-data/none", "True"), says("\"None\"")),
        f("read_record", read("vm-data/none", "False"), Wanted::Failure("PluginError", "vm-data/none")),
        f("write_record", write("vm-data/a/b", "{\"x\": 1}"), says("{\"x\": 1}")),
        f("write_record", write("refused/a", "x"), Wanted::Failure("XenstoreError", "refused")),
        f("list_records", key("vm-data"), Wanted::Json(json!({"hostname": "web1", "a/b": {"x": 1}}))),
        f("list_records", key("nothing"), Wanted::Json(json!({}))),
        f("list_records", own(), Wanted::Failure("ArgumentError", "dom_id")),
        f("delete_record", key("vm-data/a/b"), says("\"\"")),
        f("delete_record", key("vm-data/a/b"), says("\"\"")),
        f("delete_record", own(), Wanted::Failure("ArgumentError", "dom_id")),
    ]
}

/// Plugins of one function.
fn small() -> Vec<Row> {
    let words = |cmd: Value, input: &str| plain([("cmd", &cmd.to_string()), ("cmd_input", input)]);
    let counters = json!({"7": {"0": {"bw_in": 20, "bw_out": 10}}});
    vec![
        row("bandwidth", "fetch_all_bandwidth", by_place(json!([])), answer(counters)),
        row("config_file", "get_val", plain([("key", "relax-xsm-sr-check")]), says("true")),
        row("config_file", "get_val", plain([("key", "a")]), says("")),
        row("console", "get_console_log", plain([("dom_id", "7")]), Wanted::Log("Booting\n")),
        row("console", "get_console_log", plain([]), Wanted::Failure("PluginError", "dom_id")),
        row("console", "get_console_log", plain([("dom_id", "x")]), Wanted::Failure("PluginError", "dom_id")),
        row("console", "get_console_log", plain([("dom_id", "8")]), Wanted::Failure("IOError", "console.8")),
        row("dom0_plugin_version", "get_version", by_place(json!([])), answer(json!("2.1"))),
        row(
            "netwrap",
            "run_command",
            words(json!(["conntrack", "-L"]), "\"in\""),
            Wanted::Json(json!({"returncode": 3, "out": "in", "err": "told\n"})),
        ),
        row(
            "netwrap",
            "run_command",
            words(json!(["ip", "netns", "exec", "a", "id"]), "null"),
            Wanted::Failure("PluginError", "netns exec"),
        ),
        row(
            "netwrap",
            "run_command",
            words(json!(["rm", "-r"]), "null"),
            Wanted::Failure("PluginError", "rm"),
        ),
    ]
}

fn xenhost() -> Vec<Row> {
    let f = |function, args, wanted| row("xenhost", function, args, wanted);
    let dead = || plain([("host_uuid", "dead"), ("enabled", "false")]);
    let uuid_wanted = || Wanted::Failure("ArgumentError", "host_uuid");
    let params = |value: Value| plain([("params", &value.to_string())]);
    let join = |compute: &'static str| {
        plain([
            ("url", "http://192.0.2.9"),
            ("user", "root"),
            ("password", "x"),
            ("compute_uuid", compute),
            ("force", "false"),
            ("master_addr", "192.0.2.1"),
            ("master_user", "root"),
            ("master_pass", "pa55word"),
        ])
    };
    let data = json!({
        "enabled": "true", "host_uuid": HOST, "host_name-label": "", "host_name-description": "",
        "host_hostname": "", "host_ip_address": "", "host_other-config": {}, "host_capabilities": [],
        "host_cpu_info": {}, "a": {"b": 1},
        "host_memory": {"total": 4096, "overhead": null, "free": null, "free-computed": null},
    });
    vec![
        f("set_config", params(json!({"key": "a", "value": {"b": 1}})), Wanted::Json(json!(null))),
        f("set_config", plain([]), Wanted::Failure("ArgumentError", "params")),
        f("get_config", params(json!({"key": "a"})), Wanted::Json(json!({"b": 1}))),
        f("get_config", params(json!({"key": "z"})), Wanted::Json(json!("None"))),
        f("get_config", params(json!({})), Wanted::Failure("ArgumentError", "params")),
        f("host_data", plain([]), Wanted::Json(data)),
        f("host_data", dead(), uuid_wanted()),
        f("host_uptime", plain([]), Wanted::Json(json!({"uptime": " 10:00:00 up 1 day\n"}))),
        f("set_host_enabled", plain([("enabled", "true")]), Wanted::Json(json!({"status": "enabled"}))),
        f("set_host_enabled", plain([("enabled", "maybe")]), Wanted::Failure("PluginError", "maybe")),
        f("host_reboot", plain([]), Wanted::Json(json!({"power_action": "reboot"}))),
        f("host_reboot", dead(), uuid_wanted()),
        f("host_shutdown", plain([]), Wanted::Json(json!({"power_action": "shutdown"}))),
        f("host_shutdown", dead(), uuid_wanted()),
        f("host_start", plain([]), Wanted::Json(json!({"power_action": "startup"}))),
        f("host_start", dead(), uuid_wanted()),
        f("host_join", join(VDI), Wanted::Json(json!(null))).and(|host| {
            ensure!(host.ran().ends_with(&format!("xe vm-start uuid={VDI}\n")), "{}", host.ran());
            ensure!(!host.ran().contains("pa55word"), "the password is on a command line");
            Ok(())
        }),
        f("host_join", join("dead"), Wanted::Failure("ArgumentError", "compute_uuid")),
    ]
}

/// Its rules and devices.
fn devices() -> Vec<Row> {
    let f = |function, args, wanted| row("xenhost", function, args, wanted);
    let rules =
        |words: Value, input: &str| plain([("cmd_args", &words.to_string()), ("process_input", input)]);
    vec![
        f(
            "iptables_config",
            rules(json!(["iptables-save"]), ""),
            Wanted::Json(json!({"out": "*filter\n", "err": ""})),
        ),
        f(
            "iptables_config",
            rules(json!(["iptables-restore", "--noflush"]), "x"),
            Wanted::Failure("PluginError", ""),
        ),
        f(
            "iptables_config",
            rules(json!(["iptables-restore", "--modprobe=/tmp/x"]), "x"),
            Wanted::Failure("PluginError", "--modprobe"),
        ),
        f("get_pci_device_details", by_place(json!([])), answer(json!("Slot:\t00:00.0\n"))),
        f("get_pci_type", by_place(json!(["04:10.1"])), answer(json!("type-VF"))),
        f("get_pci_type", by_place(json!(["../../x"])), Wanted::Failure("ArgumentError", "pci_device")),
        f("query_gc", by_name(json!({"sr_uuid": VDI, "vdi_uuid": VDI})), answer(json!(true))),
        f("query_gc", by_place(json!(["dead", VDI])), Wanted::Failure("ArgumentError", "sr_uuid")),
    ]
}

/// One argument by place, which has all others.
fn network() -> Vec<Row> {
    let call = |cmd: &str, args: Value| by_place(json!([{"cmd": cmd, "args": args}]));
    let f = |args, wanted| row("xenhost", "network_config", args, wanted);
    let bridge = json!({"bridge_name": "xapi1", "port_name": "p1"});
    vec![
        f(call("ovs_add_port", bridge.clone()), answer(json!(""))).and(|host| {
            let wanted = "ovs-vsctl -- --if-exists del-port p1 -- add-port xapi1 p1\n";
            ensure!(host.ran().ends_with(wanted), "{}", host.ran());
            Ok(())
        }),
        f(call("ip_link_get_dev", json!({"device_name": "tap1"})), answer(json!("ip link show tap1\n"))),
        f(call("brctl_add_br", bridge), Wanted::Failure("PluginError", "can't add bridge")),
        f(call("rm", json!({})), Wanted::Failure("PluginError", "rm")),
        f(by_place(json!([])), Wanted::Failure("ArgumentError", "args")),
    ]
}

/// In the folder of kernels. Paths are those of the host that the plugin believes to be on.
fn files(host: &Host) -> Vec<Row> {
    let path = |name: &str| host.dom0.path("/boot/guest").join(name).display().to_string();
    let f = |function, args, wanted| row("kernel", function, args, wanted);
    let refused = || Wanted::Failure("ArgumentError", "");
    vec![
        f(
            "copy_vdi",
            plain([("vdi-ref", "OpaqueRef:vdi"), ("image-size", "6"), ("cached-image", "cached")]),
            Wanted::Text(path(VDI)),
        ),
        f(
            "copy_vdi",
            plain([("vdi-ref", "OpaqueRef:dead"), ("image-size", "6")]),
            Wanted::Failure("Failure", "UUID_INVALID"),
        ),
        f(
            "create_kernel_ramdisk",
            plain([("cached-image", "cached"), ("new-image-uuid", "copy")]),
            Wanted::Text(path("copy")),
        ),
        f("create_kernel_ramdisk", plain([("cached-image", "none"), ("new-image-uuid", "copy")]), says("")),
        f("create_kernel_ramdisk", plain([("cached-image", "../x"), ("new-image-uuid", "copy")]), refused()),
        f("remove_kernel_ramdisk", plain([("kernel-file", &path("copy"))]), says("ok")),
        f("remove_kernel_ramdisk", plain([("kernel-file", &path("copy")), ("ramdisk-file", "")]), says("ok")),
        f("remove_kernel_ramdisk", plain([("kernel-file", "/etc/passwd")]), refused()),
    ]
}

fn partitions() -> Vec<Row> {
    let part = |function, args, wanted| row("partition_utils", function, args, wanted);
    vec![
        part("wait_for_dev", by_place(json!(["/dev/xvdb", 1])), answer(json!("/dev/xvdb"))),
        part("wait_for_dev", by_place(json!(["/dev/xvdzz", 0])), answer(json!(null))),
        part(
            "wait_for_dev",
            by_place(json!(["/etc/shadow", 0])),
            Wanted::Failure("ArgumentError", "dev_path"),
        ),
        part(
            "wait_for_dev",
            by_place(json!(["/dev/xvdb", "soon"])),
            Wanted::Failure("ArgumentError", "max_seconds"),
        ),
        part("make_partition", by_place(json!(["xvdb", "2048", "-"])), answer(json!(null))),
        part(
            "make_partition",
            by_place(json!(["xvdb", "2048", "4096"])),
            Wanted::Failure("PluginError", "partition_end"),
        ),
        part(
            "make_partition",
            by_place(json!(["sda", "2048", "-"])),
            Wanted::Failure("ArgumentError", "dev"),
        ),
        part("mkfs", by_place(json!(["xvdb", "1", "ext3", "ephemeral"])), answer(json!(null))).and(|host| {
            let disk = std::fs::read(host.dom0.path("/dev/xvdb"))?;
            let at = 2048 * 512 + 1024;
            ensure!(disk[at + 56..at + 58] == [0x53, 0xef], "there is no ext3");
            ensure!(disk[at + 120..].starts_with(b"ephemeral\0"), "it has no label");
            Ok(())
        }),
        part("mkfs", by_place(json!(["xvdb", "1", "swap", null])), answer(json!(null))),
        part("mkfs", by_place(json!(["xvdb", "1", "zfs", null])), Wanted::Failure("PluginError", "fs_type")),
    ]
}

fn disks(host: &Host) -> Vec<Row> {
    let sr = host.sr();
    let stack = |last: &str| json!([format!("{NEW}8"), format!("{NEW}{last}")]);
    let root = |last: &str| answer(json!({"root": {"uuid": format!("{NEW}{last}")}}));
    let inject = |tool: &str| {
        let numbers = ["192.0.2.7", "255.255.255.0", "192.0.2.1", "192.0.2.2"];
        by_place(json!([sr, VDI, "http://menu/x", numbers[0], numbers[1], numbers[2], numbers[3], tool]))
    };
    vec![
        row("ipxe", "inject", inject("mkisofs"), answer(json!(null))).and(|host| {
            let iso = std::fs::read_to_string(host.sr.join(format!("iso/{VDI}.img")))?;
            ensure!(iso == "made\n", "{iso}");
            Ok(())
        }),
        row("ipxe", "inject", inject("xorrisofs-none"), Wanted::Failure("ArgumentError", "mkisofs_cmd")),
        row("workarounds", "safe_copy_vdis", by_place(json!([sr, [VDI], stack("2")])), root("2")),
        row(
            "workarounds",
            "safe_copy_vdis",
            by_place(json!([sr, ["dead"], stack("2")])),
            Wanted::Failure("ArgumentError", "vdi_uuids"),
        ),
        row(
            "migration",
            "transfer_vhd",
            by_place(json!(["0a1b", "192.0.2.9", VDI, sr, 0])),
            answer(json!(null)),
        )
        .and(|host| {
            ensure!(host.ran().contains("root@192.0.2.9:"), "{}", host.ran());
            Ok(())
        }),
        row(
            "migration",
            "transfer_vhd",
            by_place(json!(["0a1b", "-x", VDI, sr, 0])),
            Wanted::Failure("ArgumentError", "host"),
        ),
        row("migration", "move_vhds_into_sr", by_place(json!(["0a1b", sr, stack("3")])), root("3")),
        row(
            "migration",
            "move_vhds_into_sr",
            by_place(json!(["0a1b", sr, stack("3")])),
            Wanted::Failure("IOError", "instance0a1b"),
        ),
    ]
}

fn glance(host: &Host) -> Vec<Row> {
    let headers = json!({"X-Auth-Token": "token", "X-User-Id": null});
    let common = |id: &str, more: Value| {
        let mut kwargs = json!({
            "image_id": id, "endpoint": host.glance, "sr_path": host.sr(), "extra_headers": headers, "api_version": 2,
        });
        if let (Value::Object(all), Value::Object(more)) = (&mut kwargs, more) {
            all.extend(more);
        }
        by_name(kwargs)
    };
    let down = |id: &str| common(id, json!({"uuid_stack": [format!("{NEW}4")]}));
    let up = |id: &str| {
        let properties =
            json!({"auto_disk_config": true, "os_type": "linux", "xenapi_image_compression_level": 1});
        common(id, json!({"vdi_uuids": [VDI], "properties": properties}))
    };
    let f = |function, args, wanted| row("glance", function, args, wanted);
    vec![
        f("download_vhd2", down("there"), answer(json!({"root": {"uuid": format!("{NEW}4")}}))).and(|host| {
            let disk = std::fs::read_to_string(host.sr.join(format!("{NEW}4.vhd")))?;
            ensure!(disk == "disk of an image\n", "{disk}");
            Ok(())
        }),
        // What the client makes an error of its own of, what it gives up at, and what it repeats.
        f("download_vhd2", down("404"), Wanted::Failure("Failure", "ImageNotFound")),
        f("download_vhd2", down("403"), Wanted::Failure("PluginError", "403")),
        f("download_vhd2", down("503"), Wanted::Failure("RetryableError", "503")),
        f("upload_vhd2", up("queued"), answer(json!(null))),
        f("upload_vhd2", up("404"), Wanted::Failure("Failure", "ImageNotFound")),
        f("upload_vhd2", up("409"), Wanted::Failure("PluginError", "409")),
        f("upload_vhd2", up("500"), Wanted::Failure("RetryableError", "500")),
    ]
}
