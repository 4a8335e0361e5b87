//! What an instance may be after verbs that several programs did at the same time: each verb must look as if it had
//! happened at one moment between its begin and its end (linearizability), and its outcome must fit what was there then.

use std::collections::BTreeSet;

use super::ask::{Ask, Event, Seen, Told};

/// What an instance can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Not there.
    Absent,
    /// There.
    There(Life),
}

/// What one that is there can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life {
    /// Whether it runs.
    pub runs: bool,
    /// Whether it is soft-deleted.
    pub deleted: bool,
    /// Whether it is being rescued, and ran before.
    pub rescued: Option<bool>,
    /// Its virtual CPUs before it was resized, and whether it ran.
    pub resized: Option<(u32, bool)>,
    /// Its virtual CPUs.
    pub vcpus: u32,
    /// Whether it has its volume.
    pub volume: bool,
    /// Whether it has its second interface.
    pub interface: bool,
    /// Whether somebody has begun to destroy it, and failed: nothing but that can be done to it then.
    pub destroying: bool,
}

use State::{Absent, There};

impl Life {
    /// One that has just been made.
    pub const NEW: Self = Self {
        runs: true,
        deleted: false,
        rescued: None,
        resized: None,
        vcpus: 1,
        volume: false,
        interface: false,
        destroying: false,
    };

    fn shows(&self, seen: &Seen) -> bool {
        let Self { runs, deleted, rescued, resized, vcpus, destroying, .. } = *self;
        let (rescued, resized) = (rescued.is_some(), resized.is_some());
        // Whether it was halted before destroying it failed, nothing tells.
        let runs = if destroying { seen.runs } else { runs };
        *seen == Seen { runs, deleted, rescued, resized, vcpus, destroying, between: None }
    }
}

/// What it is after a verb that did all that it should; nothing where it must refuse.
fn done(ask: Ask, life: Life) -> Option<Life> {
    if life.destroying {
        return None;
    }
    let is_whole = life.rescued.is_none() && life.resized.is_none();
    let may_start = !life.deleted;
    Some(match ask {
        Ask::Off => Life { runs: false, ..life },
        Ask::On | Ask::Reboot if may_start => Life { runs: true, ..life },
        Ask::SoftDelete => Life { runs: false, deleted: true, ..life },
        Ask::Restore => Life { deleted: false, ..life },
        Ask::Snapshot => life,
        Ask::AttachVolume => Life { volume: true, ..life },
        Ask::DetachVolume if life.volume => Life { volume: false, ..life },
        Ask::AttachInterface if !life.interface => Life { interface: true, ..life },
        Ask::DetachInterface if life.interface => Life { interface: false, ..life },
        Ask::Resize(vcpus) if is_whole => Life { vcpus, resized: Some((life.vcpus, life.runs)), ..life },
        Ask::ConfirmResize if life.resized.is_some() => Life { resized: None, ..life },
        Ask::RevertResize => {
            let (vcpus, runs) = life.resized?;
            Life { vcpus, runs: runs && may_start, resized: None, ..life }
        }
        Ask::Rescue if is_whole && may_start => Life { runs: true, rescued: Some(life.runs), ..life },
        Ask::Unrescue => Life { runs: life.rescued? && may_start, rescued: None, ..life },
        Ask::Rebuild if is_whole => life,
        Ask::LiveMigrate if life.runs && is_whole => life,
        _ => return None,
    })
}

/// Whether it may be refused although [`done`] has an answer.
fn may_refuse(ask: Ask, life: Life) -> bool {
    match ask {
        // A host may not reach the volume.
        Ask::LiveMigrate => life.volume,
        _ => false,
    }
}

/// What a verb can meet half done, and take back: verbs name an end, which it has come to then, whoever brought it about.
fn meets(ask: Ask) -> &'static [Ask] {
    match ask {
        Ask::DetachVolume => &[Ask::DetachVolume, Ask::AttachVolume],
        Ask::DetachInterface => &[Ask::DetachInterface, Ask::AttachInterface],
        Ask::Unrescue => &[Ask::Unrescue, Ask::Rescue],
        Ask::RevertResize => &[Ask::RevertResize, Ask::Resize(1), Ask::Resize(2), Ask::Rebuild],
        Ask::ConfirmResize => &[Ask::ConfirmResize],
        _ => &[],
    }
}

