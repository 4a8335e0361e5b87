//! The driver and a guest's agent, through XAPI's plugin calls.

use std::os::unix::fs::symlink;
use std::time::Duration;

use anyhow::Result;
use e2e::pool::Pool;
use guest_agent::Digest;
use tempfile::TempDir;
use xenapi_driver::spec::{Flavor, InstanceSpec};
use xenapi_driver::{Agent, AgentTimeouts, PowerChange, Progress, Shutdown, Which};

struct World {
    pool: Pool,
    which: Which,
    plugins: TempDir,
    agent: Agent,
}

impl World {
    async fn new() -> Result<Self> {
        let plugins = tempfile::tempdir()?;
        symlink(env!("CARGO_BIN_EXE_fake-agent"), plugins.path().join("agent.py"))?;
        let pool = Pool::with_plugins(plugins.path()).await?;
        let image = plugins.path().join("image");
        std::fs::File::create(&image)?.set_len(4 << 20)?;
        let spec = InstanceSpec::new("web1", Flavor::new(1, 512, 0), image);
        let instance = pool.spawn(spec).await?;
        let which = Which::Instance(instance.uuid);
        let second = Duration::from_secs(1);
        let timeouts = AgentTimeouts { answer: second, version: second, reset_network: second };
        let agent = pool.driver.agent(&which, timeouts).await?;
        Ok(Self { pool, which, plugins, agent })
    }

    fn mood(&self, mood: &str) -> Result<()> {
        Ok(std::fs::write(self.plugins.path().join("mood"), mood)?)
    }
}

#[tokio::test]
async fn an_agent_that_does_what_it_is_asked_for() -> Result<()> {
    let world = World::new().await?;
    assert_eq!(world.agent.version().await?, "1.39.1");
    assert_eq!(world.agent.set_password("pa$$wörd").await?, Digest::Sha256);
    assert_eq!(std::fs::read_to_string(world.plugins.path().join("password"))?, "pa$$wörd");
    world.agent.reset_network("web1").await?;
    assert!(world.agent.update("1.39.1", "1.40", "http://agents/1.40", "0f").await?);
    assert!(!world.agent.update("1.39.1", "1.39.1", "http://agents/1.39", "0f").await?);
    Ok(())
}

#[tokio::test]
async fn an_agent_that_cannot_or_does_not() -> Result<()> {
    let world = World::new().await?;
    let error = world.agent.inject_file("/etc/motd", b"hi").await.unwrap_err().to_string();
    assert!(error.contains("cannot do it: no file_inject"), "{error}");
    world.mood("silent")?;
    let error = world.agent.version().await.unwrap_err().to_string();
    assert!(error.contains("did not answer"), "{error}");
    // Down: nobody is asked.
    world.mood("")?;
    let off = PowerChange::Off(Shutdown::Hard);
    world.pool.driver.power(world.which.clone(), off, Progress::none()).await?;
    assert!(world.agent.version().await.unwrap_err().to_string().contains("did not answer"));
    Ok(())
}

/// A guest that boots: it is asked again until its agent is up.
#[tokio::test]
async fn an_agent_that_comes_up_late() -> Result<()> {
    let world = World::new().await?;
    let patient = AgentTimeouts { version: Duration::from_secs(120), ..AgentTimeouts::default() };
    let agent = world.pool.driver.agent(&world.which, patient).await?;
    world.mood("late 2")?;
    assert_eq!(agent.version().await?, "1.39.1");
    let calls = std::fs::read_to_string(world.plugins.path().join("calls"))?;
    assert_eq!(calls.lines().collect::<Vec<_>>(), ["version"; 3]);
    Ok(())
}

#[tokio::test]
async fn a_guest_that_reboots_and_stays_where_it_was() -> Result<()> {
    let world = World::new().await?;
    // The domain is still the one that is said to be gone: it is waited for, and then given up.
    world.mood("reboot")?;
    let error = world.agent.reset_network("web1").await.unwrap_err().to_string();
    assert!(error.contains("the guest rebooted and did not come back"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_guest_that_reboots_and_comes_back_is_asked_again() -> Result<()> {
    let world = World::new().await?;
    let patient = AgentTimeouts { answer: Duration::from_secs(120), ..AgentTimeouts::default() };
    let agent = world.pool.driver.agent(&world.which, patient).await?;
    world.mood("reboot")?;
    let reboot = async {
        // Once the first call has been answered, the domain that it named goes.
        while !std::fs::read_to_string(world.plugins.path().join("mood"))?.starts_with("was ") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for change in [PowerChange::Off(Shutdown::Hard), PowerChange::On] {
            world.pool.driver.power(world.which.clone(), change, Progress::none()).await?;
        }
        anyhow::Ok(())
    };
    let (asked, rebooted) = tokio::join!(agent.reset_network("web1"), reboot);
    rebooted?;
    asked?;
    Ok(())
}
