//! What an instance is made of: its image, or the volume that it boots from, and a kernel besides.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use examples::images;
use examples::options::Options;
use examples::report;
use examples::ui::Ui;
use examples::volume::{self, Attached};
use examples::words::Words;
use examples::world::World;
use image_store::{Digest, FileSource, ImageSource};
use xenapi_driver::image_cache::{CachePolicy, CacheRequest};
use xenapi_driver::spec::{ImageFormat, ImageUse, InstanceSpec, Kernel, KernelSource, Remote, RootImage};

/// Where the root disk's content is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Image")]
pub(crate) struct Image {
    /// The root disk: raw, VHD or qcow2; or compressed, or a XenServer archive of VHDs, here or elsewhere (- is the
    /// standard input). Glance is found by the OS_* variables of OpenStack's own tools.
    #[arg(long, value_name = images::PLACES)]
    image: Option<String>,
    /// A digest that the image must have, such as sha256:…
    #[arg(long, value_name = "DIGEST", requires = "image")]
    image_digest: Option<Digest>,
    /// What the image is: raw, vhd, qcow2, iso (a disc to install from, beside a blank root disk), or ami (a file system,
    /// which becomes the first partition); if left out, what its place says or its name ends with, otherwise found out.
    #[arg(long, value_name = "FORMAT", value_parser = image_format)]
    image_format: Option<Format>,
    /// The image's id: it is taken from the cache of the repository, and fetched into it unless it is there. The
    /// options cache_images and use_cow_images say whether and how.
    #[arg(long, value_name = "ID", requires = "image")]
    image_id: Option<String>,
    /// Boot from a volume, which outlives the instance: sr=UUID, iqn=NAME (with iscsi=ADDRESS), nfs=SERVER:PATH or
    /// smb=//SERVER/SHARE, and of `volumes attach` the other options: vdi=, lun=, id=, login=, …
    #[arg(long, value_name = volume::VOLUME, value_parser = volume::attached, conflicts_with_all = ["image", "image_format"])]
    boot_volume: Option<Attached>,
    /// A kernel besides the disks, for a guest of mode xen or pvh: a file, or an address that the host fetches it
    /// from, with a digest that it must have: https://…,digest=sha256:…
    #[arg(long, value_name = "FILE|URL,digest=DIGEST", value_parser = kernel_source)]
    kernel: Option<KernelSource>,
    /// Its initial ramdisk, in the same words.
    #[arg(long, value_name = "FILE|URL,digest=DIGEST", value_parser = kernel_source, requires = "kernel")]
    ramdisk: Option<KernelSource>,
    /// What the kernel is started with; otherwise root=/dev/xvda1 ro.
    #[arg(long, value_name = "WORDS", requires = "kernel")]
    kernel_args: Option<String>,
}

impl Image {
    /// Whether the image is one that is made here.
    pub(crate) fn is_demo(&self) -> bool {
        self.image.is_none() && self.boot_volume.is_none()
    }

    /// What its place has noted of it.
    pub(crate) async fn properties(&self) -> Result<BTreeMap<String, String>> {
        images::properties(self.image.as_deref()).await
    }

    /// Where the root disk's content is. With an id, the image is in the cache afterwards.
    pub(crate) async fn root(
        &self,
        sr: Option<&str>,
        options: &Options,
        world: &World,
        ui: &Ui,
    ) -> Result<RootImage> {
        if let Some(volume) = &self.boot_volume {
            return Ok(volume.root(options)?.into());
        }
        let Some(place) = &self.image else { return Ok(world.demo_image(ui).await?.into()) };
        let image = images::source(place, self.image_digest.clone())?;
        let Some(id) = &self.image_id else { return Ok(image) };
        let mut request = CacheRequest::new(id, image);
        request.digest = self.image_digest.as_ref().map(ToString::to_string);
        request.sr = options.repository(sr)?;
        if let Some(Format::Disk(format)) = self.format() {
            request.image_format = format;
        }
        let policy = CachePolicy::of(&options.read()?);
        let cached =
            ui.until_interrupted(world.driver().root_image(request, policy, false, ui.progress())).await;
        cached.map_err(report::and_more)
    }

    /// What is known of the image, and the kernel.
    pub(crate) fn describe(&self, spec: &mut InstanceSpec) {
        match self.format() {
            Some(Format::Disk(format)) => (spec.image_format, spec.image_use) = (format, ImageUse::Disk),
            Some(Format::Other(wanted)) => spec.image_use = wanted,
            None => {}
        }
        spec.kernel = self.kernel.clone().map(|image| {
            let usual = Kernel::new(image);
            let args = self.kernel_args.clone().unwrap_or_else(|| usual.args.clone());
            Kernel { ramdisk: self.ramdisk.clone(), args, ..usual }
        });
    }

    fn format(&self) -> Option<Format> {
        self.image_format.or_else(|| self.image.as_deref().and_then(format_by_name))
    }
}

/// A file of this machine, or what the host fetches.
fn kernel_source(text: &str) -> Result<KernelSource, String> {
    let mut words = Words::of(text);
    let place = words.first("a file or an address")?;
    let digest = words.one::<Digest>("digest")?;
    words.end()?;
    let is_url = place.starts_with("https://") || place.starts_with("http://");
    match (is_url, digest) {
        (true, Some(digest)) => Ok(Remote { url: place, headers: [].into(), digest }.into()),
        (true, None) => Err("what the host fetches needs a digest: ,digest=sha256:…".to_owned()),
        (false, digest) => {
            let source = digest.into_iter().fold(FileSource::new(PathBuf::from(place)), FileSource::digest);
            let source: Arc<dyn ImageSource> = Arc::new(source);
            Ok(source.into())
        }
    }
}

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Disk(ImageFormat),
    Other(ImageUse),
}

/// A file that is called a VHD or qcow2 and is none is a mistake to tell of, not a raw disk.
fn format_by_name(image: &str) -> Option<Format> {
    // Of names in Glance, Glance knows better.
    let extension = Path::new(image).extension().filter(|_| !image.starts_with("glance:"))?.to_str()?;
    image_format(&extension.to_ascii_lowercase())
        .ok()
        .filter(|format| *format != Format::Disk(ImageFormat::Raw))
}

fn image_format(text: &str) -> Result<Format, String> {
    match text {
        "iso" => Ok(Format::Other(ImageUse::Disc)),
        "ami" => Ok(Format::Other(ImageUse::FileSystem)),
        _ => images::disk_format(text).map(Format::Disk).map_err(|error| format!("{error}, iso or ami")),
    }
}
