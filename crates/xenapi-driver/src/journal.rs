//! What is written down of a change that is confirmed or reverted, before it begins, so that anybody can end it.
//!
//! All of it is in the VM's `other_config`. The text is written once and never changed; how far the change is, is told
//! by keys that are added beside it: adding a key is atomic, changing one is not. Text and keys name the operation, so that
//! nobody takes what another one wrote, or left, for its own.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;
use xenapi_client::{Client, Result};
use xenapi_types::{Ref, Vm, VmRecord, vm};

use crate::error::Cause;
use crate::job::Job;
use crate::remove::tolerate;

/// The text of a resize or a rebuilding. A VM is in the middle of one change at most.
pub(crate) const RESIZE: &str = "xenapi-rs:resize";
/// The text of a rescue.
pub(crate) const RESCUE: &str = "xenapi-rs:rescue";
/// The text of a move to another pool.
pub(crate) const MOVE: &str = "xenapi-rs:move";

/// How far a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It was begun, or is being undone: there is only the way back.
    Unfinished,
    /// It is complete, and waits for somebody's decision.
    Done,
    /// What was before is being removed: there is only the way forward.
    Confirming,
}

/// The keys of one kind of change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys {
    /// The text.
    pub(crate) text: &'static str,
    /// The change is complete.
    pub(crate) done: &'static str,
    /// What was before is being removed, or never will be: the first who adds it has [decided](Way).
    pub(crate) confirming: &'static str,
    /// What was made is being removed, where more comes before that than the decision.
    pub(crate) reverting: Option<&'static str>,
}

/// The two ways out of a change. Adding a key is atomic, so that of two who want to go different ways the first wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// What was before goes.
    Forward,
    /// What was made goes.
    Back,
}

impl Way {
    fn text(self, operation: Uuid) -> String {
        match self {
            Self::Forward => operation.to_string(),
            Self::Back => format!("{operation} never"),
        }
    }
}

/// What every text has.
#[derive(Deserialize)]
struct Written {
    operation: Uuid,
    /// Uuid of the VM: its copies inherit the text, and have nothing to do with it.
    #[serde(default)]
    vm: String,
}

/// The operation that wrote a text, which is of this VM.
fn writer(vm: &VmRecord, key: &str) -> Option<Uuid> {
    let text = serde_json::from_str::<Written>(vm.other_config.get(key)?).ok()?;
    Some(text.operation).filter(|_| text.vm.is_empty() || text.vm == vm.uuid)
}

/// What was written under a key, of this VM.
pub(crate) fn read<T: DeserializeOwned>(vm: &VmRecord, key: &str) -> Option<T> {
    writer(vm, key)?;
    serde_json::from_str(vm.other_config.get(key)?).ok()
}

/// A text as it is written, with the VM that it is of.
pub(crate) fn of_vm(text: &str, vm: &VmRecord) -> String {
    let mut text: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    text["vm"] = vm.uuid.clone().into();
    text.to_string()
}

/// What is to be written down.
pub(crate) struct Note {
    /// What is taken back if the operation fails, in words.
    pub(crate) what: String,
    /// The key.
    pub(crate) key: &'static str,
    /// The text, with the job's operation.
    pub(crate) text: String,
    /// The keys that are added beside it later.
    pub(crate) flags: &'static [&'static str],
}

/// Begins, unless somebody else is at the VM. From then on the operation is taken back by `undo` if it fails.
/// Until then, nothing has been done, and what the VM is like is another's doing: only the text is taken
/// back.
///
/// # Errors
///
/// [`Cause::ResizePending`], [`Cause::Rescued`] or [`Cause::MovePending`] when somebody else was quicker;
/// [`Cause::WrongState`] when the VM has other drives than were `seen`.
pub(crate) async fn begin<E: Into<Box<dyn StdError + Send + Sync>>>(
    job: &Job,
    vm: &Ref<Vm>,
    seen: &VmRecord,
    note: Note,
    undo: impl Future<Output = std::result::Result<(), E>> + Send + 'static,
) -> std::result::Result<(), Cause> {
    let begun = Arc::new(AtomicBool::new(false));
    let (has_begun, client, noted) = (Arc::clone(&begun), job.client().clone(), vm.clone());
    let (key, operation) = (note.key, job.operation);
    job.rollback.push_sweep(note.what.clone(), async move {
        match has_begun.load(Ordering::Relaxed) {
            true => undo.await.map_err(Into::into),
            false => withdraw(&client, &noted, key, operation).await.map_err(Into::into),
        }
    });
    write_down(job, vm, seen, &note).await?;
    begun.store(true, Ordering::Relaxed);
    Ok(())
}

