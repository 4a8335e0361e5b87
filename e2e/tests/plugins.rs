//! The client calls our plugins, which the simulated host runs as the programs that they are.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use anyhow::{Context, Result};
use e2e::pool::personality;
use tempfile::TempDir;
use xapi_simulator::core::Config as Behaviour;
use xapi_simulator::{Simulator, World};
use xenapi_client::{Client, Config, private_connect_fn};
use xenapi_types::Host;
use xenapi_wire::Ref;

/// A host with our plugins installed, one link for each name.
struct Dom0 {
    client: Client,
    host: Ref<Host>,
    _simulator: Arc<Simulator>,
    _plugins: TempDir,
}

impl Dom0 {
    async fn new() -> Result<Self> {
        let plugins = tempfile::tempdir()?;
        for name in ["dom0_plugin_version.py", "partition_utils.py", "xenhost.py"] {
            symlink(env!("CARGO_BIN_EXE_dom0-plugins"), plugins.path().join(name))?;
        }
        let behaviour = Behaviour { plugins: Some(plugins.path().to_owned()), ..Behaviour::default() };
        let password = behaviour.password.clone();
        let simulator = Simulator::builder()
            .world(World::demo())
            .config(behaviour)
            .personality(personality())
            .build()
            .await?;
        let simulator = Arc::new(simulator);
        let inside = simulator.clone();
        let config = Config::new("http://simulator", "root", password)?;
        let client = Client::over(
            config,
            private_connect_fn(move |_| {
                let stream = inside.connect();
                async move { Ok(stream) }
            }),
        )?;
        let hosts: Vec<Ref<Host>> = client.all().await?;
        let host = hosts.into_iter().next().context("a host")?;
        Ok(Self { client, host, _simulator: simulator, _plugins: plugins })
    }

    async fn call(
        &self,
        plugin: &str,
        function: &str,
        args: &[(&str, &str)],
    ) -> xenapi_client::Result<String> {
        let args: BTreeMap<String, String> =
            args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.client.call_plugin(&self.host, plugin, function, &args).await
    }
}

#[tokio::test]
async fn the_version_is_the_one_that_clients_ask_for() -> Result<()> {
    let dom0 = Dom0::new().await?;
    assert_eq!(dom0.call("dom0_plugin_version.py", "get_version", &[]).await?, "V2.1\np0\n.");
    Ok(())
}

#[tokio::test]
async fn a_device_that_is_a_path_is_refused() -> Result<()> {
    let dom0 = Dom0::new().await?;
    let refused = dom0.call("partition_utils.py", "mkfs", &[("dev", "../sda"), ("fs_type", "ext4")]).await;
    let error = refused.expect_err("no device of dom0 has such a name");
    let failure = error.failure().context("a failure")?;
    assert_eq!(failure.code, "XENAPI_PLUGIN_FAILURE");
    assert_eq!(failure.params[..2], ["mkfs", "ArgumentError"]);
    Ok(())
}

#[tokio::test]
async fn unknown_plugins_and_functions_have_codes_of_their_own() -> Result<()> {
    let dom0 = Dom0::new().await?;
    let missing = dom0.call("bandwidth", "fetch_all_bandwidth", &[]).await.expect_err("not installed");
    assert!(missing.is("XENAPI_MISSING_PLUGIN"), "{missing}");
    let unknown = dom0.call("xenhost.py", "no_such_function", &[]).await.expect_err("no such function");
    assert!(unknown.is("UNKNOWN_XENAPI_PLUGIN_FUNCTION"), "{unknown}");
    Ok(())
}
