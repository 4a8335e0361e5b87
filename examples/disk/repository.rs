//! The disks of a repository, as XAPI tells of them.

use anyhow::{Context, Result, bail};
use examples::cli::Target;
use examples::ui::Ui;
use examples::world::World;
use uuid::Uuid;
use xenapi_client::Client;
use xenapi_types::{Ref, Sr, SrRecord, Vdi, VdiRecord};

use crate::tree::Node;

/// All disks of the repository with this uuid or name. What its scans have not seen yet is not there.
pub(crate) fn read(name: &str, target: &Target, json: bool) -> Result<Vec<Node>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let ui = Ui::new(json);
        let world = World::at(target, &ui).await?;
        let result = disks(world.driver().client(), name).await;
        world.end(result, &ui).await
    })
}

async fn disks(client: &Client, name: &str) -> Result<Vec<Node>> {
    let repository = find(client, name).await?;
    let records = client.all_records::<Vdi>().await?;
    let own = records.values().filter(|record| record.sr == repository);
    let mut nodes = own.map(node).collect::<Result<Vec<_>>>()?;
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(nodes)
}

async fn find(client: &Client, name: &str) -> Result<Ref<Sr>> {
    if let Ok(uuid) = name.parse::<Uuid>() {
        return Ok(client.by_uuid::<Sr>(&uuid.to_string()).await?);
    }
    let found = client.records_named::<Sr>(name).await?;
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some((repository, _)), None) => Ok(repository),
        (None, _) => bail!("no repository is called {name:?}"),
        (Some((_, record)), Some((_, other))) => {
            let SrRecord { uuid, .. } = record;
            bail!("several repositories are called {name:?}: say which by its uuid, {uuid} or {}", other.uuid)
        }
    }
}

fn node(record: &VdiRecord) -> Result<Node> {
    let told = |what: &str| format!("XAPI tells a wrong {what} of the disk {}", record.uuid);
    let uuid = record.uuid.parse::<Uuid>().with_context(|| told("uuid"))?;
    let parent = record.sm_config.get("vhd-parent").map(|parent| parent.parse::<Uuid>());
    let parent = parent.transpose().with_context(|| told("parent"))?;
    let mut notes = Vec::new();
    if !record.managed {
        notes.push("base copy".to_owned());
    }
    if record.is_a_snapshot {
        notes.push("snapshot".to_owned());
    }
    let trouble = record.missing.then_some("missing: its volume is gone");
    let bytes = |number: i64| u64::try_from(number).unwrap_or(0);
    let label =
        if record.name_label.is_empty() { String::new() } else { format!(" {:?}", record.name_label) };
    Ok(Node {
        name: format!("{uuid}{label}"),
        uuid: Some(uuid),
        parent: parent.map(Some),
        on_raw: false,
        virtual_bytes: bytes(record.virtual_size),
        file_bytes: bytes(record.physical_utilisation),
        notes,
        trouble,
    })
}
