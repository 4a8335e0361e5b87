//! What takes the place of a root disk: an image, and a config drive if there is to be a new one.

use anyhow::{Result, bail};
use clap::Args;
use examples::cli;
use examples::drive::Drive;
use examples::images;
use examples::options::Options;
use image_store::Digest;
use xenapi_driver::NewDrive;
use xenapi_driver::spec::{ImageFormat, RootImage};

#[derive(Debug, Args)]
pub(crate) struct NewRoot {
    /// The image.
    #[arg(long, value_name = images::PLACES)]
    image: String,
    /// A digest that it must have, such as sha256:…
    #[arg(long, value_name = "DIGEST")]
    image_digest: Option<Digest>,
    /// What it is: raw, vhd or qcow2; found out if left out.
    #[arg(long, value_name = "FORMAT", value_parser = images::disk_format)]
    image_format: Option<ImageFormat>,
    /// Ask the guest to shut down, for a minute, before it is switched off.
    #[arg(long)]
    pub(crate) clean: bool,
    #[command(flatten)]
    pub(crate) drive: NewDriveArgs,
}

impl NewRoot {
    pub(crate) fn image(&self) -> Result<RootImage> {
        images::source(&self.image, self.image_digest.clone())
    }

    pub(crate) fn format(&self) -> ImageFormat {
        self.image_format.unwrap_or(ImageFormat::Unknown)
    }
}

/// A config drive in the place of the one that an instance has.
#[derive(Debug, Args)]
pub(crate) struct NewDriveArgs {
    /// Give it a new config drive, with what the options below say; without this it keeps the one that it has, and they are
    /// refused.
    #[arg(long)]
    new_config_drive: bool,
    /// A key and value of the metadata on the new config drive; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = cli::key_value, requires = "new_config_drive")]
    meta: Vec<(String, String)>,
    #[command(flatten)]
    content: Drive,
}

impl NewDriveArgs {
    /// Sees that nothing is said of a config drive that is not made.
    ///
    /// # Errors
    ///
    /// With the option that would do nothing.
    pub(crate) fn check(&self) -> Result<()> {
        match self.content.given().next().filter(|_| !self.new_config_drive) {
            Some(option) => {
                bail!(
                    "{option} is of a new config drive, and the instance keeps its own: add --new-config-drive"
                )
            }
            None => Ok(()),
        }
    }

    pub(crate) fn drive(&self, options: &Options) -> Result<Option<NewDrive>> {
        if !self.new_config_drive {
            return Ok(None);
        }
        let (content, metadata) = (self.content.content(options)?, self.meta.iter().cloned().collect());
        Ok(Some(NewDrive { content, metadata, ..NewDrive::default() }))
    }
}
