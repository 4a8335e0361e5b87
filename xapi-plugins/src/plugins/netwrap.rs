//! `netwrap`: the network commands that Neutron's agent runs in the control domain.

use std::time::Duration;

use serde_json::json;

use super::{Error, Outcome};
use crate::convention::{Args, Function};
use crate::dom0::Dom0;
use crate::pickle::Pickle;

const LIMIT: Duration = Duration::from_secs(120);

const ALLOWED: [&str; 11] = [
    "conntrack",
    "ip",
    "ip6tables-restore",
    "ip6tables-save",
    "ipset",
    "iptables-restore",
    "iptables-save",
    "ovs-ofctl",
    "ovs-vsctl",
    "ovsdb-client",
    "sysctl",
];

pub(super) const FUNCTIONS: &[Function] = &[Function::plain("run_command", run_command)];

/// `run_command(cmd, cmd_input)`: `cmd` is a list of words as JSON, `cmd_input` a text or null as JSON.
/// The answer is `{returncode, out, err}`: a command that fails is not a failure of the plugin.
fn run_command(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let command = words(args, "cmd", &ALLOWED)?;
    let input: Option<String> = match args.optional("cmd_input") {
        None | Some("") => None,
        Some(text) => serde_json::from_str(text).map_err(|e| Error::Argument {
            name: "cmd_input",
            reason: format!("a text as JSON is wanted: {e}"),
        })?,
    };
    let rest: Vec<&str> = command[1..].iter().map(String::as_str).collect();
    let finished = dom0.execute(&command[0], &rest, &input.unwrap_or_default(), LIMIT)?;
    let answer = json!({"returncode": finished.code, "out": finished.stdout, "err": finished.stderr});
    Ok(Pickle::Str(answer.to_string()))
}

/// A JSON list of words that begins with one of a list of programs.
pub(super) fn words(args: &Args, name: &'static str, allowed: &[&str]) -> Result<Vec<String>, Error> {
    let words: Vec<String> = serde_json::from_str(args.required(name)?)
        .map_err(|e| Error::Argument { name, reason: format!("a list of words as JSON is wanted: {e}") })?;
    match words.first() {
        // The whole word: `/tmp/ip` is not `ip`.
        Some(program) if allowed.contains(&program.as_str()) => Ok(words),
        first => {
            let program = first.map_or("nothing", String::as_str);
            Err(Error::Other(format!("{program} may not be run; these may: {}", allowed.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    #[test]
    fn a_command_that_fails_is_an_answer() {
        let dom0 = Fake::default().answering("ip", 2, "o", "e");
        let args = Args::of(&[("cmd", r#"["ip", "link; rm"]"#), ("cmd_input", "\"in\"")]);
        let Ok(Pickle::Str(answer)) = run_command(&dom0, &args) else { panic!() };
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer, json!({"returncode": 2, "out": "o", "err": "e"}));
        assert_eq!(dom0.commands(), ["ip link; rm < in"]);
    }

    #[test]
    fn other_programs_are_refused() {
        let dom0 = Fake::default();
        for cmd in ["", "[]", "ip", r#"["sh", "-c", "ip"]"#, r#"["/tmp/ip"]"#, r#"["ip", 1]"#] {
            assert!(run_command(&dom0, &Args::of(&[("cmd", cmd)])).is_err(), "{cmd}");
        }
        assert!(run_command(&dom0, &Args::of(&[("cmd", r#"["ip"]"#), ("cmd_input", "raw")])).is_err());
        assert!(dom0.commands().is_empty());
    }
}
