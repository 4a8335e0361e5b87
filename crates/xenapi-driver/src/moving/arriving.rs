//! What is noted in the pool that a VM's disks go to: until the VM has arrived, nothing else there knows of them. Where the
//! program that moves it ends, and XAPI too, whoever puts that pool in order finds by it what was left.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xenapi_client::{Client, Result};
use xenapi_types::{Pool, Ref, pool};

use super::{Journal, sweep};
use crate::remove::tolerate;

/// In the pool's `other_config`, with the operation.
const KEY: &str = "xenapi-rs:arriving:";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Arriving {
    pub(crate) owner: String,
    journal: Journal,
}

impl Arriving {
    /// Those in a pool's `other_config`, with their operations.
    pub(crate) fn all(other_config: &BTreeMap<String, String>) -> impl Iterator<Item = (Uuid, Self)> {
        let notes = other_config.iter().filter_map(|(key, text)| Some((key.strip_prefix(KEY)?, text)));
        notes
            .filter_map(|(operation, text)| Some((operation.parse().ok()?, serde_json::from_str(text).ok()?)))
    }

    pub(super) async fn note(there: &Client, owner: &str, journal: &Journal) -> Result<()> {
        let note = Self { owner: owner.to_owned(), journal: journal.clone() };
        let text = serde_json::to_string(&note).unwrap_or_default();
        let field = pool::field::OTHER_CONFIG;
        there.add_to(&only(there).await?, field, format!("{KEY}{}", journal.operation), text).await
    }

    /// The note of an operation is not needed any more, if there is one.
    pub(super) async fn forget(client: &Client, operation: Uuid) -> Result<()> {
        let (pool, key) = (only(client).await?, format!("{KEY}{operation}"));
        let removed = client.remove_from(&pool, pool::field::OTHER_CONFIG, key).await;
        tolerate(removed, &[])
    }
}

/// Removes the copies that a move to this pool has left, of which the VM did not come.
pub(crate) async fn clear(client: &Client, operation: Uuid, patience: Duration) -> Result<()> {
    let pool = only(client).await?;
    let keys = client.get_field(&pool, pool::field::OTHER_CONFIG).await?;
    let note = Arriving::all(&keys).find(|(of, _)| *of == operation);
    if let Some((_, note)) = note {
        sweep(client, &note.journal, patience).await?;
    }
    Arriving::forget(client, operation).await
}

async fn only(client: &Client) -> Result<Ref<Pool>> {
    Ok(client.all::<Pool>().await?.into_iter().next().unwrap_or(Ref::NULL))
}
