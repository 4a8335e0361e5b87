//! `disk tree`: the disks of a folder or a repository as the trees that they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use disk_stream::Inspected;
use examples::cli::Target;
use examples::report::sentence;
use serde_json::{Value, json};
use uuid::Uuid;
use vhd::DiskMap;
use vhd::chain::Link;
use vhd::inspect::Grade;

use crate::check;
use crate::open::{self, Format, OddArgs};
use crate::output::{self, Output};
use crate::repository;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder: that in which a host has mounted a repository, for example, or that of the volumes of one.
    #[arg(required_unless_present = "sr")]
    folder: Option<PathBuf>,
    /// Instead of a folder: the disks of the repository with this name or uuid, as its host tells of them.
    #[arg(long, value_name = "NAME|UUID", conflicts_with = "folder")]
    sr: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// A disk of the folder or repository.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) uuid: Option<Uuid>,
    /// Whether it has one, and unless that is a raw disk, which.
    pub(crate) parent: Option<Option<Uuid>>,
    /// Whether that is a raw disk that is there.
    pub(crate) on_raw: bool,
    pub(crate) virtual_bytes: u64,
    pub(crate) file_bytes: u64,
    pub(crate) notes: Vec<String>,
    /// What is wrong with it.
    pub(crate) trouble: Option<&'static str>,
}

/// XenServer makes no snapshot of a disk that has as many layers.
const DEEPEST: usize = 30;
/// Nothing is drawn below so many layers.
const LOWEST: usize = 300;

pub(crate) fn run(args: &Args, json: bool) -> Result<Output> {
    let nodes = match (&args.folder, &args.sr) {
        (Some(folder), _) => read(folder)?,
        (None, Some(name)) => repository::read(name, &args.target, json)?,
        (None, None) => bail!("name a folder, or --sr"),
    };
    let mut by_uuid = BTreeMap::new();
    for (i, node) in nodes.iter().enumerate() {
        if let Some(uuid) = node.uuid.filter(|uuid| !uuid.is_nil()) {
            by_uuid.entry(uuid).or_insert(i);
        }
    }
    let mut children: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut roots = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        match node.parent.flatten().and_then(|uuid| by_uuid.get(&uuid)).filter(|at| **at != i) {
            Some(at) => children.entry(*at).or_default().push(i),
            None => roots.push(i),
        }
    }
    let mut uuids: BTreeMap<Uuid, usize> = BTreeMap::new();
    nodes.iter().filter_map(|node| node.uuid).for_each(|uuid| *uuids.entry(uuid).or_default() += 1);
    uuids.retain(|uuid, disks| *disks > 1 && !uuid.is_nil());
    let mut drawing = Drawing {
        nodes: &nodes,
        children: &children,
        known: &by_uuid,
        shared: &uuids,
        circles: 0,
        drawn: BTreeSet::new(),
        text: String::new(),
        missing: 0,
    };
    let mut trees: Vec<Value> = roots.iter().map(|root| drawing.draw(*root, "", "", 1)).collect();
    // What is left stands on a circle, which is where its parents lead.
    let parent = |at: usize| nodes[at].parent.flatten().and_then(|uuid| by_uuid.get(&uuid)).copied();
    for i in 0..nodes.len() {
        if !drawing.drawn.contains(&i) {
            let at = (0..nodes.len()).try_fold(i, |at, _| parent(at)).unwrap_or(i);
            trees.push(drawing.draw(at, "", "", 1));
        }
    }
    let Drawing { mut text, missing, circles, .. } = drawing;
    let bad = nodes.iter().filter(|node| node.trouble.is_some()).count();
    let _ = write!(text, "{} disks, {bad} with faults of their own, {missing} parents missing", nodes.len());
    for (count, what) in [(circles, "circles"), (uuids.len(), "uuids that several disks have")] {
        let _ = if count > 0 { write!(text, ", {count} {what}") } else { Ok(()) };
    }
    let json = json!({
        "folder": args.folder.as_deref().map(output::name),
        "sr": args.sr,
        "trees": trees,
        "faults": bad,
        "missing-parents": missing,
        "circles": circles,
        "shared-uuids": uuids.len(),
    });
    let good = bad + missing + circles + uuids.len() == 0;
    Ok(Output::new(text, json).code(if good { 0 } else { FAULTS }))
}

