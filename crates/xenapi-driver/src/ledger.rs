//! Memory that has been promised to instances that are still being made, by any program.
//!
//! XAPI counts the memory of guests that run. Between the plan of an instance and its start lies the transfer of
//! its disks, in which others would be promised the same memory, only to fail at their start. A promise is therefore
//! a key in the host's `other_config`, one for each operation: adding a key is atomic in XAPI, and no two write to
//! the same one. What makes it safe is the order:
//!
//! 1. ask, with a key that all others see;
//! 2. read the keys of all, and only then the free memory: who has started meanwhile is counted twice, never not;
//! 3. if there is room for all who have asked, the memory is ours, and soon a second key says so. If there is none beside
//!    those who were promised theirs or who asked earlier (by the time in the operation's uuid), give way;
//!    else wait for those who asked later, who give way or were faster.
//!
//! Of two at the same time at least one sees the other, so that memory is never promised twice. The key goes once
//! XAPI counts the guest itself. One that a crash left behind counts for [`LIFE`], or until reconciling removes it.
//!
//! What others than instances being made take (guests that are switched on, moved or made by other tools) is
//! for XAPI to grant: it refuses a start for which there is no memory.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;
use xenapi_client::Client;
use xenapi_types::{Host, Ref, host};

use crate::cancel::Stop;
use crate::clock::Clock;
use crate::error::Cause;
use crate::inventory::Node;
use crate::job::Job;
use crate::plan::{Conflict, Conflicts};
use crate::remove::gone_is_fine;

/// Who asks: `bytes/owner`, by operation.
const ASKED: &str = "xenapi-rs:memory:";
/// Who was promised it, by operation.
const PROMISED: &str = "xenapi-rs:memory-promised:";
/// After that, a promise is that of a program that has crashed.
const LIFE: Duration = Duration::from_secs(4 * 3_600);
/// Between two looks at who asked later, and how many there are.
const PAUSE: Duration = Duration::from_millis(50);
const LOOKS: u32 = 100;

/// What an operation asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) operation: Uuid,
    pub(crate) bytes: u64,
    pub(crate) owner: String,
    is_firm: bool,
}

/// The promises in a host's `other_config`.
pub(crate) fn promises(other_config: &BTreeMap<String, String>) -> impl Iterator<Item = Promise> {
    other_config.iter().filter_map(|(key, value)| {
        let operation = key.strip_prefix(ASKED)?;
        let is_firm = other_config.contains_key(&format!("{PROMISED}{operation}"));
        let (bytes, owner) = value.split_once('/')?;
        let (operation, bytes) = (operation.parse().ok()?, bytes.parse().ok()?);
        Some(Promise { operation, bytes, owner: owner.to_owned(), is_firm })
    })
}

/// What has been promised on a host, in bytes.
pub(crate) fn promised_bytes(clock: &Clock, other_config: &BTreeMap<String, String>) -> u64 {
    promises(other_config)
        .filter(|promise| !clock.is_older(promise.operation, LIFE))
        .map(|promise| promise.bytes)
        .fold(0, u64::saturating_add)
}

/// What becomes of who asks, given what others have asked for.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Granted,
    Wait,
    /// Without so many bytes of the free memory, that are others'.
    Refused(u64),
}

fn judge(own: Uuid, bytes: u64, free: u64, others: &[Promise]) -> Verdict {
    let sum = |of: &dyn Fn(&&Promise) -> bool| {
        others.iter().filter(|p| of(p)).map(|p| p.bytes).fold(0, u64::saturating_add)
    };
    let fits = |taken: u64| bytes.saturating_add(taken) <= free;
    let firm = sum(&|promise| promise.is_firm || promise.operation < own);
    match (fits(sum(&|_| true)), fits(firm)) {
        (true, _) => Verdict::Granted,
        (false, true) => Verdict::Wait,
        (false, false) => Verdict::Refused(firm),
    }
}

