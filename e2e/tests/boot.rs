//! A guest that really boots: from the disk that `spawn` wrote, with the config drive that it wrote, in QEMU.
//!
//! Skipped, visibly, where QEMU or what a guest image is made of is not installed; a failure with `CI=true`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::pool::Pool;
use e2e::tools;
use examples::guest_image::{self, BOOT_RECORD, PARTITION_OFFSET, READY};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xenapi_client::{Client, ConsoleStream};
use xenapi_driver::spec::{ConfigDrive, ConfigDriveFormat, Flavor, ImageFormat, InstanceSpec};
use xenapi_driver::{Instance, Otherwise, PowerChange, Progress, Shutdown, Which};
use xenapi_types::{ConsoleProtocol, Ref, Vm, VmPowerState, vm};

/// After which a guest that says nothing is taken for dead. No test passes because of it.
const DEAD: Duration = Duration::from_secs(15 * 60);

const USER_DATA: &str = "#cloud-config\nhostname: w\u{f6}rld\nruncmd:\n  - [sh, -c, 'echo \"$HOME\" | wc']\n";
const SSH_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHkvkU93eSJIAkbVZkZ9wE0tnqoPDtzEVJVlPUMTQ8l9 me@here";

/// The guest's image, or nothing where it cannot be made.
#[expect(clippy::print_stderr, reason = "a skip must be seen")]
fn image(files: &TempDir) -> Option<std::path::PathBuf> {
    if !tools::present(&["qemu-system-x86_64", "syslinux", "mcopy", "mtype", "busybox", "dpkg-deb"]) {
        return None;
    }
    let path = files.path().join("guest.img");
    match guest_image::write(&path) {
        Ok(()) => Some(path),
        Err(error) if std::env::var("CI").as_deref() == Ok("true") => panic!("no guest image: {error:#}"),
        Err(error) => {
            eprintln!("skipped: no guest image: {error:#}");
            None
        }
    }
}

/// A guest's serial console.
struct Terminal {
    stream: ConsoleStream,
    /// All that has been seen. Chunks end within characters.
    seen: Vec<u8>,
}

impl Terminal {
    async fn open(client: &Client, vm: &Ref<Vm>) -> Result<Self> {
        Ok(Self { stream: client.vm_console(vm, ConsoleProtocol::Vt100).await?, seen: Vec::new() })
    }

    /// Reads until this has been said so many times in all.
    async fn until(&mut self, what: &str, times: usize) -> Result<()> {
        let mut chunk = vec![0; 4 << 10];
        while self.text().matches(what).count() < times {
            let read = tokio::time::timeout(DEAD, self.stream.read(&mut chunk)).await;
            let len = read.with_context(|| format!("no {what:?} in {:?}", self.text()))??;
            ensure!(len > 0, "the console ended without {what:?}: {:?}", self.text());
            self.seen.extend_from_slice(&chunk[..len]);
        }
        Ok(())
    }

    async fn rest(mut self) -> Result<String> {
        tokio::time::timeout(DEAD, self.stream.read_to_end(&mut self.seen)).await??;
        Ok(self.text())
    }

    async fn type_in(&mut self, line: &str) -> Result<()> {
        self.stream.write_all(line.as_bytes()).await?;
        Ok(self.stream.flush().await?)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}

struct Bench {
    pool: Pool,
    instance: Instance,
    vm: Ref<Vm>,
    _files: TempDir,
}

impl Bench {
    /// Spawns the guest; nothing where it cannot be made.
    async fn new(format: ConfigDriveFormat) -> Result<Option<Self>> {
        let files = tempfile::tempdir()?;
        let Some(image) = image(&files) else { return Ok(None) };
        let pool = Pool::booting().await?;
        let mut spec = InstanceSpec::new("web-1", Flavor::new(1, 192, 0), &image);
        spec.image_format = ImageFormat::Raw;
        spec.metadata = [("role".to_owned(), "front end".to_owned())].into();
        spec.config_drive = Some(ConfigDrive {
            user_data: Some(USER_DATA.into()),
            ssh_keys: [("mine".to_owned(), SSH_KEY.to_owned())].into(),
            format,
            ..ConfigDrive::default()
        });
        let instance = pool.spawn(spec).await?;
        let vm = pool.client().by_uuid::<Vm>(&instance.vm_uuid).await?;
        Ok(Some(Self { pool, instance, vm, _files: files }))
    }

