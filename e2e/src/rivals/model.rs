//! What an instance may be after verbs that several programs did at the same time: each verb must look as if it had
//! happened at one moment between its begin and its end (linearizability), and its outcome must fit what was there then.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What is asked of the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// To make it.
    Spawn,
    /// To remove it.
    Destroy,
    /// To halt it.
    Off,
    /// To start it.
    On,
    /// To start it anew.
    Reboot,
    /// To write its disk to a file.
    Snapshot,
    /// Whether it is there, and complete.
    Look,
}

/// A verb that is over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// Who asked; one verb at a time.
    pub client: usize,
    /// Which instance.
    pub instance: usize,
    /// What was asked.
    pub ask: Ask,
    /// When it was asked, in nanoseconds of a clock that all share.
    pub begin: u64,
    /// When it was over.
    pub end: u64,
    /// What became of it: for [`Ask::Look`], whether it was there; the error otherwise.
    pub outcome: Result<bool, String>,
}

/// What an instance can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Not there.
    Absent,
    /// Running.
    On,
    /// Halted.
    Off,
}

use State::{Absent, Off, On};

/// What it may be after a verb; empty if the verb cannot have ended so.
fn after(event: &Event, state: State, alone: bool) -> &'static [State] {
    let same: &[State] = match state {
        Absent => &[Absent],
        On => &[On],
        Off => &[Off],
    };
    let there = state != Absent;
    match (event.ask, &event.outcome) {
        (Ask::Spawn, Ok(_)) if !there => &[On],
        // A spawn that fails has no effect, and fails only because of what is there, or of somebody in its way.
        (Ask::Spawn, Err(_)) if there || !alone => same,
        (Ask::Destroy, Ok(_)) => &[Absent],
        (Ask::Destroy, Err(_)) if !alone && there => &[Absent, On, Off],
        // Two that are being made at the same time, of which one will give way.
        (Ask::Destroy, Err(_)) if !alone => same,
        (Ask::Off, Ok(_)) if there => &[Off],
        (Ask::On | Ask::Reboot, Ok(_)) if there => &[On],
        (Ask::Off | Ask::On | Ask::Reboot, Err(_)) if !there => same,
        // Another power verb, or a removal, was quicker in the middle of it.
        (Ask::Off | Ask::On | Ask::Reboot, Err(_)) if !alone => &[On, Off],
        (Ask::Snapshot, Ok(_)) if there => same,
        (Ask::Snapshot, Err(_)) if !there || !alone => same,
        (Ask::Look, Ok(seen)) if *seen == there => same,
        _ => &[],
    }
}

/// What an instance can be in the end, having been absent at first; empty when no order of its events explains their
/// outcomes.
pub fn ends(events: &[Event]) -> BTreeSet<State> {
    let clients: BTreeSet<usize> = events.iter().map(|event| event.client).collect();
    let mut lines: Vec<Vec<&Event>> = clients
        .iter()
        .map(|client| events.iter().filter(|event| event.client == *client).collect())
        .collect();
    for line in &mut lines {
        line.sort_by_key(|event| event.begin);
    }
    let alone = |event: &Event| {
        !events.iter().any(|other| {
            other.client != event.client
                && !matches!(other.ask, Ask::Look)
                && other.begin <= event.end
                && event.begin <= other.end
        })
    };
    let mut seen = BTreeSet::new();
    let mut open = vec![(vec![0; lines.len()], Absent)];
    let mut ends = BTreeSet::new();
    while let Some((at, state)) = open.pop() {
        let next =
            || lines.iter().zip(&at).enumerate().filter_map(|(i, (line, at))| Some((i, *line.get(*at)?)));
        // Nothing happens after the end of something that has not happened yet.
        let Some(limit) = next().map(|(_, event)| event.end).min() else {
            ends.insert(state);
            continue;
        };
        for (line, event) in next().filter(|(_, event)| event.begin <= limit) {
            for state in after(event, state, alone(event)) {
                let mut at = at.clone();
                at[line] += 1;
                if seen.insert((at.clone(), *state)) {
                    open.push((at, *state));
                }
            }
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(client: usize, ask: Ask, (begin, end): (u64, u64), outcome: Result<bool, &str>) -> Event {
        Event { client, instance: 0, ask, begin, end, outcome: outcome.map_err(str::to_owned) }
    }

    fn ends_of(events: &[Event]) -> Vec<State> {
        ends(events).into_iter().collect()
    }

    const NO: Result<bool, &str> = Err("no");
    const DONE: Result<bool, &str> = Ok(true);

    #[test]
    fn one_after_the_other() {
        let spawn = event(0, Ask::Spawn, (0, 1), DONE);
        assert_eq!(ends_of(&[]), [Absent]);
        assert_eq!(ends_of(std::slice::from_ref(&spawn)), [On]);
        let twice = event(1, Ask::Spawn, (2, 3), DONE);
        assert_eq!(ends_of(&[spawn.clone(), twice]), [], "a second one of the same name");
        let refused = event(1, Ask::Spawn, (2, 3), NO);
        assert_eq!(ends_of(&[spawn.clone(), refused.clone()]), [On]);
        assert_eq!(ends_of(&[refused]), [], "refused without a reason");
        let gone = event(1, Ask::Look, (2, 3), Ok(false));
        assert_eq!(ends_of(&[spawn.clone(), gone.clone()]), [], "a lost instance");
        let destroyed = event(0, Ask::Destroy, (1, 4), DONE);
        assert_eq!(ends_of(&[spawn.clone(), gone, destroyed.clone()]), [Absent]);
        let off = event(1, Ask::Off, (5, 6), DONE);
        assert_eq!(ends_of(&[spawn.clone(), off.clone()]), [Off]);
        assert_eq!(ends_of(&[spawn, destroyed, off]), [], "halted after it was removed");
    }

    #[test]
    fn at_the_same_time() {
        let (first, second) = (event(0, Ask::Spawn, (0, 9), DONE), event(1, Ask::Spawn, (1, 8), DONE));
        assert_eq!(ends_of(&[first.clone(), second]), [], "both were made");
        let second = event(1, Ask::Spawn, (1, 8), NO);
        assert_eq!(ends_of(&[first.clone(), second.clone()]), [On]);
        let neither = [event(0, Ask::Spawn, (0, 9), NO), second];
        assert_eq!(ends_of(&neither), [Absent], "both gave way");
        let destroy = event(1, Ask::Destroy, (1, 8), DONE);
        assert_eq!(ends_of(&[first.clone(), destroy]), [Absent, On]);
        let (on, off) = (event(1, Ask::On, (10, 20), DONE), event(2, Ask::Off, (11, 19), DONE));
        assert_eq!(ends_of(&[first.clone(), on, off]), [On, Off]);
        let late = event(1, Ask::Look, (10, 11), Ok(false));
        assert_eq!(ends_of(&[first, late]), []);
    }
}