/// Writes a text down, unless somebody else is at the VM. Nothing is taken back but that.
pub(crate) async fn write_down(
    job: &Job,
    vm: &Ref<Vm>,
    seen: &VmRecord,
    note: &Note,
) -> std::result::Result<(), Cause> {
    let (client, field) = (job.client(), vm::field::OTHER_CONFIG);
    let doing = || Cause::host(format!("noting {}", note.what));
    let added = client.add_to(vm, field, note.key, of_vm(&note.text, seen)).await;
    let is_taken = added.as_ref().is_err_and(|error| error.is("MAP_DUPLICATE_KEY"));
    if !is_taken {
        added.map_err(doing())?;
    }
    // Whoever writes looks afterwards: of two that write different texts at the same time, one sees the other's at least.
    let now = client.record(vm).await.map_err(doing())?;
    let is_own = writer(&now, note.key) == Some(job.operation);
    let own = if is_own { note.key } else { "" };
    let drives = |vm: &VmRecord| vm.vbds.iter().cloned().collect::<BTreeSet<_>>();
    let has_changed = || !is_own || drives(&now) != drives(seen);
    let cause = pending(&now, own).or_else(|| has_changed().then(|| changed(&now)));
    if let Some(cause) = cause {
        withdraw(client, vm, note.key, job.operation).await.map_err(doing())?;
        return Err(cause);
    }
    let flags = note.flags.iter().filter(|flag| now.other_config.contains_key(**flag));
    for flag in flags {
        client.remove_from(vm, field, *flag).await.map_err(doing())?;
    }
    Ok(())
}

/// Makes sure that a VM is not in the middle of a change, but for that whose text has the key `own`.
fn pending(vm: &VmRecord, own: &str) -> Option<Cause> {
    let has = |key: &str| key != own && vm.other_config.contains_key(key);
    let vm = || vm.uuid.clone();
    match () {
        () if has(RESIZE) => Some(Cause::ResizePending { vm: vm() }),
        () if has(RESCUE) => Some(Cause::Rescued { vm: vm() }),
        () if has(MOVE) => Some(Cause::MovePending { vm: vm() }),
        () => None,
    }
}

/// Somebody was quicker, and is done.
pub(crate) fn changed(vm: &VmRecord) -> Cause {
    let state = "not as it was a moment ago, as another program has changed it".to_owned();
    Cause::WrongState { vm: vm.uuid.clone(), state, remedy: "look at it, and do it once more" }
}

/// The operation is none any more: who puts a pool in order takes one that has gone on for long for one that broke off.
pub(crate) fn taken_back(vm: &VmRecord) -> Cause {
    let state = "not in the middle of this any more, as another program has taken it back".to_owned();
    let remedy = "do it once more, and have that program wait for longer before it puts the pool in order";
    Cause::WrongState { vm: vm.uuid.clone(), state, remedy }
}

/// Removes the text of an operation that has not begun.
pub(crate) async fn withdraw(client: &Client, vm: &Ref<Vm>, key: &str, operation: Uuid) -> Result<()> {
    match client.record_opt(vm).await? {
        Some(record) if writer(&record, key) == Some(operation) => {
            client.remove_from(vm, vm::field::OTHER_CONFIG, key).await
        }
        _ => Ok(()),
    }
}

impl Keys {
    /// What was written, and how far it is.
    pub(crate) fn read<T: DeserializeOwned>(&self, vm: &VmRecord) -> Option<(T, Phase)> {
        let operation = writer(vm, self.text)?;
        let text = serde_json::from_str(vm.other_config.get(self.text)?).ok()?;
        // What an earlier operation has left beside its text means nothing.
        let has = |key: &str, value: &str| vm.other_config.get(key).is_some_and(|found| found == value);
        let (own, back) = (operation.to_string(), Way::Back.text(operation));
        let phase = match () {
            () if self.reverting.map_or_else(|| has(self.confirming, &back), |key| has(key, &own)) => {
                Phase::Unfinished
            }
            () if has(self.confirming, &own) => Phase::Confirming,
            () if has(self.done, &own) => Phase::Done,
            () => Phase::Unfinished,
        };
        Some((text, phase))
    }