/// An event and what was done to its instance at the same time.
struct Placed<'a> {
    event: &'a Event,
    beside: BTreeSet<Ask>,
    /// Whether one of them is a spawn that failed, of which there was something to destroy.
    beside_failed_spawn: bool,
}

impl Placed<'_> {
    fn is_alone(&self) -> bool {
        self.beside.is_empty()
    }

    /// What may be after it; nothing if it cannot have ended so.
    fn after(&self, state: State) -> Vec<State> {
        let ask = self.event.ask;
        match (&self.event.outcome, state) {
            (Ok(Told::Seen(None)), Absent) => vec![Absent],
            (Ok(Told::Seen(Some(seen))), There(life)) if life.shows(seen) || !self.is_alone() => vec![state],
            (Ok(Told::Has(has)), There(life)) => {
                let known = if ask == Ask::Volumes { life.volume } else { life.interface };
                if *has == known || !self.is_alone() { vec![state] } else { Vec::new() }
            }
            (Ok(Told::WasGone), Absent) => vec![Absent],
            (Ok(Told::Done), _) => self.after_success(state),
            (Err(_), _) => self.after_failure(state),
            _ => Vec::new(),
        }
    }

    fn after_success(&self, state: State) -> Vec<State> {
        match (self.event.ask, state) {
            (Ask::Spawn, Absent) => vec![There(Life::NEW)],
            (Ask::Destroy, There(_)) => vec![Absent],
            // One that saw the VM, and somebody else's that was quicker; or one that was never complete.
            (Ask::Destroy, Absent) if self.beside_failed_spawn || self.is_beside(&[Ask::Destroy]) => {
                vec![Absent]
            }
            (ask, There(_)) if self.is_beside(meets(ask)) => vec![self.done(state).unwrap_or(state)],
            _ => self.done(state).into_iter().collect(),
        }
    }

    fn is_beside(&self, asks: &[Ask]) -> bool {
        asks.iter().any(|ask| self.beside.contains(ask))
    }

    fn done(&self, state: State) -> Option<State> {
        match state {
            Absent => None,
            There(life) => done(self.event.ask, life).map(There),
        }
    }

    fn after_failure(&self, state: State) -> Vec<State> {
        let ask = self.event.ask;
        if ask.only_looks() {
            return if state == Absent || !self.is_alone() { vec![state] } else { Vec::new() };
        }
        let There(life) = state else {
            // A spawn fails only because of what is there, or of somebody in its way; so does what cannot be repeated.
            let needs_none = matches!(ask, Ask::Spawn | Ask::Destroy);
            return if needs_none && self.is_alone() { Vec::new() } else { vec![state] };
        };
        if self.is_alone() {
            let should = ask == Ask::Destroy || done(ask, life).is_some() && !may_refuse(ask, life);
            return if should { Vec::new() } else { vec![state] };
        }
        match ask {
            Ask::Destroy => vec![state, There(Life { destroying: true, ..life }), Absent],
            _ => vec![state],
        }
    }
}

/// What an instance can be after its events.
#[derive(Debug, Default)]
pub struct Ends {
    /// Each state that some order of them ends in; none when no order explains their outcomes.
    pub states: BTreeSet<State>,
    /// How far the orders got that explain most of them: how many events of each client, and what it was then.
    pub furthest: Vec<(Vec<usize>, State)>,
}

