//! Hosts that join the pool and leave it.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use examples::cli::{Common, Target};
use examples::options::Options;
use examples::table::Table;
use examples::ui::Ui;
use examples::world::World;
use serde_json::json;
use xenapi_driver::membership::JoinOptions;

#[derive(Debug, Args)]
pub(crate) struct Join {
    /// The host that joins: https://HOST. Left out with the simulator, which makes one up.
    #[arg(required_unless_present = "simulated", env = "XENAPI_NEWCOMER_URL", value_name = "URL")]
    newcomer: Option<String>,
    /// Join a simulated host to the simulated pool.
    #[arg(long, conflicts_with = "newcomer")]
    simulated: bool,
    /// Its user.
    #[arg(long, default_value = "root", value_name = "USER")]
    newcomer_user: String,
    /// A file whose first line is its password; without it, it is that of the pool.
    #[arg(long, value_name = "FILE")]
    newcomer_password_file: Option<PathBuf>,
    /// The coordinator's address as the newcomer reaches it, if that is another one than its own record says.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Also when the processors are of another make; the option use_join_force says so too, if it is set.
    #[arg(long)]
    force: bool,
}

impl Join {
    pub(crate) async fn run(
        &self,
        common: &Common,
        options: &Options,
        world: &World,
        ui: &Ui,
    ) -> Result<Table> {
        let pool = &common.target;
        let target = self.newcomer.clone().map(|url| Target {
            url: Some(url),
            user: Some(self.newcomer_user.clone()),
            password_file: self.newcomer_password_file.clone().or_else(|| pool.password_file.clone()),
            ..pool.clone()
        });
        let newcomer = world.newcomer(target.as_ref()).await?;
        let mut wanted = JoinOptions::new(pool.user(), world.password(pool)?);
        wanted.force = self.force || options.joins_by_force()?;
        (wanted.address, wanted.progress) = (self.address.clone(), ui.progress());
        ui.begin();
        let joined = ui.until_interrupted(world.driver().join_pool(&newcomer, wanted)).await;
        // The host restarts, and knows nothing of the session any more.
        let _ = newcomer.close().await;
        let node = joined?;
        Ok(Table::of([("joined", json!(node.uuid)), ("name", json!(node.name))]))
    }
}
