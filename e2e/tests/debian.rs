//! A root file system of Debian's own packages as an image: in, out and in again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use disk_stream::{Declared, Existing, Image, Upload};
use e2e::pool::{EXT, LVM, Pool};
use e2e::tools;
use image_store::FileSink;
use xenapi_driver::spec::{Flavor, InstanceSpec, Power, RootImage, SrChoice};
use xenapi_driver::upload::{UploadFormat, UploadOptions};
use xenapi_driver::{Checks, SpawnOptions, Which};

const TOOLS: &[&str] = &["mkfs.ext4", "sfdisk", "e2fsck", "debugfs", "qemu-img", "tar"];
/// Names a folder with a root file system that is there already.
const ROOT: &str = "DEBIAN_ROOT";
const MIB: u64 = 640;
const START: u64 = 2048 * 512;

/// The smallest Debian, unless there is one.
fn root(folder: &Path) -> Result<Option<PathBuf>> {
    if let Some(root) = std::env::var_os(ROOT) {
        return Ok(Some(root.into()));
    }
    if !tools::present(&["debootstrap"]) {
        return Ok(None);
    }
    let root = folder.join("root");
    tools::run("debootstrap", ["--variant=minbase".as_ref(), "stable".as_ref(), root.as_os_str()])?;
    Ok(Some(root))
}

#[tokio::test]
#[ignore = "debootstrap fetches packages for minutes, as root: cargo test -p e2e --test debian -- --ignored"]
async fn a_debian_goes_in_out_and_in_again() -> Result<()> {
    if !tools::present(TOOLS) {
        return Ok(());
    }
    let files = tempfile::tempdir()?;
    let Some(root) = root(files.path())? else { return Ok(()) };
    let version = fs::read_to_string(root.join("etc/debian_version"))?;
    let raw = tools::disk_of_files(files.path(), &root, MIB)?;
    let at = |name: &str| files.path().join(name);
    let text = |path: &Path| path.display().to_string();
    let image = Image::open_blocking(&raw, Declared::Raw)?;
    image.save_vhd(&at("0.vhd"), Existing::Refuse, &Upload::default())?;
    tools::run("tar", ["-zcf", &text(&at("ova.tar.gz")), "--directory", &text(files.path()), "0.vhd"])?;
    tools::run("qemu-img", ["convert", "-c", "-O", "qcow2", &text(&raw), &text(&at("disk.qcow2"))])?;
    let disk = fs::read(&raw)?;

    let pool = Pool::demo().await?;
    let before = pool.census().await?;
    let spawn = async |image: PathBuf, sr: &str| -> Result<_> {
        let mut spec = InstanceSpec::new("debian", Flavor::new(1, 512, 1), RootImage::from(image));
        (spec.sr, spec.power) = (SrChoice::Named(sr.into()), Power::Off);
        let options = SpawnOptions { checks: Checks::AllDisks, ..SpawnOptions::default() };
        let instance = pool.driver.spawn(spec, options).await?;
        let content = pool.content(&instance.root_uuid).await?;
        assert!(content.starts_with(&disk), "it is another disk");
        fs::write(at("inside.raw"), &content)?;
        tools::e2fsck_clean(&at("inside.raw"), START)?;
        let partition = format!("{}?offset={START}", text(&at("inside.raw")));
        let found = tools::run("debugfs", ["-R", "cat /etc/debian_version", &partition])?;
        assert_eq!(found, version);
        Ok(instance)
    };
    for (number, (name, format)) in [
        ("disk.raw", UploadFormat::VhdArchive),
        ("0.vhd", UploadFormat::Qcow2),
        ("ova.tar.gz", UploadFormat::RawArchive),
        ("disk.qcow2", UploadFormat::VhdChain),
    ]
    .into_iter()
    .enumerate()
    {
        let (here, there) = if number % 2 == 0 { (EXT, LVM) } else { (LVM, EXT) };
        let first = spawn(at(name), here).await.with_context(|| format!("{name} on {here}"))?;
        let out = at(&format!("out{number}"));
        let options = UploadOptions { format, compression_level: Some(1), ..UploadOptions::default() };
        let sink = Arc::new(FileSink::new(&out));
        pool.driver.upload(Which::Instance(first.uuid), sink, options).await?;
        pool.destroy(&first).await?;
        let again = spawn(out, there).await.with_context(|| format!("{format:?} on {there}"))?;
        pool.destroy(&again).await?;
    }
    // What a snapshot has split is joined when its repository gets round to it.
    for sr in pool.client().all::<xenapi_types::Sr>().await? {
        let _ = pool.client().call(xenapi_types::sr::Scan { sr }).await;
    }
    let left = pool.census().await?.changes_since(&before);
    assert!(left.iter().all(|change| !change.starts_with("+VM") && !change.contains(".raw")), "{left:?}");
    Ok(())
}
