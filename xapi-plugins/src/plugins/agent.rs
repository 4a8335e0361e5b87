//! `agent`: asks the guest's agent through xenstore, and waits for its answer.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use guest_agent::{Command, File};

use super::xenstore::{self, Domain};
use super::{Error, Outcome};
use crate::convention::{Args, Function};
use crate::dom0::Dom0;
use crate::pickle::Pickle;

const POLL: Duration = Duration::from_millis(500);
const DEFAULT_TIMEOUT_SECONDS: u64 = 30;
/// What the client's own request is likely to wait for.
const MAX_TIMEOUT_SECONDS: u64 = 3_600;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::plain("version", |dom0, args| ask(dom0, args, &Command::Version)),
    Function::plain("features", |dom0, args| ask(dom0, args, &Command::Features)),
    Function::plain("key_init", |dom0, args| {
        ask(dom0, args, &Command::KeyInit { public: args.required("pub")?.to_owned() })
    }),
    Function::plain("password", |dom0, args| {
        ask(dom0, args, &Command::Password { sealed: args.required("enc_pass")?.to_owned() })
    }),
    Function::plain("resetnetwork", |dom0, args| ask(dom0, args, &Command::ResetNetwork)),
    Function::plain("inject_file", inject_file),
    Function::plain("agentupdate", |dom0, args| {
        let (url, md5) = (args.required("url")?.to_owned(), args.required("md5sum")?.to_owned());
        ask(dom0, args, &Command::Update { url, md5 })
    }),
];

/// The agent's answer as it wrote it: the client judges it.
fn ask(dom0: &dyn Dom0, args: &Args, command: &Command) -> Outcome {
    let id = args.required("id")?;
    exchange(dom0, args, id, command).map(Pickle::Str)
}

/// `inject_file(b64_path, b64_contents)`, in the form that the agent's list of features has.
fn inject_file(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let decoded = |name: &'static str| {
        let text = args.required(name)?;
        BASE64_STANDARD
            .decode(text)
            .map_err(|e| Error::Argument { name, reason: format!("it is not base64: {e}") })
    };
    let path = String::from_utf8(decoded("b64_path")?)
        .map_err(|_| Error::Argument { name: "b64_path", reason: "it is not text".to_owned() })?;
    let file = File { path, contents: decoded("b64_contents")? };
    let id = args.required("id")?;
    let answer = exchange(dom0, args, &format!("{id}-features"), &Command::Features)?;
    let features = Command::Features.accept(&answer)?;
    let command = Command::inject(file, &features).map_err(|e| Error::NotImplemented(e.to_string()))?;
    exchange(dom0, args, id, &command).map(Pickle::Str)
}

/// Writes the request and waits for the answer. Neither stays in xenstore, whatever happens.
fn exchange(dom0: &dyn Dom0, args: &Args, id: &str, command: &Command) -> Result<String, Error> {
    if id.is_empty() || id.len() > 64 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(Error::Argument { name: "id", reason: format!("{id:?} is not a uuid") });
    }
    let domain = Domain::of(args)?;
    let timeout =
        Duration::from_secs(args.number("timeout", Some(DEFAULT_TIMEOUT_SECONDS), MAX_TIMEOUT_SECONDS)?);
    let request = domain.key(&Command::request_path(id));
    let response = domain.key(&Command::response_path(id));
    xenstore::write(dom0, &request, &command.request().encode())?;
    let answer = wait(dom0, domain, &response, command, timeout);
    // The agent removes the request when it takes it; what it did not take must not be done later.
    let forgotten = xenstore::delete(dom0, &request).and(xenstore::delete(dom0, &response));
    let answer = answer?;
    match forgotten {
        // A guest that is gone took its part of xenstore with it.
        Err(error) if xenstore::exists(dom0, &domain.key("name"))? => Err(error),
        _ => Ok(answer),
    }
}

