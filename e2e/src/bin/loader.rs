//! Many spawns at once, with their figures as JSON: `cargo xtask load` starts it.

use anyhow::{Result, bail};
use e2e::load::crowd;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, image, spawns] = &args[..] else { bail!("url, image, spawns") };
    let crowd = crowd::run(url, image.as_ref(), spawns.parse()?).await?;
    serde_json::to_writer(std::io::stdout(), &crowd)?;
    Ok(())
}
