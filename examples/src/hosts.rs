//! Hosts by the names that operators give them.

use anyhow::{Result, bail};
use uuid::Uuid;
use xenapi_driver::Driver;

/// The uuid of the host that is meant by a name or a uuid.
///
/// # Errors
///
/// When no host has the name, or several have, and when the pool cannot be asked.
pub async fn find(driver: &Driver, name: &str) -> Result<Uuid> {
    if let Ok(uuid) = name.parse() {
        return Ok(uuid);
    }
    let nodes = driver.nodes().await?;
    let named: Vec<_> = nodes.iter().filter(|node| node.name == name).collect();
    match named[..] {
        [node] => Ok(node.uuid.parse()?),
        [] => {
            let names: Vec<_> = nodes.iter().map(|node| &*node.name).collect();
            bail!("no host is called {name:?}: there are {}", names.join(", "))
        }
        _ => bail!("several hosts are called {name:?}: say the uuid"),
    }
}
