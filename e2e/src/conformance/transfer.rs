//! Disks and guests over HTTP: `/import_raw_vdi`, `/export_raw_vdi`, `/import`, `/export`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vhd::format::Timestamp;
use vhd::layout::{Dialect, Layout, Parameters, Segment};
use xenapi_client::{ErrorKind, ExportFormat, ImportFormat, VmExport};
use xenapi_types::chunked::TERMINATOR;
use xenapi_types::{Task, TaskRecord, TaskStatusType, Vdi, Vm, vdi, vm};
use xenapi_wire::Ref;

use super::clean::Made;
use super::expect::{not_applicable, refused_with, same};
use super::lab::{Lab, MIB};

super::checks! { "transfer";
    raw_data_come_back_as_they_went,
    a_short_upload_leaves_the_rest,
    pieces_go_where_they_belong,
    a_vhd_is_written_into_its_disk,
    an_exported_vhd_holds_what_is_on_the_disk,
    an_exported_vhd_is_dynamic,
    a_clone_has_the_same_data,
    an_exported_archive_is_taken_again,
    a_damaged_archive_fails,
    a_broken_vhd_fails,
    a_truncated_vhd_fails_when_the_client_goes,
    junk_is_no_vhd,
    the_disk_is_let_go_of,
    the_answer_comes_before_the_body,
    the_task_of_an_upload_ends_with_the_disk,
    the_task_of_a_download_ends_without_result,
    an_empty_upload_fails_and_changes_nothing,
    an_upload_without_task_is_fine,
    a_trailing_slash_does_no_harm,
    a_disk_is_named_by_uuid_as_well,
    a_password_serves_instead_of_a_session,
    an_upload_may_make_its_disk,
    an_unknown_format_is_refused,
    pieces_of_a_vhd_are_refused,
    an_unknown_disk_is_refused,
    an_upload_needs_a_target,
    a_bad_session_leaves_the_task_pending,
    downloads_are_named_after_their_disk,
    only_known_methods_are_served,
    a_guest_is_exported_with_its_disk,
    an_export_is_compressed_on_demand,
    an_exported_guest_is_imported_as_another,
    an_unknown_guest_gets_no_answer,
    a_running_guest_is_not_exported,
    junk_is_no_guest,
}

const UNKNOWN: &str = "OpaqueRef:00000000-0000-4000-8000-000000000000";

/// The size of the disks here.
const SIZE: usize = 4 << 20;

/// Data that nothing in between can get right by chance: no two sectors are equal.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A disk's content with data in two places and zeros elsewhere.
fn sparse() -> Vec<u8> {
    let mut disk = vec![0; SIZE];
    disk[4096..9000].copy_from_slice(&pattern(4904, 1));
    disk[3 << 20..(3 << 20) + 5120].copy_from_slice(&pattern(5120, 2));
    disk
}

/// That content as a dynamic VHD.
fn sparse_vhd() -> Result<Vec<u8>> {
    let disk = sparse();
    let parameters = Parameters {
        virtual_size: SIZE as u64,
        uuid: uuid::Uuid::new_v4(),
        timestamp: Timestamp::from_unix(1_700_000_000),
        dialect: Dialect::XenapiRs,
    };
    let layout = Layout::dynamic_from_extents(&parameters, [4096..9216, (3 << 20)..(3 << 20) + 5120])?;
    let mut stream = Vec::new();
    for segment in layout.into_segments() {
        match segment {
            Segment::Meta(bytes) => stream.extend_from_slice(&bytes),
            Segment::Zeros { len } => stream.resize(stream.len() + usize::try_from(len)?, 0),
            Segment::Payload { virtual_offset, len } => {
                let from = usize::try_from(virtual_offset)?;
                stream.extend_from_slice(&disk[from..from + usize::try_from(len)?]);
            }
        }
    }
    Ok(stream)
}

impl Lab {
    async fn upload(&self, vdi: &Ref<Vdi>, format: ImportFormat, body: Vec<u8>) -> xenapi_client::Result<()> {
        self.client.import_vdi(vdi, format, Full::new(Bytes::from(body))).await.map(drop)
    }

