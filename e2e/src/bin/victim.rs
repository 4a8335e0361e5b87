//! A program that works on a pool until somebody kills it: the tests of reconciling do.
//!
//! It takes the URL of the pool, its password, what to do and what to do it with, and prints the name of each
//! stage as it begins.

use std::io::Write;

use anyhow::{Context, Result, bail};
use e2e::victim;
use xenapi_client::{Client, Config};
use xenapi_driver::{Driver, Event, Progress, Settings};

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, password, verb, what @ ..] = &args[..] else { bail!("url, password, verb, what") };
    let client = Client::new(Config::new(url, "root", password.as_str())?)?;
    client.login().await?;
    let driver = Driver::over(client, Settings::default());
    let progress = Progress::to(|event| {
        if let Event::Started(stage) = event {
            // Whoever reads this may be gone.
            let _ = writeln!(std::io::stdout(), "{stage}").and_then(|()| std::io::stdout().flush());
        }
    });
    let what = what.first().context("what to do it with")?;
    match verb.as_str() {
        "spawn" => drop(driver.spawn(victim::spec(what), victim::options(progress)).await?),
        "resize" => drop(
            driver
                .resize(what.parse().map(xenapi_driver::Which::Instance)?, victim::resize(progress))
                .await?,
        ),
        "attach" => {
            let (which, volume, options) = victim::attachment(what, progress)?;
            drop(driver.attach_volume(which, volume, options).await?);
        }
        other => bail!("unknown verb {other}"),
    }
    writeln!(std::io::stdout(), "done")?;
    Ok(())
}
