//! `console.py`: the text that a simulated guest has written to its terminal.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use xenapi_wire::Failure;

use super::failed;
use crate::console::greeting;
use crate::dispatch::{Args, Ctx};

pub(super) const NAME: &str = "console.py";

/// `get_console_log {dom_id}`, compressed by zlib, as base64. Simulated guests write what [`greeting`] says and no more;
/// the log of a domain that is no more is gone.
pub(super) fn answer(ctx: &Ctx, args: &Args) -> Result<String, Failure> {
    if args.str(2) != "get_console_log" {
        return Err(failed(["non-zero exit", "", &format!("KeyError: '{}'", args.str(2))]));
    }
    let map = args.map(3);
    let domid = map.get("dom_id").and_then(|value| value.as_str()).unwrap_or_default();
    let host = args.str(0);
    let name = ctx.read(|view| {
        let here = |vm: &crate::db::Object<'_>| {
            vm.str("resident_on") == host && vm.int("domid").to_string() == domid && vm.int("domid") > 0
        };
        Ok::<_, Failure>(view.objects("VM").find(here).map(|vm| vm.str("name_label").to_owned()))
    })?;
    let Some(name) = name else {
        let path = format!("/var/log/xen/guest/console.{domid}");
        let text = format!("IOError: [Errno 2] No such file or directory: '{path}'");
        return Err(failed(["non-zero exit", "", &text]));
    };
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    let compressed = zlib.write_all(greeting(&name).as_bytes()).and_then(|()| zlib.finish());
    // Nothing fails that writes to memory.
    Ok(BASE64_STANDARD.encode(compressed.unwrap_or_default()))
}
