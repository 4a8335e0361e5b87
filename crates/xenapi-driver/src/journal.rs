//! What is written down of a change that is confirmed or reverted, before it begins, so that anybody can end it.
//!
//! All of it is in the VM's `other_config`. The text is written once and never changed; how far the change is, is told
//! by keys that are added beside it: adding a key is atomic, changing one is not.

use serde::de::DeserializeOwned;
use xenapi_client::{Client, Result};
use xenapi_types::{Ref, Vm, VmRecord, vm};

use crate::remove::tolerate;

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
    /// What was before is being removed.
    pub(crate) confirming: &'static str,
    /// What was made is being removed.
    pub(crate) reverting: &'static str,
}

impl Keys {
    /// What was written, and how far it is.
    pub(crate) fn read<T: DeserializeOwned>(&self, vm: &VmRecord) -> Option<(T, Phase)> {
        let has = |key: &str| vm.other_config.contains_key(key);
        let text = serde_json::from_str(vm.other_config.get(self.text)?).ok()?;
        let phase = match () {
            () if has(self.reverting) => Phase::Unfinished,
            () if has(self.confirming) => Phase::Confirming,
            () if has(self.done) => Phase::Done,
            () => Phase::Unfinished,
        };
        Some((text, phase))
    }

    /// Begins. What an earlier change may have left beside its text is removed first.
    pub(crate) async fn begin(&self, client: &Client, vm: &Ref<Vm>, text: String) -> Result<()> {
        for flag in [self.done, self.confirming, self.reverting] {
            client.remove_from(vm, vm::field::OTHER_CONFIG, flag).await?;
        }
        client.add_to(vm, vm::field::OTHER_CONFIG, self.text, text).await
    }

    /// Adds one of the keys that say how far it is.
    pub(crate) async fn flag(&self, client: &Client, vm: &Ref<Vm>, flag: &str) -> Result<()> {
        tolerate(client.add_to(vm, vm::field::OTHER_CONFIG, flag, "true").await, &["MAP_DUPLICATE_KEY"])
    }

    /// Ends. The text goes first: without it the other keys mean nothing.
    pub(crate) async fn end(&self, client: &Client, vm: &Ref<Vm>) -> Result<()> {
        for key in self.all() {
            client.remove_from(vm, vm::field::OTHER_CONFIG, key).await?;
        }
        Ok(())
    }

    /// All of them.
    pub(crate) fn all(&self) -> [&'static str; 4] {
        [self.text, self.done, self.confirming, self.reverting]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_follows_from_the_keys() {
        let keys = Keys { text: "t", done: "d", confirming: "c", reverting: "r" };
        for (present, phase) in [
            (&[][..], None),
            (&["d"], None),
            (&["t"], Some(Phase::Unfinished)),
            (&["t", "d"], Some(Phase::Done)),
            (&["t", "d", "c"], Some(Phase::Confirming)),
            (&["t", "d", "r"], Some(Phase::Unfinished)),
            (&["t", "r"], Some(Phase::Unfinished)),
        ] {
            let mut vm = VmRecord::default();
            vm.other_config = present.iter().map(|key| ((*key).to_owned(), "7".to_owned())).collect();
            assert_eq!(keys.read::<u8>(&vm), phase.map(|phase| (7, phase)), "{present:?}");
        }
        let mut vm = VmRecord::default();
        vm.other_config.insert("t".to_owned(), "seven".to_owned());
        assert_eq!(keys.read::<u8>(&vm), None, "of somebody else, or of a later release");
    }
}
