//! The disks that dom0 has attached, as block devices for the programs that run there.
//!
//! A call of a plugin that names the device of an attached disk finds it under `/dev`, as it would in dom0: a loop
//! device over the disk's content, which is taken back when the program has ended. Root is needed for that; without,
//! the program finds no such device, unless [`Config::disk_files`](crate::core::Config::disk_files) says where plain files
//! may be instead.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use uuid::Uuid;
use xenapi_wire::Failure;

use crate::core::Core;
use crate::db::View;
use crate::disk::{BLOCK, Disk};
use crate::storage::Sr;

/// Those of one call.
#[derive(Default)]
pub(super) struct Devices(Vec<Device>);

struct Device {
    link: PathBuf,
    content: PathBuf,
    /// Without one, the link leads to the file.
    loop_device: Option<String>,
    disk: Disk,
    writable: bool,
}

/// A disk that is to become a device: its name below `/dev`, where it is, whether it is attached for writing.
struct Wanted {
    device: String,
    sr: Sr,
    vdi: Uuid,
    writable: bool,
}

impl Devices {
    /// Makes those that `texts` name, of the disks attached to the control domain of `host`. Does file work.
    pub(super) fn attach(core: &Core, host: &str, texts: &[String]) -> Self {
        let wanted = core.db().read(|view| wanted(view, host, texts)).unwrap_or_default();
        let made = wanted.into_iter().filter_map(|wanted| {
            let device = wanted.device.clone();
            let made = Device::make(core, wanted);
            made.inspect_err(|error| tracing::warn!(device, %error, "the program will not find its disk"))
                .ok()
        });
        Self(made.collect())
    }

    /// Writes what the program has changed to the disks.
    pub(super) fn take_back(self) {
        for device in &self.0 {
            if let Err(error) = device.take_back() {
                tracing::warn!(device = %device.link.display(), %error, "what the program wrote is lost");
            }
        }
    }
}

fn wanted(view: &View, host: &str, texts: &[String]) -> Result<Vec<Wanted>, Failure> {
    let mut wanted = Vec::new();
    for vbd in view.objects("VBD").filter(|vbd| vbd.bool("currently_attached")) {
        let device = vbd.str("device");
        let is_here = view
            .find("VM", vbd.str("VM"))
            .is_some_and(|vm| vm.bool("is_control_domain") && vm.str("resident_on") == host);
        let is_named = !device.is_empty() && texts.iter().any(|text| text.contains(device));
        let Some(vdi) = vbd.ref_opt("VDI").and_then(|vdi| view.find("VDI", vdi)) else { continue };
        if is_here && is_named {
            wanted.push(Wanted {
                device: device.to_owned(),
                sr: Sr::of(view, vdi.str("SR"))?,
                vdi: super::super::vdi::uuid_of(vdi),
                writable: vbd.str("mode") == "RW",
            });
        }
    }
    Ok(wanted)
}

impl Device {
    fn make(core: &Core, wanted: Wanted) -> io::Result<Self> {
        let refused = |failure: Failure| io::Error::other(failure.to_string());
        let files = core.config().disk_files.as_deref();
        let disk = core.storage().open(wanted.sr).map_err(refused)?.disk(wanted.vdi).map_err(refused)?;
        let content = std::env::temp_dir().join(format!("xapi-simulator-{}.dom0", Uuid::new_v4()));
        let mut device = Self {
            link: files.unwrap_or(Path::new("/dev")).join(&wanted.device),
            content,
            loop_device: None,
            disk,
            writable: wanted.writable,
        };
        device.copy_out()?;
        if files.is_none() {
            device.loop_device = device.find_loop();
        }
        fs::create_dir_all(device.link.parent().unwrap_or(Path::new("/dev")))?;
        // One of a simulator that was killed.
        if device.link.is_symlink() {
            fs::remove_file(&device.link)?;
        }
        let target = device.loop_device.as_ref().map_or(device.content.clone(), PathBuf::from);
        symlink(target, &device.link)?;
        Ok(device)
    }

    /// A loop device over the content, where there are any.
    fn find_loop(&self) -> Option<String> {
        let mut losetup = Command::new("losetup");
        losetup.args(["--find", "--show"]).args((!self.writable).then_some("--read-only")).arg(&self.content);
        let output = losetup.output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn blocks(&self) -> impl Iterator<Item = (u64, u64, usize)> {
        let len = self.disk.len_bytes();
        (0..len.div_ceil(BLOCK))
            .map(move |block| (block, block * BLOCK, BLOCK.min(len - block * BLOCK) as usize))
    }

    fn copy_out(&self) -> io::Result<()> {
        let file = File::create_new(&self.content)?;
        file.set_len(self.disk.len_bytes())?;
        for (block, start, len) in self.blocks() {
            if !self.disk.is_hole(block) {
                let mut bytes = vec![0; len];
                self.disk.read_at(start, &mut bytes).map_err(io::Error::other)?;
                file.write_all_at(&bytes, start)?;
            }
        }
        Ok(())
    }

    fn take_back(&self) -> io::Result<()> {
        if !self.writable {
            return Ok(());
        }
        if let Some(device) = &self.loop_device {
            // What is in the device's own cache reaches the file.
            File::open(device)?.sync_all()?;
        }
        let file = File::open(&self.content)?;
        let (mut new, mut old) = (vec![0; BLOCK as usize], vec![0; BLOCK as usize]);
        for (block, start, len) in self.blocks() {
            let (new, old) = (&mut new[..len], &mut old[..len]);
            file.read_exact_at(new, start)?;
            match self.disk.is_hole(block) {
                true => old.fill(0),
                false => self.disk.read_at(start, old).map_err(io::Error::other)?,
            }
            if new != old {
                self.disk.write_at(start, new).map_err(io::Error::other)?;
            }
        }
        Ok(())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.link);
        // Other disks may be in it.
        let _ = self.link.parent().map(fs::remove_dir);
        if let Some(device) = &self.loop_device {
            let _ = Command::new("losetup").arg("-d").arg(device).status();
        }
        let _ = fs::remove_file(&self.content);
    }
}

/// Runs `program` while the disks that its arguments name are devices. One at a time: two calls for one disk would
/// each have a copy of it.
pub(super) async fn with<T>(
    core: &Arc<Core>,
    host: &str,
    texts: Vec<String>,
    program: impl Future<Output = T>,
) -> T {
    static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    if !core.db().read(|view| wanted(view, host, &texts).is_ok_and(|wanted| !wanted.is_empty())) {
        return program.await;
    }
    let _one = ONE.lock().await;
    let (inside, host) = (core.clone(), host.to_owned());
    let attached = tokio::task::spawn_blocking(move || Devices::attach(&inside, &host, &texts)).await;
    let devices = attached.unwrap_or_default();
    let value = program.await;
    let _ = tokio::task::spawn_blocking(move || devices.take_back()).await;
    value
}
