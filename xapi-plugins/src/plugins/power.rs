//! `xenhost`'s part about the host as a whole: what it is, enabled or not, off and on.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Error, Outcome, xenhost};
use crate::convention::Args;
use crate::dom0::Dom0;
use crate::pickle::Pickle;
use crate::xapi::Xapi;

const QUICK: Duration = Duration::from_secs(120);
/// Guests are given time to shut down.
const GUESTS: Duration = Duration::from_secs(1_800);
/// How long XAPI takes to come back from joining a pool.
const START_ATTEMPTS: u32 = 23;
const START_POLL: Duration = Duration::from_secs(10);

/// `set_host_enabled(host_uuid, enabled)`: `{"status": "enabled" or "disabled"}`, as read back.
pub(super) fn set_host_enabled(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let uuid = host_uuid(args)?;
    let verb = match args.required("enabled")? {
        "true" => "host-enable",
        "false" => "host-disable",
        other => {
            let reason = format!("{other:?} is neither \"true\" nor \"false\"");
            return Err(Error::Argument { name: "enabled", reason });
        }
    };
    dom0.run("xe", &[verb, &uuid], "", QUICK)?;
    let enabled = dom0.run("xe", &["host-param-get", &uuid, "param-name=enabled"], "", QUICK)?;
    let status = if enabled.trim() == "true" { "enabled" } else { "disabled" };
    Ok(Pickle::Str(json!({"status": status}).to_string()))
}

/// `host_shutdown(host_uuid)`: guests first.
pub(super) fn host_shutdown(dom0: &dyn Dom0, args: &Args) -> Outcome {
    go_down(dom0, args, "host-shutdown", "shutdown")
}

/// `host_reboot(host_uuid)`: guests first.
pub(super) fn host_reboot(dom0: &dyn Dom0, args: &Args) -> Outcome {
    go_down(dom0, args, "host-reboot", "reboot")
}

/// `host_start(host_uuid)`: another host of the pool is asked to switch that one on.
pub(super) fn host_start(dom0: &dyn Dom0, args: &Args) -> Outcome {
    dom0.run("xe", &["host-power-on", &host_uuid(args)?], "", QUICK)?;
    Ok(action("startup"))
}

/// `host_join(compute_uuid, master_addr, master_user, master_secret, force)`: joins this host to a pool; the
/// VM that Nova's service runs in is shut down before and started again afterwards.
///
/// `master_secret` is the uuid of a `secret` of XAPI that holds the password, so that it is in no argument, process
/// list or log. Nova sends `master_pass` instead, the password itself, which is taken too. It also sends
/// `url`, `user` and `password` of this host, which are not needed here.
pub(super) fn host_join(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let compute = xenhost::uuid("compute_uuid", args)?;
    let [address, user] = [args.required("master_addr")?, args.required("master_user")?];
    let force: bool = serde_json::from_str(args.optional("force").unwrap_or("false")).map_err(|_| {
        Error::Argument { name: "force", reason: "\"true\" or \"false\" is wanted".to_owned() }
    })?;
    let xapi = Xapi::new(dom0, args.session());
    let password: String = match args.optional("master_secret") {
        Some(_) => {
            let secret: String =
                xapi.call("secret.get_by_uuid", &(xenhost::uuid("master_secret", args)?,))?;
            xapi.call("secret.get_value", &(&secret,))?
        }
        None => args.required("master_pass")?.to_owned(),
    };
    let vm: String = xapi.call("VM.get_by_uuid", &(compute,))?;
    xapi.call::<()>("VM.clean_shutdown", &(&vm,))?;
    let method = if force { "pool.join_force" } else { "pool.join" };
    let joined = xapi.call::<()>(method, &(address, user, password));
    // Joining restarts XAPI here with another database, in which the session is not known.
    let uuid = format!("uuid={compute}");
    let mut started = dom0.run("xe", &["vm-start", &uuid], "", QUICK);
    for _ in 0..START_ATTEMPTS {
        if started.is_ok() {
            break;
        }
        dom0.sleep(START_POLL);
        started = dom0.run("xe", &["vm-start", &uuid], "", QUICK);
    }
    joined?;
    started?;
    Ok(xenhost::nothing())
}

fn go_down(dom0: &dyn Dom0, args: &Args, verb: &str, name: &str) -> Outcome {
    let uuid = host_uuid(args)?;
    let resident = format!("resident-on={}", uuid.trim_start_matches("uuid="));
    dom0.run("xe", &["host-disable", &uuid], "", QUICK)?;
    dom0.run("xe", &["vm-shutdown", "--multiple", &resident], "", GUESTS)?;
    dom0.run("xe", &[verb, &uuid], "", QUICK)?;
    Ok(action(name))
}

