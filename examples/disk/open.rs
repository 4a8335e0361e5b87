//! How images are named on the command line.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use disk_stream::{Declared, Error, Image, Opening, Parents};
use tempfile::TempDir;
use vhd::EndFooterPolicy;
use vhd::chain::Rules;
use vhd::zero;

/// What an image is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The disk's bytes and nothing else.
    Raw,
    /// A VHD of any type.
    Vhd,
    /// A qcow2 image without a backing file.
    Qcow2,
}

impl Format {
    pub(crate) fn declared(format: Option<Self>) -> Declared {
        match format {
            None => Declared::Unknown,
            Some(Self::Raw) => Declared::Raw,
            Some(Self::Vhd) => Declared::Vhd,
            Some(Self::Qcow2) => Declared::Qcow2,
        }
    }
}

/// An image that is read at random; standard input is put into a file for that.
pub(crate) struct Input {
    path: PathBuf,
    spool: Option<TempDir>,
}

impl Input {
    /// `-` is standard input, which has one image: of several inputs, one can be it.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        if path != Path::new("-") {
            return Ok(Self { path: path.to_owned(), spool: None });
        }
        let failed = || "cannot keep what comes from standard input (TMPDIR says where)";
        let spool = TempDir::new().with_context(failed)?;
        let path = spool.path().join("standard input");
        let file = File::create_new(&path).with_context(failed)?;
        let (mut input, mut buffer, mut len) = (std::io::stdin().lock(), vec![0; 1 << 20], 0);
        loop {
            let got = input.read(&mut buffer).context("cannot read standard input")?;
            if got == 0 {
                break;
            }
            for run in zero::nonzero_runs(&buffer[..got], 4096) {
                file.write_all_at(&buffer[run.clone()], len + run.start as u64).with_context(failed)?;
            }
            len += got as u64;
        }
        file.set_len(len).with_context(failed)?;
        Ok(Self { path, spool: Some(spool) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Where the parents of a differencing VHD are.
#[derive(Debug, Args)]
pub(crate) struct ParentArgs {
    /// The parents of a differencing VHD, from its own to the root.
    ///
    /// Without this, they are looked for where the VHD says, as far as that is in its own folder, and then
    /// among the VHDs of that folder by their uuids.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    chain: Vec<PathBuf>,
    /// Look for parents in this folder instead.
    #[arg(long, value_name = "FOLDER", conflicts_with = "chain")]
    parents: Option<PathBuf>,
    /// Most layers that a chain may have.
    #[arg(long, value_name = "N", default_value_t = 30)]
    depth: usize,
}

impl ParentArgs {
    /// Opens an image with all its parents. What came from standard input has them in the current folder, if
    /// nothing else is said.
    pub(crate) fn open_input(&self, input: &Input, format: Option<Format>) -> Result<Image> {
        if input.spool.is_some() && self.chain.is_empty() && self.parents.is_none() {
            let here = Self { chain: Vec::new(), parents: Some(".".into()), depth: self.depth };
            return here.open(input.path(), format);
        }
        self.open(input.path(), format)
    }

    /// Opens an image with all its parents.
    pub(crate) fn open(&self, path: &Path, format: Option<Format>) -> Result<Image> {
        let mut rules = Rules::default();
        rules.depth = self.depth;
        let opening = |parents| Opening {
            declared: Format::declared(format),
            parents,
            rules: rules.clone(),
            ..Opening::default()
        };
        if !self.chain.is_empty() {
            return Ok(Image::open_with(path, &opening(Parents::Order(self.chain.clone())))?);
        }
        let own = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = self.parents.clone().unwrap_or_else(|| own.to_owned());
        let located = match &self.parents {
            None => Image::open_with(path, &opening(Parents::Within(folder.clone()))),
            Some(_) => Image::open_with(path, &opening(Parents::Among(vec![folder.clone()]))),
        };
        match located {
            Err(Error::ParentNotFound { .. }) => {
                Ok(Image::open_with(path, &opening(Parents::Among(vec![folder])))?)
            }
            other => Ok(other?),
        }
    }
}

/// Opens one file, whatever is below it and whatever is odd about it.
pub(crate) fn alone(path: &Path, format: Option<Format>) -> Result<Image> {
    let opening = Opening {
        declared: Format::declared(format),
        parents: Parents::Ignore,
        end_footer: EndFooterPolicy::FrontSuffices,
        ..Opening::default()
    };
    Ok(Image::open_with(path, &opening)?)
}
