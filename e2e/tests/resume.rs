//! An upload that breaks goes on where it was: a journal, a client and a host that hangs up.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use disk_stream::{Consume, Declared, Image, Progress, UploadJournal, Verifier, Zeros};
use e2e::pool::{EXT, Pool};
use examples::demo_image::DemoImage;
use xapi_simulator::fault::Fault;
use xenapi_client::{Client, ErrorKind, ExportFormat, ImportFormat};
use xenapi_types::{Ref, Sr, Vdi, VdiType, vdi};

const BATCH: u64 = 8 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// The rest of an upload, or what of it was accepted before it broke; how many bytes were asked for.
async fn go_on(client: &Client, vdi: &Ref<Vdi>, image: &Image, journal: &Path) -> Result<(bool, u64)> {
    let mut journal = UploadJournal::open(journal, image, &vdi.to_string(), Zeros::Detect)?;
    let mut offered = 0;
    while let Some((body, receipt)) = journal.batch(BATCH, Progress::new()) {
        offered += body.stream_len();
        match client.import_vdi(vdi, ImportFormat::RawChunked, body).await {
            Ok(_) => journal.accept(receipt)?,
            Err(error) => {
                ensure!(error.kind() == ErrorKind::Transfer, "{:?}: {error}", error.kind());
                client.wait_until_detached(vdi, PATIENCE).await?;
                return Ok((false, offered));
            }
        }
        // XAPI detaches the disk a little after the transfer's end.
        client.wait_until_detached(vdi, PATIENCE).await?;
    }
    journal.remove()?;
    Ok((true, offered))
}

#[tokio::test]
async fn only_missing_blocks_are_sent_again() -> Result<()> {
    let files = tempfile::tempdir()?;
    let path = files.path().join("demo.img");
    DemoImage { virtual_bytes: 64 << 20, payload_bytes: 30 << 20 }.write(&path)?;
    let image = Image::open(path, Declared::Raw).await?;
    let pool = Pool::demo().await?;
    let client = pool.client();
    let sr = client.by_name_label::<Sr>(EXT).await?;
    let journal = files.path().join("journal");
    for taken in [0, 1, 300 << 10, 5 << 20, 8 << 20] {
        let create = vdi::Create {
            name_label: "resumed".into(),
            sr: sr.clone(),
            virtual_size: image.virtual_size() as i64,
            r#type: VdiType::User,
            ..vdi::Create::default()
        };
        let vdi = client.call(create).await?;
        let whole = UploadJournal::open(&journal, &image, &vdi.to_string(), Zeros::Detect)?;
        let blocks = whole.missing().len();
        drop(whole);
        ensure!(blocks > 12, "{blocks} blocks make several batches");
        // The first transfer and the third break.
        pool.simulator.faults().on("/import_raw_vdi", Fault::DropAfterBytes(taken));
        let (mut rounds, mut offered) = (1, 0);
        loop {
            let (done, bytes) = go_on(client, &vdi, &image, &journal).await?;
            offered += bytes;
            if done {
                break;
            }
            rounds += 1;
            ensure!(rounds < 5, "it does not come to an end");
            if rounds == 2 {
                pool.simulator.faults().on_nth("/import_raw_vdi", 2, Fault::DropAfterBytes(taken));
            }
        }
        ensure!(rounds == 3, "two breaks, {rounds} rounds");
        ensure!(pool.simulator.faults().clear() == 0, "all faults have struck");
        // Each break cost one batch, at most.
        let once = blocks * ((2 << 20) + 12) + 12 * blocks.div_ceil(4);
        ensure!(offered <= once + 2 * (BATCH + 60), "{offered} bytes for a disk of {once}");
        compare(client, &vdi, &image).await.with_context(|| format!("broken after {taken}"))?;
        ensure!(!journal.exists());
    }
    Ok(())
}

async fn compare(client: &Client, vdi: &Ref<Vdi>, image: &Image) -> Result<()> {
    let mut export = client.export_vdi(vdi, ExportFormat::Raw, None).await?;
    let (mut verifier, progress) = (Verifier::of_raw(image), Progress::new());
    while let Some(chunk) = export.chunk().await? {
        verifier.feed(&chunk, &progress)?;
    }
    let verified = verifier.finish()?;
    ensure!(verified.virtual_size == image.virtual_size());
    Ok(())
}