/// Has the memory promised to the operation, until it is [released](release) or undone. It is the operation's from
/// now on; [`confirm`] tells so to others who asked, and can wait.
pub(crate) async fn reserve(job: &Job, node: &Node, bytes: u64, stop: &Stop) -> Result<(), Cause> {
    let (client, host, operation) = (job.client(), &node.reference, job.operation);
    let doing = || Cause::host(format!("reserving memory of host {:?}", node.name));
    stop.check()?;
    let (undo, of) = (client.clone(), host.clone());
    job.rollback.push(format!("memory reserved on host {:?}", node.name), async move {
        release(&undo, &of, operation).await
    });
    let asked = format!("{bytes}/{}", job.driver.settings().owner);
    let field = host::field::OTHER_CONFIG;
    client.add_to(host, field, format!("{ASKED}{operation}"), asked).await.map_err(doing())?;
    let (mut refused, clock) = (0, job.driver.clock());
    for _ in 0..LOOKS {
        let keys = client.get_field(host, field).await.map_err(doing())?;
        let call = host::ComputeFreeMemory { host: host.clone() };
        let free = u64::try_from(client.call(call).await.map_err(doing())?).unwrap_or(0);
        let others: Vec<Promise> = promises(&keys)
            .filter(|promise| promise.operation != operation && !clock.is_older(promise.operation, LIFE))
            .collect();
        match judge(operation, bytes, free, &others) {
            Verdict::Granted => return Ok(()),
            Verdict::Refused(taken) => {
                refused = free.saturating_sub(taken);
                break;
            }
            Verdict::Wait => stop.guard(tokio::time::sleep(PAUSE)).await?,
        }
    }
    let (node, needed_bytes) = (node.name.clone(), bytes);
    Err(Conflicts::from(Conflict::NotEnoughMemory { node, needed_bytes, free_bytes: refused }).into())
}

/// Tells that the memory was promised. Until then those who ask for too much wait for it to be told or given back.
pub(crate) async fn confirm(job: &Job, node: &Node) -> Result<(), Cause> {
    let key = format!("{PROMISED}{}", job.operation);
    let told = job.client().add_to(&node.reference, host::field::OTHER_CONFIG, key, "true").await;
    told.map_err(Cause::host(format!("reserving memory of host {:?}", node.name)))
}

/// Takes back what an operation was promised. It can be repeated.
pub(crate) async fn release(client: &Client, host: &Ref<Host>, operation: Uuid) -> xenapi_client::Result<()> {
    // What was asked for goes last: by it a promise is found.
    for prefix in [PROMISED, ASKED] {
        let key = format!("{prefix}{operation}");
        gone_is_fine(client.remove_from(host, host::field::OTHER_CONFIG, key).await)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_is_served_and_what_is_firm_stays() {
        let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
        let promise = |operation, bytes, is_firm| Promise { operation, bytes, owner: "me".into(), is_firm };
        for (others, expected) in [
            (vec![], Verdict::Granted),
            (vec![promise(a, 4, false), promise(c, 0, false)], Verdict::Granted),
            (vec![promise(a, 5, false)], Verdict::Refused(5)),
            (vec![promise(c, 5, false)], Verdict::Wait),
            (vec![promise(c, 5, true)], Verdict::Refused(5)),
            (vec![promise(a, 2, false), promise(c, 3, false)], Verdict::Wait),
            (vec![promise(a, 2, true), promise(c, 3, true)], Verdict::Refused(5)),
            // Whoever may write to a host's keys writes what he likes.
            (vec![promise(a, u64::MAX, true), promise(c, 3, true)], Verdict::Refused(u64::MAX)),
        ] {
            assert_eq!(judge(b, 6, 10, &others), expected, "{others:?}");
        }
        assert_eq!(judge(b, 11, 10, &[]), Verdict::Refused(0));
    }

    #[test]
    fn what_the_keys_say() {
        let (young, old) = (Uuid::now_v7(), Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 1, 0)));
        let keys = BTreeMap::from([
            (format!("{ASKED}{young}"), "5/me/and you".to_owned()),
            (format!("{PROMISED}{young}"), "true".to_owned()),
            (format!("{ASKED}{old}"), "7/me".to_owned()),
            (format!("{ASKED}nobody"), "7/me".to_owned()),
            ("agile".to_owned(), "7/me".to_owned()),
        ]);
        assert_eq!(promised_bytes(&Clock::default(), &keys), 5);
        let read: Vec<Promise> = promises(&keys).collect();
        assert_eq!(read.len(), 2);
        let promise = Promise { operation: young, bytes: 5, owner: "me/and you".into(), is_firm: true };
        assert!(read.contains(&promise));
        let most = [Uuid::now_v7(), Uuid::now_v7()]
            .map(|operation| (format!("{ASKED}{operation}"), format!("{}/me", u64::MAX)));
        assert_eq!(promised_bytes(&Clock::default(), &most.into()), u64::MAX);
    }
}