    async fn power(&self, change: PowerChange) -> Result<VmPowerState> {
        let which = Which::Instance(self.instance.uuid);
        Ok(self.pool.driver.power(which, change, Progress::none()).await?)
    }

    async fn state(&self) -> Result<VmPowerState> {
        Ok(self.pool.client().get_field(&self.vm, vm::field::POWER_STATE).await?)
    }

    /// Waits for the VM's record to tell what its machine did: the machine has ended a moment before.
    async fn halted(&self) -> Result<()> {
        let halting = async {
            while self.state().await? != VmPowerState::Halted {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        };
        tokio::time::timeout(DEAD, halting).await.context("the record says that it runs")?
    }

    /// What QEMU says of the machine.
    async fn machine(&self) -> Result<Option<String>> {
        Ok(self.pool.simulator.machine_status(&self.instance.vm_uuid).await?)
    }

    /// Waits for the end of QEMU, which the VM's record need not wait for.
    async fn ended(&self) -> Result<()> {
        let ending = async {
            while self.is_running()? {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        };
        tokio::time::timeout(DEAD, ending).await.context("QEMU goes on")?
    }

    /// Whether a QEMU of this VM is among the processes.
    fn is_running(&self) -> Result<bool> {
        for process in fs::read_dir("/proc")? {
            // Processes end while they are listed.
            let Ok(line) = fs::read(process?.path().join("cmdline")) else { continue };
            if String::from_utf8_lossy(&line).contains(&self.instance.vm_uuid) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A file on the partition of the root disk, read by mtools from an export of the VDI.
    async fn read_back(&self, name: &str) -> Result<String> {
        let files = tempfile::tempdir()?;
        let disk = files.path().join("root.img");
        fs::write(&disk, self.pool.content(&self.instance.root_uuid).await?)?;
        let partition = format!("{}@@{PARTITION_OFFSET}", disk.display());
        tools::run("mtype", ["-i", &partition, &format!("::/{name}")])
    }
}

/// The first boot, looked at from all sides, then off and on in every way.
#[tokio::test(flavor = "multi_thread")]
async fn a_spawned_guest_boots_tells_who_it_is_and_obeys() -> Result<()> {
    let Some(bench) = Bench::new(ConfigDriveFormat::Iso9660).await? else { return Ok(()) };
    let client = bench.pool.client();
    let mut terminal = Terminal::open(client, &bench.vm).await?;
    terminal.until(READY, 1).await?;
    assert_told(&bench, &terminal, "iso9660");

    // Its screen, through XAPI: RFB's first words, and the security that XAPI has seen to.
    let mut screen = client.vm_console(&bench.vm, ConsoleProtocol::Rfb).await?;
    let mut version = [0; 12];
    screen.read_exact(&mut version).await?;
    assert_eq!(&version, b"RFB 003.008\n");
    screen.write_all(&version).await?;
    let mut security = [0; 2];
    screen.read_exact(&mut security).await?;
    assert_eq!(security, [1, 1], "one kind of security, none");
    screen.close().await?;

    // Its terminal is one.
    terminal.type_in("echo note-$((6 * 7)) | tee /boot/NOTE.TXT; sync; echo sync-$((1 + 1))\n").await?;
    terminal.until("sync-2", 1).await?;

    assert_eq!(bench.machine().await?.as_deref(), Some("running"));
    assert_eq!(bench.power(PowerChange::Pause).await?, VmPowerState::Paused);
    assert_eq!(bench.machine().await?.as_deref(), Some("paused"));
    assert_eq!(bench.power(PowerChange::Unpause).await?, VmPowerState::Running);
    assert_eq!(bench.machine().await?.as_deref(), Some("running"));

    // By its power button, and on again.
    let domid = client.get_field(&bench.vm, vm::field::DOMID).await?;
    let clean = Shutdown::Clean { timeout: DEAD, otherwise: Otherwise::Fail };
    assert_eq!(bench.power(PowerChange::Reboot(clean)).await?, VmPowerState::Running);
    assert_ne!(client.get_field(&bench.vm, vm::field::DOMID).await?, domid);
    let text = terminal.rest().await?;
    assert!(text.contains("guest: power button"), "{text}");
    let mut terminal = Terminal::open(client, &bench.vm).await?;
    terminal.until(READY, 1).await?;
    assert!(terminal.text().contains("boot 2 is noted"), "{}", terminal.text());

    // By its power button, and off.
    assert_eq!(bench.power(PowerChange::Off(clean)).await?, VmPowerState::Halted);
    bench.ended().await?;
    assert_eq!(bench.machine().await?, None);
    let text = terminal.rest().await?;
    assert!(text.contains("guest: power button"), "{text}");

    // What the guest has written is on its VDI.
    let booted = format!("booted by {}\n", bench.instance.uuid);
    assert_eq!(bench.read_back(BOOT_RECORD).await?, booted.repeat(2));
    assert_eq!(bench.read_back("NOTE.TXT").await?, "note-42\n");
    Ok(())
}

/// What a guest does by itself gets into the VM's record, and force does not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_switches_itself_off_and_is_switched_off() -> Result<()> {
    let Some(bench) = Bench::new(ConfigDriveFormat::Vfat).await? else { return Ok(()) };
    let mut terminal = Terminal::open(bench.pool.client(), &bench.vm).await?;
    terminal.until(READY, 1).await?;
    assert_told(&bench, &terminal, "vfat");
    terminal.type_in("umount /boot; poweroff -f\n").await?;
    terminal.rest().await?;
    bench.halted().await?;
    bench.ended().await?;

    assert_eq!(bench.power(PowerChange::On).await?, VmPowerState::Running);
    assert!(bench.is_running()?);
    assert_eq!(bench.machine().await?.as_deref(), Some("running"));
    assert_eq!(bench.power(PowerChange::Off(Shutdown::Hard)).await?, VmPowerState::Halted);
    bench.ended().await?;

    // The end of the simulator is the end of its guests.
    assert_eq!(bench.power(PowerChange::On).await?, VmPowerState::Running);
    assert!(bench.is_running()?);
    bench.pool.simulator.shutdown()?;
    bench.ended().await
}

/// The guest has said what it was spawned with.
#[track_caller]
fn assert_told(bench: &Bench, terminal: &Terminal, format: &str) {
    let text = terminal.text();
    let said: Vec<&str> = text.lines().filter_map(|line| line.trim_end().strip_prefix("guest: ")).collect();
    let drive = said.iter().find(|line| line.starts_with("config drive /dev/"));
    assert!(drive.is_some_and(|line| line.ends_with(&format!(", {format}"))), "{said:#?}");
    let uuid = format!("instance uuid {}", bench.instance.uuid);
    let ssh_key = format!("ssh key mine {SSH_KEY}");
    let len = format!("user data, {} bytes", USER_DATA.len());
    let user_data: Vec<String> =
        USER_DATA.lines().map(|line| format!("| {line}").trim_end().to_owned()).collect();
    let expected = [&uuid, "hostname web-1", "metadata role front end", &ssh_key, &len];
    for line in expected.into_iter().chain(user_data.iter().map(String::as_str)) {
        assert!(said.contains(&line), "{line:?} is not in {said:#?}");
    }
}
