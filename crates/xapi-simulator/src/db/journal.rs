//! The objects on disk: a snapshot and the commits since.
//!
//! `snapshot.json` holds every persistent object and the generation of the last commit it knows; it is replaced by a
//! rename, so it is always whole. `journal.jsonl` has one line for each commit since; lines that the snapshot knows
//! already are skipped, and a torn last line, which no caller was ever told about, is cut off.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use xenapi_wire::Value;

use super::tx::Changes;
use super::{Stored, View};
use crate::json;
use crate::schema::Class;

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process works with the directory.
    #[error("{} is in use by another simulator; stop it, or give this one a directory of its own", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A file does not hold what was written to it.
    #[error("{} line {line} is damaged: {reason}; restore it from a backup, or start with an empty directory", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// The writing end.
pub(super) struct Journal {
    inner: Arc<Mutex<Inner>>,
    /// Dropped to end the flusher.
    flusher: Option<(Sender<()>, std::thread::JoinHandle<()>)>,
}

struct Inner {
    directory: PathBuf,
    file: File,
    len: u64,
    compact_at: u64,
    dirty: bool,
    closed: bool,
    error: Option<StateError>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    generation: u64,
    #[serde(default)]
    put: Vec<Row>,
    #[serde(default)]
    del: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    class: String,
    #[serde(rename = "ref")]
    reference: String,
    created: u64,
    modified: u64,
    fields: BTreeMap<String, Json>,
}

const SNAPSHOT: &str = "snapshot.json";
const JOURNAL: &str = "journal.jsonl";
/// A journal shorter than this is never folded into the snapshot.
const MIN_COMPACTION: u64 = 8 << 20;
/// How long a commit may wait for the disk.
const FLUSH_EVERY: Duration = Duration::from_secs(5);

impl Journal {
    pub(super) fn open(directory: &Path, view: &mut View) -> Result<Self, StateError> {
        std::fs::create_dir_all(directory).map_err(io_error(directory))?;
        load_snapshot(&directory.join(SNAPSHOT), view)?;
        let path = directory.join(JOURNAL);
        let good = replay(&path, view)?;
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(io_error(&path))?;
        if file.metadata().map_err(io_error(&path))?.len() != good {
            file.set_len(good).map_err(io_error(&path))?;
        }
        let inner = Inner {
            directory: directory.to_owned(),
            file,
            len: good,
            compact_at: MIN_COMPACTION,
            dirty: false,
            closed: false,
            error: None,
        };
        let inner = Arc::new(Mutex::new(inner));
        let (stop, stopped) = channel::<()>();
        let flushed = inner.clone();
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || {
                while stopped.recv_timeout(FLUSH_EVERY) == Err(RecvTimeoutError::Timeout) {
                    flush(&flushed);
                }
            })
            .map_err(io_error(directory))?;
        Ok(Self { inner, flusher: Some((stop, thread)) })
    }

    /// Hands a commit to the operating system. An error is kept for [`Journal::sync`] and logged: the call that made
    /// the change cannot be undone any more.
    pub(super) fn append(&self, view: &View, changes: &Changes) {
        let mut line = Line { generation: view.generation, put: Vec::new(), del: Vec::new() };
        for (class, reference) in &changes.touched {
            let class = view.class(class);
            if !class.persistent {
                continue;
            }
            match view.table(class.name()).rows.get(reference) {
                Some(row) => line.put.push(to_row(class, reference, row)),
                None => line.del.push((class.name().to_owned(), reference.clone())),
            }
        }
        let mut text = serde_json::to_vec(&line).expect("rows are plain data");
        text.push(b'\n');
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.closed {
            return;
        }
        let result = inner.file.write_all(&text);
        inner.len += text.len() as u64;
        inner.dirty = true;
        let path = inner.directory.join(JOURNAL);
        inner.note(result.map_err(io_error(&path)));
        if inner.len > inner.compact_at {
            let result = inner.compact(view);
            inner.note(result);
        }
    }

    pub(super) fn sync(&self) -> Result<(), StateError> {
        flush(&self.inner);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.error.take().map_or(Ok(()), Err)
    }

    /// Flushes, and ignores what is appended later.
    pub(super) fn close(&self) -> Result<(), StateError> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.sync()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.flusher.take() {
            drop(stop);
            let _ = thread.join();
        }
        flush(&self.inner);
    }
}

impl Inner {
    fn note(&mut self, result: Result<(), StateError>) {
        if let Err(error) = result {
            tracing::error!(%error, "the state cannot be written");
            self.error.get_or_insert(error);
        }
    }

