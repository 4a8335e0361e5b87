//! A program that works on a pool until somebody kills it: the tests of reconciling do.
//!
//! It takes the URL of the pool, its password, what to do, what to do it with and where to write to, and prints the
//! name of each stage as it begins; the one that reconciles, what it did.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::victim;
use image_store::FileSink;
use xenapi_client::{Client, Config};
use xenapi_driver::pool_move::MoveOptions;
use xenapi_driver::pools::PoolMigrateOptions;
use xenapi_driver::reconcile::ReconcileOptions;
use xenapi_driver::upload::UploadOptions;
use xenapi_driver::{Driver, Event, Existing, Progress, Settings, Shutdown, Which};

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, password, verb, what @ ..] = &args[..] else { bail!("url, password, verb, what") };
    let driver = connect(url, password).await?;
    let progress = Progress::to(|event| {
        if let Event::Started(stage) = event {
            // Whoever reads this may be gone.
            let _ = writeln!(std::io::stdout(), "{stage}").and_then(|()| std::io::stdout().flush());
        }
    });
    let output = what.get(1);
    let what = what.first().context("what to do it with")?;
    match verb.as_str() {
        "spawn" => drop(driver.spawn(victim::spec(what), victim::options(progress)).await?),
        "resize" => drop(driver.resize(instance(what)?, victim::resize(progress)).await?),
        "move" => {
            let there = connect(output.context("the other pool")?, password).await?;
            let options = MoveOptions { shutdown: Shutdown::Hard, progress, ..MoveOptions::default() };
            drop(driver.move_to_pool(instance(what)?, &there, options).await?);
        }
        "migrate" => {
            let there = connect(output.context("the other pool")?, password).await?;
            let options = PoolMigrateOptions { progress, ..PoolMigrateOptions::default() };
            drop(driver.migrate_to_pool(instance(what)?, &there, options).await?);
        }
        "attach" => {
            let (which, volume, options) = victim::attachment(what, progress)?;
            drop(driver.attach_volume(which, volume, options).await?);
        }
        "snapshot" => {
            let output = output.context("a file")?;
            drop(driver.snapshot(instance(what)?, output, Existing::Refuse, progress).await?);
        }
        "upload" => {
            let sink = Arc::new(FileSink::new(output.context("a file")?));
            let options = UploadOptions { progress, ..UploadOptions::default() };
            drop(driver.upload(instance(what)?, sink, options).await?);
        }
        "reconcile" => {
            let options = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
            let result = driver.reconcile(options).await?;
            for finding in &result.done {
                writeln!(std::io::stdout(), "reconciled: {finding}")?;
            }
            ensure!(result.leftovers.is_empty(), "{:?}", result.leftovers);
        }
        other => bail!("unknown verb {other}"),
    }
    writeln!(std::io::stdout(), "done")?;
    Ok(())
}

async fn connect(url: &str, password: &str) -> Result<Driver> {
    let client = Client::new(Config::new(url, "root", password)?)?;
    client.login().await?;
    Ok(Driver::over(client, Settings::default()))
}

fn instance(text: &str) -> Result<Which> {
    Ok(Which::Instance(text.parse()?))
}