    /// Whether an operation has noted that it is complete, whatever came of that.
    pub(crate) fn is_done(&self, vm: &VmRecord, operation: Uuid) -> bool {
        vm.other_config.get(self.done) == Some(&operation.to_string())
    }

    /// Whether an operation is still noted, and nobody has decided to take it back.
    fn goes_on_in(&self, vm: &VmRecord, operation: Uuid) -> bool {
        let back = Way::Back.text(operation);
        writer(vm, self.text) == Some(operation) && vm.other_config.get(self.confirming) != Some(&back)
    }

    /// Makes sure that nobody has taken an operation back: between what takes long and what changes the VM.
    pub(crate) async fn goes_on(
        &self,
        job: &Job,
        vm: &Ref<Vm>,
        operation: Uuid,
    ) -> std::result::Result<(), Cause> {
        let now = job.client().record(vm).await.map_err(Cause::host("seeing whether it can go on"))?;
        self.goes_on_in(&now, operation).then_some(()).ok_or_else(|| taken_back(&now))
    }

    /// Notes that an operation is complete, unless it was taken back: whoever does that sees it, or is seen.
    pub(crate) async fn set_done(
        &self,
        job: &Job,
        vm: &Ref<Vm>,
        operation: Uuid,
    ) -> std::result::Result<(), Cause> {
        let (client, field) = (job.client(), vm::field::OTHER_CONFIG);
        let doing = || Cause::host("noting that it is complete");
        flag_with(client, vm, self.done, operation.to_string()).await.map_err(doing())?;
        let now = client.record(vm).await.map_err(doing())?;
        if self.goes_on_in(&now, operation) {
            return Ok(());
        }
        if writer(&now, self.text).is_none() {
            client.remove_from(vm, field, self.done).await.map_err(doing())?;
        }
        Err(taken_back(&now))
    }

    /// Takes a way out of an operation, and returns the VM as it is from then on; nothing when the other way
    /// was taken, or the operation has ended.
    pub(crate) async fn decide(
        &self,
        client: &Client,
        vm: &Ref<Vm>,
        way: Way,
        operation: Uuid,
    ) -> Result<Option<VmRecord>> {
        let (field, value) = (vm::field::OTHER_CONFIG, way.text(operation));
        loop {
            let added = client.add_to(vm, field, self.confirming, &*value).await;
            tolerate(added, &["MAP_DUPLICATE_KEY"])?;
            let Some(now) = client.record_opt(vm).await? else { return Ok(None) };
            let present = now.other_config.get(self.confirming);
            let is_mine = present == Some(&value);
            if writer(&now, self.text) != Some(operation) {
                if is_mine {
                    client.remove_from(vm, field, self.confirming).await?;
                }
                return Ok(None);
            }
            match present {
                Some(_) if is_mine => return Ok(Some(now)),
                Some(other) if other.starts_with(&operation.to_string()) => return Ok(None),
                // What an earlier operation has left.
                Some(_) => client.remove_from(vm, field, self.confirming).await?,
                None => {}
            }
        }
    }

    /// Takes back what was decided: nobody has acted on it.
    pub(crate) async fn undecide(&self, client: &Client, vm: &Ref<Vm>) -> Result<()> {
        client.remove_from(vm, vm::field::OTHER_CONFIG, self.confirming).await
    }

    /// The keys that say how far it is.
    pub(crate) const fn flags(&self) -> [&'static str; 3] {
        // The same one twice is removed once.
        let reverting = match self.reverting {
            Some(key) => key,
            None => self.confirming,
        };
        [self.done, self.confirming, reverting]
    }

    /// Adds one of them.
    pub(crate) async fn flag(
        &self,
        client: &Client,
        vm: &Ref<Vm>,
        flag: &str,
        operation: Uuid,
    ) -> Result<()> {
        flag_with(client, vm, flag, operation.to_string()).await
    }

