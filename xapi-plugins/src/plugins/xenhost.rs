//! `xenhost`: the host's settings, devices and networks.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Error, Outcome, network, netwrap, power};
use crate::convention::{Args, Function};
use crate::dom0::Dom0;
use crate::pickle::Pickle;

const LIMIT: Duration = Duration::from_secs(120);
/// What `set_config` keeps.
pub(super) const KEPT: &str = "/usr/etc/xenhost.conf";
/// Kernels of guests, and disks on their way from host to host.
const FOLDERS: [&str; 2] = ["/boot/guest", "/images"];
const COLLECTOR: &str = "/opt/xensource/sm/cleanup.py";
const IPTABLES: [&str; 4] = ["ip6tables-restore", "ip6tables-save", "iptables-restore", "iptables-save"];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::plain("get_config", get_config),
    Function::plain("host_data", power::host_data),
    Function::plain("host_folders", host_folders),
    Function::plain("host_join", power::host_join),
    Function::plain("host_reboot", power::host_reboot),
    Function::plain("host_shutdown", power::host_shutdown),
    Function::plain("host_start", power::host_start),
    Function::plain("host_uptime", host_uptime),
    Function::plain("iptables_config", iptables_config),
    Function::plain("set_config", set_config),
    Function::plain("set_host_enabled", power::set_host_enabled),
    Function::serialized("get_pci_device_details", &[], get_pci_device_details),
    Function::serialized("get_pci_type", &["pci_device"], get_pci_type),
    Function::serialized("network_config", &["args"], network::network_config),
    Function::serialized("query_gc", &["sr_uuid", "vdi_uuid"], query_gc),
];

/// `get_config(params)` with `params` the JSON of `{key}`: the value as JSON, `"None"` when there is none.
fn get_config(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let (key, _) = setting(args)?;
    let value = kept(dom0)?.remove(&key).unwrap_or_else(|| "None".into());
    Ok(Pickle::Str(value.to_string()))
}

/// `set_config(params)` with `params` the JSON of `{key, value}`; a null takes the key away.
fn set_config(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let (key, value) = setting(args)?;
    let folder = Path::new(KEPT).parent().unwrap_or(Path::new("/"));
    // Between reading and writing nobody else may write.
    let _lock = dom0.lock(folder).map_err(|e| Error::file(folder, &e))?;
    let mut all = kept(dom0)?;
    match value {
        Some(value) => _ = all.insert(key, value),
        None => _ = all.remove(&key),
    }
    let text = Value::Object(all).to_string();
    dom0.replace(Path::new(KEPT), &text).map_err(|e| Error::file(KEPT, &e))?;
    Ok(nothing())
}

/// What a function answers in JSON that has nothing to tell.
pub(super) fn nothing() -> Pickle {
    Pickle::Str(Value::Null.to_string())
}

fn setting(args: &Args) -> Result<(String, Option<Value>), Error> {
    let wrong = |reason: String| Error::Argument { name: "params", reason };
    let params: Map<String, Value> = serde_json::from_str(args.required("params")?)
        .map_err(|e| wrong(format!("a JSON object is wanted: {e}")))?;
    let key =
        params.get("key").and_then(Value::as_str).ok_or_else(|| wrong("\"key\" is missing".to_owned()))?;
    Ok((key.to_owned(), params.get("value").filter(|value| !value.is_null()).cloned()))
}

/// Everything that `set_config` has kept.
pub(super) fn kept(dom0: &dyn Dom0) -> Result<Map<String, Value>, Error> {
    match dom0.read_to_string(Path::new(KEPT)) {
        Ok(text) => {
            serde_json::from_str(&text).map_err(|e| Error::Other(format!("{KEPT} is not a JSON object: {e}")))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Map::new()),
        Err(e) => Err(Error::file(KEPT, &e)),
    }
}

/// `host_uptime()`: what `uptime` prints.
fn host_uptime(dom0: &dyn Dom0, _: &Args) -> Outcome {
    let uptime = dom0.run("uptime", &[], "", LIMIT)?;
    Ok(Pickle::Str(json!({"uptime": uptime}).to_string()))
}

