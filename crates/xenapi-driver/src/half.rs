//! The mark of a drive or an interface that is being attached to an instance, or detached from it.
//!
//! It comes with the object, in the call that makes it, and goes when the guest has it; it is there again
//! from the wish to take it away until it is gone. Its value is the operation. What is unplugged and has no
//! mark was unplugged by somebody else, who may plug it again: it is left alone. What builds without the mark
//! have attached counts as complete.

use std::collections::BTreeMap;

use uuid::Uuid;
use xenapi_client::{Client, Result};
use xenapi_storage::ownership::UNFINISHED;
use xenapi_types::{Ref, Vbd, Vif, vbd, vif};

use crate::error::Cause;
use crate::held::Held;

/// Marks what an operation is about to make.
pub(crate) fn mark(keys: &mut BTreeMap<String, String>, operation: Uuid) {
    keys.insert(UNFINISHED.to_owned(), operation.to_string());
}

/// The operation that is at it. Earlier builds marked only what they could not remove, without an operation:
/// that which made it.
pub(crate) fn by(keys: &BTreeMap<String, String>, maker: Option<Uuid>) -> Option<Uuid> {
    keys.get(UNFINISHED)?.parse().ok().or(maker)
}

/// The keys without the mark, as they are shown.
pub(crate) fn without(mut keys: BTreeMap<String, String>) -> BTreeMap<String, String> {
    keys.remove(UNFINISHED);
    keys
}

/// What is marked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Device<'a> {
    Drive(&'a Ref<Vbd>),
    Interface(&'a Ref<Vif>),
}

impl Device<'_> {
    /// Its keys, and whether a guest has it; nothing when it is gone.
    async fn look(self, client: &Client) -> Result<Option<(BTreeMap<String, String>, bool)>> {
        Ok(match self {
            Self::Drive(drive) => {
                client.record_opt(drive).await?.map(|drive| (drive.other_config, drive.currently_attached))
            }
            Self::Interface(vif) => {
                client.record_opt(vif).await?.map(|vif| (vif.other_config, vif.currently_attached))
            }
        })
    }

    /// The guest has it: the mark goes.
    pub(crate) async fn complete(self, client: &Client) -> Result<()> {
        match self {
            Self::Drive(drive) => client.remove_from(drive, vbd::field::OTHER_CONFIG, UNFINISHED).await,
            Self::Interface(vif) => client.remove_from(vif, vif::field::OTHER_CONFIG, UNFINISHED).await,
        }
    }

    /// It is to be taken away. What has a mark already is to go as it is.
    pub(crate) async fn begin(self, client: &Client, operation: Uuid) -> Result<()> {
        let (key, value) = (UNFINISHED, operation.to_string());
        let marked = match self {
            Self::Drive(drive) => client.add_to(drive, vbd::field::OTHER_CONFIG, key, value).await,
            Self::Interface(vif) => client.add_to(vif, vif::field::OTHER_CONFIG, key, value).await,
        };
        match marked {
            Err(error) if error.is("MAP_DUPLICATE_KEY") => Ok(()),
            other => other,
        }
    }

    /// It was not taken away. Where the guest still has it and nobody goes on with it, it is as it was; what
    /// a host may let go of later keeps the mark, for who reconciles.
    pub(crate) async fn withdraw(self, client: &Client, operation: Uuid, why: &Held) {
        if matches!(why, Held::Waited(cause) if matches!(**cause, Cause::NoAnswer { .. })) {
            return;
        }
        let withdrawn = async {
            match self.look(client).await? {
                Some((keys, true)) if keys.get(UNFINISHED) == Some(&operation.to_string()) => {
                    self.complete(client).await
                }
                _ => Ok(()),
            }
        };
        if let Err(error) = withdrawn.await {
            tracing::warn!(%error, "a mark stays: reconciling detaches what has it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_the_mark_is() {
        let (operation, maker) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let mut keys = BTreeMap::new();
        assert_eq!(by(&keys, Some(maker)), None, "of earlier builds, or unplugged by somebody");
        mark(&mut keys, operation);
        assert_eq!((by(&keys, Some(maker)), by(&keys, None)), (Some(operation), Some(operation)));
        assert!(without(keys.clone()).is_empty());
        keys.insert(UNFINISHED.to_owned(), "true".to_owned());
        assert_eq!((by(&keys, Some(maker)), by(&keys, None)), (Some(maker), None));
    }
}
