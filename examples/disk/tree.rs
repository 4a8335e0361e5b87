//! `disk tree`: the VHDs of a folder as the trees that they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use disk_stream::Inspected;
use serde_json::{Value, json};
use uuid::Uuid;
use vhd::DiskMap;
use vhd::chain::Link;
use vhd::inspect::Grade;

use crate::check;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder: an SR's, for example.
    folder: PathBuf,
}

/// A VHD of the folder.
struct Node {
    name: String,
    virtual_bytes: u64,
    file_bytes: u64,
    grade: Option<Grade>,
    link: Option<Link>,
}

pub(crate) fn run(args: &Args) -> Result<Output> {
    let nodes = read(&args.folder)?;
    let mut by_uuid = BTreeMap::new();
    for (i, node) in nodes.iter().enumerate() {
        if let Some(uuid) = node.link.as_ref().and_then(|link| link.uuid).filter(|uuid| !uuid.is_nil()) {
            by_uuid.entry(uuid).or_insert(i);
        }
    }
    let parent = |node: &Node| node.link.as_ref()?.parent.as_ref()?.uuid;
    let mut children: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut roots = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        match parent(node).and_then(|uuid| by_uuid.get(&uuid)).filter(|at| **at != i) {
            Some(at) => children.entry(*at).or_default().push(i),
            None => roots.push(i),
        }
    }
    let mut drawing = Drawing {
        nodes: &nodes,
        children: &children,
        drawn: BTreeSet::new(),
        text: String::new(),
        missing: 0,
    };
    let mut trees: Vec<Value> = roots.iter().map(|root| drawing.draw(*root, "", "", &by_uuid)).collect();
    // What is left goes round in a circle.
    for i in 0..nodes.len() {
        if !drawing.drawn.contains(&i) {
            trees.push(drawing.draw(i, "", "", &by_uuid));
        }
    }
    let Drawing { mut text, missing, .. } = drawing;
    let bad = nodes.iter().filter(|node| node.grade > Some(Grade::Accepted)).count();
    let _ = writeln!(
        text,
        "{} VHDs, {bad} that some readers stumble over, {missing} parents missing",
        nodes.len()
    );
    Ok(Output::new(text, json!({ "folder": args.folder, "trees": trees, "missing-parents": missing })))
}

fn read(folder: &Path) -> Result<Vec<Node>> {
    let failed = || format!("cannot read {}", folder.display());
    let mut files = Vec::new();
    for entry in folder.read_dir().with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        if is_vhd(&path) {
            files.push(path);
        }
    }
    files.sort();
    let node = |path: &PathBuf| {
        let found = Inspected::open(path, false)?;
        let report = found.report();
        Ok(Node {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            virtual_bytes: report.map.as_ref().map_or(0, DiskMap::virtual_size),
            file_bytes: found.file_len(),
            grade: report.grade(),
            link: report.map.as_ref().map(Link::vhd),
        })
    };
    files.iter().map(node).collect()
}

/// By its name: `*.vhd` of a folder, `VHD-*` of the volumes of an LVM repository, which are block devices.
fn is_vhd(path: &Path) -> bool {
    let named = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("vhd"))
        || path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"VHD-"));
    let kind = |metadata: std::fs::Metadata| metadata.is_file() || metadata.file_type().is_block_device();
    named && path.metadata().is_ok_and(kind)
}

struct Drawing<'a> {
    nodes: &'a [Node],
    children: &'a BTreeMap<usize, Vec<usize>>,
    drawn: BTreeSet<usize>,
    text: String,
    missing: usize,
}

impl Drawing<'_> {
    fn draw(&mut self, at: usize, first: &str, rest: &str, known: &BTreeMap<Uuid, usize>) -> Value {
        let node = &self.nodes[at];
        let parent = node.link.as_ref().and_then(|link| link.parent.as_ref());
        let missing = parent.is_some_and(|parent| parent.uuid.is_none_or(|uuid| !known.contains_key(&uuid)));
        let mut notes = Vec::new();
        if missing {
            self.missing += 1;
            let uuid = parent.and_then(|parent| parent.uuid);
            notes.push(format!(
                "its parent {} is not here",
                uuid.map_or("(a raw disk)".to_owned(), |u| u.to_string())
            ));
        }
        if node.link.as_ref().is_some_and(|link| link.hidden) {
            notes.push("hidden".to_owned());
        }
        if let Some(grade) = node.grade.filter(|grade| *grade > Grade::Accepted) {
            notes.push(check::grade(grade).to_owned());
        }
        let (size, file) =
            (indicatif::HumanBytes(node.virtual_bytes), indicatif::HumanBytes(node.file_bytes));
        let notes_text = if notes.is_empty() { String::new() } else { format!("  [{}]", notes.join(", ")) };
        let _ = writeln!(self.text, "{first}{}  {size}, {file} in the file{notes_text}", node.name);
        let again = !self.drawn.insert(at);
        let none = Vec::new();
        let children = if again { &none } else { self.children.get(&at).unwrap_or(&none) };
        let mut below = Vec::new();
        for (i, child) in children.iter().enumerate() {
            let last = i + 1 == children.len();
            let (own, others) = if last { ("└── ", "    ") } else { ("├── ", "│   ") };
            below.push(self.draw(*child, &format!("{rest}{own}"), &format!("{rest}{others}"), known));
        }
        json!({
            "name": node.name,
            "uuid": node.link.as_ref().and_then(|link| link.uuid).map(|uuid| uuid.to_string()),
            "virtual-size": node.virtual_bytes,
            "file-length": node.file_bytes,
            "grade": node.grade.map(check::grade),
            "parent-missing": missing,
            "children": below,
        })
    }
}
