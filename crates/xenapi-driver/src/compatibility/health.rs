//! What the hosts are like, as far as it decides whether things go well: clocks, folders of dom0, repositories.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xenapi_client::Client;
use xenapi_types::{Host, Pbd, Pool, Ref, Sr};

use crate::clock::Reading;
use crate::inventory::Node;

/// Clocks that differ more trouble sessions' logs, VHD timestamps and certificates.
const TOLERATED: Duration = Duration::from_secs(5);
/// Repositories whose disks are files in dom0, as Nova's plugins want them.
const FILE_BASED: [&str; 3] = ["ext", "nfs", "file"];

/// What a host is like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HostHealth {
    /// Its `name_label`.
    pub host: String,
    /// By how many milliseconds its clock is ahead of this machine's; `None` when it did not tell its time.
    pub clock_ahead_ms: Option<i64>,
    /// How exact that is: the time that the question took, and the second that hosts round to; 0 without an answer.
    pub clock_within_ms: i64,
    /// Bytes free where kernels (`/boot/guest`) and disks on their way (`/images`) are kept, `None` for a folder
    /// that is not there. Empty when the plugin `xenhost` is not ours.
    pub folders: BTreeMap<String, Option<u64>>,
}

/// A storage repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepositoryHealth {
    /// Its `name_label`.
    pub name: String,
    /// Its type: `ext`, `lvm`, `nfs` …
    pub sr_type: String,
    /// Whether the pool puts disks there when nothing else is said.
    pub is_default: bool,
    /// Whether its disks are files that Nova's plugins `glance` and `migration` can work on.
    pub is_file_based: bool,
    /// Hosts on which it is not plugged, of those that should have it.
    pub unplugged_on: Vec<String>,
}

impl HostHealth {
    /// What an operator should do something about.
    pub fn warnings(&self) -> Vec<String> {
        let host = &self.host;
        let mut warnings = Vec::new();
        match self.clock_ahead_ms {
            None => warnings.push(format!("host {host} does not tell its time")),
            Some(ahead) if ahead.abs() - self.clock_within_ms > TOLERATED.as_millis() as i64 => {
                let way = if ahead > 0 { "ahead of" } else { "behind" };
                let seconds = ahead.abs() / 1_000;
                warnings.push(format!(
                    "the clock of host {host} is {seconds} s {way} this machine's: set up NTP"
                ));
            }
            Some(_) => {}
        }
        warnings
    }
}

/// Asks every host.
pub(super) async fn hosts(client: &Client, nodes: &[Node]) -> Vec<HostHealth> {
    let mut all = Vec::new();
    for node in nodes {
        let reading = Reading::of(client, &node.reference).await;
        all.push(HostHealth {
            host: node.name.clone(),
            clock_ahead_ms: reading.map(|reading| reading.ahead),
            clock_within_ms: reading.map_or(0, |reading| reading.within),
            folders: folders(client, &node.reference).await,
        });
    }
    all
}

async fn folders(client: &Client, host: &Ref<Host>) -> BTreeMap<String, Option<u64>> {
    #[derive(Deserialize)]
    struct Folder {
        free_bytes: u64,
    }
    let answer = client.call_plugin(host, "xenhost.py", "host_folders", &BTreeMap::new()).await;
    let folders =
        answer.ok().and_then(|text| serde_json::from_str::<BTreeMap<String, Option<Folder>>>(&text).ok());
    let folders = folders.unwrap_or_default().into_iter();
    folders.map(|(path, folder)| (path, folder.map(|folder| folder.free_bytes))).collect()
}

/// All repositories, the default one first.
pub(super) async fn repositories(client: &Client) -> xenapi_client::Result<Vec<RepositoryHealth>> {
    let (srs, pbds, pools, hosts) = tokio::try_join!(
        client.all_records::<Sr>(),
        client.all_records::<Pbd>(),
        client.all_records::<Pool>(),
        client.all_records::<Host>()
    )?;
    let default_sr = pools.into_values().next().map_or(Ref::NULL, |pool| pool.default_sr);
    let mut all: Vec<RepositoryHealth> = srs
        .into_iter()
        .map(|(reference, sr)| {
            let unplugged = pbds.values().filter(|pbd| pbd.sr == reference && !pbd.currently_attached);
            let name =
                |host: &Ref<Host>| hosts.get(host).map_or_else(String::new, |host| host.name_label.clone());
            RepositoryHealth {
                name: sr.name_label,
                is_default: reference == default_sr,
                is_file_based: FILE_BASED.contains(&sr.r#type.as_str()),
                sr_type: sr.r#type,
                unplugged_on: unplugged.map(|pbd| name(&pbd.host)).collect(),
            }
        })
        .collect();
    all.sort_by_key(|sr| (!sr.is_default, sr.name.clone()));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_more_than_can_be_told() {
        let warned = |ahead, within| {
            let folders = BTreeMap::new();
            let health = HostHealth {
                host: "xen1".to_owned(),
                clock_ahead_ms: ahead,
                clock_within_ms: within,
                folders,
            };
            health.warnings().join("; ")
        };
        assert_eq!(warned(Some(900), 1_000), "");
        assert_eq!(warned(Some(-9_000), 5_000), "");
        assert_eq!(
            warned(Some(-61_500), 1_000),
            "the clock of host xen1 is 61 s behind this machine's: set up NTP"
        );
        assert_eq!(
            warned(Some(7_000), 1_000),
            "the clock of host xen1 is 7 s ahead of this machine's: set up NTP"
        );
        assert_eq!(warned(None, 0), "host xen1 does not tell its time");
    }
}