    /// Writes a new snapshot and empties the journal. A crash in between leaves lines that the snapshot knows.
    fn compact(&mut self, view: &View) -> Result<(), StateError> {
        let path = self.directory.join(SNAPSHOT);
        let new = self.directory.join("snapshot.json.new");
        let mut rows = Vec::new();
        for class in view.schema.classes().filter(|class| class.persistent) {
            let table = view.table(class.name());
            rows.extend(table.rows.iter().map(|(reference, row)| to_row(class, reference, row)));
        }
        let line = Line { generation: view.generation, put: rows, del: Vec::new() };
        let mut file = BufWriter::new(File::create(&new).map_err(io_error(&new))?);
        serde_json::to_writer(&mut file, &line).map_err(|e| io_error(&new)(e.into()))?;
        let file = file.into_inner().map_err(|e| io_error(&new)(e.into_error()))?;
        file.sync_all().map_err(io_error(&new))?;
        std::fs::rename(&new, &path).map_err(io_error(&path))?;
        File::open(&self.directory).and_then(|dir| dir.sync_all()).map_err(io_error(&self.directory))?;
        let written = path.metadata().map_err(io_error(&path))?.len();
        self.file.set_len(0).map_err(io_error(&self.directory.join(JOURNAL)))?;
        self.len = 0;
        self.compact_at = MIN_COMPACTION.max(2 * written);
        Ok(())
    }
}

fn flush(inner: &Mutex<Inner>) {
    let file = {
        let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::take(&mut inner.dirty) {
            return;
        }
        inner.file.try_clone()
    };
    let result = file.and_then(|file| file.sync_data());
    let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
    let path = inner.directory.join(JOURNAL);
    inner.note(result.map_err(io_error(&path)));
}

fn load_snapshot(path: &Path, view: &mut View) -> Result<(), StateError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io_error(path)(e)),
    };
    let line: Line = serde_json::from_slice(&text).map_err(|e| damaged(path, e.line(), &e.to_string()))?;
    apply(line, view).map_err(|reason| damaged(path, 1, &reason))
}

/// Applies the journal's lines and returns how many bytes of it are whole.
fn replay(path: &Path, view: &mut View) -> Result<u64, StateError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(io_error(path)(e)),
    };
    let mut reader = BufReader::new(file);
    let (mut good, mut number, mut text) = (0, 0, Vec::new());
    loop {
        text.clear();
        number += 1;
        let len = reader.read_until(b'\n', &mut text).map_err(io_error(path))?;
        if text.last() != Some(&b'\n') {
            return Ok(good);
        }
        let line: Line = serde_json::from_slice(&text).map_err(|e| damaged(path, number, &e.to_string()))?;
        if line.generation > view.generation {
            apply(line, view).map_err(|reason| damaged(path, number, &reason))?;
        }
        good += len as u64;
    }
}

fn apply(line: Line, view: &mut View) -> Result<(), String> {
    view.generation = line.generation;
    for row in line.put {
        let class = view.schema.class(&row.class);
        // A class of another release: its objects are dropped, as a downgraded server would.
        let Some(class) = class else { continue };
        let mut values: Vec<Value> = class.defaults().to_vec();
        for (name, value) in row.fields {
            if let Some(index) = class.index(&name) {
                values[index] = json::decode(value, &class.fields()[index].ty)
                    .map_err(|e| format!("{} {}: {e}", row.class, row.reference))?;
            }
        }
        let stored = Stored { created: row.created, modified: row.modified, values };
        let table = view.tables.get_mut(class.name()).expect("every class has a table");
        let before = table.swap(class, &row.reference, Some(stored));
        view.record(
            class.name(),
            &row.reference,
            before.map(|b| b.created).or(Some(row.created)),
            row.modified,
        );
    }
    for (class, reference) in line.del {
        if let Some(class) = view.schema.class(&class) {
            let table = view.tables.get_mut(class.name()).expect("every class has a table");
            if let Some(before) = table.swap(class, &reference, None) {
                view.record(class.name(), &reference, Some(before.created), line.generation);
            }
        }
    }
    Ok(())
}

fn to_row(class: &Class, reference: &str, row: &Stored) -> Row {
    let fields = class.fields().iter().zip(&row.values);
    Row {
        class: class.name().to_owned(),
        reference: reference.to_owned(),
        created: row.created,
        modified: row.modified,
        fields: fields.map(|(field, value)| (field.name.to_owned(), json::encode(value))).collect(),
    }
}

fn io_error(path: &Path) -> impl Fn(std::io::Error) -> StateError + use<'_> {
    move |source| StateError::Io { path: path.to_owned(), source }
}

fn damaged(path: &Path, line: usize, reason: &str) -> StateError {
    StateError::Damaged { path: path.to_owned(), line, reason: reason.to_owned() }
}
