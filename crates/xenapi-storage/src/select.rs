//! Which storage repository disks go to.

use std::fmt;
use std::str::FromStr;

use xenapi_types::{Host, Ref, Sr};

use crate::{Holds, Repository};

/// Which storage repository disks go to.
///
/// As text, it is what operators wrote in the `sr_matching_filter` of OpenStack Nova's `[xenserver]`
/// section, `default-sr:true` or `other-config:<key>=<value>`, or `uuid:<uuid>` or `name:<name label>`;
/// text without one of these prefixes is a uuid or a name label. Values may contain `:` and `=`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Choice {
    /// The pool's default repository.
    #[default]
    PoolDefault,
    /// One whose `other_config` has exactly this pair. In a pool there may be one for each host; the one
    /// that the host has attached is taken, and of several the one with the lowest uuid, so that the
    /// answer does not depend on the order of the server's.
    OtherConfig {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// The one with this uuid.
    Uuid(String),
    /// The only one with this name label that the host has attached.
    NameLabel(String),
    /// The one with this uuid or, if there is none, with this name label.
    Named(String),
}

/// Text that is no [`Choice`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "SR filter {text:?} {reason}: write \"default-sr:true\", \"other-config:<key>=<value>\", \"uuid:<uuid>\" \
     or \"name:<name label>\""
)]
#[non_exhaustive]
pub struct FilterSyntax {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Where the disks will be used.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The host that must reach the repository.
    pub host: &'a Ref<Host>,
    /// Its name, for messages.
    pub host_name: &'a str,
    /// The `default_SR` of the pool; may be null, or refer to a repository that is gone.
    pub default_sr: &'a Ref<Sr>,
}

/// No repository can be used: of every one there is, why not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SelectionError {
    /// What was wanted.
    pub choice: Choice,
    /// The repositories, those that were meant first.
    pub candidates: Vec<Candidate>,
}

/// A repository that was not chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// Its uuid.
    pub uuid: String,
    /// Its name label.
    pub name_label: String,
    /// Its type.
    pub sr_type: String,
    /// Why it was not chosen.
    pub rejection: Rejection,
}

/// Why a repository was not chosen. In order: the later, the nearer it came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rejection {
    /// It is not the one that was wanted.
    NotMeant,
    /// Its `other_config` has another value for the key.
    OtherValue {
        /// The value.
        found: String,
    },
    /// It is one that disks cannot be created in.
    NotForDisks,
    /// The host has no connection to it.
    NotConnected {
        /// The host's name.
        host: String,
    },
    /// The host has a connection to it that is not plugged.
    NotAttached {
        /// The host's name.
        host: String,
    },
    /// It is one of several with the name.
    SeveralOfThatName,
}

impl Choice {
    /// The repository that disks go to.
    ///
    /// # Errors
    ///
    /// [`SelectionError`] with every repository and why it was not chosen.
    pub fn select<'a>(
        &self,
        repositories: &'a [Repository],
        place: Place<'_>,
    ) -> Result<&'a Repository, SelectionError> {
        let by_uuid = match self {
            Self::Named(text) => repositories.iter().any(|repository| repository.uuid == *text),
            _ => false,
        };
        let judge = |repository: &Repository| {
            self.judge_identity(repository, place, by_uuid).and_then(|()| judge_use(repository, place))
        };
        let mut usable: Vec<_> = repositories.iter().filter(|repository| judge(repository).is_ok()).collect();
        usable.sort_by(|a, b| a.uuid.cmp(&b.uuid));
        let must_be_only_one = matches!(self, Self::NameLabel(_) | Self::Named(_));
        match usable[..] {
            [] => {}
            [_, _, ..] if must_be_only_one => {}
            [first, ..] => return Ok(first),
        }
        let mut candidates: Vec<_> = repositories
            .iter()
            .map(|repository| Candidate {
                uuid: repository.uuid.clone(),
                name_label: repository.name_label.clone(),
                sr_type: repository.sr_type.clone(),
                rejection: judge(repository).err().unwrap_or(Rejection::SeveralOfThatName),
            })
            .collect();
        candidates.sort_by(|a, b| b.rejection.cmp(&a.rejection).then_with(|| a.uuid.cmp(&b.uuid)));
        Err(SelectionError { choice: self.clone(), candidates })
    }

    fn judge_identity(
        &self,
        repository: &Repository,
        place: Place<'_>,
        by_uuid: bool,
    ) -> Result<(), Rejection> {
        let meant = match self {
            Self::PoolDefault => !place.default_sr.is_null() && repository.reference == *place.default_sr,
            Self::OtherConfig { key, value } => match repository.other_config.get(key) {
                Some(found) if found != value => return Err(Rejection::OtherValue { found: found.clone() }),
                found => found.is_some(),
            },
            Self::Uuid(uuid) => repository.uuid == *uuid,
            Self::Named(uuid) if by_uuid => repository.uuid == *uuid,
            Self::NameLabel(name) | Self::Named(name) => repository.name_label == *name,
        };
        if meant { Ok(()) } else { Err(Rejection::NotMeant) }
    }
}