/// What an instance can be in the end, having been absent at first.
pub fn ends(events: &[Event]) -> Ends {
    let lines = lines(events);
    let mut seen = BTreeSet::new();
    let mut open = vec![(vec![0; lines.len()], Absent)];
    let (mut ends, mut most) = (Ends::default(), 0);
    while let Some((at, state)) = open.pop() {
        let next =
            || lines.iter().zip(&at).enumerate().filter_map(|(i, (line, at))| Some((i, line.get(*at)?)));
        let placed = at.iter().sum();
        if placed > most {
            (most, ends.furthest) = (placed, Vec::new());
        }
        if placed == most {
            ends.furthest.push((at.clone(), state));
        }
        // Nothing happens after the end of something that has not happened yet.
        let Some(limit) = next().map(|(_, placed)| placed.event.end).min() else {
            ends.states.insert(state);
            continue;
        };
        for (line, placed) in next().filter(|(_, placed)| placed.event.begin <= limit) {
            for state in placed.after(state) {
                let mut at = at.clone();
                at[line] += 1;
                if seen.insert((at.clone(), state)) {
                    open.push((at, state));
                }
            }
        }
    }
    ends
}

/// The events of each client in their order.
fn lines(events: &[Event]) -> Vec<Vec<Placed<'_>>> {
    let clients: BTreeSet<usize> = events.iter().map(|event| event.client).collect();
    let line = |client: &usize| {
        let mut line: Vec<Placed> = Vec::new();
        for event in events.iter().filter(|event| event.client == *client) {
            let others = events.iter().filter(|other| !other.ask.only_looks() && other.overlaps(event));
            let others: Vec<&Event> = others.collect();
            line.push(Placed {
                event,
                beside: others.iter().map(|other| other.ask).collect(),
                beside_failed_spawn: others
                    .iter()
                    .any(|other| other.ask == Ask::Spawn && other.outcome.is_err()),
            });
        }
        line.sort_by_key(|placed| placed.event.begin);
        line
    };
    clients.iter().map(line).collect()
}

