//! The disks for swap and for data that end with the instance, as a new flavor wants them: larger ones, and more of them.

use std::collections::BTreeMap;

use uuid::Uuid;
use xenapi_storage::Repository;
use xenapi_storage::device::{self, UserDevice};
use xenapi_storage::ownership::{DiskUse, NOVA_DISK_TYPE, Ownership};
use xenapi_types::{Ref, Vm, VmRecord, vm};

use super::journal::{Journal, Replaced};
use super::restore;
use crate::cancel::Stop;
use crate::error::Cause;
use crate::find;
use crate::job::Job;
use crate::plan::{self, DiskPlan};
use crate::progress::Stage;
use crate::spec::Flavor;
use crate::volume::Drive;
use crate::zeros;

/// What becomes of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Blank {
    /// Sizes in bytes of those that grow, by their places.
    pub(crate) larger: BTreeMap<String, u64>,
    /// Uses, places and sizes in bytes of those that are added.
    added: Vec<(DiskUse, UserDevice, u64)>,
}

/// A disk to be added.
pub(crate) struct Added {
    pub(crate) disk: DiskPlan,
    pub(crate) sr: Repository,
}

impl Blank {
    /// # Errors
    ///
    /// [`Cause::Shrink`] where there is more than the flavor wants; [`Cause::DeviceInUse`] without a place for another one.
    pub(crate) async fn plan(
        job: &Job,
        (vm, record): (&Ref<Vm>, &VmRecord),
        drives: &[Drive],
        srs: &[Repository],
        flavor: &Flavor,
    ) -> Result<Self, Cause> {
        let have = |disk_use| {
            let own = drives.iter().filter(move |drive| is(drive, disk_use));
            let sizes = own.map(|drive| Have {
                place: drive.record.userdevice.clone(),
                disk: drive.disk.uuid.clone(),
                bytes: u64::try_from(drive.disk.virtual_size).unwrap_or(0),
            });
            sizes.collect::<Vec<_>>()
        };
        let rounded = |drive: &Have, bytes: u64| {
            let sr = drives.iter().find(|known| known.disk.uuid == drive.disk).map(|known| &known.disk.sr);
            let sr = srs.iter().find(|known| Some(&known.reference) == sr);
            sr.and_then(|sr| sr.facts().round_size(bytes).ok()).unwrap_or(bytes)
        };
        let (mut larger, swap) = swap(&have(DiskUse::Swap), flavor.swap_mib << 20, rounded)?;
        let (data, ephemeral) = ephemeral(&have(DiskUse::Ephemeral), flavor.ephemeral_gib)?;
        larger.extend(data);
        let wanted = swap.map(|bytes| (DiskUse::Swap, bytes)).into_iter();
        let wanted: Vec<_> =
            wanted.chain(ephemeral.into_iter().map(|gib| (DiskUse::Ephemeral, gib << 30))).collect();
        if wanted.is_empty() {
            return Ok(Self { larger, added: Vec::new() });
        }
        let doing = || Cause::host(format!("looking for a free place for a disk in VM {}", record.uuid));
        let allowed = job.client().call(vm::GetAllowedVbdDevices { vm: vm.clone() }).await.map_err(doing())?;
        let places = find::places(job.client(), record).await?;
        let mut taken: Vec<String> = places.into_iter().map(|(_, vbd)| vbd.userdevice).collect();
        let mut added = Vec::new();
        for (disk_use, bytes) in wanted {
            let free =
                |first| device::next_free(allowed.iter().map(|d| &**d), taken.iter().map(|d| &**d), first);
            let own = (disk_use == DiskUse::Swap).then(|| free(UserDevice::SWAP)).flatten();
            let place =
                own.filter(|place| *place == UserDevice::SWAP).or_else(|| free(UserDevice::FIRST_EPHEMERAL));
            let Some(place) = place else {
                return Err(Cause::DeviceInUse { device: "every".to_owned(), vm: record.uuid.clone() });
            };
            taken.push(place.to_string());
            added.push((disk_use, place, bytes));
        }
        Ok(Self { larger, added })
    }

    /// The disks to be added, on this repository.
    pub(crate) fn added(&self, job: &Job, record: &VmRecord, sr: &Repository) -> Vec<Added> {
        let owner = job.driver.settings().owner.clone();
        let instance: Uuid = find::made_for(&record.other_config, &record.uuid, &owner).unwrap_or_default();
        let mark = Ownership { owner, instance, operation: job.operation };
        let disk = |blank: &_| plan::blank_disk(&record.name_label, *blank, sr, &mark);
        self.added.iter().map(|blank| Added { disk: disk(blank), sr: sr.clone() }).collect()
    }

    pub(crate) fn adds(&self) -> bool {
        !self.added.is_empty()
    }
}

impl Added {
    /// What is done, in words.
    pub(crate) fn step(&self) -> String {
        let (name, mib, place) = (&self.disk.name_label, self.disk.virtual_bytes >> 20, self.disk.userdevice);
        format!(
            "add blank disk {name:?} of {mib} MiB at device {place}, in storage repository {:?}",
            self.sr.name_label
        )
    }

