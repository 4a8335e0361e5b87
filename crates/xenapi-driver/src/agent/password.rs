//! Passwords that their owners alone can read.

use guest_agent::{OwnerKey, OwnerKeyError};
use uuid::Uuid;
use xenapi_client::Secret;
use xenapi_types::vm;

use super::Agent;
use crate::driver::Driver;
use crate::error::{Cause, Error, Op, Result};
use crate::find::{self, Which};
use crate::job::Job;
use crate::progress::{Progress, Stage};

const GENERATED_LEN: usize = 16;
/// Without what is easily taken for another: `0O`, `1Il`, `o`.
const KINDS: [&[u8]; 3] = [b"23456789", b"ABCDEFGHJKLMNPQRSTUVWXYZ", b"abcdefghijkmnpqrstuvwxyz"];

impl Driver {
    /// The administrator's password as only its owner can read it: sealed with his RSA key, in base64
    /// (`nova get-password`). `None` if none was set through the agent, or his key is of another kind.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::AmbiguousInstance`], [`Cause::NotOurs`], [`Cause::Host`].
    pub async fn sealed_password(&self, which: &Which) -> Result<Option<String>> {
        let job = Job::new(self.clone(), Progress::none());
        let failed = |cause| Error::new(Op::Agent, format!("instance {which}"), Stage::Find, cause);
        let (_, record) = find::ours(&job, which).await.map_err(failed)?;
        Ok(guest_agent::joined(|key| record.other_config.get(key).map(String::as_str)))
    }
}

impl Agent {
    /// Seals a password for the owner of a public ssh key (one line), and keeps it with the instance
    /// ([`Driver::sealed_password`]) in place of the one before: what was set through [`Agent::set_password`] by
    /// somebody else than the owner. `None` if nothing can be sealed with a key of its kind; then there is none.
    ///
    /// # Errors
    ///
    /// [`AgentProblem::OwnerKey`](super::AgentProblem::OwnerKey); [`Cause::Host`].
    pub async fn seal_password(&self, owner_key: &str, password: &Secret) -> Result<Option<String>> {
        let sealing = async {
            match OwnerKey::parse(owner_key).map_err(|error| self.problem(error.into()))? {
                Some(key) => self.keep_password(&key, password).await.map(Some),
                None => self.keep("").await.map(|()| None),
            }
        };
        self.told(sealing.await)
    }

    pub(super) async fn keep_password(
        &self,
        key: &OwnerKey,
        password: &Secret,
    ) -> std::result::Result<String, Cause> {
        let sealed = seal(key, password).map_err(|error| self.problem(error.into()))?;
        self.keep(&sealed).await?;
        Ok(sealed)
    }

    /// Keeps it by Nova's keys.
    async fn keep(&self, sealed: &str) -> std::result::Result<(), Cause> {
        let doing = || Cause::host(format!("keeping the sealed password of VM {}", self.uuid));
        for (key, piece) in guest_agent::pieces(sealed) {
            self.client().remove_from(&self.vm, vm::field::OTHER_CONFIG, &*key).await.map_err(doing())?;
            if !piece.is_empty() {
                let added = self.client().add_to(&self.vm, vm::field::OTHER_CONFIG, &*key, &*piece).await;
                added.map_err(doing())?;
            }
        }
        Ok(())
    }
}

/// Seals a password; the random bytes are the operating system's.
pub(super) fn seal(key: &OwnerKey, password: &Secret) -> std::result::Result<String, OwnerKeyError> {
    key.seal(password.expose(), random())
}

/// A password with digits and letters of both cases, 92 bits by chance.
pub(super) fn generate() -> Secret {
    let all = KINDS.concat();
    // The last ones would make the first characters likelier than the others.
    let even = u8::MAX - u8::MAX % all.len() as u8;
    loop {
        let chosen = random().filter(|byte| *byte < even).map(|byte| all[usize::from(byte) % all.len()]);
        let password: Vec<u8> = chosen.take(GENERATED_LEN).collect();
        if KINDS.iter().all(|kind| password.iter().any(|c| kind.contains(c))) {
            return password.into_iter().map(char::from).collect::<String>().into();
        }
    }
}

/// Random bytes without end, of those that are random in a uuid.
fn random() -> impl Iterator<Item = u8> {
    std::iter::repeat_with(Uuid::new_v4).flat_map(|uuid| {
        let bytes = uuid.into_bytes();
        // Of two bytes some bits are known.
        bytes.into_iter().enumerate().filter(|(n, _)| ![6, 8].contains(n)).map(|(_, byte)| byte)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn generated_passwords() {
        let passwords: Vec<Secret> = std::iter::repeat_with(generate).take(200).collect();
        let texts: BTreeSet<&str> = passwords.iter().map(Secret::expose).collect();
        assert_eq!(texts.len(), 200);
        for text in texts {
            assert_eq!(text.len(), GENERATED_LEN);
            assert!(KINDS.iter().all(|kind| text.bytes().any(|c| kind.contains(&c))), "{text}");
            assert!(text.bytes().all(|c| KINDS.concat().contains(&c)), "{text}");
        }
    }
}
