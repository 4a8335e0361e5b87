//! A client and a pool of two hosts on ports of their own: who answers, where disks are, and a restart in between.

use anyhow::{Context, Result};
use bytes::Bytes;
use e2e::pool::personality;
use http_body_util::Full;
use xapi_simulator::{Listening, Simulator, World};
use xenapi_client::{Client, Config, Export, ExportFormat, ImportFormat};
use xenapi_types::{Host, Pbd, Sr, Vdi, VdiType, vdi};
use xenapi_wire::Ref;

const SIZE: usize = 4 << 20;

struct Pool {
    simulator: Simulator,
    hosts: Vec<Listening>,
}

impl Pool {
    async fn new() -> Result<Self> {
        let simulator = Simulator::builder()
            .world(World::demo().with_hosts(2))
            .password("secret")
            .personality(personality())
            .build()
            .await?;
        let hosts = simulator.listen_pool("127.0.0.1:0").await?;
        Ok(Self { simulator, hosts })
    }

    /// A client that knows only this host.
    fn client(&self, host: usize) -> Result<Client> {
        Ok(Client::new(Config::new(&self.hosts[host].url, "root", "secret")?)?)
    }
}

/// A repository that this host has to itself.
async fn local_sr(client: &Client, host: &Ref<Host>) -> Result<Ref<Sr>> {
    let pbds = client.all_records::<Pbd>().await?;
    let of_host = |sr: &Ref<Sr>| pbds.values().filter(|pbd| pbd.sr == *sr).all(|pbd| pbd.host == *host);
    pbds.values().map(|pbd| pbd.sr.clone()).find(of_host).context("a local repository")
}

async fn disk_on(client: &Client, sr: &Ref<Sr>) -> Result<Ref<Vdi>> {
    let fields = vdi::Create {
        sr: sr.clone(),
        virtual_size: SIZE as i64,
        r#type: VdiType::User,
        ..vdi::Create::default()
    };
    Ok(client.call(fields).await?)
}

async fn content(mut export: Export) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(chunk) = export.chunk().await? {
        all.extend_from_slice(&chunk);
    }
    export.finish().await?;
    Ok(all)
}

#[tokio::test]
async fn a_member_sends_the_client_to_the_master() -> Result<()> {
    let pool = Pool::new().await?;
    let client = pool.client(1)?;
    assert_eq!(client.all::<Host>().await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn disks_go_to_the_host_that_has_them() -> Result<()> {
    let pool = Pool::new().await?;
    let client = pool.client(0)?;
    let records = client.all_records::<Host>().await?;
    let host = |name: &str| records.iter().find(|(_, r)| r.name_label == name).map(|(host, _)| host.clone());
    let master = host(&pool.hosts[0].host).context("the master")?;
    let member = host(&pool.hosts[1].host).context("the member")?;
    let disk = disk_on(&client, &local_sr(&client, &member).await?).await?;
    let data: Vec<u8> = (0..SIZE).map(|i| (i / 512) as u8).collect();
    client.import_vdi(&disk, ImportFormat::Raw, Full::new(Bytes::from(data.clone()))).await?;
    assert!(content(client.export_vdi(&disk, ExportFormat::Raw, None).await?).await? == data);

    // Asked of the master, the client is sent on.
    let elsewhere = client.route_to_sr(&local_sr(&client, &master).await?).await?;
    assert_eq!(elsewhere.host, master);
    assert!(content(client.export_vdi(&disk, ExportFormat::Raw, None).via(elsewhere).await?).await? == data);
    Ok(())
}

#[tokio::test]
async fn a_client_survives_a_restart_and_another_master() -> Result<()> {
    let pool = Pool::new().await?;
    let client = pool.client(0)?;
    let hosts = client.all_records::<Host>().await?;
    pool.simulator.restart_toolstack();
    assert_eq!(client.all_records::<Host>().await?.len(), 2, "with a new session");
    let member = hosts.iter().find(|(_, record)| record.name_label == pool.hosts[1].host);
    let member = member.map(|(host, _)| host.clone()).context("the member")?;
    client.call(xenapi_types::pool::DesignateNewMaster { host: member }).await?;
    assert_eq!(client.all::<Host>().await?.len(), 2, "from the new master");
    Ok(())
}