    async fn download(&self, vdi: &Ref<Vdi>, format: ExportFormat) -> Result<Vec<u8>> {
        let mut export = self.client.export_vdi(vdi, format, None).await?;
        let mut all = Vec::new();
        while let Some(chunk) = export.chunk().await? {
            all.extend_from_slice(&chunk);
        }
        export.finish().await?;
        Ok(all)
    }

    /// That a disk begins with these data and has nothing but zeros behind them.
    async fn holds(&self, vdi: &Ref<Vdi>, expected: &[u8]) -> Result<()> {
        let found = self.download(vdi, ExportFormat::Raw).await?;
        let size = self.client.get_field(vdi, vdi::field::VIRTUAL_SIZE).await?;
        same("length of the export", found.len() as u64, u64::try_from(size)?)?;
        let (begin, rest) = found.split_at(expected.len());
        if let Some(at) = begin.iter().zip(expected).position(|(found, expected)| found != expected) {
            anyhow::bail!("byte {at} is {}, expected {}", begin[at], expected[at]);
        }
        ensure!(rest.iter().all(|byte| *byte == 0), "there are data behind what was written");
        Ok(())
    }

    /// A disk of [`SIZE`] bytes.
    async fn small_disk(&self) -> Result<Ref<Vdi>> {
        self.disk(i64::try_from(SIZE)?).await
    }

    /// A request by hand with a session and a task of its own; the task's record when the answer is there.
    async fn transfer(&self, method_and_path: &str, query: &str, body: &[u8]) -> Result<(u16, TaskRecord)> {
        let (session, task) = (self.log_in(&[]).await?, self.task().await?);
        let request = format!("{method_and_path}?session_id={session}&task_id={task}{query}");
        let answer = self.answer(&request, &[], body).await?;
        // Nobody will ever end the task then. XAPI's own 404 has no page.
        let is_served = !matches!(answer.status, 403 | 404) || answer.body.is_empty();
        ensure!(is_served, "nothing is served at {method_and_path}");
        Ok((answer.status, self.ended(&task).await?))
    }
}

async fn raw_data_come_back_as_they_went(lab: &Lab) -> Result<()> {
    let (vdi, data) = (lab.small_disk().await?, pattern(SIZE, 7));
    lab.upload(&vdi, ImportFormat::Raw, data.clone()).await?;
    lab.holds(&vdi, &data).await
}

async fn a_short_upload_leaves_the_rest(lab: &Lab) -> Result<()> {
    let (vdi, data) = (lab.small_disk().await?, pattern(1 << 20, 8));
    lab.upload(&vdi, ImportFormat::Raw, data.clone()).await?;
    lab.holds(&vdi, &data).await?;
    // What was there stays, behind a still shorter one too.
    lab.upload(&vdi, ImportFormat::Raw, vec![0xAA; 4096]).await?;
    let expected = [&[0xAA; 4096][..], &data[4096..]].concat();
    lab.holds(&vdi, &expected).await
}

async fn pieces_go_where_they_belong(lab: &Lab) -> Result<()> {
    let (vdi, disk) = (lab.small_disk().await?, sparse());
    let mut body = Vec::new();
    // Not in the order of the disk.
    for range in [3 << 20..(3 << 20) + 5120, 4096..9216_usize] {
        body.extend_from_slice(&(range.start as u64).to_le_bytes());
        body.extend_from_slice(&u32::try_from(range.len())?.to_le_bytes());
        body.extend_from_slice(&disk[range]);
    }
    body.extend_from_slice(&TERMINATOR);
    lab.upload(&vdi, ImportFormat::RawChunked, body).await?;
    lab.holds(&vdi, &disk).await?;
    // None at all is fine.
    lab.upload(&vdi, ImportFormat::RawChunked, TERMINATOR.to_vec()).await?;
    lab.holds(&vdi, &disk).await
}

