//! How images are named on the command line.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use disk_stream::{Declared, Error, Image, Opening, Parents};
use vhd::EndFooterPolicy;
use vhd::chain::Rules;

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