fn judge_use(repository: &Repository, place: Place<'_>) -> Result<(), Rejection> {
    if repository.is_tools_sr || repository.facts().holds != Holds::Disks {
        return Err(Rejection::NotForDisks);
    }
    if repository.is_attached_to(place.host) {
        return Ok(());
    }
    let host = place.host_name.to_owned();
    let connected = repository.connections.iter().any(|connection| connection.host == *place.host);
    Err(if connected { Rejection::NotAttached { host } } else { Rejection::NotConnected { host } })
}

impl FromStr for Choice {
    type Err = FilterSyntax;

    fn from_str(text: &str) -> Result<Self, FilterSyntax> {
        let invalid = |reason| Err(FilterSyntax { text: text.to_owned(), reason });
        let text = text.trim();
        if text.is_empty() {
            return invalid("is empty");
        }
        match text.split_once(':') {
            Some(("default-sr", "true")) => Ok(Self::PoolDefault),
            Some(("default-sr", _)) => invalid("can only be \"true\" after \"default-sr:\""),
            Some(("other-config", pair)) => match pair.split_once('=') {
                Some(("", _)) => invalid("has no key before \"=\""),
                Some((key, value)) => Ok(Self::OtherConfig { key: key.to_owned(), value: value.to_owned() }),
                None => invalid("has no \"=\" between key and value"),
            },
            Some(("uuid" | "name", "")) => invalid("has nothing after its \":\""),
            Some(("uuid", uuid)) => Ok(Self::Uuid(uuid.to_owned())),
            Some(("name", name)) => Ok(Self::NameLabel(name.to_owned())),
            _ => Ok(Self::Named(text.to_owned())),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PoolDefault => f.write_str("default-sr:true"),
            Self::OtherConfig { key, value } => write!(f, "other-config:{key}={value}"),
            Self::Uuid(uuid) => write!(f, "uuid:{uuid}"),
            Self::NameLabel(name) => write!(f, "name:{name}"),
            Self::Named(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for SelectionError {}

impl fmt::Display for SelectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nearest = self.candidates.first().map(|candidate| &candidate.rejection);
        match (&self.choice, nearest) {
            (choice, Some(Rejection::SeveralOfThatName)) => {
                write!(f, "more than one SR matches {:?}; choose one by its uuid", choice.to_string())?;
            }
            (Choice::PoolDefault, None | Some(Rejection::NotMeant)) => {
                f.write_str("the pool has no default SR that exists; set one, or name the SR to use")?;
            }
            (choice, _) => write!(f, "no SR matches {:?} and can be used", choice.to_string())?,
        }
        if self.candidates.is_empty() {
            return f.write_str("; the pool has no SR at all");
        }
        for (i, candidate) in self.candidates.iter().enumerate() {
            let separator = if i == 0 { ": " } else { "; " };
            let Candidate { uuid, name_label, sr_type, rejection } = candidate;
            write!(f, "{separator}{name_label:?} ({sr_type}, {uuid}) {rejection}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMeant => f.write_str("does not match"),
            Self::OtherValue { found } => write!(f, "has the value {found:?} for that key"),
            Self::NotForDisks => f.write_str("is not for disks"),
            Self::NotConnected { host } => write!(f, "has no PBD on host {host:?}"),
            Self::NotAttached { host } => write!(f, "has a PBD on host {host:?} that is not plugged"),
            Self::SeveralOfThatName => f.write_str("matches, but not alone"),
        }
    }
}

#[cfg(test)]
mod tests;
