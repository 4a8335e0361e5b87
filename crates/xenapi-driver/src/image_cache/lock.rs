//! One fetch of an image, whoever wants it: a key on the SR says who does it, and until when that is believed.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use uuid::Uuid;
use xenapi_client::{Client, ErrorKind};
use xenapi_storage::Repository;
use xenapi_types::{Ref, Sr, sr};

use super::CacheRequest;
use crate::cancel::Stop;
use crate::error::Cause;
use crate::job::Job;

/// On an SR: who fetches the image with the id that follows, and until when that is believed.
const FETCHING: &str = "xenapi-rs:fetching:";

/// Whether the fetch is ours now. If somebody else has it, this waits until it ends or has expired.
pub(super) async fn lock(
    job: &Job,
    request: &CacheRequest,
    sr: &Repository,
    stop: &Stop,
) -> Result<bool, Cause> {
    let doing = || format!("reserving the fetch of image {:?} in SR {:?}", request.image_id, sr.name_label);
    let (client, key) = (job.client(), format!("{FETCHING}{}", request.image_id));
    stop.check()?;
    let (undo, reference, ours, operation) =
        (client.clone(), sr.reference.clone(), key.clone(), job.operation);
    // Before it is there: its answer may be lost.
    job.rollback.push(format!("key {key} of SR {:?}", sr.name_label), async move {
        release(&undo, &reference, &ours, &operation.to_string()).await
    });
    // XAPI refuses a key that is there: of several, one gets it.
    match client.add_to(&sr.reference, sr::field::OTHER_CONFIG, &*key, lease(job, request)).await {
        Ok(()) => return Ok(true),
        Err(error) if error.is("MAP_DUPLICATE_KEY") => {}
        Err(error) => return Err(Cause::host(doing())(error)),
    }
    let read = || client.get_field(&sr.reference, sr::field::OTHER_CONFIG);
    let keys = read().await.map_err(Cause::host(doing()))?;
    let Some((theirs, until)) = holder(&keys, &key) else { return Ok(false) };
    let left = Duration::from_secs(
        until.saturating_sub(job.driver.clock().seconds()).min(request.patience.as_secs()),
    );
    let released = client.wait_until(&sr.reference, left, |sr| {
        holder(&sr.other_config, &key).is_none_or(|(holder, _)| holder != theirs)
    });
    match stop.guard(released).await? {
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == ErrorKind::Timeout => {}
        Err(error) => return Err(Cause::host(doing())(error)),
    }
    // It may have been renewed meanwhile.
    let keys = read().await.map_err(Cause::host(doing()))?;
    if holder(&keys, &key)
        .is_some_and(|(holder, until)| holder == theirs && until <= job.driver.clock().seconds())
    {
        tracing::warn!(image = request.image_id, operation = theirs, "whoever fetched it is taken for dead");
        release(client, &sr.reference, &key, &theirs).await.map_err(Cause::host(doing()))?;
    }
    Ok(false)
}

/// What the keys of a fetch say: who, until when that is believed, and for which owner.
fn lease(job: &Job, request: &CacheRequest) -> String {
    let until = job.driver.clock().seconds() + request.patience.as_secs().max(1);
    format!("{} {until} {}", job.operation, job.driver.settings().owner)
}

/// Who fetches an image, and until when that is believed: the key itself says so, and those it is renewed with.
fn holder(keys: &BTreeMap<String, String>, key: &str) -> Option<(String, u64)> {
    let (holder, until) = read(keys.get(key)?);
    let renewed = keys.iter().filter(|(other, _)| is_renewal(other, key)).map(|(_, value)| read(value));
    let renewed = renewed.filter(|(other, _)| *other == holder).map(|(_, until)| until);
    Some((holder.to_owned(), renewed.fold(until, u64::max)))
}