/// `host_folders()`: for each folder that drivers use, JSON with the bytes that are free there, or null.
fn host_folders(dom0: &dyn Dom0, _: &Args) -> Outcome {
    let folder = |path: &str| {
        let told = dom0.run("df", &["-P", "-B1", path], "", LIMIT).ok()?;
        // Filesystem, blocks, used, available, capacity, mounted on.
        let free: u64 = told.lines().last()?.split_whitespace().nth(3)?.parse().ok()?;
        Some(json!({"free_bytes": free}))
    };
    let all: Map<String, Value> =
        FOLDERS.iter().map(|path| ((*path).to_owned(), folder(path).unwrap_or(Value::Null))).collect();
    Ok(Pickle::Str(Value::Object(all).to_string()))
}

/// `iptables_config(cmd_args, process_input)`: saves or restores rules.
fn iptables_config(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let input = args.optional("process_input").unwrap_or_default();
    let command = netwrap::words(args, "cmd_args", input, |program| IPTABLES.contains(&program))?;
    let rest: Vec<&str> = command[1..].iter().map(String::as_str).collect();
    let out = dom0.run(&command[0], &rest, input, LIMIT)?;
    Ok(Pickle::Str(json!({"out": out, "err": ""}).to_string()))
}

/// `query_gc(sr_uuid, vdi_uuid)`: whether the SR's garbage collector is at work.
fn query_gc(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let sr = uuid("sr_uuid", args)?;
    let answer = dom0.run(COLLECTOR, &["-q", "-u", sr], "", LIMIT)?;
    // `Currently running: True`
    let running = answer.rsplit(':').next().is_some_and(|state| state.trim() == "True");
    Ok(Pickle::Bool(running))
}

/// `get_pci_device_details()`: every device, as `lspci` lists them for programs.
fn get_pci_device_details(dom0: &dyn Dom0, _: &Args) -> Outcome {
    Ok(Pickle::Str(dom0.run("lspci", &["-vmmnk"], "", LIMIT)?))
}

/// `get_pci_type(pci_device)`: whether a device is a virtual function, has some, or neither.
fn get_pci_type(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let device = args.required("pci_device")?;
    let address = if device.len() == "00:00.0".len() { format!("0000:{device}") } else { device.to_owned() };
    if address.len() != "0000:00:00.0".len()
        || !address.bytes().all(|b| b.is_ascii_hexdigit() || b":.".contains(&b))
    {
        let reason = format!("{device:?} is not an address such as 0000:04:10.1");
        return Err(Error::Argument { name: "pci_device", reason });
    }
    let folder = Path::new("/sys/bus/pci/devices").join(address);
    let names = dom0.list(&folder).map_err(|e| Error::file(&folder, &e))?;
    let has = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
    let kind = match () {
        () if has("physfn") => "type-VF",
        () if has("virtfn") => "type-PF",
        () => "type-PCI",
    };
    Ok(Pickle::Str(kind.to_owned()))
}

/// A uuid in its usual form.
pub(super) fn uuid<'a>(name: &'static str, args: &'a Args) -> Result<&'a str, Error> {
    let text = args.required(name)?;
    let refused = || Error::Argument { name, reason: format!("{text:?} is not a uuid") };
    super::is_uuid(text).then_some(text).ok_or_else(refused)
}

