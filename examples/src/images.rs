//! Where images are, in the words of a command line: `PATH`, `chain:PATH`, `https://…`, `glance:NAME` or `-`.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use image_store::glance::{Credentials, Glance, GlanceSink, GlanceSource, Keystone, NewImage};
use image_store::http::{Client, HttpSink, HttpSource, Timeouts, Trust};
use image_store::{Declared, Digest, FileSink, FileSource, ImageSink, ImageSource, StdinSource};
use xenapi_driver::spec::{ImageFormat, RootImage};

/// How places are written.
pub const PLACES: &str = "PATH|https://…|glance:NAME";

/// An image to read; `-` is the standard input, `chain:PATH` a VHD with those it is based on beside it. A
/// file is opened as the disk that it is, unless it has to have a digest: then it is read once, from front to
/// back.
///
/// # Errors
///
/// For an address that is none, or if the variables of OpenStack's own tools are not set.
pub fn source(place: &str, digest: Option<Digest>) -> Result<RootImage> {
    let digests: Vec<_> = digest.iter().cloned().collect();
    let source: Arc<dyn ImageSource> = if let Some(name) = place.strip_prefix("glance:") {
        Arc::new(digests.into_iter().fold(GlanceSource::new(glance()?, name), GlanceSource::digest))
    } else if is_url(place) {
        Arc::new(digests.into_iter().fold(HttpSource::new(client(), place)?, HttpSource::digest))
    } else if let Some(path) = place.strip_prefix("chain:") {
        if digest.is_some() {
            bail!("a chain of files has no digest of its own");
        }
        return Ok(RootImage::Chain(path.into()));
    } else if place == "-" {
        Arc::new(StdinSource::new(Declared::default(), digests))
    } else {
        match digest {
            None => return Ok(RootImage::from(place)),
            Some(digest) => Arc::new(FileSource::new(place).digest(digest)),
        }
    };
    Ok(source.into())
}

/// What Glance has noted of an image, by the names of properties; nothing of an image elsewhere.
///
/// # Errors
///
/// When Glance cannot be asked, or has no such image.
pub async fn properties(place: Option<&str>) -> Result<BTreeMap<String, String>> {
    match place.and_then(|place| place.strip_prefix("glance:")) {
        Some(name) => Ok(glance()?.find(name).await?.properties()),
        None => Ok(BTreeMap::new()),
    }
}

/// A place for an image that is not there yet; `image` says what Glance is to know of it.
///
/// # Errors
///
/// As [`source`].
pub fn sink(place: &str, image: NewImage) -> Result<Arc<dyn ImageSink>> {
    Ok(if let Some(name) = place.strip_prefix("glance:") {
        Arc::new(GlanceSink::new(glance()?, NewImage { name: name.to_owned(), ..image }))
    } else if is_url(place) {
        Arc::new(HttpSink::new(client(), place)?)
    } else {
        Arc::new(FileSink::new(place))
    })
}

/// What a disk's image is.
///
/// # Errors
///
/// For another word.
pub fn disk_format(text: &str) -> Result<ImageFormat, String> {
    match text {
        "raw" => Ok(ImageFormat::Raw),
        "vhd" => Ok(ImageFormat::Vhd),
        "qcow2" => Ok(ImageFormat::Qcow2),
        _ => Err(format!("unknown image format {text:?}: use raw, vhd or qcow2")),
    }
}

fn is_url(place: &str) -> bool {
    place.starts_with("https://") || place.starts_with("http://")
}

/// Certificates are verified, with `OS_CACERT` if that names a file.
fn client() -> Client {
    let trust = variable("OS_CACERT").map_or_else(Trust::default, |path| Trust::CaFile(path.into()));
    Client::new(trust, Timeouts::default())
}

/// The image service that the variables of OpenStack's own tools lead to.
fn glance() -> Result<Glance> {
    let url =
        variable("OS_AUTH_URL").context("OS_AUTH_URL is not set; load the openrc file of the project")?;
    let mut keystone = Keystone::new(client(), &url, Credentials::from_env(variable)?)?;
    if let Some(region) = variable("OS_REGION_NAME") {
        keystone = keystone.region(region);
    }
    if let Some(interface) = variable("OS_INTERFACE") {
        keystone = keystone.interface(interface);
    }
    Ok(Glance::new(keystone))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