/// As `check` has it for what some reader stumbles over.
const FAULTS: u8 = 2;

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
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let found = match Inspected::open(path, false) {
            Ok(found) => found,
            // One that cannot be read hides none of the others.
            Err(error) => return unread(name, error),
        };
        let report = found.report();
        let link = report.map.as_ref().map(Link::vhd);
        let hidden = link.as_ref().is_some_and(|link| link.hidden);
        Node {
            name,
            uuid: link.as_ref().and_then(|link| link.uuid),
            on_raw: link.as_ref().is_some_and(|link| has_raw_parent(path, link)),
            parent: link.and_then(|link| link.parent).map(|parent| parent.uuid),
            virtual_bytes: report.map.as_ref().map_or(0, DiskMap::virtual_size),
            file_bytes: found.file_len(),
            notes: hidden.then(|| "hidden".to_owned()).into_iter().collect(),
            trouble: report.grade().filter(|grade| *grade > Grade::Accepted).map(check::grade),
        }
    };
    Ok(files.iter().map(node).collect())
}

/// A disk of which nothing is known.
fn unread(name: String, error: disk_stream::Error) -> Node {
    Node {
        name,
        uuid: None,
        parent: None,
        on_raw: false,
        virtual_bytes: 0,
        file_bytes: 0,
        notes: vec![sentence(&error.into())],
        trouble: Some("unreadable"),
    }
}

/// Whether a raw disk is where one of its locators says that its parent is, beside it.
fn has_raw_parent(path: &Path, link: &Link) -> bool {
    let is_raw = link.parent.as_ref().is_some_and(|parent| parent.uuid.is_none());
    let paths =
        || open::alone(path, Some(Format::Vhd), &OddArgs::default()).ok()?.layers()[0].parent_paths().ok();
    is_raw
        && paths().into_iter().flatten().any(|parent| {
            let name = Path::new(parent.as_str()).file_name();
            name.is_some_and(|name| path.with_file_name(name).is_file())
        })
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
    known: &'a BTreeMap<Uuid, usize>,
    /// Uuids of several disks, and of how many.
    shared: &'a BTreeMap<Uuid, usize>,
    circles: usize,
    drawn: BTreeSet<usize>,
    text: String,
    missing: usize,
}

impl Drawing<'_> {
    /// Counts what stands on these and was not drawn yet, as if it had been.
    fn pass_over(&mut self, disks: &[usize]) -> usize {
        let (mut left, mut count) = (disks.to_vec(), 0);
        while let Some(at) = left.pop() {
            if self.drawn.insert(at) {
                count += 1;
                left.extend(self.children.get(&at).into_iter().flatten());
            }
        }
        count
    }

    fn draw(&mut self, at: usize, first: &str, rest: &str, depth: usize) -> Value {
        let node = &self.nodes[at];
        let missing =
            node.parent.filter(|parent| parent.map_or(!node.on_raw, |uuid| !self.known.contains_key(&uuid)));
        let mut notes = node.notes.clone();
        // Whoever is drawn first and has a parent that is there is below itself.
        if depth == 1 && missing.is_none() && node.parent.flatten().is_some() {
            self.circles += 1;
            notes.push("its parents go round in a circle".to_owned());
        }
        if node.on_raw {
            notes.push("its parent is a raw disk".to_owned());
        }
        if let Some(disks) = node.uuid.and_then(|uuid| self.shared.get(&uuid)) {
            notes.push(format!("{disks} disks have its uuid"));
        }
        if let Some(uuid) = missing {
            self.missing += 1;
            let name = uuid.map_or("(a raw disk)".to_owned(), |uuid| uuid.to_string());
            notes.push(format!("its parent {name} is not here"));
        }
        notes.extend(node.trouble.map(str::to_owned));
        if depth >= DEEPEST {
            notes.push(format!("{depth} layers: XenServer makes no snapshot of it"));
        }
        let again = !self.drawn.insert(at);
        let none = Vec::new();
        let mut children = if again { &none } else { self.children.get(&at).unwrap_or(&none) };
        if depth >= LOWEST && !children.is_empty() {
            notes.push(format!("{} disks on it are not drawn", self.pass_over(children)));
            children = &none;
        }
        let (size, file) =
            (indicatif::HumanBytes(node.virtual_bytes), indicatif::HumanBytes(node.file_bytes));
        let notes_text = if notes.is_empty() { String::new() } else { format!("  [{}]", notes.join(", ")) };
        let _ = writeln!(self.text, "{first}{}  {size}, {file} taken{notes_text}", node.name);
        let mut below = Vec::new();
        for (i, child) in children.iter().enumerate() {
            let last = i + 1 == children.len();
            let (own, others) = if last { ("└── ", "    ") } else { ("├── ", "│   ") };
            below.push(self.draw(*child, &format!("{rest}{own}"), &format!("{rest}{others}"), depth + 1));
        }
        json!({
            "name": node.name,
            "uuid": node.uuid.map(|uuid| uuid.to_string()),
            "virtual-size": node.virtual_bytes,
            "file-length": node.file_bytes,
            "health": node.trouble.unwrap_or("good"),
            "notes": notes,
            "layers": depth,
            "parent-missing": missing.is_some(),
            "children": below,
        })
    }
}