/// A list of uuids, at least one.
pub(super) fn uuids<'a>(name: &'static str, args: &'a Args) -> Result<&'a [String], Error> {
    let list = args.list(name)?;
    match list.iter().find(|uuid| !super::is_uuid(uuid)) {
        Some(wrong) => Err(Error::Argument { name, reason: format!("{wrong:?} is not a uuid") }),
        None if list.is_empty() => Err(Error::Argument { name, reason: "it is empty".to_owned() }),
        None => Ok(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    fn text(text: &str) -> Outcome {
        Ok(Pickle::Str(text.to_owned()))
    }

    #[test]
    fn folders_and_their_room() {
        let told = "Filesystem 1-blocks Used Available Capacity Mounted on\n/dev/sda1 100 40 60 40% /\n";
        let dom0 = Fake::default().answering("df", 0, told, "");
        let wanted = r#"{"/boot/guest":{"free_bytes":60},"/images":{"free_bytes":60}}"#;
        assert_eq!(host_folders(&dom0, &Args::default()), text(wanted));
        let wanted = r#"{"/boot/guest":null,"/images":null}"#;
        assert_eq!(host_folders(&Fake::default().failing("df"), &Args::default()), text(wanted));
    }

    #[test]
    fn settings_are_kept_until_they_are_null() {
        let dom0 = Fake::default();
        let params = |text| Args::of(&[("params", text)]);
        assert_eq!(get_config(&dom0, &params(r#"{"key": "a"}"#)), text("\"None\""));
        set_config(&dom0, &params(r#"{"key": "a", "value": {"b": 1}}"#)).unwrap();
        set_config(&dom0, &params(r#"{"key": "c", "value": "d"}"#)).unwrap();
        assert_eq!(get_config(&dom0, &params(r#"{"key": "a"}"#)), text(r#"{"b":1}"#));
        set_config(&dom0, &params(r#"{"key": "a", "value": null}"#)).unwrap();
        assert_eq!(dom0.file(KEPT).as_deref(), Some(r#"{"c":"d"}"#));
        for wrong in ["", "[]", "{}", r#"{"key": 1}"#] {
            assert!(set_config(&dom0, &params(wrong)).is_err(), "{wrong}");
        }
        // A file that somebody else damaged is not overwritten.
        let dom0 = Fake::default().with_file(KEPT, "damaged");
        assert!(set_config(&dom0, &params(r#"{"key": "a", "value": 1}"#)).is_err());
        assert_eq!(dom0.file(KEPT).as_deref(), Some("damaged"));
    }

    #[test]
    fn settings_that_are_made_at_once_are_all_kept() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("usr/etc")).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let root = root.path();
                scope.spawn(move || {
                    let dom0 = crate::around::Around::in_folder(&crate::dom0::Real, root);
                    for number in 0..50 {
                        let params =
                            json!({"key": format!("{thread}-{number}"), "value": number}).to_string();
                        set_config(&dom0, &Args::of(&[("params", &params)])).unwrap();
                    }
                });
            }
        });
        let dom0 = crate::around::Around::in_folder(&crate::dom0::Real, root.path());
        assert_eq!(kept(&dom0).unwrap().len(), 100);
    }

    #[test]
    fn the_garbage_collector() {
        let args = Args::of(&[("sr_uuid", "0a1b2c3d-0000-4000-8000-00000000000a")]);
        for (answer, running) in
            [("Currently running: True\n", true), ("Currently running: False\n", false), ("", false)]
        {
            let dom0 = Fake::default().answering(COLLECTOR, 0, answer, "");
            assert_eq!(query_gc(&dom0, &args), Ok(Pickle::Bool(running)), "{answer}");
        }
        assert!(query_gc(&Fake::default(), &Args::of(&[("sr_uuid", "-h")])).is_err());
    }

    #[test]
    fn kinds_of_pci_devices() {
        let file = |name| format!("/sys/bus/pci/devices/0000:04:10.1/{name}");
        for (name, kind) in [("physfn", "type-VF"), ("virtfn0", "type-PF"), ("class", "type-PCI")] {
            let dom0 = Fake::default().with_file(&file(name), "");
            for device in ["0000:04:10.1", "04:10.1"] {
                assert_eq!(get_pci_type(&dom0, &Args::of(&[("pci_device", device)])), text(kind));
            }
        }
        for device in ["", "../../../x", "0000:04:10.9/", "zz:10.1"] {
            assert!(
                get_pci_type(&Fake::default(), &Args::of(&[("pci_device", device)])).is_err(),
                "{device}"
            );
        }
    }

    #[test]
    fn only_rules_are_saved_and_restored() {
        let dom0 = Fake::default();
        let args = Args::of(&[("cmd_args", r#"["iptables-restore", "-c"]"#), ("process_input", "*filter")]);
        assert_eq!(iptables_config(&dom0, &args), text(r#"{"err":"","out":""}"#));
        assert_eq!(dom0.commands(), ["iptables-restore -c < *filter"]);
        for wrong in
            [r#"["iptables", "-F"]"#, r#"["ip", "link"]"#, r#"["iptables-restore", "--modprobe=/tmp/x"]"#]
        {
            assert!(iptables_config(&dom0, &Args::of(&[("cmd_args", wrong)])).is_err(), "{wrong}");
        }
    }
}
