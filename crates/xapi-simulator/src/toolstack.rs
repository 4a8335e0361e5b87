//! The server process: it can end and start again while the hosts and their guests go on.

use tokio::sync::watch;

/// Whether the server runs, and how often it was started.
#[derive(Debug)]
pub(crate) struct Toolstack(watch::Sender<State>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    starts: u64,
    up: bool,
}

impl Toolstack {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(State { starts: 1, up: true }))
    }

    pub(crate) fn is_up(&self) -> bool {
        self.0.borrow().up
    }

    /// How often it was started: the name of the server that runs now.
    pub(crate) fn starts(&self) -> u64 {
        self.0.borrow().starts
    }

    /// Whether the server of that start runs.
    pub(crate) fn is_still(&self, start: u64) -> bool {
        *self.0.borrow() == State { starts: start, up: true }
    }

    pub(crate) fn stop(&self) {
        self.0.send_modify(|state| state.up = false);
    }

    pub(crate) fn start(&self) {
        self.0.send_if_modified(|state| {
            let down = !state.up;
            *state = State { starts: state.starts + u64::from(down), up: true };
            down
        });
    }

    /// Waits for the end of the server that runs when this is called.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.0.subscribe();
        let begun = *state.borrow_and_update();
        async move {
            // The sender lives as long as the pool.
            let _ = state.wait_for(|now| !begun.up || *now != begun).await;
        }
    }
}
