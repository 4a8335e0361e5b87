//! One of the programs that do random verbs to the same instances: `cargo xtask rivals` starts several.

use anyhow::{Result, bail};
use e2e::rivals::rival::{self, Orders};

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, folder, seed, number, verbs, seconds, tasks, calm] = &args[..] else {
        bail!("url, folder, seed, number, verbs, seconds, tasks, calm")
    };
    rival::run(Orders {
        url: url.clone(),
        number: number.parse()?,
        seed: seed.parse()?,
        tasks: tasks.parse()?,
        calm: calm == "1",
        verbs: verbs.parse()?,
        seconds: seconds.parse()?,
        folder: folder.into(),
    })
    .await
}