/// A VHD may be smaller than its disk.
async fn a_vhd_is_written_into_its_disk(lab: &Lab) -> Result<()> {
    let vdi = lab.disk(8 * MIB).await?;
    lab.upload(&vdi, ImportFormat::Vhd, sparse_vhd()?).await?;
    lab.holds(&vdi, &sparse()).await
}

async fn an_exported_vhd_holds_what_is_on_the_disk(lab: &Lab) -> Result<()> {
    let (first, second) = (lab.small_disk().await?, lab.small_disk().await?);
    lab.upload(&first, ImportFormat::Raw, sparse()).await?;
    let vhd = lab.download(&first, ExportFormat::Vhd).await?;
    lab.upload(&second, ImportFormat::Vhd, vhd).await?;
    lab.holds(&second, &sparse()).await
}

/// Clients work out the length of an export from its block table before they read the blocks.
async fn an_exported_vhd_is_dynamic(lab: &Lab) -> Result<()> {
    let vdi = lab.small_disk().await?;
    lab.upload(&vdi, ImportFormat::Raw, sparse()).await?;
    let vhd = lab.download(&vdi, ExportFormat::Vhd).await?;
    let size = lab.client.get_field(&vdi, vdi::field::VIRTUAL_SIZE).await?;
    let word = |at: usize| u32::from_be_bytes([vhd[at], vhd[at + 1], vhd[at + 2], vhd[at + 3]]);
    ensure!(vhd.len() > 2048 && vhd.starts_with(b"conectix"), "no footer at the beginning");
    same("the footer at the end", &vhd[vhd.len() - 512..], &vhd[..512])?;
    same("disk type", word(60), 3)?;
    same("current size", u64::from(word(48)) << 32 | u64::from(word(52)), u64::try_from(size)?)?;
    let header = usize::try_from(word(20))?;
    ensure!(vhd[header..].starts_with(b"cxsparse"), "no header of a dynamic disk at {header}");
    same("block size", word(header + 32), 2 << 20)?;
    let (table, entries) = (usize::try_from(word(header + 20))?, usize::try_from(word(header + 28))?);
    let mut blocks: Vec<_> = (0..entries).map(|i| word(table + 4 * i)).filter(|at| *at != u32::MAX).collect();
    blocks.sort_unstable();
    same("allocated blocks", blocks.len(), 2)?;
    let block_sectors = 1 + (2 << 20) / 512;
    same("distance of the blocks in sectors", blocks[1] - blocks[0], block_sectors)?;
    let end = usize::try_from(blocks[1] + block_sectors)? * 512;
    same("length", vhd.len(), end + 512)
}

async fn a_clone_has_the_same_data(lab: &Lab) -> Result<()> {
    lab.site.needs_feature("VDI_CLONE")?;
    let vdi = lab.small_disk().await?;
    lab.upload(&vdi, ImportFormat::Raw, sparse()).await?;
    lab.client.wait_until_detached(&vdi, Duration::from_secs(60)).await?;
    let clone: Ref<Vdi> = lab.rpc("VDI.clone", (&vdi,)).await?;
    lab.keep(Made::Vdi(clone.clone()));
    // And they part ways.
    lab.upload(&vdi, ImportFormat::Raw, vec![0xFF; 4096]).await?;
    lab.holds(&clone, &sparse()).await
}

/// Whether a host says of an upload that its format is none.
fn knows_no_tar(error: &[String]) -> bool {
    error.iter().any(|text| text == "Unknown format tar")
}

/// XAPI calls everything that goes wrong on the way an I/O error.
async fn an_exported_archive_is_taken_again(lab: &Lab) -> Result<()> {
    let (first, second) = (lab.small_disk().await?, lab.small_disk().await?);
    lab.upload(&first, ImportFormat::Raw, sparse()).await?;
    let archive = lab.download(&first, ExportFormat::Tar).await?;
    match lab.upload(&second, ImportFormat::Tar, archive).await {
        Err(error) if knows_no_tar(error.failure().map_or(&[], |failure| &failure.params)) => {
            return Err(not_applicable("the host takes no tar archives"));
        }
        taken => taken?,
    }
    lab.holds(&second, &sparse()).await
}

