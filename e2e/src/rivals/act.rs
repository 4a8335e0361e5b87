//! How each verb is asked of the driver.

use std::path::{Path, PathBuf};

use uuid::Uuid;
use xapi_simulator::targets::Target;
use xenapi_driver::image_cache::{CacheRequest, Copying};
use xenapi_driver::live::MigrateOptions;
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::{RebuildOptions, ResizeOptions};
use xenapi_driver::spec::{Flavor, InstanceSpec, MacChoice, Nic, RootImage, SrChoice};
use xenapi_driver::volume::{AttachOptions, Iscsi, Storage, Volume, VolumeDisk};
use xenapi_driver::{Driver, Existing, PowerChange, Progress, Result, Shutdown, SpawnOptions, Which};

use super::ask::{Ask, Seen, Told};
use super::rival::{INSTANCES, uuid};
use crate::pool::NETWORK;

/// The images that instances are made of.
pub const IMAGES: [&str; 2] = ["image-a", "image-b"];
/// The repository of their disks, which all hosts reach.
pub const SHARED: &str = "shared";

const PORTAL: &str = "192.0.2.1";

/// The servers of the volumes, one for each instance.
pub fn volumes() -> Vec<Target> {
    (0..INSTANCES).map(|instance| Target::iscsi(PORTAL, iqn(instance), [(0, 8 << 20)])).collect()
}

fn iqn(instance: usize) -> String {
    format!("iqn.2010-10.org.openstack:volume-{instance}")
}

/// One verb at one instance.
#[derive(Debug)]
pub struct Deed<'a> {
    /// With what.
    pub driver: &'a Driver,
    /// Which instance.
    pub instance: usize,
    /// One of [`IMAGES`], for what makes a root disk.
    pub image: &'a str,
    /// The folder with the image, …
    pub folder: &'a Path,
    /// … and the file in it that a snapshot is written to.
    pub file: &'a Path,
}

impl Deed<'_> {
    fn which(&self) -> Which {
        Which::Instance(uuid(self.instance))
    }

    fn volume(&self) -> String {
        format!("vol-{}", self.instance)
    }

    fn mac(&self) -> String {
        format!("02:00:00:00:22:{:02x}", self.instance)
    }

    /// Does it.
    ///
    /// # Errors
    ///
    /// The driver's.
    pub async fn act(&self, ask: Ask) -> Result<Told> {
        let (driver, which, none) = (self.driver, self.which(), Progress::none());
        match ask {
            Ask::Spawn => self.spawn().await?,
            Ask::Destroy => {
                let gone = driver.destroy(which, none).await?;
                return Ok(if gone.vm_uuid.is_some() { Told::Done } else { Told::WasGone });
            }
            Ask::Off => drop(driver.power(which, PowerChange::Off(Shutdown::Hard), none).await?),
            Ask::On => drop(driver.power(which, PowerChange::On, none).await?),
            Ask::Reboot => drop(driver.power(which, PowerChange::Reboot(Shutdown::Hard), none).await?),
            Ask::SoftDelete => driver.soft_delete(which, none).await?,
            Ask::Restore => driver.restore(which, none).await?,
            Ask::Snapshot => drop(driver.snapshot(which, self.file, Existing::Refuse, none).await?),
            Ask::AttachVolume => {
                let attached = driver.attach_volume(which, self.lun(), AttachOptions::default()).await;
                drop(attached?);
            }
            Ask::DetachVolume => drop(driver.detach_volume(which, self.volume(), none).await?),
            Ask::AttachInterface => drop(driver.attach_interface(which, self.nic(), none).await?),
            Ask::DetachInterface => drop(driver.detach_interface(which, self.mac(), none).await?),
            Ask::Resize(vcpus) => {
                let flavor = Some(Flavor::new(vcpus, 256, 0));
                let options = ResizeOptions { flavor, shutdown: Shutdown::Hard, ..ResizeOptions::default() };
                drop(driver.resize(which, options).await?);
            }
            Ask::ConfirmResize => drop(driver.confirm_resize(which, none).await?),
            Ask::RevertResize => driver.revert_resize(which, none).await?,
            Ask::Rescue => {
                let sr = SrChoice::NameLabel(SHARED.into());
                let options = RescueOptions { sr, ..RescueOptions::with(self.cached().await?) };
                driver.rescue(which, options).await?;
            }
            Ask::Unrescue => drop(driver.unrescue(which, none).await?),
            Ask::Rebuild => {
                drop(driver.rebuild(which, RebuildOptions::with(self.cached().await?)).await?);
            }
            Ask::LiveMigrate => {
                let options = MigrateOptions::to(self.other_node().await?);
                drop(driver.live_migrate(which, options).await?);
            }
            Ask::Volumes | Ask::Interfaces | Ask::Look => return self.look(ask).await,
        }
        Ok(Told::Done)
    }

    async fn look(&self, ask: Ask) -> Result<Told> {
        match ask {
            Ask::Volumes => {
                let all = self.driver.volumes(&self.which()).await?;
                Ok(Told::Has(all.iter().any(|volume| volume.id == self.volume())))
            }
            Ask::Interfaces => {
                let all = self.driver.interfaces(&self.which()).await?;
                Ok(Told::Has(all.iter().any(|interface| interface.mac == self.mac())))
            }
            _ => {
                let all = self.driver.instances().await?;
                // One that is being made, or undone, may be beside it.
                let mut found = all.iter().filter(|info| info.uuid == uuid(self.instance));
                Ok(Told::Seen(found.find_map(Seen::of)))
            }
        }
    }

    async fn spawn(&self) -> Result<()> {
        let name = format!("rival-{}", self.instance);
        let mut spec = InstanceSpec::new(name, Flavor::new(1, 256, 0), self.cached().await?);
        (spec.uuid, spec.sr) = (uuid(self.instance), SrChoice::NameLabel(SHARED.into()));
        let nodes = self.driver.nodes().await?;
        spec.node = nodes[self.instance % nodes.len()].uuid.parse().ok();
        self.driver.spawn(spec, SpawnOptions::default()).await.map(drop)
    }

    async fn cached(&self) -> Result<RootImage> {
        let image: PathBuf = self.folder.join("image.raw");
        let sr = SrChoice::NameLabel(SHARED.into());
        let request = CacheRequest { sr, ..CacheRequest::new(self.image, image) };
        let image = self.driver.cache_image(request, Progress::none()).await?;
        Ok(RootImage::Cached(image, Copying::Clone))
    }

    fn lun(&self) -> Volume {
        let storage = Storage::Iscsi(Iscsi {
            portal: PORTAL.parse().expect("a portal"),
            iqn: iqn(self.instance),
            chap: None,
        });
        Volume { id: Some(self.volume()), ..Volume::new(storage, VolumeDisk::Lun(0)) }
    }

    fn nic(&self) -> Nic {
        let mac = MacChoice::Given(self.mac().parse().expect("an address"));
        Nic { mac, ..Nic::on(NETWORK) }
    }

    /// A host that the instance is not on now; any if it is on none.
    async fn other_node(&self) -> Result<Uuid> {
        let (nodes, all) = (self.driver.nodes().await?, self.driver.instances().await?);
        let here = all.into_iter().find(|info| info.uuid == uuid(self.instance)).and_then(|info| info.node);
        let node = nodes.iter().map(|node| &node.uuid).find(|node| Some(*node) != here.as_ref());
        Ok(node.and_then(|node| node.parse().ok()).unwrap_or_default())
    }
}