fn action(name: &str) -> Pickle {
    Pickle::Str(json!({"power_action": name}).to_string())
}

/// `host_data(host_uuid)`: the host's parameters as `xe` prints them, in the names that Nova reads, with
/// everything that `set_config` has kept.
pub(super) fn host_data(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let text = dom0.run("xe", &["host-param-list", &host_uuid(args)?], "", QUICK)?;
    let mut data = nothing_known();
    for line in text.lines() {
        // `memory-total ( RO): 17179869184`; blanks align the first line's colon with the others.
        let Some((name, rest)) = line.split_once(" (") else { continue };
        let Some((_, value)) = rest.split_once(')') else { continue };
        let Some(value) = value.trim_start().strip_prefix(':') else { continue };
        insert(&mut data, name.trim(), value.trim());
    }
    data.extend(xenhost::kept(dom0)?);
    Ok(Pickle::Str(Value::Object(data).to_string()))
}

/// All that clients look for, for a host that tells none of it.
fn nothing_known() -> Map<String, Value> {
    let memory = json!({"total": null, "overhead": null, "free": null, "free-computed": null});
    let known = json!({
        "enabled": true, "host_uuid": null, "host_name-label": "", "host_name-description": "",
        "host_hostname": "", "host_ip_address": "", "host_other-config": {}, "host_capabilities": [],
        "host_cpu_info": {}, "host_memory": memory,
    });
    match known {
        Value::Object(known) => known,
        _ => Map::new(),
    }
}

fn insert(data: &mut Map<String, Value>, name: &str, value: &str) {
    let number = || value.parse::<i64>().map_or(Value::Null, Value::from);
    let pairs = || value.split("; ").filter_map(|pair| pair.split_once(": "));
    match name {
        "enabled" => _ = data.insert("enabled".to_owned(), value.into()),
        "uuid" => _ = data.insert("host_uuid".to_owned(), value.into()),
        "name-label" | "name-description" => _ = data.insert(format!("host_{name}"), value.into()),
        "hostname" => _ = data.insert("host_hostname".to_owned(), value.into()),
        "address" => _ = data.insert("host_ip_address".to_owned(), value.into()),
        "other-config" => {
            let map: Map<String, Value> =
                pairs().map(|(key, value)| (key.to_owned(), value.into())).collect();
            data.insert("host_other-config".to_owned(), map.into());
        }
        "capabilities" => {
            let all: Vec<&str> = value.split(';').map(str::trim).filter(|text| !text.is_empty()).collect();
            data.insert("host_capabilities".to_owned(), all.into());
        }
        "cpu_info" => {
            let map: Map<String, Value> = pairs()
                .map(|(key, value)| {
                    let counted = ["cpu_count", "family", "model", "stepping"].contains(&key);
                    let number = value.parse::<i64>().ok().filter(|_| counted);
                    (key.to_owned(), number.map_or_else(|| value.into(), Value::from))
                })
                .collect();
            data.insert("host_cpu_info".to_owned(), map.into());
        }
        "memory-total" | "memory-overhead" | "memory-free" | "memory-free-computed" => {
            let key = name.trim_start_matches("memory-").to_owned();
            let memory = data.entry("host_memory").or_insert_with(|| Value::Object(Map::new()));
            memory.as_object_mut().expect("made as an object").insert(key, number());
        }
        _ => {}
    }
}

