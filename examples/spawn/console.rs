//! The console of the guest, for as long as is wanted.

use std::io::{self, Write};

use anyhow::{Context, Result};
use examples::ui::Ui;
use examples::world::World;
use tokio::io::{AsyncRead, AsyncReadExt};
use xenapi_driver::Instance;
use xenapi_types::{ConsoleProtocol, Vm, vm};

/// Shows a guest's serial console for as long as is wanted, and lets it end in good order.
pub(crate) async fn show_guest(
    world: &World,
    instance: &Instance,
    until: Option<&str>,
    ui: &Ui,
) -> Result<()> {
    let client = world.driver().client();
    let vm = client.by_uuid::<Vm>(&instance.vm_uuid).await?;
    let console = client.vm_console(&vm, ConsoleProtocol::Vt100).await?;
    let is_on = tokio::select! {
        shown = show(console, until) => shown.context("the guest's console cannot be shown")?,
        _ = tokio::signal::ctrl_c() => true,
    };
    if !is_on {
        return Ok(());
    }
    ui.say("shutting the guest down; Ctrl-C pulls the plug");
    tokio::select! {
        down = client.call(vm::CleanShutdown { vm }) => Ok(down?),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// Copies a console to standard error until the text is in it (`true`), or its guest goes off (`false`).
async fn show(mut console: impl AsyncRead + Unpin, until: Option<&str>) -> io::Result<bool> {
    let (mut chunk, mut seen) = (vec![0; 4 << 10], Vec::new());
    loop {
        let len = console.read(&mut chunk).await?;
        if len == 0 {
            return Ok(false);
        }
        io::stderr().write_all(&chunk[..len])?;
        let Some(text) = until.filter(|text| !text.is_empty()) else { continue };
        seen.extend_from_slice(&chunk[..len]);
        if seen.windows(text.len()).any(|window| window == text.as_bytes()) {
            io::stderr().write_all(b"\r\n")?;
            return Ok(true);
        }
        // The text may have begun.
        seen.drain(..seen.len().saturating_sub(text.len()));
    }
}
