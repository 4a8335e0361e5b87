//! What a pool and the files on our side look like, whatever the names are that were made by chance.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::Result;
use xenapi_storage::ownership::NOVA_DISK_TYPE;
use xenapi_types::{
    Host, HostRecord, Network, NetworkRecord, Pbd, Pif, Ref, Sr, SrRecord, Vbd, Vdi, VdiRecord, Vif, Vm,
    VmRecord,
};

use crate::pool::Pool;
use crate::sweep::outcome;
use crate::sweep::scene::Scene;
use crate::sweep::verb;

/// So much of each disk is looked into, in bytes: all that a verb writes to, in the disks of the scenes.
const LOOKED_INTO: usize = 64 << 20;

/// A line for each thing that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Portrait(Vec<String>);

impl Portrait {
    pub(crate) async fn of(scene: &Scene) -> Result<Self> {
        // Waits for what goes away by itself.
        let visible = outcome::visible(scene, scene.pool.census().await?).await?;
        let mut lines = pool(&scene.pool, scene.resizes).await?;
        lines.extend(visible.tasks.iter().map(|task| format!("task {task}")));
        for (class, count) in counts(visible.objects) {
            lines.push(format!("{count} of class {class}"));
        }
        if let Some((there, _)) = &scene.there {
            lines.extend(pool(there, scene.resizes).await?.into_iter().map(|line| format!("there: {line}")));
        }
        for entry in fs::read_dir(scene.files.path())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Written by the trial itself, when the verb is done.
            if entry.path() == scene.site().disk_note() {
                continue;
            }
            let whole = ["image.raw", "disc.iso"].contains(&&*name) || verb::is_whole_vhd(&entry.path())?;
            lines.push(format!("file {name}, {}", if whole { "whole" } else { "not a whole VHD" }));
        }
        lines.sort();
        Ok(Self(lines))
    }

    /// With these lines, too.
    pub(crate) fn and(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.0.extend(lines);
        self.0.sort();
        self
    }

    /// The lines that tell of hosts themselves, and the others.
    pub(crate) fn hosts_apart(&self) -> (Self, Self) {
        let (hosts, others) = self.0.iter().cloned().partition(|line| line.starts_with("host "));
        (Self(hosts), Self(others))
    }

    /// What is there and not in `other` (`+`), and what is missing (`-`).
    pub(crate) fn against(&self, other: &Self) -> Vec<String> {
        let (mut rest, mut differences) = (other.0.clone(), Vec::new());
        for line in &self.0 {
            match rest.iter().position(|known| known == line) {
                Some(at) => drop(rest.remove(at)),
                None => differences.push(format!("+{line}")),
            }
        }
        differences.extend(rest.into_iter().map(|line| format!("-{line}")));
        differences
    }
}

/// How many objects there are of each class that has no lines of its own. What belongs to a domain comes and goes
/// with it.
fn counts(objects: BTreeMap<String, BTreeSet<String>>) -> impl Iterator<Item = (String, usize)> {
    const LEFT_OUT: &[&str] =
        &["VM_guest_metrics", "console", "VM", "VBD", "VDI", "VIF", "PBD", "SR", "host", "network"];
    let counts = objects.into_iter().map(|(class, all)| (class, all.len()));
    counts.filter(|(class, _)| !LEFT_OUT.contains(&class.as_str()))
}

/// All records that tell of guests.
struct View<'a> {
    pool: &'a Pool,
    /// Whether file systems are made larger or smaller.
    resizes: bool,
    hosts: BTreeMap<Ref<Host>, HostRecord>,
    srs: BTreeMap<Ref<Sr>, SrRecord>,
    vms: BTreeMap<Ref<Vm>, VmRecord>,
    vdis: BTreeMap<Ref<Vdi>, VdiRecord>,
    networks: BTreeMap<Ref<Network>, NetworkRecord>,
}

async fn pool(pool: &Pool, resizes: bool) -> Result<Vec<String>> {
    let client = pool.client();
    let view = View {
        pool,
        resizes,
        hosts: client.all_records().await?,
        srs: client.all_records().await?,
        vms: client.all_records().await?,
        vdis: client.all_records().await?,
        networks: client.all_records().await?,
    };
    let mut lines = Vec::new();
    view.vms(&mut lines);
    view.drives(&mut lines).await?;
    view.disks(&mut lines)?;
    view.wires(&mut lines).await?;
    view.rest(&mut lines).await?;
    Ok(lines)
}