    /// Gives it to a halted VM. It is undone with the journal.
    pub(super) async fn make(
        &self,
        job: &Job,
        (vm, record): (&Ref<Vm>, &VmRecord),
        journal: &Journal,
        stop: &Stop,
    ) -> Result<(), Cause> {
        let disk = job.make_disk(&self.disk, &self.sr, stop, |_| {}).await?;
        job.seal(&disk).await?;
        zeros::fill(job, &self.sr, &disk, 0, Stage::Devices, stop).await?;
        let place = Replaced::blank(self.disk.userdevice);
        let put = restore::put(&job.driver, vm, record, &place, &disk.reference, journal.operation).await;
        put.map_err(Cause::host(format!("adding a disk to VM {}", record.uuid)))
    }
}

/// Whether it is the instance's own disk for this.
fn is(drive: &Drive, disk_use: DiskUse) -> bool {
    let noted = drive.disk.other_config.get(NOVA_DISK_TYPE).map(String::as_str);
    drive.is_own && !drive.is_disc() && noted == Some(disk_use.as_str())
}

/// A disk that there is.
struct Have {
    place: String,
    disk: String,
    bytes: u64,
}

/// The disk for swap grows, or is added with so many bytes.
fn swap(
    have: &[Have],
    wanted_bytes: u64,
    rounded: impl Fn(&Have, u64) -> u64,
) -> Result<(BTreeMap<String, u64>, Option<u64>), Cause> {
    match have.first() {
        _ if wanted_bytes == 0 => Ok((BTreeMap::new(), None)),
        None => Ok((BTreeMap::new(), Some(wanted_bytes))),
        Some(have) if have.bytes > rounded(have, wanted_bytes) => {
            Err(Cause::Shrink { disk: have.disk.clone(), have_bytes: have.bytes, wanted_bytes })
        }
        Some(have) if have.bytes < wanted_bytes => {
            Ok((BTreeMap::from([(have.place.clone(), wanted_bytes)]), None))
        }
        Some(_) => Ok((BTreeMap::new(), None)),
    }
}

/// What there is grows, the first disk first, as far as a disk can; what is still missing is added, in GiB.
fn ephemeral(have: &[Have], wanted_gib: u64) -> Result<(BTreeMap<String, u64>, Vec<u64>), Cause> {
    let mut larger = BTreeMap::new();
    if wanted_gib == 0 {
        return Ok((larger, Vec::new()));
    }
    let gib = |have: &Have| have.bytes >> 30;
    let have_gib: u64 = have.iter().map(gib).sum();
    let Some(mut missing) = wanted_gib.checked_sub(have_gib) else {
        let disk = have.last().map(|have| have.disk.clone()).unwrap_or_default();
        return Err(Cause::Shrink { disk, have_bytes: have_gib << 30, wanted_bytes: wanted_gib << 30 });
    };
    for have in have {
        let more = missing.min(plan::LARGEST_EPHEMERAL_GIB.saturating_sub(gib(have)));
        if more > 0 {
            larger.insert(have.place.clone(), (gib(have) + more) << 30);
            missing -= more;
        }
    }
    Ok((larger, plan::ephemeral_sizes(missing)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn have(sizes: &[u64]) -> Vec<Have> {
        let have = |(place, bytes): (usize, &u64)| Have {
            place: place.to_string(),
            disk: "it".into(),
            bytes: *bytes,
        };
        sizes.iter().enumerate().map(have).collect()
    }

    #[test]
    fn data_disks_grow_until_there_have_to_be_more() {
        let gib = |sizes: &[u64]| sizes.iter().map(|gib| gib << 30).collect::<Vec<_>>();
        for (there, wanted, larger, added) in [
            (&[][..], 0, &[][..], &[][..]),
            (&[5], 0, &[], &[]),
            (&[5], 5, &[], &[]),
            (&[], 20, &[], &[20]),
            (&[5], 20, &[(0, 20)], &[]),
            (&[5, 7], 20, &[(0, 13)], &[]),
            (&[1990, 7], 2020, &[(0, 2000), (1, 20)], &[]),
            (&[2000], 4500, &[], &[2000, 500]),
            (&[500], 2500, &[(0, 2000)], &[500]),
        ] {
            let larger =
                larger.iter().map(|(place, gib): &(usize, u64)| (place.to_string(), gib << 30)).collect();
            let planned = ephemeral(&have(&gib(there)), wanted).unwrap();
            assert_eq!(planned, (larger, added.to_vec()), "{there:?} to {wanted}");
        }
        assert!(matches!(ephemeral(&have(&gib(&[5, 7])), 11), Err(Cause::Shrink { .. })));
    }

    #[test]
    fn swap_grows_and_is_never_smaller_than_the_repository_makes_it() {
        let even = |_: &Have, bytes: u64| bytes.next_multiple_of(2);
        let nothing = BTreeMap::new();
        assert_eq!(swap(&[], 0, even).unwrap(), (nothing.clone(), None));
        assert_eq!(swap(&[], 5, even).unwrap(), (nothing.clone(), Some(5)));
        assert_eq!(swap(&have(&[6]), 5, even).unwrap(), (nothing.clone(), None));
        assert_eq!(swap(&have(&[6]), 0, even).unwrap(), (nothing, None));
        assert_eq!(swap(&have(&[6]), 9, even).unwrap(), (BTreeMap::from([("0".to_owned(), 9)]), None));
        assert!(matches!(swap(&have(&[6]), 4, even), Err(Cause::Shrink { .. })));
    }
}