impl Ends {
    /// The events around the place where no order goes on.
    pub fn story(&self, events: &[Event]) -> Vec<String> {
        let Some((at, _)) = self.furthest.first() else { return Vec::new() };
        let states: BTreeSet<String> = self.furthest.iter().map(|(_, state)| format!("{state:?}")).collect();
        let lines = lines(events);
        let mut placed: Vec<&Event> =
            lines.iter().zip(at).flat_map(|(line, at)| &line[..*at]).map(|placed| placed.event).collect();
        placed.sort_by_key(|event| event.end);
        let before = placed.len().saturating_sub(16);
        let placed = placed[before..].iter().map(|event| format!("{event}"));
        let next = lines.iter().zip(at).flat_map(|(line, at)| line[*at..].iter().take(2));
        let next = next.map(|next| format!("then {} beside {:?}", next.event, next.beside));
        placed.chain([format!("it is one of {states:?}")]).chain(next).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(client: usize, ask: Ask, (begin, end): (u64, u64), outcome: Result<Told, &str>) -> Event {
        Event { client, instance: 0, ask, begin, end, outcome: outcome.map_err(str::to_owned) }
    }

    fn ends_of(events: &[Event]) -> Vec<State> {
        ends(events).states.into_iter().collect()
    }

    const NO: Result<Told, &str> = Err("no");
    const DONE: Result<Told, &str> = Ok(Told::Done);
    const RUNS: State = There(Life::NEW);
    const HALTED: State = There(Life { runs: false, ..Life::NEW });

    #[test]
    fn one_after_the_other() {
        let spawn = event(0, Ask::Spawn, (0, 1), DONE);
        assert_eq!(ends_of(&[]), [Absent]);
        assert_eq!(ends_of(std::slice::from_ref(&spawn)), [RUNS]);
        let twice = event(1, Ask::Spawn, (2, 3), DONE);
        assert_eq!(ends_of(&[spawn.clone(), twice]), [], "a second one of the same name");
        let refused = event(1, Ask::Spawn, (2, 3), NO);
        assert_eq!(ends_of(&[spawn.clone(), refused.clone()]), [RUNS]);
        assert_eq!(ends_of(&[refused]), [], "refused without a reason");
        let gone = event(1, Ask::Look, (2, 3), Ok(Told::Seen(None)));
        assert_eq!(ends_of(&[spawn.clone(), gone.clone()]), [], "a lost instance");
        let destroyed = event(0, Ask::Destroy, (1, 4), DONE);
        assert_eq!(ends_of(&[spawn.clone(), gone, destroyed.clone()]), [Absent]);
        let twice = event(0, Ask::Destroy, (5, 6), DONE);
        assert_eq!(ends_of(&[spawn.clone(), destroyed.clone(), twice]), [], "removed twice");
        let off = event(1, Ask::Off, (5, 6), DONE);
        assert_eq!(ends_of(&[spawn.clone(), off.clone()]), [HALTED]);
        assert_eq!(ends_of(&[spawn, destroyed, off]), [], "halted after it was removed");
    }

    #[test]
    fn at_the_same_time() {
        let (first, second) = (event(0, Ask::Spawn, (0, 9), DONE), event(1, Ask::Spawn, (1, 8), DONE));
        assert_eq!(ends_of(&[first.clone(), second]), [], "both were made");
        let second = event(1, Ask::Spawn, (1, 8), NO);
        assert_eq!(ends_of(&[first.clone(), second.clone()]), [RUNS]);
        let neither = [event(0, Ask::Spawn, (0, 9), NO), second];
        assert_eq!(ends_of(&neither), [Absent], "both gave way");
        let destroy = event(1, Ask::Destroy, (1, 8), DONE);
        assert_eq!(ends_of(&[first.clone(), destroy.clone()]), [Absent]);
        let again = event(2, Ask::Destroy, (2, 10), DONE);
        // Either may have met the end of the other: that neither has removed it, nothing tells before somebody looks.
        assert!(
            ends_of(&[first.clone(), destroy.clone(), again.clone()]).contains(&Absent),
            "one of them was quicker"
        );
        let gone = event(3, Ask::Look, (11, 12), Ok(Told::Seen(None)));
        assert_eq!(ends_of(&[first.clone(), destroy, again, gone]), [Absent]);
        let (on, off) = (event(1, Ask::On, (10, 20), DONE), event(2, Ask::Off, (11, 19), DONE));
        assert_eq!(ends_of(&[first.clone(), on, off]), [HALTED, RUNS]);
        let late = event(1, Ask::Look, (10, 11), Ok(Told::Seen(None)));
        assert_eq!(ends_of(&[first, late]), []);
    }

    #[test]
    fn what_was_done_stays_done() {
        let spawn = event(0, Ask::Spawn, (0, 1), DONE);
        let seen = |vcpus, resized| {
            Ok(Told::Seen(Some(Seen {
                runs: true,
                deleted: false,
                rescued: false,
                resized,
                vcpus,
                destroying: false,
                between: None,
            })))
        };
        let resized = event(0, Ask::Resize(2), (2, 3), DONE);
        let look = event(1, Ask::Look, (4, 5), seen(2, true));
        assert_eq!(ends_of(&[spawn.clone(), resized.clone(), look]).len(), 1);
        let look = event(1, Ask::Look, (4, 5), seen(1, false));
        assert_eq!(ends_of(&[spawn.clone(), resized.clone(), look]), [], "a lost resize");
        let back = event(0, Ask::RevertResize, (6, 7), DONE);
        assert_eq!(ends_of(&[spawn.clone(), resized, back.clone()]), [RUNS]);
        assert_eq!(ends_of(&[spawn.clone(), back]), [], "there was nothing to take back");

        let deleted = event(0, Ask::SoftDelete, (2, 9), DONE);
        let restored = event(1, Ask::Restore, (3, 4), DONE);
        let on = event(1, Ask::On, (5, 6), DONE);
        let all = [spawn.clone(), deleted, restored, on];
        let ends = ends_of(&all);
        assert!(ends.contains(&RUNS) && !ends.contains(&HALTED), "{ends:?}");

        let attached = event(0, Ask::AttachVolume, (2, 3), DONE);
        let detached = |client, time| event(client, Ask::DetachVolume, time, DONE);
        let twice = [spawn.clone(), attached.clone(), detached(0, (4, 8)), detached(1, (5, 9))];
        assert_eq!(ends_of(&twice), [RUNS], "it names an end");
        let late = [spawn, attached, detached(0, (4, 5)), detached(1, (6, 9))];
        assert_eq!(ends_of(&late), []);
    }
}
