//! Looks after the images that are kept on storage repositories.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use examples::cli::{self, Common};
use examples::images;
use examples::options::Options;
use examples::report::Report;
use examples::ui::Ui;
use examples::world::{self, World};
use image_store::Digest;
use xenapi_driver::Driver;
use xenapi_driver::image_cache::{CacheRequest, CachedImage, Eviction};
use xenapi_types::{Sr, SrRecord};

/// List the images that are kept on storage repositories, fetch one beforehand, remove those that are old.
///
/// They carry Nova's keys, so that both see the same ones.
#[derive(Debug, Parser)]
#[command(name = "images", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List them, the oldest first.
    List,
    /// Fetch an image, unless it is there.
    Cache {
        /// Its id.
        #[arg(long)]
        id: String,
        /// Where it is.
        #[arg(long, value_name = images::PLACES)]
        image: String,
        /// A digest that it must have, such as sha256:…
        #[arg(long)]
        digest: Option<Digest>,
        /// Name or uuid of the storage repository; if left out, the one that the option sr_matching_filter says, which is
        /// the pool's default one.
        #[arg(long)]
        sr: Option<String>,
    },
    /// Remove those that nothing was cloned from, or whose clones are gone.
    Evict {
        /// Those fetched so many days ago.
        #[arg(long, value_name = "DAYS", required_unless_present = "keep_mib")]
        older_than: Option<u64>,
        /// The oldest, until the rest takes no more than this.
        #[arg(long, value_name = "MIB")]
        keep_mib: Option<u64>,
        /// Only in this storage repository.
        #[arg(long, value_name = "NAME|UUID")]
        sr: Option<String>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { common, options, what } = cli::parse();
    world::program_as(
        &common,
        |ui| options.way(ui),
        async |world, ui| work(what, &options, world, ui).await.map(|images| Report::of_images(&images)),
    )
    .await
}

async fn work(what: What, options: &Options, world: &World, ui: &Ui) -> Result<Vec<CachedImage>> {
    let driver = world.driver();
    Ok(match what {
        What::List => driver.cached_images().await?,
        What::Cache { id, image, digest, sr } => {
            let mut request = CacheRequest::new(id, images::source(&image, digest.clone())?);
            request.digest = digest.map(|digest| digest.to_string());
            request.sr = options.repository(sr.as_deref())?;
            vec![ui.until_interrupted(driver.cache_image(request, ui.progress())).await?]
        }
        What::Evict { older_than, keep_mib, sr } => {
            let older_than = older_than.map(|days| Duration::from_secs(days.saturating_mul(24 * 3600)));
            let keep_bytes = keep_mib.map(|mib| mib.saturating_mul(1 << 20));
            let sr_uuid = match sr {
                Some(sr) => Some(repository(driver, &sr).await?),
                None => None,
            };
            let which = Eviction { sr_uuid, older_than, keep_bytes, dry_run: false };
            ui.until_interrupted(driver.evict_images(which, ui.progress())).await?
        }
    })
}

/// The uuid of the repository that is meant by a name or a uuid: what is misspelt must not pass for one without images.
async fn repository(driver: &Driver, named: &str) -> Result<String> {
    let all = driver.client().all_records::<Sr>().await?;
    let meant = |sr: &&SrRecord| sr.uuid == named || sr.name_label == named;
    let found: Vec<_> = all.values().filter(meant).collect();
    match found[..] {
        [sr] => Ok(sr.uuid.clone()),
        [] => {
            let names: BTreeSet<_> = all.values().map(|sr| &*sr.name_label).collect();
            bail!("no SR matches {named:?}: there are {}", Vec::from_iter(names).join(", "))
        }
        _ => bail!("several SRs match {named:?}: say the uuid"),
    }
}
