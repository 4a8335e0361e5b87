//! Merging a VHD into its parent and removing it, with what stands on it given the parent.

use std::fs::File;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use vhd::Structure;
use vhd::format::{FOOTER_LEN, Footer};

use super::place::journal_of;
use super::{Coalesced, Put, Step, Work, open, whole};
use crate::error::Error;
use crate::family::{self, Child};
use crate::image::{Declared, Image, Opening};
use crate::layer::Layer;
use crate::parents::Parents;
use crate::progress::Progress;
use crate::repair::lock;
use crate::target::{Existing, folder};
use crate::upload::Upload;

/// As [`coalesce`](crate::coalesce()), and removes the child. Blocking.
///
/// What has the child as its parent, in the child's folder, is written anew as a difference to the child's parent first, each
/// in one step; the disk that it shows does not change. Each of them must be a file with one name, and nobody may have locked it:
/// that is looked at before anything is written.
///
/// A parent that is marked as a base copy (`hidden`) and has no children any longer loses that mark: it is the disk that the child
/// was, and XenServer would remove it.
///
/// Killed at any moment, the next call with the same child goes on. The journal stays until the child is
/// gone; one that is left without a child is removed by the next merge into the parent.
///
/// # Errors
/// As [`coalesce`](crate::coalesce()) and [`Image::save_difference`]; [`Error::Refused`], before anything is written, when the
/// child, or what stands on it, is not a file with one name, or no VHD; [`Error::InUse`]; [`Error::Changed`] when somebody has written to the
/// child, which is not removed then.
pub fn coalesce_and_remove(child: &Path, opening: &Opening, progress: &Progress) -> Result<Coalesced, Error> {
    let mut put = |file: &File, at, bytes: &[u8]| file.write_all_at(bytes, at);
    run(child, opening, progress, &mut put, &mut || Ok(()))
}

/// `step` is called after each step behind the merge; tests break off there.
pub(super) fn run(
    child: &Path,
    opening: &Opening,
    progress: &Progress,
    put: &mut Put<'_>,
    step: &mut dyn FnMut() -> Result<(), Error>,
) -> Result<Coalesced, Error> {
    let image = open(child, opening)?;
    let [leaf, parent, ..] = image.layers() else { return Err(whole(child)) };
    if child.is_symlink() {
        return Err(refused(child, "it is a link, which would be all that is removed; name the file"));
    }
    one_name(child)?;
    let mut work = Work::begin(leaf, parent, opening.journals.as_deref())?;
    let above = family::children(leaf, None, &[folder(child)])?;
    above.iter().try_for_each(movable)?;
    // Once it is merged there is no way back.
    let (_, below) = moving(&image, opening)?;
    for Child { path, .. } in &above {
        if Image::open_with(path, &below)?.virtual_size() < leaf.virtual_size() {
            let why = "its disk is smaller than that of its parent; write it anew with convert, as a whole disk, first";
            return Err(refused(path, why));
        }
    }
    let mut done = match work.journal.step() {
        Step::Merging => {
            let done = work.fill(progress, put)?;
            work.journal.reach(Step::Moving)?;
            step()?;
            done
        }
        Step::Moving | Step::Removing => work.nothing_copied(),
    };
    let (base, below) = moving(&image, opening)?;
    for Child { path, .. } in above {
        rebase(&Image::open_with(&path, &below)?, &base, progress)?;
        step()?;
        done.moved.push(path);
    }
    // Moving takes its time: what was made of it meanwhile would lose its parent.
    if let Some(Child { path, .. }) = family::children(leaf, None, &[folder(child)])?.first() {
        let why =
            "it was made meanwhile on what is removed; call this again, which gives it its new parent, too";
        return Err(refused(path, why));
    }
    work.journal.reach(Step::Removing)?;
    step()?;
    leaf.check_unchanged()?;
    done.unhidden = unhide(parent, leaf, &work.file, put)?;
    let failed = |source| Error::Write { path: child.to_owned(), source };
    std::fs::remove_file(child).map_err(failed)?;
    File::open(folder(child)).and_then(|folder| folder.sync_all()).map_err(failed)?;
    step()?;
    work.journal.remove()?;
    Ok(done)
}