impl View<'_> {
    fn host(&self, host: &Ref<Host>) -> &str {
        self.hosts.get(host).map_or("no host", |host| &host.hostname)
    }

    fn sr(&self, sr: &Ref<Sr>) -> String {
        self.srs.get(sr).map_or("no repository".to_owned(), |sr| mask(&sr.name_label))
    }

    fn vm(&self, vm: &Ref<Vm>) -> &str {
        self.vms.get(vm).map_or("no VM", |vm| &vm.name_label)
    }

    fn vms(&self, lines: &mut Vec<String>) {
        for vm in self.vms.values().filter(|vm| !vm.is_a_template && !vm.is_control_domain) {
            lines.push(format!(
                "VM {:?}, snapshot: {}, {} on {}, prefers {}, {} CPUs, {} bytes, {:?}, {}, {}, {:?}",
                vm.name_label,
                vm.is_a_snapshot,
                vm.power_state,
                self.host(&vm.resident_on),
                self.host(&vm.affinity),
                vm.vcpus_max,
                vm.memory_static_max,
                vm.blocked_operations,
                keys(&meant(&vm.other_config)),
                keys(&vm.xenstore_data),
                vm.tags,
            ));
        }
    }

    async fn drives(&self, lines: &mut Vec<String>) -> Result<()> {
        for vbd in self.pool.client().all_records::<Vbd>().await?.into_values() {
            let disk = self.vdis.get(&vbd.vdi).map_or("nothing".to_owned(), |vdi| mask(&vdi.name_label));
            lines.push(format!(
                "drive {} of {:?}, {}, {}, attached: {}, bootable: {}, {disk:?}, {}",
                vbd.userdevice,
                self.vm(&vbd.vm),
                vbd.r#type,
                vbd.mode,
                vbd.currently_attached,
                vbd.bootable,
                // Who made it is another one when it is made anew.
                vbd.other_config.get("xenapi-rs:volume").map_or("", String::as_str),
            ));
        }
        Ok(())
    }

    fn disks(&self, lines: &mut Vec<String>) -> Result<()> {
        // What nobody has is the storage's; XAPI finds it whenever it looks.
        let is_lun = |vdi: &VdiRecord| self.srs.get(&vdi.sr).is_some_and(|sr| sr.r#type == "iscsi");
        let is_told = |vdi: &&VdiRecord| vdi.managed && !(is_lun(vdi) && vdi.vbds.is_empty());
        for vdi in self.vdis.values().filter(is_told) {
            // A config drive has the uuid of its guest in it, and `mkswap` gives a swap disk one by chance.
            let kind = vdi.other_config.get(NOVA_DISK_TYPE).map(String::as_str);
            let by_chance = matches!(kind, Some("configdrive" | "swap"));
            let content = match self.pool.simulator.peek(&vdi.uuid, 0, LOOKED_INTO) {
                _ if by_chance => "by chance".to_owned(),
                // `resize2fs` notes when it was there.
                Ok(bytes) if self.resizes && is_ext4(&bytes) => {
                    let start = &bytes[..bytes.len().min(16 << 20)];
                    format!("an ext4 with the name: {}", memchr::memmem::find(start, b"web1\n").is_some())
                }
                Ok(bytes) => format!("{:08x}", crc32fast::hash(&bytes)),
                // There are repositories without data.
                Err(failure) => failure.code,
            };
            lines.push(format!(
                "disk {:?} in {}, {} bytes, snapshot: {}, {}, {content}",
                mask(&vdi.name_label),
                self.sr(&vdi.sr),
                vdi.virtual_size,
                vdi.is_a_snapshot,
                keys(&meant(&vdi.other_config)),
            ));
        }
        Ok(())
    }

    async fn wires(&self, lines: &mut Vec<String>) -> Result<()> {
        let client = self.pool.client();
        for vif in client.all_records::<Vif>().await?.into_values() {
            let network = self.networks.get(&vif.network).map_or("none", |network| &network.name_label);
            let vm = self.vm(&vif.vm);
            lines.push(format!(
                "interface {} of {vm:?} on {network:?}, attached: {}, {}, {}",
                vif.device,
                vif.currently_attached,
                vif.locking_mode,
                keys(&vif.other_config),
            ));
        }
        let pifs = client.all_records::<Pif>().await?;
        for network in self.networks.values() {
            let vlans: Vec<_> =
                network.pifs.iter().filter_map(|pif| pifs.get(pif).map(|pif| pif.vlan)).collect();
            let (name, mtu) = (&network.name_label, network.mtu);
            lines.push(format!("network {name:?}, {mtu}, {vlans:?}, {}", keys(&network.other_config)));
        }
        Ok(())
    }

    async fn rest(&self, lines: &mut Vec<String>) -> Result<()> {
        let client = self.pool.client();
        for pbd in client.all_records::<Pbd>().await?.into_values() {
            let (sr, host) = (self.sr(&pbd.sr), self.host(&pbd.host));
            lines.push(format!("connection of {sr:?} to {host}, attached: {}", pbd.currently_attached));
        }
        for sr in self.srs.values() {
            let (own, sm) = (keys(&sr.other_config), keys(&sr.sm_config));
            lines.push(format!("repository {:?}, {}, {own}, {sm}", mask(&sr.name_label), sr.r#type));
        }
        for host in self.hosts.values() {
            let (name, enabled) = (&host.hostname, host.enabled);
            lines.push(format!("host {name}, enabled: {enabled}, {}", keys(&host.other_config)));
        }
        for pool in client.all_records::<xenapi_types::Pool>().await?.into_values() {
            lines.push(format!("pool, {}", keys(&pool.other_config)));
        }
        Ok(())
    }
}

/// Whether the first partition, at one MiB, is an ext4 by its superblock's magic.
fn is_ext4(bytes: &[u8]) -> bool {
    bytes.get((1 << 20) + 1024 + 56..).is_some_and(|rest| rest.starts_with(&[0x53, 0xef]))
}
/// Without what says how far a change is that is over, which means nothing, and without what XAPI notes.
fn meant(other_config: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut meant = other_config.clone();
    meant.retain(|key, _| {
        let flag_of = ["-done", "-confirming", "-reverting"].iter().find_map(|flag| key.strip_suffix(flag));
        key != "last_dom_id"
            && key != "content_id"
            && flag_of.is_none_or(|text| other_config.contains_key(text))
    });
    meant
}

/// The keys, with as much of their values as is not by chance.
fn keys(map: &BTreeMap<String, String>) -> String {
    let all = map.iter().map(|(key, value)| format!("{}={}", mask(key), mask(value)));
    all.collect::<Vec<_>>().join(" ")
}

/// Without uuids, addresses, digests and numbers as long as points in time.
fn mask(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == ':';
    let mut masked = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if len == 0 {
            masked.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (word, after) = rest.split_at(len);
        for (n, part) in word.split(':').enumerate() {
            let is_hex = part.chars().all(|c| c.is_ascii_hexdigit() || "-TZ".contains(c));
            let by_chance = is_hex && (part.len() >= 9 || word.len() == 17);
            masked.push_str(if n > 0 { ":" } else { "" });
            masked.push_str(if by_chance { "_" } else { part });
        }
        rest = after;
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_by_chance_is_masked() {
        for (text, masked) in [
            ("OpaqueRef:11111111-2222-3333-4444-555555555555", "OpaqueRef:_"),
            ("xenapi-rs:snapshot:11111111-2222-3333-4444-555555555555", "xenapi-rs:snapshot:_"),
            ("{\"at\":1763765000,\"was_running\":true}", "{\"at\":_,\"was_running\":true}"),
            ("20261121T23:18:58Z", "_:18:58Z"),
            ("{\"mac\":\"5e:e4:75:cf:fb:68\"}", "{\"mac\":\"_:_:_:_:_:_\"}"),
            ("web1 1024", "web1 1024"),
            ("größe", "größe"),
        ] {
            assert_eq!(mask(text), masked, "{text}");
        }
    }

    #[test]
    fn twice_is_not_once() {
        let portrait = |lines: &[&str]| Portrait(lines.iter().map(|line| (*line).to_owned()).collect());
        let (one, two) = (portrait(&["a", "b"]), portrait(&["a", "a", "b"]));
        assert_eq!(two.against(&one), ["+a"]);
        assert_eq!(one.against(&two), ["-a"]);
        assert!(one.against(&one).is_empty());
    }
}
