//! QEMU's monitor protocol: commands, their answers in the same order, and events between them.

use std::collections::VecDeque;
use std::io;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

/// Whether there is a machine, and whether it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Power {
    On,
    /// The guest has switched it off; QEMU waits.
    Off,
    /// The guest has restarted it; QEMU waits.
    Restarting,
    /// QEMU has ended.
    Gone,
}

type Reply = Result<Value, String>;

/// A monitor with which the capabilities have been agreed on.
#[derive(Debug)]
pub(super) struct Qmp {
    commands: mpsc::Sender<(String, oneshot::Sender<Reply>)>,
    power: watch::Receiver<Power>,
}

impl Qmp {
    /// Begins to talk over the connection that QEMU has made.
    ///
    /// # Errors
    /// When QEMU ends before it answers.
    pub(super) async fn begin(stream: UnixStream) -> io::Result<Self> {
        let (read, write) = stream.into_split();
        let (commands, waiting) = mpsc::channel(8);
        let (told, power) = watch::channel(Power::On);
        tokio::spawn(async move {
            if let Err(error) = talk(read, write, waiting, &told).await {
                tracing::debug!(%error, "QEMU's monitor ended");
            }
            told.send_replace(Power::Gone);
        });
        let qmp = Self { commands, power };
        qmp.command("qmp_capabilities", json!({})).await?;
        // Answered only when everything on the command line has been set up.
        qmp.command("query-status", json!({})).await?;
        Ok(qmp)
    }

    /// Whether the machine is on, now and from now on.
    pub(super) fn power(&self) -> watch::Receiver<Power> {
        self.power.clone()
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// What QEMU says against it; a broken pipe when QEMU has ended.
    pub(super) async fn command(&self, name: &str, arguments: Value) -> io::Result<Value> {
        let (reply, answer) = oneshot::channel();
        let line = format!("{}\n", json!({ "execute": name, "arguments": arguments }));
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, format!("QEMU has ended before {name}"));
        self.commands.send((line, reply)).await.map_err(|_| gone())?;
        let answer = answer.await.map_err(|_| gone())?;
        answer.map_err(|text| io::Error::other(format!("QEMU refuses {name}: {text}")))
    }
}

/// Until QEMU hangs up, or nobody can give commands any more.
async fn talk(
    read: OwnedReadHalf,
    mut write: OwnedWriteHalf,
    mut waiting: mpsc::Receiver<(String, oneshot::Sender<Reply>)>,
    power: &watch::Sender<Power>,
) -> io::Result<()> {
    let mut lines = BufReader::new(read).lines();
    let mut pending: VecDeque<oneshot::Sender<Reply>> = VecDeque::new();
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                let message: Value = serde_json::from_str(&line)?;
                if let Some(answer) = reply(&message) {
                    // Who asked may have given up.
                    let _ = pending.pop_front().map(|asked| asked.send(answer));
                } else {
                    note(&message, power);
                }
            }
            command = waiting.recv() => {
                let Some((line, asked)) = command else { return Ok(()) };
                pending.push_back(asked);
                write.write_all(line.as_bytes()).await?;
            }
        }
    }
}

/// The answer in a message, if it is one.
fn reply(message: &Value) -> Option<Reply> {
    if let Some(value) = message.get("return") {
        return Some(Ok(value.clone()));
    }
    let error = message.get("error")?;
    Some(Err(error["desc"].as_str().unwrap_or("no reason is given").to_owned()))
}

/// Of the events, the one that tells of the machine's power.
fn note(message: &Value, power: &watch::Sender<Power>) {
    if message["event"] == "SHUTDOWN" {
        let restarts = message["data"]["reason"] == "guest-reset";
        power.send_replace(if restarts { Power::Restarting } else { Power::Off });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The monitor's other end, in QEMU's place.
    async fn answer(stream: UnixStream) {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n").await.unwrap();
        while let Some(line) = lines.next_line().await.unwrap() {
            let command: Value = serde_json::from_str(&line).unwrap();
            let text = match command["execute"].as_str().unwrap() {
                "stop" => {
                    "{\"event\": \"STOP\"}\n{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\n"
                }
                "system_powerdown" => {
                    "{\"return\": {}}\n{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true}}\n"
                }
                "cont" => {
                    "{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": \"guest-reset\"}}\n{\"return\": {}}\n"
                }
                "quit" => return,
                _ => "{\"return\": {}}\n",
            };
            write.write_all(text.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn answers_and_events_are_told_apart() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        tokio::spawn(answer(theirs));
        let qmp = Qmp::begin(ours).await.unwrap();
        let mut power = qmp.power();
        let refused = qmp.command("stop", json!({})).await.unwrap_err().to_string();
        assert_eq!(refused, "QEMU refuses stop: no");
        assert_eq!(*power.borrow_and_update(), Power::On);
        qmp.command("system_powerdown", json!({})).await.unwrap();
        power.wait_for(|power| *power == Power::Off).await.unwrap();
        qmp.command("cont", json!({})).await.unwrap();
        assert_eq!(*power.borrow_and_update(), Power::Restarting);
        assert_eq!(
            qmp.command("quit", json!({})).await.unwrap_err().kind(),
            io::ErrorKind::BrokenPipe,
            "QEMU hangs up"
        );
        power.wait_for(|power| *power == Power::Gone).await.unwrap();
    }
}
