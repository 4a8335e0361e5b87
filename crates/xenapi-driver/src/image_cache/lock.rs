//! One fetch of an image, whoever wants it: a key on the SR says who does it, and until when that is believed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use xenapi_client::{Client, ErrorKind};
use xenapi_storage::Repository;
use xenapi_types::{Ref, Sr, sr};

use super::{CacheRequest, now};
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
    let left = Duration::from_secs(until.saturating_sub(now()).min(request.patience.as_secs()));
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
    if holder(&keys, &key).is_some_and(|(holder, until)| holder == theirs && until <= now()) {
        tracing::warn!(image = request.image_id, operation = theirs, "whoever fetched it is taken for dead");
        release(client, &sr.reference, &key, &theirs).await.map_err(Cause::host(doing()))?;
    }
    Ok(false)
}

/// What the keys of a fetch say: who, and until when that is believed.
fn lease(job: &Job, request: &CacheRequest) -> String {
    format!("{} {}", job.operation, now() + request.patience.as_secs().max(1))
}

/// Who fetches an image, and until when that is believed: the key itself says so, and those it is renewed with.
fn holder(keys: &BTreeMap<String, String>, key: &str) -> Option<(String, u64)> {
    let (holder, until) = keys.get(key)?.split_once(' ').unwrap_or_default();
    let renewed = keys.iter().filter(|(other, _)| is_renewal(other, key)).filter_map(|(_, value)| {
        value.split_once(' ').filter(|(other, _)| *other == holder).and_then(|(_, until)| until.parse().ok())
    });
    let until = until.parse().unwrap_or(0);
    Some((holder.to_owned(), renewed.fold(until, u64::max)))
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
    let released = release(job.client(), &sr.reference, &key, &job.operation.to_string()).await;
    released.map_err(Cause::host(format!("releasing the fetch of image {:?}", request.image_id)))
}
