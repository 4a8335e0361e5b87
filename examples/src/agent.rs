//! The agents in guests, in the words of a command line.

pub use xenapi_driver::AgentBuild as Build;

use crate::words::Words;

/// How a version of the agent is written.
pub const BUILD: &str = "VERSION,url=URL,md5=HEX";

/// A version of the agent, and where to fetch it from.
///
/// # Errors
///
/// For what is not understood.
pub fn build(text: &str) -> Result<Build, String> {
    let mut words = Words::of(text);
    let version = words.first("a version")?;
    let (url, md5) = (words.one("url")?, words.one("md5")?);
    words.end()?;
    let wanted = || format!("write {BUILD}");
    Ok(Build { version, url: url.ok_or_else(wanted)?, md5: md5.ok_or_else(wanted)? })
}