/// `uuid=<host>`, as `xe` wants it.
fn host_uuid(args: &Args) -> Result<String, Error> {
    xenhost::uuid("host_uuid", args).map(|uuid| format!("uuid={uuid}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    const UUID: &str = "0a1b2c3d-0000-4000-8000-00000000000a";

    fn host() -> Args {
        Args::of(&[("host_uuid", UUID), ("enabled", "true")])
    }

    fn json_of(outcome: Outcome) -> Value {
        let Ok(Pickle::Str(text)) = outcome else { panic!("{outcome:?}") };
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn enabled_is_read_back() {
        for (answer, wanted) in [("true\n", "enabled"), ("false\n", "disabled")] {
            let dom0 = Fake::default().answering("xe", 0, answer, "");
            assert_eq!(json_of(set_host_enabled(&dom0, &host())), json!({"status": wanted}));
        }
        assert!(
            set_host_enabled(&Fake::default(), &Args::of(&[("host_uuid", UUID), ("enabled", "1")])).is_err()
        );
    }

    #[test]
    fn guests_go_down_before_the_host() {
        let dom0 = Fake::default();
        assert_eq!(json_of(host_reboot(&dom0, &host())), json!({"power_action": "reboot"}));
        assert_eq!(
            dom0.commands(),
            [
                format!("xe host-disable uuid={UUID}"),
                format!("xe vm-shutdown --multiple resident-on={UUID}"),
                format!("xe host-reboot uuid={UUID}"),
            ]
        );
        let dom0 = Fake::default().failing("xe");
        assert!(host_shutdown(&dom0, &host()).is_err());
        assert_eq!(dom0.commands().len(), 1);
        assert!(host_start(&dom0, &Args::of(&[("host_uuid", "--force")])).is_err());
    }

    fn joining() -> Args {
        let login = [("master_addr", "192.0.2.1"), ("master_user", "root"), ("master_pass", "secret")];
        Args::of(&[&login[..], &[("compute_uuid", UUID), ("force", "true")]].concat())
    }

    #[test]
    fn a_pool_is_joined_without_the_vm_of_the_service() {
        let dom0 = Fake::default().with_xapi("VM.get_by_uuid", Ok("OpaqueRef:vm"));
        host_join(&dom0, &joining()).unwrap();
        assert_eq!(
            dom0.commands(),
            [
                format!("VM.get_by_uuid {UUID}"),
                "VM.clean_shutdown OpaqueRef:vm".to_owned(),
                "pool.join_force 192.0.2.1 root secret".to_owned(),
                format!("xe vm-start uuid={UUID}"),
            ]
        );
    }

    #[test]
    fn the_password_is_in_a_secret_of_xapi() {
        let dom0 = Fake::default()
            .with_xapi("secret.get_by_uuid", Ok("OpaqueRef:secret"))
            .with_xapi("secret.get_value", Ok("word"))
            .with_xapi("VM.get_by_uuid", Ok("OpaqueRef:vm"));
        let args = [("master_addr", "192.0.2.1"), ("master_user", "root"), ("master_secret", UUID)];
        host_join(&dom0, &Args::of(&[&args[..], &[("compute_uuid", UUID)]].concat())).unwrap();
        let commands = dom0.commands();
        assert_eq!(
            commands[..2],
            [format!("secret.get_by_uuid {UUID}"), "secret.get_value OpaqueRef:secret".into()]
        );
        assert_eq!(commands[4], "pool.join 192.0.2.1 root word");
        let wrong =
            [("master_addr", "a"), ("master_user", "b"), ("master_secret", "word"), ("compute_uuid", UUID)];
        assert!(matches!(
            host_join(&dom0, &Args::of(&wrong)),
            Err(Error::Argument { name: "master_secret", .. })
        ));
    }

    #[test]
    fn a_pool_that_refuses_leaves_the_vm_running() {
        let dom0 = Fake::default()
            .with_xapi("VM.get_by_uuid", Ok("OpaqueRef:vm"))
            .with_xapi("pool.join_force", Err("POOL_JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS"));
        let error = host_join(&dom0, &joining()).unwrap_err();
        assert!(error.to_string().contains("CANNOT_CONTAIN_SHARED_SRS") && error.class() == "Failure");
        assert!(!error.to_string().contains("secret"));
        assert_eq!(dom0.commands().last().unwrap(), &format!("xe vm-start uuid={UUID}"));
        let dom0 = Fake::default().failing("xe");
        assert!(host_join(&dom0, &joining()).is_err());
        assert_eq!(dom0.slept(), START_POLL * START_ATTEMPTS);
    }

    #[test]
    fn data() {
        let text = format!(
            "uuid ( RO)                       : {UUID}\n  name-label ( RW): h: 1\n enabled ( RO): true\n\
             capabilities (SRO): xen-3.0-x86_64; hvm-3.0-x86_64; \n\
             cpu_info (MRO): cpu_count: 4; vendor: GenuineIntel; family: 6; flags: a b\n\
             memory-total ( RO): 17179869184\n memory-overhead ( RO): \n\
             other-config (MRW): agent_start_time: 1.; iscsi_iqn: iqn.2020:x\n"
        );
        let dom0 = Fake::default()
            .answering("xe", 0, &text, "")
            .with_file(xenhost::KEPT, r#"{"availability": "z"}"#);
        let wanted = json!({
            "host_uuid": UUID,
            "host_name-label": "h: 1",
            "enabled": "true",
            "host_capabilities": ["xen-3.0-x86_64", "hvm-3.0-x86_64"],
            "host_cpu_info": {"cpu_count": 4, "vendor": "GenuineIntel", "family": 6, "flags": "a b"},
            "host_memory": {
                "total": 17_179_869_184_i64, "overhead": null, "free": null, "free-computed": null,
            },
            "host_name-description": "",
            "host_hostname": "",
            "host_ip_address": "",
            "host_other-config": {"agent_start_time": "1.", "iscsi_iqn": "iqn.2020:x"},
            "availability": "z",
        });
        assert_eq!(json_of(host_data(&dom0, &host())), wanted);
    }
}
