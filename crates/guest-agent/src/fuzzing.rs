//! What the fuzz target and the property tests run.

mod owner;

pub use self::owner::owner_key;
use crate::{Command, Digest, Error, Offer};

/// Takes bytes for an agent's answer, its public number and a sealed password.
///
/// # Panics
/// If an answer is neither accepted nor refused by name, a sealed text does not open to itself, or a secret
/// would be one that everybody knows.
pub fn agent(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let commands = [
        Command::Version,
        Command::Features,
        Command::KeyInit { public: text.to_string() },
        Command::Password { sealed: text.to_string() },
        Command::ResetNetwork,
    ];
    for command in commands {
        match command.accept(&text) {
            // What is taken out of it may leave what looks like it: the agents' own rule takes it out once.
            Ok(message) => assert!(message.len() <= text.len()),
            Err(Error::Unreadable { .. } | Error::Refused { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    if let Ok(channel) = Offer::new([7; 10]).agree(&text) {
        for digest in [Digest::Md5, Digest::Sha256] {
            let sealed = channel.seal(&text, digest);
            let opened = channel.open(&sealed, digest).expect("it was sealed with the same key");
            assert_eq!(opened.as_str(), text);
        }
    }
    let own = Offer::new([9; 10]);
    let public = own.public();
    if let Ok(channel) = Offer::new([7; 10]).agree(&public) {
        let _ = channel.open(&text, Digest::Md5);
        let _ = channel.open(&text, Digest::Sha256);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text(text in r#"([0-9]{0,34}|\{("returncode": "(0|D0|500)"(, "message": "[a-z\\]{0,4}")?)?\}|[A-Za-z0-9+/=\n]{0,64}|\PC{0,8})"#) {
            agent(text.as_bytes());
        }
    }
}
