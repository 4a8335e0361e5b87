//! What travels through xenstore: JSON objects, a request under one key, its answer under another.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::Error;

/// What the agent is asked to do.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Tell your version.
    Version,
    /// Tell what you can do: a list of names with commas between them.
    Features,
    /// Exchange keys; the answer is the agent's public number.
    KeyInit {
        /// [`Offer::public`](crate::Offer::public).
        public: String,
    },
    /// Set the administrator's password.
    Password {
        /// [`Channel::seal`](crate::Channel::seal).
        sealed: String,
    },
    /// Configure the network from `vm-data/hostname` and `vm-data/networking`.
    ResetNetwork,
    /// Write a file in the form that newer agents offer as `file_inject`.
    FileInject(File),
    /// Write a file in the form that older agents offer as `injectfile`.
    InjectFile(File),
    /// Replace yourself by a newer version.
    Update {
        /// Where it is.
        url: String,
        /// The MD5 digest of what is there, in hexadecimal.
        md5: String,
    },
}

/// A file that the agent is to write.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Its path in the guest.
    pub path: String,
    /// What is in it. Whether it replaces or extends a file is the agent's choice.
    pub contents: Vec<u8>,
}

impl Command {
    /// The request of a file's injection, in the form that the agent's feature list has.
    ///
    /// # Errors
    /// [`Error::NoFiles`] when the list has none.
    pub fn inject(file: File, features: &str) -> Result<Self, Error> {
        let offers = |name| features.split(',').any(|feature| feature.trim() == name);
        match () {
            () if offers("file_inject") => Ok(Self::FileInject(file)),
            () if offers("injectfile") => Ok(Self::InjectFile(file)),
            () => Err(Error::NoFiles(shorten(features))),
        }
    }

    /// The command's name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Features => "features",
            Self::KeyInit { .. } => "keyinit",
            Self::Password { .. } => "password",
            Self::ResetNetwork => "resetnetwork",
            Self::FileInject(_) => "file_inject",
            Self::InjectFile(_) => "injectfile",
            Self::Update { .. } => "agentupdate",
        }
    }

    /// What is written for the agent.
    pub fn request(&self) -> Request {
        let value = match self {
            Self::Version => "agent".to_owned(),
            Self::Features | Self::ResetNetwork => String::new(),
            Self::KeyInit { public } => public.clone(),
            Self::Password { sealed } => sealed.clone(),
            Self::FileInject(file) => {
                let parts = FileInject {
                    b64_path: BASE64_STANDARD.encode(&file.path),
                    b64_file: BASE64_STANDARD.encode(&file.contents),
                };
                serde_json::to_string(&parts).expect("two strings are JSON")
            }
            Self::InjectFile(file) => {
                BASE64_STANDARD.encode([file.path.as_bytes(), b",", &file.contents].concat())
            }
            Self::Update { url, md5 } => format!("{url},{md5}"),
        };
        Request { name: self.name().to_owned(), value }
    }

    /// Where the request with an id is written, relative to the domain's directory in xenstore.
    pub fn request_path(id: &str) -> String {
        format!("data/host/{id}")
    }

    /// Where its answer appears.
    pub fn response_path(id: &str) -> String {
        format!("data/guest/{id}")
    }

    /// Reads the agent's answer to this command: its message when it says that it has done it.
    ///
    /// Old agents for Windows append a carriage return and a line feed as four characters of text;
    /// they are taken off.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when it is not an answer, [`Error::Refused`] when the code is not one of
    /// those that mean success for this command.
    pub fn accept(&self, json: &str) -> Result<String, Error> {
        let command = self.name();
        let reply: Reply = serde_json::from_str(json)
            .map_err(|e| Error::Unreadable { command, reason: format!("{e} in {:?}", shorten(json)) })?;
        let success: &[&str] = match self {
            Self::KeyInit { .. } => &["D0"],
            // Agents of FreeBSD and Gentoo answered 500 after they had done it.
            Self::ResetNetwork => &["0", "500"],
            _ => &["0"],
        };
        let message = reply.message.replace("\\r\\n", "");
        if success.contains(&reply.returncode.as_str()) {
            Ok(message)
        } else {
            Err(Error::Refused { command, code: shorten(&reply.returncode), message: shorten(&message) })
        }
    }
}

