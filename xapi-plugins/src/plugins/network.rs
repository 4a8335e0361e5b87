//! `xenhost.network_config`: bridges, ports and links, each by one command of a fixed shape.

use std::time::Duration;

use super::{Error, Outcome};
use crate::convention::Args;
use crate::dom0::Dom0;
use crate::pickle::Pickle;

const LIMIT: Duration = Duration::from_secs(60);

/// `network_config(args)`, a dict of `cmd` and its `args`: what the command wrote to standard output.
pub(super) fn network_config(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let call = args.dict("args")?;
    let command = command(call.required("cmd")?, call.dict("args")?)?;
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    Ok(Pickle::Str(dom0.run(words[0], &words[1..], "", LIMIT)?))
}

/// The program and its arguments; every name of the caller's is checked before it becomes one.
fn command(cmd: &str, args: &Args) -> Result<Vec<String>, Error> {
    let name = |argument| word(argument, args.required(argument)?);
    let one_of = |argument, allowed: &[&str]| {
        let text = args.required(argument)?;
        let reason = || format!("{text:?} is not one of {}", allowed.join(", "));
        let known = allowed.contains(&text).then_some(text);
        known.ok_or_else(|| Error::Argument { name: argument, reason: reason() })
    };
    let line = match cmd {
        "ovs_add_patch_port" => {
            let (bridge, port, peer) = (name("bridge_name")?, name("port_name")?, name("peer_port_name")?);
            format!("{} -- set Interface {port} type=patch options:peer={peer}", fresh_port(bridge, port))
        }
        "ovs_add_port" => fresh_port(name("bridge_name")?, name("port_name")?),
        "ovs_create_port" => {
            let (bridge, port) = (name("bridge")?, name("port")?);
            let (id, mac, status) = (name("iface-id")?, name("mac")?, name("status")?);
            let port_alone = fresh_port(bridge, port);
            let ids =
                [("iface-id", id), ("iface-status", status), ("attached-mac", mac), ("xs-vif-uuid", id)];
            let ids: Vec<String> =
                ids.iter().map(|(key, value)| format!("external_ids:{key}={}", quoted(value))).collect();
            format!("{port_alone} -- set Interface {port} {}", ids.join(" "))
        }
        "ovs_del_port" => {
            format!("ovs-vsctl -- --if-exists del-port {} {}", name("bridge_name")?, name("port_name")?)
        }
        "ovs_del_br" => format!("ovs-vsctl -- --if-exists del-br {}", name("bridge_name")?),
        "ovs_set_if_external_id" => {
            // The misspelt name is the one that clients send.
            let (interface, id) = (name("interface")?, name("extneral_id")?);
            format!("ovs-vsctl set Interface {interface} external-ids:{id}={}", quoted(name("value")?))
        }
        "ip_link_add_veth_pair" => {
            format!("ip link add {} type veth peer name {}", name("dev1_name")?, name("dev2_name")?)
        }
        "ip_link_get_dev" => format!("ip link show {}", name("device_name")?),
        "ip_link_del_dev" => format!("ip link delete {}", name("device_name")?),
        "ip_link_set_dev" => {
            format!("ip link set {} {}", name("device_name")?, one_of("option", &["up", "down"])?)
        }
        "ip_link_set_promisc" => {
            format!("ip link set {} promisc {}", name("device_name")?, one_of("option", &["on", "off"])?)
        }
        "brctl_add_br" => format!("brctl addbr {}", name("bridge_name")?),
        "brctl_del_br" => format!("brctl delbr {}", name("bridge_name")?),
        "brctl_add_if" => format!("brctl addif {} {}", name("bridge_name")?, name("interface_name")?),
        "brctl_del_if" => format!("brctl delif {} {}", name("bridge_name")?, name("interface_name")?),
        "brctl_set_fd" => format!("brctl setfd {} {}", name("bridge_name")?, args.number("fd", None, 3_600)?),
        "brctl_set_stp" => {
            format!("brctl stp {} {}", name("bridge_name")?, one_of("option", &["on", "off", "yes", "no"])?)
        }
        other => return Err(Error::Other(format!("network_config does not know {other:?}"))),
    };
    // No checked word has a blank in it.
    Ok(line.split(' ').map(str::to_owned).collect())
}

/// A port on a bridge that is on no other one.
fn fresh_port(bridge: &str, port: &str) -> String {
    format!("ovs-vsctl -- --if-exists del-port {port} -- add-port {bridge} {port}")
}

/// A value as the database of Open vSwitch reads it, colons and all.
fn quoted(value: &str) -> String {
    format!("\"{value}\"")
}

/// Letters of interface names, MAC addresses and uuids; nothing that a program takes for an option, a
/// path or a separator of its own.
fn word<'a>(argument: &'static str, text: &'a str) -> Result<&'a str, Error> {
    let plain = (1..=64).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:@".contains(&b));
    let refused =
        || Error::Argument { name: argument, reason: format!("{text:?} is not a name or an address") };
    plain.then_some(text).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    fn call(cmd: &str, args: Args) -> Args {
        Args::default().with_dict("args", Args::of(&[("cmd", cmd)]).with_dict("args", args))
    }

    #[track_caller]
    fn check(cmd: &str, args: &[(&str, &str)], wanted: &str) {
        let dom0 = Fake::default();
        network_config(&dom0, &call(cmd, Args::of(args))).unwrap();
        assert_eq!(dom0.commands(), [wanted]);
    }

    #[test]
    fn commands() {
        check(
            "ovs_add_patch_port",
            &[("bridge_name", "br0"), ("port_name", "p0"), ("peer_port_name", "p1")],
            "ovs-vsctl -- --if-exists del-port p0 -- add-port br0 p0 -- set Interface p0 type=patch options:peer=p1",
        );
        check(
            "ovs_create_port",
            &[
                ("bridge", "br0"),
                ("port", "vif1.0"),
                ("iface-id", "aa-bb"),
                ("mac", "fa:16"),
                ("status", "active"),
            ],
            "ovs-vsctl -- --if-exists del-port vif1.0 -- add-port br0 vif1.0 -- set Interface vif1.0 \
             external_ids:iface-id=\"aa-bb\" external_ids:iface-status=\"active\" \
             external_ids:attached-mac=\"fa:16\" external_ids:xs-vif-uuid=\"aa-bb\"",
        );
        check("ip_link_set_promisc", &[("device_name", "t"), ("option", "on")], "ip link set t promisc on");
        check("brctl_set_fd", &[("bridge_name", "b"), ("fd", "0")], "brctl setfd b 0");
        check("ovs_del_br", &[("bridge_name", "b")], "ovs-vsctl -- --if-exists del-br b");
    }

    #[test]
    fn names_are_no_options_and_no_commands() {
        let dom0 = Fake::default();
        for name in ["", "-f", "a b", "a;b", "a/b", "$(x)", "a\"b", "a=b", &"x".repeat(65)] {
            let args = call("ovs_del_br", Args::of(&[("bridge_name", name)]));
            assert!(matches!(network_config(&dom0, &args), Err(Error::Argument { .. })), "{name}");
        }
        let option = Args::of(&[("device_name", "a"), ("option", "netns")]);
        for (cmd, inner) in [("ip_link_set_dev", option), ("rm", Args::default())] {
            assert!(network_config(&dom0, &call(cmd, inner)).is_err(), "{cmd}");
        }
        assert!(dom0.commands().is_empty());
    }
}
