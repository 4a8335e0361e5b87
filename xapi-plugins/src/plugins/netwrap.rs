//! `netwrap`: the network commands that Neutron's agent runs in the control domain.

use std::time::Duration;

use serde_json::json;

use super::{Error, Outcome, commands};
use crate::convention::{Args, Function};
use crate::dom0::Dom0;
use crate::pickle::Pickle;

const LIMIT: Duration = Duration::from_secs(120);

pub(super) const FUNCTIONS: &[Function] = &[Function::plain("run_command", run_command)];

/// `run_command(cmd, cmd_input)`: `cmd` is a list of words as JSON, `cmd_input` a text or null as JSON.
/// The answer is `{returncode, out, err}`: a command that fails is not a failure of the plugin.
fn run_command(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let input: Option<String> = match args.optional("cmd_input") {
        None | Some("") => None,
        Some(text) => serde_json::from_str(text).map_err(|e| Error::Argument {
            name: "cmd_input",
            reason: format!("a text as JSON is wanted: {e}"),
        })?,
    };
    let input = input.unwrap_or_default();
    let command = words(args, "cmd", &input, |_| true)?;
    let rest: Vec<&str> = command[1..].iter().map(String::as_str).collect();
    let finished = dom0.execute(&command[0], &rest, &input, LIMIT)?;
    let answer = json!({"returncode": finished.code, "out": finished.stdout, "err": finished.stderr});
    Ok(Pickle::Str(answer.to_string()))
}

/// A JSON list of words that are a command which may be run with this input, of some programs.
pub(super) fn words(
    args: &Args,
    name: &'static str,
    input: &str,
    programs: impl Fn(&str) -> bool,
) -> Result<Vec<String>, Error> {
    let words: Vec<String> = serde_json::from_str(args.required(name)?)
        .map_err(|e| Error::Argument { name, reason: format!("a list of words as JSON is wanted: {e}") })?;
    let command: Vec<&str> = words.iter().map(String::as_str).collect();
    match commands::refused(&command, input, programs) {
        None => Ok(words),
        Some(reason) => Err(Error::Other(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    #[test]
    fn a_command_that_fails_is_an_answer() {
        let dom0 = Fake::default().answering("ip", 2, "o", "e");
        let args = Args::of(&[("cmd", r#"["ip", "link", "show", "a; rm"]"#), ("cmd_input", "\"in\"")]);
        let Ok(Pickle::Str(answer)) = run_command(&dom0, &args) else { panic!() };
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer, json!({"returncode": 2, "out": "o", "err": "e"}));
        assert_eq!(dom0.commands(), ["ip link show a; rm < in"]);
    }

    #[test]
    fn other_programs_are_refused() {
        let dom0 = Fake::default();
        for cmd in [
            "",
            "[]",
            "ip",
            r#"["sh", "-c", "ip"]"#,
            r#"["/tmp/ip"]"#,
            r#"["ip", 1]"#,
            r#"["ip", "netns", "exec", "a", "id"]"#,
        ] {
            assert!(run_command(&dom0, &Args::of(&[("cmd", cmd)])).is_err(), "{cmd}");
        }
        let link = r#"["ip", "link"]"#;
        assert!(run_command(&dom0, &Args::of(&[("cmd", link), ("cmd_input", "raw")])).is_err());
        let [cmd, rule] = [r#"["iptables-restore"]"#, "\"-A INPUT -M /tmp/x\""];
        assert!(run_command(&dom0, &Args::of(&[("cmd", cmd), ("cmd_input", rule)])).is_err());
        assert!(dom0.commands().is_empty());
    }
}