    /// Ends what an operation wrote. The text goes first: without it the other keys mean nothing.
    pub(crate) async fn end(&self, client: &Client, vm: &Ref<Vm>, operation: Uuid) -> Result<()> {
        let Some(record) = client.record_opt(vm).await? else { return Ok(()) };
        if writer(&record, self.text).is_some_and(|other| other != operation) {
            return Ok(());
        }
        for key in [self.text].into_iter().chain(self.flags()) {
            client.remove_from(vm, vm::field::OTHER_CONFIG, key).await?;
        }
        Ok(())
    }
}

/// Adds a key with this value, which another value may be in the way of that an earlier operation has left.
pub(crate) async fn flag_with(client: &Client, vm: &Ref<Vm>, flag: &str, value: String) -> Result<()> {
    let field = vm::field::OTHER_CONFIG;
    let Err(error) = client.add_to(vm, field, flag, value.as_str()).await else { return Ok(()) };
    let keys = match client.record_opt(vm).await? {
        Some(record) if error.is("MAP_DUPLICATE_KEY") => record.other_config,
        Some(_) => return Err(error),
        None => return Ok(()),
    };
    match keys.get(flag) {
        Some(present) if *present == value => Ok(()),
        _ => client.put_in(vm, field, flag, value.as_str()).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Uuid = Uuid::from_u128(7);

    fn vm(present: &[(&str, Uuid)]) -> VmRecord {
        let mut vm = VmRecord::default();
        let text = |key: &str, operation: Uuid| match key {
            "t" => format!(r#"{{"operation":"{operation}"}}"#),
            _ => operation.to_string(),
        };
        vm.other_config =
            present.iter().map(|(key, operation)| ((*key).to_owned(), text(key, *operation))).collect();
        vm
    }

    #[test]
    fn the_phase_follows_from_the_keys_of_the_same_operation() {
        let keys = Keys { text: "t", done: "d", confirming: "c", reverting: Some("r") };
        let others = Uuid::from_u128(8);
        for (present, phase) in [
            (&[][..], None),
            (&[("d", OURS)], None),
            (&[("t", OURS)], Some(Phase::Unfinished)),
            (&[("t", OURS), ("d", OURS)], Some(Phase::Done)),
            (&[("t", OURS), ("d", OURS), ("c", OURS)], Some(Phase::Confirming)),
            (&[("t", OURS), ("d", OURS), ("r", OURS)], Some(Phase::Unfinished)),
            (&[("t", OURS), ("r", OURS)], Some(Phase::Unfinished)),
            (&[("t", OURS), ("d", others)], Some(Phase::Unfinished)),
            (&[("t", OURS), ("d", OURS), ("c", others), ("r", others)], Some(Phase::Done)),
        ] {
            let read = keys.read::<serde_json::Value>(&vm(present)).map(|(_, phase)| phase);
            assert_eq!(read, phase, "{present:?}");
        }
        let mut decided = vm(&[("t", OURS), ("d", OURS)]);
        decided.other_config.insert("c".to_owned(), Way::Back.text(OURS));
        let at_once = Keys { reverting: None, ..keys };
        for (keys, phase) in [(keys, Phase::Done), (at_once, Phase::Unfinished)] {
            assert_eq!(keys.read::<serde_json::Value>(&decided).map(|(_, phase)| phase), Some(phase));
        }
        let mut copy = vm(&[("d", OURS)]);
        (copy.uuid, decided.uuid) = ("copy".to_owned(), "original".to_owned());
        let text = of_vm(&decided.other_config["t"], &decided);
        for (vm, is_its_own) in [(&mut copy, false), (&mut decided, true)] {
            vm.other_config.insert("t".to_owned(), text.clone());
            assert_eq!(keys.read::<serde_json::Value>(vm).is_some(), is_its_own, "{}", vm.uuid);
        }
        let mut vm = VmRecord::default();
        vm.other_config.insert("t".to_owned(), "seven".to_owned());
        assert!(keys.read::<serde_json::Value>(&vm).is_none(), "of somebody else, or of a later release");
    }

    #[test]
    fn one_change_at_a_time() {
        for (key, own, is_pending) in [
            (RESIZE, "", true),
            (RESIZE, RESIZE, false),
            (RESCUE, RESIZE, true),
            (MOVE, RESCUE, true),
            ("t", "", false),
        ] {
            assert_eq!(pending(&vm(&[(key, OURS)]), own).is_some(), is_pending, "{key} {own}");
        }
    }
}