/// By hand, for the client does not let it pass.
async fn a_damaged_archive_fails(lab: &Lab) -> Result<()> {
    let vdi = lab.small_disk().await?;
    lab.upload(&vdi, ImportFormat::Raw, sparse()).await?;
    let mut archive = lab.download(&vdi, ExportFormat::Tar).await?;
    archive[70_000] ^= 1;
    let (status, record) =
        lab.transfer("PUT /import_raw_vdi", &format!("&vdi={vdi}&format=tar"), &archive).await?;
    if knows_no_tar(&record.error_info) {
        return Err(not_applicable("the host takes no tar archives"));
    }
    same("HTTP status", status, 200)?;
    same("status", record.status, TaskStatusType::Failure)
}

async fn a_broken_vhd_fails(lab: &Lab) -> Result<()> {
    let (vdi, vhd) = (lab.small_disk().await?, sparse_vhd()?);
    // Without the footer at its end, and with something behind it.
    for broken in [&vhd[..vhd.len() - 512], &[&vhd[..], &[0; 512]].concat()] {
        let error = lab.upload(&vdi, ImportFormat::Vhd, broken.to_vec()).await;
        let kind = error.as_ref().err().map(xenapi_client::Error::kind);
        refused_with(error, "VDI_IO_ERROR", &["Device I/O errors"])?;
        same("kind of error", kind, Some(ErrorKind::Transfer))?;
    }
    lab.upload(&vdi, ImportFormat::Vhd, vhd).await?;
    lab.holds(&vdi, &sparse()).await
}

/// As long as the connection is open, the host waits for the rest, whatever length was announced.
async fn a_truncated_vhd_fails_when_the_client_goes(lab: &Lab) -> Result<()> {
    let (vdi, session, task) = (lab.small_disk().await?, lab.log_in(&[]).await?, lab.task().await?);
    let endpoint = lab.client.route_to(&vdi).await?.endpoint().clone();
    let truncated = &sparse_vhd()?[..1 << 20];
    let mut stream = lab.open(&endpoint).await?;
    let head = format!(
        "PUT /import_raw_vdi?session_id={session}&task_id={task}&vdi={vdi}&format=vhd HTTP/1.1\r\n\
         Host: {}\r\nContent-Length: {}\r\n\r\n",
        endpoint.host().unwrap_or("localhost"),
        truncated.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(truncated).await?;
    stream.flush().await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    same("status", lab.client.record::<Task>(&task).await?.status, TaskStatusType::Pending)?;
    drop(stream);
    same("error_info", lab.ended(&task).await?.error_info, ["VDI_IO_ERROR", "Device I/O errors"])
}

async fn junk_is_no_vhd(lab: &Lab) -> Result<()> {
    let vdi = lab.small_disk().await?;
    let answer = lab.upload(&vdi, ImportFormat::Vhd, pattern(64 << 10, 3)).await;
    refused_with(answer, "VDI_IO_ERROR", &["Device I/O errors"])
}

async fn the_disk_is_let_go_of(lab: &Lab) -> Result<()> {
    let vdi = lab.small_disk().await?;
    lab.upload(&vdi, ImportFormat::Raw, vec![1; 4096]).await?;
    lab.download(&vdi, ExportFormat::Raw).await?;
    lab.client.wait_until_detached(&vdi, Duration::from_secs(60)).await?;
    lab.client.destroy(&vdi).await?;
    Ok(())
}

/// The status says nothing about the transfer: it comes first.
async fn the_answer_comes_before_the_body(lab: &Lab) -> Result<()> {
    let (vdi, session, task) = (lab.small_disk().await?, lab.log_in(&[]).await?, lab.task().await?);
    let endpoint = lab.client.route_to(&vdi).await?.endpoint().clone();
    let mut stream = lab.open(&endpoint).await?;
    let head = format!(
        "PUT /import_raw_vdi?session_id={session}&task_id={task}&vdi={vdi}&format=raw HTTP/1.1\r\n\
         Host: {}\r\nContent-Length: {SIZE}\r\n\r\n",
        endpoint.host().unwrap_or("localhost")
    );
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = vec![0; 4096];
    let count = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut answer)).await??;
    let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
    ensure!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    ensure!(!answer.to_lowercase().contains("content-length"), "it has a length: {answer}");
    let record = lab.client.record::<Task>(&task).await?;
    same("status of the task", record.status, TaskStatusType::Pending)?;
    stream.write_all(&pattern(SIZE, 9)).await?;
    // TLS keeps what a busy socket does not take, and reading does not send it.
    stream.flush().await?;
    // The end of the connection is all that comes after success.
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(120), stream.read_to_end(&mut rest)).await??;
    same("what comes after the head", String::from_utf8_lossy(&rest).trim(), "")?;
    same("status of the task", lab.ended(&task).await?.status, TaskStatusType::Success)
}

