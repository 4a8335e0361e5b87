//! The serial port of a machine: what it has said, for whoever comes later, and what is typed into it.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

/// How much of what was said is kept for those who come later.
const KEPT_BYTES: usize = 256 << 10;

/// A serial port.
#[derive(Debug)]
pub(super) struct Serial {
    said: Arc<Mutex<Said>>,
    /// How many bytes were said in all.
    total: watch::Receiver<u64>,
    typed: mpsc::Sender<Vec<u8>>,
}

/// The last bytes that were said.
#[derive(Debug, Default)]
struct Said {
    kept: VecDeque<u8>,
    total: u64,
}

impl Said {
    fn add(&mut self, bytes: &[u8]) {
        self.kept.extend(bytes);
        self.kept.drain(..self.kept.len().saturating_sub(KEPT_BYTES));
        self.total += bytes.len() as u64;
    }

    /// What is kept of what was said from this byte on.
    fn since(&self, from: u64) -> Vec<u8> {
        let first = self.total - self.kept.len() as u64;
        self.kept.range(from.saturating_sub(first) as usize..).copied().collect()
    }
}

impl Serial {
    /// Listens to the port until its machine ends; `log` gets everything, after what is in it.
    ///
    /// # Errors
    /// When the log cannot be opened.
    pub(super) async fn new(port: UnixStream, log: Option<&Path>) -> io::Result<Self> {
        let log = match log {
            Some(path) => {
                Some(File::options().create(true).append(true).open(path).await.map_err(|error| {
                    io::Error::new(error.kind(), format!("the console's log {}: {error}", path.display()))
                })?)
            }
            None => None,
        };
        let (said, (heard, total)) = (Arc::<Mutex<Said>>::default(), watch::channel(0));
        let (typed, keys) = mpsc::channel(16);
        let (mut read, write) = port.into_split();
        let into = said.clone();
        tokio::spawn(async move {
            if let Err(error) = listen(&mut read, &into, log, &heard).await {
                tracing::warn!(%error, "a serial port is not heard any more");
            }
        });
        tokio::spawn(pass_on(keys, write));
        Ok(Self { said, total, typed })
    }

    /// Lets somebody at the port: first comes what is kept of what was said.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(super) async fn serve(&self, conn: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
        let (mut read, mut write) = tokio::io::split(conn);
        let mut total = self.total.clone();
        let (mut shown, mut typed) = (0, vec![0; 512]);
        loop {
            total.borrow_and_update();
            let (said, end) = {
                let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
                (said.since(shown), said.total)
            };
            if end > shown {
                write.write_all(&said).await?;
                write.flush().await?;
                shown = end;
            }
            tokio::select! {
                changed = total.changed() => if changed.is_err() { return Ok(()) },
                len = read.read(&mut typed) => match len? {
                    0 => return Ok(()),
                    len => if self.typed.send(typed[..len].to_vec()).await.is_err() { return Ok(()) },
                },
            }
        }
    }
}

async fn listen(
    port: &mut (impl AsyncRead + Unpin),
    said: &Mutex<Said>,
    mut log: Option<File>,
    heard: &watch::Sender<u64>,
) -> io::Result<()> {
    let mut bytes = vec![0; 4 << 10];
    loop {
        let len = port.read(&mut bytes).await?;
        if len == 0 {
            return Ok(());
        }
        if let Some(log) = &mut log {
            log.write_all(&bytes[..len]).await?;
            log.flush().await?;
        }
        let total = {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.add(&bytes[..len]);
            said.total
        };
        heard.send_replace(total);
    }
}

async fn pass_on(mut keys: mpsc::Receiver<Vec<u8>>, mut port: impl AsyncWrite + Unpin) {
    while let Some(bytes) = keys.recv().await {
        if port.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept() {
        let mut said = Said::default();
        said.add(b"first");
        assert_eq!((said.since(0), said.since(3)), (b"first".to_vec(), b"st".to_vec()));
        said.add(&vec![b'.'; KEPT_BYTES - 2]);
        assert_eq!(&said.since(0)[..3], b"st.", "from the first byte that is kept");
        assert_eq!(said.since(said.total), b"");
    }

    #[tokio::test]
    async fn who_comes_later_sees_what_was_said_and_can_type() {
        let (port, mut machine) = UnixStream::pair().unwrap();
        let serial = Serial::new(port, None).await.unwrap();
        machine.write_all(b"login: ").await.unwrap();
        let (viewer, mut end) = tokio::io::duplex(64);
        tokio::spawn(async move {
            let mut viewer = viewer;
            serial.serve(&mut viewer).await
        });
        let mut seen = [0; 7];
        end.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"login: ");
        end.write_all(b"root").await.unwrap();
        let mut typed = [0; 4];
        machine.read_exact(&mut typed).await.unwrap();
        assert_eq!(&typed, b"root");
        drop(machine);
        assert_eq!(end.read(&mut seen).await.unwrap(), 0, "the connection ends with the machine");
    }
}
