//! What `spawn` has the plugins of dom0 do, with the real ones: on disks that other people's tools judge.

#[path = "../../e2e/src/dom0.rs"]
#[expect(dead_code, unreachable_pub, reason = "what is kept in xenstore is of no interest here")]
mod dom0;
mod simulated;
#[path = "../../e2e/src/tools.rs"]
#[expect(dead_code, unreachable_pub, reason = "not all tools judge here")]
mod tools;

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dom0::Dom0;
use simulated::Simulated;
use xapi_simulator::World;
use xapi_simulator::core::Config as Behaviour;
use xenapi_types::VmPowerState;

const MIB: u64 = 1 << 20;
/// Where the partition of an image begins.
const START: u64 = MIB;

/// A pool with our plugins, and an image with a file system; `None` where this machine cannot be a dom0.
async fn pool() -> Result<Option<(Simulated, Dom0)>> {
    if !tools::can_be_dom0() || !tools::present(&["mkswap", "dumpe2fs"]) {
        return Ok(None);
    }
    let Some(program) = program()? else { return Ok(None) };
    let dom0 = Dom0::new(&program, &["dom0_protocol.py", "dom0_plugin_version.py"])?;
    let behaviour = Behaviour { plugins: Some(dom0.plugins()), ..Behaviour::default() };
    let pool = Simulated::behaving(World::demo(), behaviour).await?;
    let etc = pool.files.path().join("files/etc");
    std::fs::create_dir_all(etc.join("network"))?;
    std::fs::write(etc.join("shadow"), "root:*:20000:0:99999:7:::\n")?;
    tools::disk_with_ext4(pool.files.path(), 64)?;
    Ok(Some((pool, dom0)))
}

/// The plugins as a program, which belongs to the end-to-end tests; says so if those were not built.
#[expect(clippy::print_stderr, reason = "a skip must be seen")]
fn program() -> Result<Option<String>> {
    let here = std::env::current_exe()?;
    let built = here.ancestors().nth(2).context("a folder of programs")?.join("dom0-plugins");
    if built.is_file() {
        return Ok(Some(built.to_string_lossy().into_owned()));
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{} was not built", built.display());
    eprintln!("skipped: {} was not built (cargo build -p e2e)", built.display());
    Ok(None)
}

/// The partition of the disk that an instance has in a place, as a file.
async fn partition(pool: &Simulated, name: &str, place: &str) -> Result<PathBuf> {
    let path = pool.files.path().join(format!("{name}-{place}"));
    for vbd in pool.vm(name).await?.1.vbds {
        let vbd = pool.client.record(&vbd).await?;
        if vbd.userdevice != place {
            continue;
        }
        let disk = pool.client.record(&vbd.vdi).await?;
        let (mut file, len) = (File::create(&path)?, u64::try_from(disk.virtual_size)? - START);
        file.set_len(len)?;
        for at in (0..len).step_by(MIB as usize) {
            let bytes = pool.simulator.peek(&disk.uuid, START + at, MIB.min(len - at) as usize);
            let bytes = bytes.map_err(|failure| anyhow::anyhow!("{failure}"))?;
            if bytes.iter().any(|byte| *byte != 0) {
                file.seek(SeekFrom::Start(at))?;
                file.write_all(&bytes)?;
            }
        }
        return Ok(path);
    }
    anyhow::bail!("nothing is at {place}")
}

fn file_in(partition: &Path, path: &str) -> Result<String> {
    tools::run("debugfs", ["-R".as_ref(), format!("cat {path}").as_ref(), partition.as_os_str()])
}

#[tokio::test(flavor = "multi_thread")]
async fn its_disks_are_set_up() -> Result<()> {
    let Some((pool, _dom0)) = pool().await? else { return Ok(()) };
    for (name, content) in [("motd", "welcome\n"), ("hash", "$6$salt$hash\n"), ("net", "auto eth0\n")] {
        std::fs::write(pool.files.path().join(name), content)?;
    }
    pool.run(
        "spawn",
        "--name web1 --image disk.raw --flavor 1:512:1 --grow require --swap-mib 64 --format-swap --ephemeral-gib 1 \
         --ephemeral-fs ext3 --inject --file /etc/motd=motd --inject-password-hash-file hash --inject-interfaces net",
    )?;
    assert_eq!(pool.vm("web1").await?.1.power_state, VmPowerState::Running);
    let root = partition(&pool, "web1", "0").await?;
    tools::run("e2fsck", ["-fn".as_ref(), root.as_os_str()])?;
    let head = tools::run("dumpe2fs", ["-h".as_ref(), root.as_os_str()])?;
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let number = |name: &str| anyhow::Ok(value(name).context("a number")?.parse::<u64>()?);
    let bytes = number("Block count:")? * number("Block size:")?;
    assert!(bytes > 1000 * MIB, "it has grown to the disk: {head}");
    assert_eq!(file_in(&root, "/etc/hostname")?, "web1\n");
    assert_eq!(file_in(&root, "/etc/motd")?, "welcome\n");
    assert!(file_in(&root, "/etc/shadow")?.starts_with("root:$6$salt$hash:"));
    assert_eq!(file_in(&root, "/etc/network/interfaces")?, "auto eth0\n");
    let swap = std::fs::read(partition(&pool, "web1", "2").await?)?;
    assert_eq!(&swap[4086..4096], b"SWAPSPACE2");
    let ephemeral = partition(&pool, "web1", "4").await?;
    tools::run("e2fsck", ["-fn".as_ref(), ephemeral.as_os_str()])?;
    Ok(())
}

/// One whose partition cannot grow starts as it is where that is enough, and is not made where it is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_does_not_grow() -> Result<()> {
    let Some((pool, _dom0)) = pool().await? else { return Ok(()) };
    // There is no partition on it.
    File::create(pool.files.path().join("blank.raw"))?.set_len(64 * MIB)?;
    let told = pool.run("spawn", "--name web1 --image blank.raw --flavor 1:512:1 --grow try")?;
    assert!(told[0]["root_disk_not_grown"].as_str().is_some_and(|why| !why.is_empty()), "{told:?}");
    pool.fails("spawn", "--name web2 --image blank.raw --flavor 1:512:1 --grow require")?;
    assert!(pool.vm("web2").await.is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_besides_its_disks() -> Result<()> {
    let Some((pool, dom0)) = pool().await? else { return Ok(()) };
    std::fs::write(pool.files.path().join("vmlinuz"), b"kernel ".repeat(100_001))?;
    std::fs::write(pool.files.path().join("initrd"), b"ramdisk".repeat(200_003))?;
    pool.run(
        "spawn",
        "--name web1 --image disk.raw --vm-mode xen --kernel vmlinuz --ramdisk initrd --kernel-args quiet",
    )?;
    let vm = pool.vm("web1").await?.1;
    assert_eq!((vm.power_state, &*vm.pv_args), (VmPowerState::Running, "quiet"));
    for (path, wanted) in [(&vm.pv_kernel, "vmlinuz"), (&vm.pv_ramdisk, "initrd")] {
        assert!(Path::new(path).starts_with(dom0.root()), "{path}");
        assert_eq!(std::fs::read(path)?, std::fs::read(pool.files.path().join(wanted))?, "{path}");
    }
    pool.run("instances", "destroy web1")?;
    assert!(!std::fs::exists(&vm.pv_kernel)? && !std::fs::exists(&vm.pv_ramdisk)?);
    Ok(())
}