async fn the_task_of_an_upload_ends_with_the_disk(lab: &Lab) -> Result<()> {
    let vdi = lab.small_disk().await?;
    let query = format!("&vdi={vdi}&format=raw");
    let (status, record) = lab.transfer("PUT /import_raw_vdi", &query, &[1; 4096]).await?;
    same("HTTP status", status, 200)?;
    same("status", record.status, TaskStatusType::Success)?;
    same("result", record.result, format!("<value>{vdi}</value>"))?;
    same("progress", record.progress, 1.0)
}

async fn the_task_of_a_download_ends_without_result(lab: &Lab) -> Result<()> {
    let vdi = lab.small_disk().await?;
    let (status, record) =
        lab.transfer("GET /export_raw_vdi", &format!("&vdi={vdi}&format=raw"), &[]).await?;
    same("HTTP status", status, 200)?;
    same("status", record.status, TaskStatusType::Success)?;
    same("result", record.result.as_str(), "")
}

/// Some clients probe the way with an empty upload.
async fn an_empty_upload_fails_and_changes_nothing(lab: &Lab) -> Result<()> {
    let vdi = lab.small_disk().await?;
    lab.upload(&vdi, ImportFormat::Raw, sparse()).await?;
    let query = format!("&vdi={vdi}&format=raw");
    let (status, record) = lab.transfer("PUT /import_raw_vdi", &query, &[]).await?;
    same("HTTP status", status, 200)?;
    same("error_info", record.error_info, ["VDI_IO_ERROR", "Device I/O errors"])?;
    same("progress", record.progress, 1.0)?;
    lab.holds(&vdi, &sparse()).await
}

/// XAPI makes a task, and names it in the head of its answer.
async fn an_upload_without_task_is_fine(lab: &Lab) -> Result<()> {
    let (vdi, session) = (lab.small_disk().await?, lab.log_in(&[]).await?);
    let request = format!("PUT /import_raw_vdi?vdi={vdi}&format=raw");
    let cookie = format!("Cookie: session_id={session}");
    let answer = lab.answer(&request, &[&cookie], &sparse()).await?;
    same("HTTP status", answer.status, 200)?;
    let task = answer.header("task-id").unwrap_or_default();
    ensure!(task.starts_with("OpaqueRef:"), "task-id is {task:?}");
    lab.holds(&vdi, &sparse()).await
}

async fn a_trailing_slash_does_no_harm(lab: &Lab) -> Result<()> {
    let vdi = lab.small_disk().await?;
    for path in ["PUT /import_raw_vdi/", "GET /export_raw_vdi/"] {
        let (status, record) = lab.transfer(path, &format!("&vdi={vdi}&format=raw"), &[2; 4096]).await?;
        same(path, status, 200)?;
        same("status", record.status, TaskStatusType::Success)?;
    }
    Ok(())
}