/// Names the command; what it carries may be secret or long.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Command").field(&self.name()).finish()
    }
}

/// Shows the path and the size.
impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("path", &self.path).field("size", &self.contents.len()).finish()
    }
}

/// A request as the agent reads it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The command.
    pub name: String,
    /// Its argument.
    pub value: String,
}

impl Request {
    /// The bytes of the key in xenstore.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("two strings are JSON")
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("name", &self.name).finish_non_exhaustive()
    }
}

/// An answer as the agent writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// A number as text, or `D0`.
    #[serde(deserialize_with = "text_or_number")]
    pub returncode: String,
    /// A result, or a reason.
    #[serde(default, deserialize_with = "text_or_number")]
    pub message: String,
}

impl Reply {
    /// The bytes of the key in xenstore.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("two strings are JSON")
    }
}

#[derive(Serialize)]
struct FileInject {
    b64_path: String,
    b64_file: String,
}

/// Agents write codes as text; some wrote a plain number.
fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(i64),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Text(text) => text,
        Either::Number(number) => number.to_string(),
    })
}

/// What a guest wrote, short enough for an error.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let file = || File { path: "/etc/motd".into(), contents: b"hi".to_vec() };
        for (command, wanted) in [
            (Command::Version, r#"{"name":"version","value":"agent"}"#),
            (Command::Features, r#"{"name":"features","value":""}"#),
            (Command::KeyInit { public: "25".into() }, r#"{"name":"keyinit","value":"25"}"#),
            (Command::Password { sealed: "c2Vh".into() }, r#"{"name":"password","value":"c2Vh"}"#),
            (Command::ResetNetwork, r#"{"name":"resetnetwork","value":""}"#),
            (
                Command::FileInject(file()),
                r#"{"name":"file_inject","value":"{\"b64_path\":\"L2V0Yy9tb3Rk\",\"b64_file\":\"aGk=\"}"}"#,
            ),
            (Command::InjectFile(file()), r#"{"name":"injectfile","value":"L2V0Yy9tb3RkLGhp"}"#),
            (
                Command::Update { url: "http://a/b".into(), md5: "00".into() },
                r#"{"name":"agentupdate","value":"http://a/b,00"}"#,
            ),
        ] {
            assert_eq!(command.request().encode(), wanted);
        }
    }

    #[test]
    fn answers() {
        let key = Command::KeyInit { public: "5".into() };
        for (command, json, wanted) in [
            (&Command::Version, r#"{"returncode":"0","message":"1.2.3\\r\\n"}"#, Some("1.2.3")),
            (&Command::Version, r#"{"returncode":0,"message":"1.2.3"}"#, Some("1.2.3")),
            (&Command::Version, r#"{"returncode":"D0","message":"1"}"#, None),
            (&key, r#"{"returncode":"D0","message":"25"}"#, Some("25")),
            (&key, r#"{"returncode":"0","message":"25"}"#, None),
            (&Command::ResetNetwork, r#"{"returncode":"500","message":""}"#, Some("")),
            (&Command::Version, r#"{"returncode":"500","message":""}"#, None),
            (&Command::Version, r#"{"returncode":"0"}"#, Some("")),
        ] {
            assert_eq!(command.accept(json).ok().as_deref(), wanted, "{command:?} {json}");
        }
        for json in ["", "\"None\"", "[]", "{}", r#"{"returncode":[]}"#] {
            assert!(matches!(Command::Version.accept(json), Err(Error::Unreadable { .. })), "{json}");
        }
    }

    #[test]
    fn how_a_file_is_sent() {
        let file = || File { path: "/a".into(), contents: vec![] };
        assert_eq!(
            Command::inject(file(), "password, file_inject,injectfile").unwrap().name(),
            "file_inject"
        );
        assert_eq!(Command::inject(file(), "injectfile").unwrap().name(), "injectfile");
        for features in ["", "password", "file_inject2"] {
            assert!(matches!(Command::inject(file(), features), Err(Error::NoFiles(_))), "{features}");
        }
    }

    #[test]
    fn what_a_command_carries_is_not_shown() {
        let sealed = Command::Password { sealed: "c2VjcmV0".into() };
        assert!(!format!("{sealed:?} {:?}", sealed.request()).contains("c2VjcmV0"));
    }
}
