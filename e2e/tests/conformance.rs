//! The simulator does what XAPI does: every check of the conformance suite, in both encodings, inside this
//! process and over a port.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::conformance::{self, Target};
use e2e::pool::personality;
use xapi_simulator::core::Config as Behaviour;
use xapi_simulator::{Personality, Simulator, World};
use xenapi_client::{Config, Encoding, Trust, private_connect_fn};

const PASSWORD: &str = "xapi-test";

/// How many checks are made at the same time.
const JOBS: usize = 8;

async fn simulator(world: World) -> Result<Simulator> {
    // Without a directory, the checks of the recordings' plugin do not apply.
    let config = Behaviour { plugins: testdata::plugins_dir(), ..Behaviour::default() };
    Ok(Simulator::builder()
        .world(world)
        .config(config)
        .password(PASSWORD)
        .personality(personality())
        .build()
        .await?)
}

/// The pool of the recordings, whose storage is neither ext nor lvm.
fn recorded() -> Result<World> {
    Ok(World::from_json(&testdata::golden_world())?)
}

/// The checks that the simulator does not pass yet. One that it passes must be taken off the list.
const NOT_YET: &[&str] = &[];

#[expect(clippy::print_stdout, reason = "the table is what the run is for")]
async fn check(target: &Target) -> Result<()> {
    let report = conformance::run(target, conformance::all(), JOBS).await?;
    println!("{report}");
    let failed: Vec<_> =
        report.failures().map(|failed| format!("{}::{}", failed.area, failed.name)).collect();
    ensure!(failed == NOT_YET, "these checks failed: {failed:?}; expected: {NOT_YET:?}");
    let skipped: Vec<_> = report.outcomes.iter().filter(|outcome| outcome.is_not_applicable()).collect();
    // The newest release has all that is asked for: what it cannot be put to is what this machine lacks.
    if personality() == Personality::default() && testdata::plugins_dir().is_some() {
        ensure!(skipped.is_empty(), "not put to it: {skipped:#?}");
    }
    ensure!(report.left_over.is_empty(), "left behind: {:?}", report.left_over);
    Ok(())
}

async fn in_process(world: World, encoding: Encoding) -> Result<()> {
    let simulator = Arc::new(simulator(world).await?);
    let before = simulator.snapshot_of_objects();
    let inside = simulator.clone();
    let connector = private_connect_fn(move |_| {
        let stream = inside.connect();
        async move { Ok(stream) }
    });
    let config = Config::new("http://simulator", "root", PASSWORD)?.encoding(encoding);
    check(&Target::over(config, "root", PASSWORD, connector)).await?;
    assert_eq!(simulator.snapshot_of_objects(), before, "the checks left something behind");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_process_over_jsonrpc() -> Result<()> {
    in_process(World::demo(), Encoding::JsonRpc).await
}

#[tokio::test(flavor = "multi_thread")]
async fn in_process_over_xmlrpc() -> Result<()> {
    in_process(recorded()?, Encoding::XmlRpc).await
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_port_over_jsonrpc() -> Result<()> {
    let simulator = simulator(recorded()?).await?;
    let url = simulator.listen("127.0.0.1:0").await?;
    let config = Config::new(&url, "root", PASSWORD)?.encoding(Encoding::JsonRpc);
    check(&Target::new(config, "root", PASSWORD)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_port_with_tls_over_xmlrpc() -> Result<()> {
    let simulator = simulator(World::demo()).await?;
    let (url, fingerprint) = simulator.listen_tls("127.0.0.1:0").await?;
    let trust = Trust::Fingerprints(vec![fingerprint.parse().context("the simulator's fingerprint")?]);
    let config = Config::new(&url, "root", PASSWORD)?.encoding(Encoding::XmlRpc);
    check(&Target::new(config, "root", PASSWORD).trust(trust)).await
}