async fn a_disk_is_named_by_uuid_as_well(lab: &Lab) -> Result<()> {
    let vdi = lab.small_disk().await?;
    let uuid = lab.client.record(&vdi).await?.uuid;
    let (status, record) = lab.transfer("PUT /import_raw_vdi", &format!("&vdi={uuid}"), &sparse()).await?;
    same("HTTP status", status, 200)?;
    same("status", record.status, TaskStatusType::Success)?;
    lab.holds(&vdi, &sparse()).await
}

async fn a_password_serves_instead_of_a_session(lab: &Lab) -> Result<()> {
    let (vdi, task) = (lab.small_disk().await?, lab.task().await?);
    let credentials = base64(format!("{}:{}", lab.target.user, lab.target.password).as_bytes());
    let request = format!("PUT /import_raw_vdi?task_id={task}&vdi={vdi}&format=raw");
    let header = format!("Authorization: Basic {credentials}");
    same("HTTP status", lab.answer(&request, &[&header], &sparse()).await?.status, 200)?;
    same("status", lab.ended(&task).await?.status, TaskStatusType::Success)?;
    lab.holds(&vdi, &sparse()).await
}

/// The alphabet of RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().chain(&[0; 2]).take(3).fold(0_usize, |group, byte| group << 8 | usize::from(*byte));
        for i in 0..4 {
            text.push(if i <= chunk.len() { char::from(ALPHABET[group >> (18 - 6 * i) & 63]) } else { '=' });
        }
    }
    text
}

async fn an_upload_may_make_its_disk(lab: &Lab) -> Result<()> {
    let query = format!("&sr_id={}&format=raw", lab.site.sr()?);
    let (status, record) = lab.transfer("PUT /import_raw_vdi", &query, &sparse()).await?;
    same("HTTP status", status, 200)?;
    same("status", record.status, TaskStatusType::Success)?;
    let made = record.result.strip_prefix("<value>").and_then(|rest| rest.strip_suffix("</value>"));
    let vdi = Ref::<Vdi>::from(made.with_context(|| record.result.clone())?);
    lab.keep(Made::Vdi(vdi.clone()));
    lab.holds(&vdi, &sparse()).await
}

async fn an_unknown_format_is_refused(lab: &Lab) -> Result<()> {
    let vdi = lab.small_disk().await?;
    for path in ["PUT /import_raw_vdi", "GET /export_raw_vdi"] {
        let (status, record) = lab.transfer(path, &format!("&vdi={vdi}&format=banana"), &[0; 512]).await?;
        same(path, status, 404)?;
        same("error_info", record.error_info, ["INTERNAL_ERROR", "Unknown format banana"])?;
    }
    Ok(())
}

async fn pieces_of_a_vhd_are_refused(lab: &Lab) -> Result<()> {
    let query = format!("&vdi={}&format=vhd&chunked=true", lab.small_disk().await?);
    let (status, record) = lab.transfer("PUT /import_raw_vdi", &query, b"x").await?;
    same("HTTP status", status, 404)?;
    same("error_info", record.error_info, ["INTERNAL_ERROR", "Cannot handle chunked VHD"])
}

/// The check of the caller's rights stumbles over the disk, and says so.
async fn an_unknown_disk_is_refused(lab: &Lab) -> Result<()> {
    for (path, handler) in [
        ("PUT /import_raw_vdi", "http/put_import_raw_vdi"),
        ("GET /export_raw_vdi", "http/get_export_raw_vdi"),
    ] {
        let (status, record) = lab.transfer(path, &format!("&vdi={UNKNOWN}&format=raw"), &[0; 512]).await?;
        same(path, status, 500)?;
        let reason = format!("UUID_INVALID: [ VDI; {UNKNOWN} ]");
        same("error_info", record.error_info, ["RBAC_PERMISSION_DENIED", handler, &reason])?;
    }
    Ok(())
}

async fn an_upload_needs_a_target(lab: &Lab) -> Result<()> {
    let (status, record) = lab.transfer("PUT /import_raw_vdi", "&format=raw", &[0; 512]).await?;
    same("HTTP status", status, 400)?;
    same("error_info", record.error_info, ["VDI_MISSING"])
}