fn wait(
    dom0: &dyn Dom0,
    domain: Domain,
    response: &str,
    command: &Command,
    timeout: Duration,
) -> Result<String, Error> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(answer) = xenstore::read(dom0, response)? {
            return Ok(answer);
        }
        let name = command.name();
        if !xenstore::exists(dom0, &domain.key("name"))? {
            return Err(Error::Rebooted(format!("domain {} went away during {name}", domain.id())));
        }
        if waited >= timeout {
            let seconds = timeout.as_secs();
            return Err(Error::Timeout(format!("no answer from the agent to {name} within {seconds} s")));
        }
        dom0.sleep(POLL);
        waited += POLL;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use guest_agent::{Reply, Request};

    use super::*;
    use crate::testing::Fake;

    const NAME: &str = "/local/domain/7/name";

    /// A guest whose agent answers every request.
    fn guest(answer: impl Fn(&Request) -> Reply + 'static) -> Fake {
        Fake::default().with_key(NAME, "guest").meanwhile(move |store: &mut BTreeMap<String, String>| {
            let requests: Vec<String> =
                store.keys().filter(|key| key.starts_with("/local/domain/7/data/host/")).cloned().collect();
            for key in requests {
                let request: Request = serde_json::from_str(&store[&key]).unwrap();
                store.remove(&key);
                store.insert(key.replace("/host/", "/guest/"), answer(&request).encode());
            }
        })
    }

    fn reply(returncode: &str, message: &str) -> Reply {
        Reply { returncode: returncode.into(), message: message.into() }
    }

    fn call(dom0: &Fake, function: &str, extra: &[(&str, &str)]) -> Outcome {
        let mut args = vec![("id", "aa-bb"), ("dom_id", "7"), ("timeout", "5")];
        args.extend(extra);
        let function = FUNCTIONS.iter().find(|f| f.name == function).unwrap();
        (function.body)(dom0, &Args::of(&args))
    }

    #[test]
    fn nothing_is_left_in_xenstore() {
        let dom0 = guest(|request| reply("0", &request.name));
        let answer = call(&dom0, "version", &[]);
        assert_eq!(answer, Ok(Pickle::Str(reply("0", "version").encode())));
        assert_eq!(dom0.keys().into_keys().collect::<Vec<_>>(), [NAME]);
        assert_eq!(dom0.slept(), POLL);
    }

    #[test]
    fn a_silent_guest() {
        let dom0 = Fake::default().with_key(NAME, "guest");
        let error = call(&dom0, "resetnetwork", &[]).unwrap_err();
        assert_eq!(error.to_string(), "TIMEOUT: no answer from the agent to resetnetwork within 5 s");
        assert_eq!((error.class(), dom0.slept()), ("PluginError", Duration::from_secs(5)));
        assert_eq!(dom0.keys().into_keys().collect::<Vec<_>>(), [NAME]);
    }

    #[test]
    fn a_guest_that_reboots() {
        let dom0 = Fake::default().with_key(NAME, "guest").meanwhile(BTreeMap::clear);
        let error = call(&dom0, "password", &[("enc_pass", "c2Vh")]).unwrap_err();
        assert_eq!(error.class(), "RebootDetectedError");
        assert_eq!(error.to_string(), "REBOOT: domain 7 went away during password");
        assert!(dom0.keys().is_empty());
    }

    #[test]
    fn files_in_the_form_that_the_agent_has() {
        for (features, wanted) in [("a,file_inject,injectfile", "file_inject"), ("injectfile", "injectfile")]
        {
            let dom0 = guest(move |request| match request.name.as_str() {
                "features" => reply("0", features),
                name => reply("0", name),
            });
            let extra = [("b64_path", "L2V0Yy9tb3Rk"), ("b64_contents", "aGk=")];
            let answer = call(&dom0, "inject_file", &extra);
            assert_eq!(answer, Ok(Pickle::Str(reply("0", wanted).encode())), "{features}");
        }
    }

    #[test]
    fn an_agent_without_files_and_one_that_does_not_tell() {
        let extra = [("b64_path", "L2E="), ("b64_contents", "")];
        let error = call(&guest(|_| reply("0", "password")), "inject_file", &extra).unwrap_err();
        assert_eq!(error.class(), "NotImplementedError");
        assert!(error.to_string().starts_with("NOT IMPLEMENTED: "), "{error}");
        // A refused question is not a list of features.
        let error = call(&guest(|_| reply("500", "file_inject")), "inject_file", &extra).unwrap_err();
        assert_eq!(error.class(), "PluginError");
        for (path, contents) in [("!", ""), ("/w==", ""), ("L2E=", "?")] {
            let error =
                call(&Fake::default(), "inject_file", &[("b64_path", path), ("b64_contents", contents)]);
            assert!(matches!(error, Err(Error::Argument { .. })), "{path} {contents}");
        }
    }

    #[test]
    fn ids_are_no_paths() {
        let dom0 = Fake::default();
        for id in ["", "../x", "a/b", "a b"] {
            let args = Args::of(&[("id", id), ("dom_id", "7")]);
            assert!(matches!(ask(&dom0, &args, &Command::Version), Err(Error::Argument { .. })), "{id:?}");
        }
        assert!(dom0.commands().is_empty());
    }
}
