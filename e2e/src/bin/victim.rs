//! A program that works on a pool until somebody kills it: the tests of reconciling do.
//!
//! It takes the URL of the pool, its password, what to do, what to do it with, and, where one is needed, the URL of
//! another pool, and prints the name of each stage as it begins; the one that reconciles, what it did. To do a verb of
//! the sweep, it takes the verb's name, its [place](e2e::sweep::site::Place), and the URL of another pool.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::sweep::site::Site;
use e2e::sweep::verb::VERBS;
use e2e::victim;
use xenapi_client::{Client, Config};
use xenapi_driver::pool_move::MoveOptions;
use xenapi_driver::pools::PoolMigrateOptions;
use xenapi_driver::reconcile::ReconcileOptions;
use xenapi_driver::{Driver, Event, PowerChange, Progress, Settings, Shutdown, Which};

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
    let (more, last) = (what.get(1), what.get(2));
    let what = what.first().context("what to do it with")?;
    let there = match last {
        Some(url) => Some(connect(url, password).await?),
        None => None,
    };
    match verb.as_str() {
        "spawn" => drop(driver.spawn(victim::spec(what), victim::options(progress)).await?),
        "resize" => drop(driver.resize(instance(what)?, victim::resize(progress)).await?),
        "reboot" => drop(driver.power(instance(what)?, PowerChange::Reboot(Shutdown::NOVA), progress).await?),
        "move" => {
            let there = connect(more.context("the other pool")?, password).await?;
            let options = MoveOptions { shutdown: Shutdown::Hard, progress, ..MoveOptions::default() };
            drop(driver.move_to_pool(instance(what)?, &there, options).await?);
        }
        "migrate" => {
            let there = connect(more.context("the other pool")?, password).await?;
            let options = PoolMigrateOptions { progress, ..PoolMigrateOptions::default() };
            drop(driver.migrate_to_pool(instance(what)?, &there, options).await?);
        }
        "attach" => {
            let (which, volume, options) = victim::attachment(what, progress)?;
            drop(driver.attach_volume(which, volume, options).await?);
        }
        "sweep" => {
            let verb = VERBS.iter().find(|verb| verb.name == what).context("no verb is called so")?;
            let driver = Driver::over(driver.client().clone(), verb.settings(driver.settings().clone()));
            let site = Site::told(driver, there, more.context("a place")?)?;
            verb.act.at(&site).await?;
        }
        "reconcile" => {
            let named = VERBS.iter().find(|verb| verb.name == what).context("no verb is called so")?;
            let options = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
            for driver in [driver].into_iter().chain(there) {
                // As whoever goes on with the verb: what is put in order is said there, too.
                let settings = named.settings(driver.settings().clone());
                let driver = Driver::over(driver.client().clone(), settings);
                let result = driver.reconcile(options.clone()).await?;
                for finding in &result.done {
                    writeln!(std::io::stdout(), "reconciled: {finding}")?;
                }
                ensure!(result.leftovers.is_empty(), "{:?}", result.leftovers);
            }
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
