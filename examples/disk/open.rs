//! How images are named on the command line.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use disk_stream::{Bitmaps, Declared, Error, Image, Layer, Opening, Parents};
use vhd::chain::{ChainError, Rules};
use vhd::{EndFooterPolicy, Surplus, zero};

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
    /// It has no name: however the process ends, nothing is left of it.
    spool: Option<File>,
}

impl Input {
    /// `-` is standard input, which has one image: of several inputs, one can be it.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        if path != Path::new("-") {
            return Ok(Self { path: path.to_owned(), spool: None });
        }
        Kept::new(&std::env::temp_dir())?.rest(&mut std::io::stdin().lock())
    }

    /// What to call it.
    pub(crate) fn name(&self) -> &Path {
        if self.spool.is_some() { Path::new("-") } else { &self.path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn failed(folder: &Path) -> String {
    let said = if *folder == std::env::temp_dir() { " (TMPDIR names another folder)" } else { "" };
    format!("cannot keep what comes from standard input in {}{said}", folder.display())
}

/// Bytes of a stream, in a file without a name.
pub(crate) struct Kept {
    file: File,
    len: u64,
    folder: PathBuf,
}

impl Kept {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).with_context(|| failed(folder))?;
        Ok(Self { file, len: 0, folder: folder.to_owned() })
    }

    /// Takes the next bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<()> {
        for run in zero::nonzero_runs(bytes, 4096) {
            self.file
                .write_all_at(&bytes[run.clone()], self.len + run.start as u64)
                .with_context(|| failed(&self.folder))?;
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Takes all the rest.
    pub(crate) fn rest(mut self, input: &mut impl Read) -> Result<Input> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            match input.read(&mut buffer).context("cannot read standard input")? {
                0 => break,
                got => self.add(&buffer[..got])?,
            }
        }
        self.file.set_len(self.len).with_context(|| failed(&self.folder))?;
        // By which the system knows it.
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd()).into();
        Ok(Input { path, spool: Some(self.file) })
    }
}

/// One image.
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// The image; `-` is standard input.
    pub(crate) file: PathBuf,
    /// What it is; found out without this.
    #[arg(short, long, value_enum)]
    pub(crate) format: Option<Format>,
}

/// One layer instead of the disk that it makes with its parents.
#[derive(Debug, Args)]
pub(crate) struct LayerArgs {
    /// Write one layer of a chain alone, as the differencing VHD that it is: its parent is not needed, and is kept by name
    /// and uuid.
    #[arg(long, conflicts_with_all = ["chain", "parents"])]
    pub(crate) layer: bool,
}

/// Where the parents of a differencing VHD are, and how it is opened.
#[derive(Debug, Args)]
pub(crate) struct ParentArgs {
    #[command(flatten)]
    pub(crate) chain: ChainArgs,
    #[command(flatten)]
    pub(crate) odd: OddArgs,
}

/// Where the parents of a differencing VHD are.
#[derive(Debug, Clone, Args)]
pub(crate) struct ChainArgs {
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
    /// The files of --chain are the parents, whatever uuids they have.
    #[arg(long, requires = "chain")]
    trusted: bool,
}

/// What a VHD says of itself, and is not believed unless it is asked for.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ClaimArgs {
    /// Believe this footer of a VHD, whatever the other one says.
    #[arg(long, value_enum, value_name = "WHICH")]
    footer: Option<FooterChoice>,
    /// Read VHDs of up to 64 TiB, whose tables take up to 128 MiB of memory; otherwise 2040 GiB are the most.
    #[arg(long)]
    large: bool,
}

impl ClaimArgs {
    pub(crate) fn apply(&self, opening: &mut Opening) {
        match self.footer {
            Some(FooterChoice::Front) => opening.end_footer = EndFooterPolicy::FrontCounts,
            Some(FooterChoice::End) => opening.end_footer = EndFooterPolicy::EndCounts,
            None => {}
        }
        if self.large {
            opening.limits.virtual_size = 64 << 40;
            // In blocks of 2 MiB.
            opening.limits.table_entries = 32 << 20;
        }
    }

    /// Of one file.
    pub(crate) fn opening(&self) -> Opening {
        let mut opening = Opening::default();
        self.apply(&mut opening);
        opening
    }
}

/// What is refused in a VHD unless it is asked for. What comes from standard input is put into a file then.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OddArgs {
    #[command(flatten)]
    claims: ClaimArgs,
    /// Pass over whatever follows the last footer of a VHD, or lies between a fixed disk and its footer.
    #[arg(long)]
    surplus: bool,
    /// What to do with sectors of a dynamic VHD whose bitmap says that they are not there.
    #[arg(long, value_enum, value_name = "HOW", default_value = "honour")]
    bitmaps: BitmapChoice,
}

