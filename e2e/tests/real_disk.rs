//! A real disk, in every form that users have it, on both kinds of storage: it arrives as it was, and
//! comes back as it was.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use disk_stream::{Consume, Existing, Progress, RawSink, VhdSink};
use e2e::image::{Ext4Disk, PROGRAMS};
use e2e::pool::{EXT, LVM, Pool};
use e2e::tools;
use xenapi_client::{Client, ExportFormat};
use xenapi_driver::spec::{Flavor, InstanceSpec, Power, SrChoice};
use xenapi_driver::{Checks, Instance, SpawnOptions, Which};
use xenapi_types::Vdi;

/// Spawns from `image`, with the driver's own comparison, and destroys again: the pool is as before.
async fn there_and_back(sr: &str, image: PathBuf, root_gib: u64) -> Result<()> {
    let pool = Pool::demo().await?;
    let before = pool.census().await?;
    let instance = spawn(&pool, sr, image, root_gib).await?;
    let directory = tempfile::tempdir()?;
    check_raw_export(pool.client(), &instance, &directory.path().join("back.raw")).await?;
    check_vhd_export(pool.client(), &instance, &directory.path().join("back.vhd")).await?;
    pool.driver.destroy(Which::Instance(instance.uuid), xenapi_driver::Progress::none()).await?;
    pool.census().await?.assert_as(&before, "in the end");
    Ok(())
}

async fn spawn(pool: &Pool, sr: &str, image: PathBuf, root_gib: u64) -> Result<Instance> {
    let mut spec = InstanceSpec::new("real", Flavor::new(2, 1024, root_gib), image);
    spec.sr = SrChoice::Named(sr.to_owned());
    // A running guest would write to the disk that is compared below.
    spec.power = Power::Off;
    let options = SpawnOptions { checks: Checks::AllDisks, ..SpawnOptions::default() };
    let instance = pool.driver.spawn(spec, options).await?;
    ensure!(instance.root_checked, "the root disk was not compared");
    let moved = instance.root_import.wire_bytes;
    ensure!(moved < instance.root_bytes / 4, "{moved} bytes went over the wire");
    Ok(instance)
}

async fn check_raw_export(client: &Client, instance: &Instance, path: &Path) -> Result<()> {
    let sink = RawSink::of_raw(path, Existing::Refuse, instance.root_bytes)?;
    save(client, instance, ExportFormat::Raw, sink).await?;
    assert_eq!(fs::metadata(path)?.len(), instance.root_bytes);
    // The backup of the partition table is where the smaller disk ended; the file system is not touched.
    tools::e2fsck_clean(path, Ext4Disk::PARTITION_OFFSET_BYTES)?;
    same_content(path)
}

async fn check_vhd_export(client: &Client, instance: &Instance, path: &Path) -> Result<()> {
    let saved = save(client, instance, ExportFormat::Vhd, VhdSink::create(path, Existing::Refuse)?).await?;
    assert_eq!(saved.virtual_size, instance.root_bytes);
    let info = tools::qemu_img_info(path)?;
    assert_eq!((info.format.as_str(), info.virtual_size), ("vpc", instance.root_bytes));
    tools::qemu_img_check(path)?;
    same_content(path)
}

/// Compares with the source, as qemu-img does it: what one disk has more than the other must be zero.
fn same_content(path: &Path) -> Result<()> {
    tools::qemu_img_compare(&Ext4Disk::get()?.raw, path)
}

async fn save<C: Consume>(
    client: &Client,
    instance: &Instance,
    format: ExportFormat,
    mut sink: C,
) -> Result<C::Output> {
    let vdi = client.by_uuid::<Vdi>(&instance.root_uuid).await?;
    let mut export = client.export_vdi(&vdi, format, None).await?;
    let progress = Progress::new();
    while let Some(chunk) = export.chunk().await? {
        sink.feed(&chunk, &progress)?;
    }
    Ok(sink.finish()?)
}

#[tokio::test]
async fn raw_on_ext() -> Result<()> {
    if !tools::present(PROGRAMS) {
        return Ok(());
    }
    there_and_back(EXT, Ext4Disk::get()?.raw, 4).await
}

#[tokio::test]
async fn dynamic_vhd_on_ext_grown_to_the_flavor() -> Result<()> {
    if !tools::present(PROGRAMS) {
        return Ok(());
    }
    there_and_back(EXT, Ext4Disk::get()?.dynamic_vhd, 5).await
}

#[tokio::test]
async fn fixed_vhd_on_ext() -> Result<()> {
    if !tools::present(PROGRAMS) {
        return Ok(());
    }
    there_and_back(EXT, Ext4Disk::get()?.fixed_vhd, 0).await
}

#[tokio::test]
async fn raw_on_lvm_grown_to_the_flavor() -> Result<()> {
    if !tools::present(PROGRAMS) {
        return Ok(());
    }
    there_and_back(LVM, Ext4Disk::get()?.raw, 5).await
}

#[tokio::test]
async fn dynamic_vhd_on_lvm() -> Result<()> {
    if !tools::present(PROGRAMS) {
        return Ok(());
    }
    there_and_back(LVM, Ext4Disk::get()?.dynamic_vhd, 0).await
}

#[tokio::test]
async fn fixed_vhd_on_lvm() -> Result<()> {
    if !tools::present(PROGRAMS) {
        return Ok(());
    }
    there_and_back(LVM, Ext4Disk::get()?.fixed_vhd, 4).await
}
