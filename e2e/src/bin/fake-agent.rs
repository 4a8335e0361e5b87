//! A plugin `agent.py` with the guest's agent behind it, in one program. It understands passwords with
//! SHA-256 only, and behaves badly in what the file `mood` beside it says: `reboot` once, `silent`, or silent as often as
//! `late 2` says. What it is asked for it adds to the file `calls`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use guest_agent::{Digest, Offer, Reply};
use xenapi_wire::Failure;
use xenapi_wire::plugin::{PluginCall, encode_response};

#[expect(clippy::print_stdout, reason = "a plugin answers on standard output")]
fn main() -> Result<()> {
    let mut args = std::env::args();
    let program = PathBuf::from(args.next().context("a name")?);
    let call = PluginCall::decode(&args.next().context("a call")?)?;
    let folder = program.parent().context("a folder")?;
    let answer = answer(folder, &call)?;
    print!("{}", encode_response(answer.as_deref())?);
    Ok(())
}

/// Adds a line to a file.
fn note(path: &Path, line: &str) -> Result<()> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    Ok(writeln!(file, "{line}")?)
}

fn answer(folder: &Path, call: &PluginCall) -> Result<Result<String, Failure>> {
    let arg = |name: &str| call.args.get(name).cloned().unwrap_or_default();
    let failed = |class: &str, text: &str| {
        Ok(Err(Failure::new("XENAPI_PLUGIN_FAILURE", [call.function.as_str(), class, text])))
    };
    note(&folder.join("calls"), &call.function)?;
    let silent = "TIMEOUT: no answer within 1 s";
    let mood_file = folder.join("mood");
    let mood = std::fs::read_to_string(&mood_file).unwrap_or_default();
    if let Some(times) = mood.strip_prefix("late ") {
        let left = times.trim().parse::<u32>()?.checked_sub(1);
        if let Some(left) = left {
            std::fs::write(&mood_file, format!("late {left}"))?;
            return failed("PluginError", silent);
        }
    }
    match mood.as_str() {
        "reboot" => {
            std::fs::write(&mood_file, format!("was {}", arg("dom_id")))?;
            return failed("RebootDetectedError", "REBOOT: the domain went away");
        }
        "silent" => return failed("PluginError", silent),
        _ => {}
    }
    let done = |returncode: &str, message: String| {
        Ok(Ok(Reply { returncode: returncode.to_owned(), message }.encode()))
    };
    let guest = Offer::new([9; 10]);
    match call.function.as_str() {
        "version" => done("0", "1.39.1\\r\\n".to_owned()),
        "key_init" => {
            std::fs::write(folder.join("peer"), arg("pub"))?;
            done("D0", guest.public())
        }
        "password" => {
            let peer = std::fs::read_to_string(folder.join("peer"))?;
            match guest.agree(&peer)?.open(&arg("enc_pass"), Digest::Sha256) {
                Ok(password) => {
                    std::fs::write(folder.join("password"), password.as_str())?;
                    done("0", String::new())
                }
                Err(error) => done("500", error.to_string()),
            }
        }
        "resetnetwork" => done("500", String::new()),
        "agentupdate" => done("0", format!("{} {}", arg("url"), arg("md5sum"))),
        "inject_file" => failed("NotImplementedError", "NOT IMPLEMENTED: no file_inject"),
        other => failed("PluginError", other),
    }
}