/// Which of two footers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FooterChoice {
    /// The one in the first sector; the one at the end may be missing.
    Front,
    /// The one at the end.
    End,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum BitmapChoice {
    /// They are zero, as XenServer has it.
    #[default]
    Honour,
    /// Read what the file has there, as QEMU and Xen Orchestra do.
    Ignore,
    /// Refuse the VHD if the file has anything but zeros there.
    Refuse,
}

impl OddArgs {
    /// Whether anything but the usual is asked for.
    pub(crate) fn is_asked(&self) -> bool {
        let ClaimArgs { footer, large } = self.claims;
        footer.is_some() || large || self.surplus || self.bitmaps != BitmapChoice::Honour
    }

    fn apply(&self, opening: &mut Opening) {
        self.claims.apply(opening);
        if self.surplus {
            opening.limits.surplus = Surplus::Anything;
        }
        opening.bitmaps = match self.bitmaps {
            BitmapChoice::Honour => Bitmaps::Honour,
            BitmapChoice::Ignore => Bitmaps::Ignore,
            BitmapChoice::Refuse => Bitmaps::Refuse,
        };
    }
}

impl ParentArgs {
    /// Opens an image with all its parents. What came from standard input has them in the current folder, if
    /// nothing else is said.
    pub(crate) fn open_input(&self, input: &Input, format: Option<Format>) -> Result<Image> {
        self.chain.open_input(input, &self.opening(format, Parents::Ignore))
    }

    /// Opens an image without its parents.
    pub(crate) fn open_layer(&self, input: &Input, format: Option<Format>) -> Result<Image> {
        Ok(Image::open_with(input.path(), &self.opening(format, Parents::Ignore))?)
    }

    /// How an image is opened whose parents are these, with all that was asked for.
    pub(crate) fn opening(&self, format: Option<Format>, parents: Parents) -> Opening {
        let rules = self.chain.rules();
        let mut opening =
            Opening { declared: Format::declared(format), parents, rules, ..Opening::default() };
        self.odd.apply(&mut opening);
        opening
    }

    /// Opens an image with all its parents.
    pub(crate) fn open(&self, path: &Path, format: Option<Format>) -> Result<Image> {
        self.chain.open(path, &self.opening(format, Parents::Ignore))
    }
}

impl ChainArgs {
    pub(crate) fn rules(&self) -> Rules {
        let mut rules = Rules::default();
        (rules.depth, rules.trust_order) = (self.depth, self.trusted);
        rules
    }

    /// As [`ParentArgs::open_input`], of an image that is opened in this way otherwise.
    pub(crate) fn open_input(&self, input: &Input, opening: &Opening) -> Result<Image> {
        if input.spool.is_some() && self.chain.is_empty() && self.parents.is_none() {
            return Self { parents: Some(".".into()), ..self.clone() }.open(input.path(), opening);
        }
        self.open(input.path(), opening)
    }

    fn open(&self, path: &Path, opening: &Opening) -> Result<Image> {
        let opening = |parents| Opening { parents, ..opening.clone() };
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
            Err(first @ Error::ParentNotFound { .. }) => {
                let second = Image::open_with(path, &opening(Parents::Among(vec![folder])));
                // The first one tells where it was looked for.
                Ok(second.map_err(|error| match error {
                    Error::Chain { source: ChainError::ParentMissing { .. }, .. } => first,
                    other => other,
                })?)
            }
            other => Ok(other?),
        }
    }
}

/// Opens one file, whatever is below it and whatever is odd about it.
pub(crate) fn alone(path: &Path, format: Option<Format>, odd: &OddArgs) -> Result<Image> {
    let mut opening = Opening {
        declared: Format::declared(format),
        parents: Parents::Ignore,
        end_footer: EndFooterPolicy::FrontSuffices,
        ..Opening::default()
    };
    odd.apply(&mut opening);
    Ok(Image::open_with(path, &opening)?)
}

/// What is odd about an image and its layers as far as they were read, and did not stand in the way.
pub(crate) fn warnings(image: &Image) -> Vec<String> {
    let name = |layer: &Layer| layer.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let of_layer = |layer: &Layer| {
        let name = name(layer);
        layer.warnings().into_iter().map(move |warning| format!("{name}: {warning}")).collect::<Vec<_>>()
    };
    let mut warnings: Vec<String> = image.layers().iter().flat_map(of_layer).collect();
    warnings.extend(image.chain_warnings().iter().map(ToString::to_string));
    warnings
}