/// Who, and until when.
fn read(lease: &str) -> (&str, u64) {
    let mut words = lease.split(' ');
    let holder = words.next().unwrap_or_default();
    (holder, words.next().and_then(|until| until.parse().ok()).unwrap_or(0))
}

/// The operations of an owner that fetch images into an SR, by its keys.
pub(crate) fn fetches(keys: &BTreeMap<String, String>, owner: &str) -> BTreeSet<Uuid> {
    let leases = keys.iter().filter(|(key, _)| key.starts_with(FETCHING)).map(|(_, lease)| lease);
    let ours = leases.filter(|lease| lease.splitn(3, ' ').nth(2) == Some(owner));
    ours.filter_map(|lease| read(lease).0.parse().ok()).collect()
}

/// Lets others fetch what an operation wanted to fetch into an SR.
pub(crate) async fn give_up(client: &Client, sr: &Ref<Sr>, operation: Uuid) -> xenapi_client::Result<()> {
    let keys = client.get_field(sr, sr::field::OTHER_CONFIG).await?;
    let ours = |lease: &String| read(lease).0 == operation.to_string();
    // Renewals first: the key itself, which is shorter, is what others wait for.
    for (key, _) in keys.iter().rev().filter(|(key, lease)| key.starts_with(FETCHING) && ours(lease)) {
        client.remove_from(sr, sr::field::OTHER_CONFIG, &**key).await?;
    }
    Ok(())
}

fn is_renewal(other: &str, key: &str) -> bool {
    other.strip_prefix(key).is_some_and(|rest| rest == "#0" || rest == "#1")
}

/// Removes the keys of a fetch, unless they are somebody else's by now.
async fn release(client: &Client, sr: &Ref<Sr>, key: &str, holder: &str) -> xenapi_client::Result<()> {
    let keys = match client.get_field(sr, sr::field::OTHER_CONFIG).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        keys => keys?,
    };
    let theirs = |value: &str| value.split(' ').next() == Some(holder);
    // The key itself goes last: the others mean nothing without it.
    for (other, _) in keys.iter().filter(|(other, value)| is_renewal(other, key) && theirs(value)) {
        client.remove_from(sr, sr::field::OTHER_CONFIG, &**other).await?;
    }
    if keys.get(key).is_some_and(|value| theirs(value)) {
        client.remove_from(sr, sr::field::OTHER_CONFIG, key).await?;
    }
    Ok(())
}

/// Tells all others, for as long as it is polled, that the fetch goes on. A map's value cannot be replaced at once, so
/// that two keys take turns: one of them is always there.
pub(super) async fn renew(job: &Job, request: &CacheRequest, sr: &Repository) -> Infallible {
    let client = job.client();
    let key = |turn: usize| format!("{FETCHING}{}#{}", request.image_id, turn % 2);
    for turn in 0.. {
        tokio::time::sleep(request.patience / 3).await;
        let renewing = async {
            // Left by somebody who died, or by the turn before if its removal failed.
            client.remove_from(&sr.reference, sr::field::OTHER_CONFIG, key(turn)).await?;
            client.add_to(&sr.reference, sr::field::OTHER_CONFIG, key(turn), lease(job, request)).await?;
            client.remove_from(&sr.reference, sr::field::OTHER_CONFIG, key(turn + 1)).await
        };
        if let Err(error) = renewing.await {
            tracing::warn!(image = request.image_id, %error, "the fetch cannot be renewed");
        }
    }
    unreachable!("nobody counts so far")
}

pub(super) async fn unlock(job: &Job, request: &CacheRequest, sr: &Repository) -> Result<(), Cause> {
    let key = format!("{FETCHING}{}", request.image_id);
    let holder = job.operation.to_string();
    let release = || release(job.client(), &sr.reference, &key, &holder);
    let released = match release().await {
        // Once more: a key that stays tells others for minutes that the image is on its way.
        Err(_) => release().await,
        released => released,
    };
    released.map_err(Cause::host(format!("releasing the fetch of image {:?}", request.image_id)))
}