/// Whoever made the task has to end it.
async fn a_bad_session_leaves_the_task_pending(lab: &Lab) -> Result<()> {
    let vdi = lab.small_disk().await?;
    for session in [format!("session_id={UNKNOWN}&"), String::new()] {
        for path in ["PUT /import_raw_vdi", "GET /export_raw_vdi"] {
            let task = lab.task().await?;
            let request = format!("{path}?{session}task_id={task}&vdi={vdi}&format=raw");
            let answer = lab.answer(&request, &[], &[0; 512]).await?;
            same("HTTP status", answer.status, 401)?;
            ensure!(answer.header("www-authenticate").is_some(), "no WWW-Authenticate");
            same("status", lab.client.record::<Task>(&task).await?.status, TaskStatusType::Pending)?;
        }
    }
    Ok(())
}

async fn downloads_are_named_after_their_disk(lab: &Lab) -> Result<()> {
    let (vdi, session) = (lab.small_disk().await?, lab.log_in(&[]).await?);
    let uuid = lab.client.record(&vdi).await?.uuid;
    for (format, content, end) in [
        ("&format=raw", "application/octet-stream", "raw"),
        ("", "application/octet-stream", "raw"),
        ("&format=vhd", "application/vhd", "vhd"),
        ("&format=tar", "application/x-tar", "tar"),
    ] {
        let request = format!("GET /export_raw_vdi?session_id={session}&vdi={vdi}{format}");
        // A range is not looked at: the whole disk comes.
        let answer = lab.answer(&request, &["Range: bytes=0-511"], &[]).await?;
        same("HTTP status", answer.status, 200)?;
        same("content-type", answer.header("content-type"), Some(content))?;
        let name = format!("attachment; filename=\"{uuid}.{end}\"");
        same("content-disposition", answer.header("content-disposition"), Some(name.as_str()))?;
        ensure!(answer.body.len() > 512, "{} bytes", answer.body.len());
    }
    Ok(())
}

async fn only_known_methods_are_served(lab: &Lab) -> Result<()> {
    let (vdi, session) = (lab.small_disk().await?, lab.log_in(&[]).await?);
    for method in ["HEAD", "DELETE", "PATCH"] {
        let request = format!("{method} /export_raw_vdi?session_id={session}&vdi={vdi}&format=raw");
        same(method, lab.answer(&request, &[], &[]).await?.status, 501)?;
    }
    Ok(())
}

/// A guest with a disk that has data on it.
async fn guest(lab: &Lab) -> Result<Ref<Vm>> {
    let (vm, vdi) = (lab.vm().await?, lab.small_disk().await?);
    lab.upload(&vdi, ImportFormat::Raw, sparse()).await?;
    lab.vbd(&vm, &vdi, "0").await?;
    lab.client.wait_until_detached(&vdi, Duration::from_secs(60)).await?;
    Ok(vm)
}

/// An export of a guest is a tar archive whose first file describes it.
async fn export(lab: &Lab, vm: &Ref<Vm>) -> Result<Vec<u8>> {
    let (session, task) = (lab.log_in(&[]).await?, lab.task().await?);
    let request = format!("GET /export?session_id={session}&task_id={task}&ref={vm}");
    let answer = lab.answer(&request, &[], &[]).await?;
    same("HTTP status", answer.status, 200)?;
    same("status", lab.ended(&task).await?.status, TaskStatusType::Success)?;
    Ok(answer.body)
}

async fn a_guest_is_exported_with_its_disk(lab: &Lab) -> Result<()> {
    let vm = guest(lab).await?;
    let xva = export(lab, &vm).await?;
    ensure!(xva.starts_with(b"ova.xml\0"), "the first file is {:?}", String::from_utf8_lossy(&xva[..20]));
    let uuid = lab.client.record(&vm).await?.uuid;
    ensure!(xva.windows(uuid.len()).any(|window| window == uuid.as_bytes()), "the guest's uuid is not in it");
    // Of the disk's four pieces of one mebibyte, two have data; first and last are always there.
    ensure!(xva.len() > 2 * SIZE / 4, "it has {} bytes", xva.len());
    Ok(())
}

