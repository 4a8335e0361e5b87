//! `console`: the text that a guest wrote to its first serial or PV console.

use std::io::Write;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::xenstore::Domain;
use super::{Error, Outcome};
use crate::convention::{Args, Function};
use crate::dom0::Dom0;
use crate::pickle::Pickle;

/// Where `xenconsoled` logs to, when xenstore's `/local/logconsole/@` says
/// `/var/log/xen/guest/console.%d`.
const LOGS: &str = "/var/log/xen/guest";
const TAIL_BYTES: u64 = 102_400;

pub(super) const FUNCTIONS: &[Function] = &[Function::plain("get_console_log", get_console_log)];

/// `get_console_log(dom_id)`: the last 100 KiB, compressed by zlib, as base64.
fn get_console_log(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let path = PathBuf::from(format!("{LOGS}/console.{}", Domain::of(args)?.id()));
    let tail = dom0.read_tail(&path, TAIL_BYTES).map_err(|e| Error::file(&path, &e))?;
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    let compressed =
        zlib.write_all(&tail).and_then(|()| zlib.finish()).map_err(|e| Error::file(&path, &e))?;
    Ok(Pickle::Str(BASE64_STANDARD.encode(compressed)))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::testing::Fake;

    #[test]
    fn the_end_of_a_long_log() {
        let log = "x".repeat(5_000) + &"y".repeat(TAIL_BYTES as usize);
        let dom0 = Fake::default().with_file("/var/log/xen/guest/console.7", &log);
        let Ok(Pickle::Str(answer)) = get_console_log(&dom0, &Args::of(&[("dom_id", "7")])) else { panic!() };
        let mut text = String::new();
        let compressed = BASE64_STANDARD.decode(answer).unwrap();
        flate2::read::ZlibDecoder::new(&compressed[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "y".repeat(TAIL_BYTES as usize));
        let error = get_console_log(&dom0, &Args::of(&[("dom_id", "8")])).unwrap_err();
        assert_eq!(error.class(), "IOError");
        assert!(get_console_log(&dom0, &Args::of(&[("dom_id", "../x")])).is_err());
    }
}