/// Takes the mark of a base copy off a parent that takes the place of a leaf: XenServer removes what is marked and has no
/// children. What was marked itself leaves the mark where it is. A kill may leave it in one of the two footers, which both are
/// looked at.
fn unhide(parent: &Layer, leaf: &Layer, file: &File, put: &mut Put<'_>) -> Result<bool, Error> {
    let Some(map) = parent.map().filter(|_| !leaf.link().hidden) else { return Ok(false) };
    let failed = |source| Error::Write { path: parent.path().to_owned(), source };
    let len = match parent.disk_file().is_device() {
        true => parent.file_len(),
        // It has grown.
        false => file.metadata().map_err(failed)?.len(),
    };
    let end = (len.saturating_sub(FOOTER_LEN as u64), Structure::EndFooter);
    let front = map.header().map(|_| (0, Structure::FrontFooter));
    let mut hidden = Vec::new();
    for (at, what) in [Some(end), front].into_iter().flatten() {
        let mut bytes = [0; FOOTER_LEN];
        file.read_exact_at(&mut bytes, at).map_err(failed)?;
        // A fixed VHD on a larger device has its footer elsewhere, and keeps the mark.
        hidden.extend(
            Footer::parse(&bytes, at, what)
                .ok()
                .filter(|footer| footer.hidden != 0)
                .map(|footer| (at, footer)),
        );
    }
    let stays = |child: &Child| child.identity != leaf.identity();
    let folders = [folder(leaf.path()), folder(parent.path())];
    if hidden.is_empty() || family::children(parent, None, &folders)?.iter().any(stays) {
        return Ok(false);
    }
    for (at, footer) in hidden {
        put(file, at, &Footer { hidden: 0, ..footer }.to_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
    }
    Ok(true)
}

/// The parent of what is merged, as it is by now, and how what stands on the child is opened.
fn moving(image: &Image, opening: &Opening) -> Result<(Image, Opening), Error> {
    let paths: Vec<PathBuf> = image.layers().iter().map(|layer| layer.path().to_owned()).collect();
    let parent = &image.layers()[1];
    let declared = if parent.map().is_some() { Declared::Vhd } else { Declared::Raw };
    let ordered = |declared, parents: &[PathBuf]| Opening {
        declared,
        parents: Parents::Order(parents.to_vec()),
        ..opening.clone()
    };
    let base = Image::open_with(parent.path(), &ordered(declared, &paths[2..]))?;
    let mut above = ordered(Declared::Vhd, &paths);
    // Below it is one layer more than the child had.
    above.rules.depth = above.rules.depth.saturating_add(1);
    Ok((base, above))
}

fn rebase(child: &Image, base: &Image, progress: &Progress) -> Result<(), Error> {
    let upload =
        Upload { uuid: child.layers()[0].link().uuid, progress: progress.clone(), ..Upload::default() };
    child.save_difference(base, child.path(), Existing::Replace, &upload).map(drop)
}

/// Whether another file can take its place, as far as that can be known before.
fn movable(Child { path, vhd, .. }: &Child) -> Result<(), Error> {
    if !vhd {
        let why = "it is a qcow2 image on what would be removed; give it another one with qemu-img rebase";
        return Err(refused(path, why));
    }
    one_name(path)?;
    if journal_of(path).exists() {
        return Err(refused(path, "a merge into it was begun and not completed: complete that one first"));
    }
    // Where it cannot be asked, it can be replaced all the same.
    File::options().read(true).write(true).open(path).map_or(Ok(()), |file| lock(&file, path))
}

/// Refuses what has other names, which would keep what is there now, and devices, whose name would be all that is replaced.
fn one_name(path: &Path) -> Result<(), Error> {
    let metadata = path.metadata().map_err(|source| Error::Open { path: path.to_owned(), source })?;
    if metadata.file_type().is_block_device() {
        let why = "it is a device, which is neither removed nor replaced; merge without removing anything";
        return Err(refused(path, why));
    }
    match metadata.nlink() {
        0..=1 => Ok(()),
        names => {
            let others = "of which the others would keep the disk as it was; leave it one name first";
            Err(refused(path, &format!("it has {names} names (hard links), {others}")))
        }
    }
}

fn refused(path: &Path, why: &str) -> Error {
    Error::Refused { path: path.to_owned(), why: why.to_owned() }
}