/// Both kinds come back as the same guest, if the host has the programs for them.
async fn an_export_is_compressed_on_demand(lab: &Lab) -> Result<()> {
    let (vm, mut tried) = (guest(lab).await?, 0);
    for (compression, magic) in [("gzip", &[0x1f_u8, 0x8b][..]), ("zstd", &[0x28, 0xb5, 0x2f, 0xfd])] {
        let options = VmExport { compression: Some(compression.into()), ..VmExport::default() };
        let mut xva = Vec::new();
        let exporting = async { lab.client.export_vm(&vm, options).await?.copy_to(&mut xva, |_| {}).await };
        match exporting.await {
            Err(error) if error.is("INTERNAL_ERROR") => continue,
            exported => exported.map(drop)?,
        }
        tried += 1;
        ensure!(xva.starts_with(magic), "{compression}: it begins with {:?}", &xva[..4]);
        let importing = lab.client.import_vm(Full::new(Bytes::from(xva)));
        let imported = importing.sr(&lab.site.sr()?.clone()).await?.remove(0);
        lab.keep(Made::Vm(imported.clone()));
        let vbds = lab.client.record(&imported).await?.vbds;
        let vbd = lab.client.record(vbds.first().context("it has no disk")?).await?;
        lab.holds(&vbd.vdi, &sparse()).await?;
    }
    if tried == 0 {
        return Err(not_applicable("the host compresses nothing"));
    }
    Ok(())
}

async fn an_exported_guest_is_imported_as_another(lab: &Lab) -> Result<()> {
    let vm = guest(lab).await?;
    let xva = export(lab, &vm).await?;
    let query = format!("&sr_id={}", lab.site.sr()?);
    let (status, record) = lab.transfer("PUT /import", &query, &xva).await?;
    same("HTTP status", status, 200)?;
    same("error_info", record.error_info, Vec::<String>::new())?;
    let made = record.result.split("<value>").nth(2).and_then(|rest| rest.split("</value>").next());
    let imported = Ref::<Vm>::from(made.with_context(|| record.result.clone())?);
    lab.keep(Made::Vm(imported.clone()));
    let (original, copy) = (lab.client.record(&vm).await?, lab.client.record(&imported).await?);
    same("name_label", &copy.name_label, &original.name_label)?;
    ensure!(copy.uuid != original.uuid, "it has the uuid of the original");
    let vbd = lab.client.record(copy.vbds.first().context("it has no disk")?).await?;
    lab.holds(&vbd.vdi, &sparse()).await
}

async fn an_unknown_guest_gets_no_answer(lab: &Lab) -> Result<()> {
    let (session, task) = (lab.log_in(&[]).await?, lab.task().await?);
    let request = format!("GET /export?session_id={session}&task_id={task}&ref={UNKNOWN}");
    let answer = lab.http(&request, &[], &[]).await?;
    ensure!(answer.is_none(), "it answered {answer:?}");
    same("error_info", lab.ended(&task).await?.error_info, ["NO_HOSTS_AVAILABLE"])
}

async fn a_running_guest_is_not_exported(lab: &Lab) -> Result<()> {
    let vm = lab.running_vm().await?;
    let (status, record) = lab.transfer("GET /export", &format!("&ref={vm}"), &[]).await?;
    same("HTTP status", status, 500)?;
    let expected = ["VM_BAD_POWER_STATE", &vm.to_string(), "halted, suspended", "running"];
    same("error_info", record.error_info, expected)?;
    lab.client.call(vm::HardShutdown { vm }).await?;
    Ok(())
}

async fn junk_is_no_guest(lab: &Lab) -> Result<()> {
    let query = format!("&sr_id={}", lab.site.sr()?);
    let (_, record) = lab.transfer("PUT /import", &query, &[0; 16 << 10]).await?;
    same("error_info", record.error_info, ["IMPORT_ERROR_PREMATURE_EOF"])
}
