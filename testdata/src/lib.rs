//! Recordings of a real XAPI server (`golden/`), as values, and what else the tests of several crates need.
//!
//! One [`Scenario`] is a list of HTTP exchanges in the order in which they were made; see
//! `testdata/README.md` for the meaning of the fields. Nothing here interprets RPC bodies: that
//! is what the tests are about.

pub mod openstack;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use base64::Engine;
use serde::Deserialize;

/// The folder of recordings, one gzip-compressed JSON file for each scenario.
pub fn golden_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// The names of all scenarios, sorted.
pub fn scenario_names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(golden_dir())
        .expect("testdata/golden is part of the checkout")
        .filter_map(|entry| {
            entry.ok()?.file_name().into_string().ok()?.strip_suffix(".json.gz").map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

/// The objects that a recording starts from, as the JSON that the simulator's `World::from_json` reads: one host,
/// `xapi-sim`, and for `pool_two_hosts` a member, `xapi-sim2`, as well.
///
/// # Panics
/// When the file is missing or damaged.
pub fn world_of(scenario: &str) -> String {
    let name = if scenario == "pool_two_hosts" { "golden_two_hosts" } else { "golden" };
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("worlds/{name}.json.gz"));
    let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut text = String::new();
    flate2::read::GzDecoder::new(file)
        .read_to_string(&mut text)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text
}

/// The world of the recordings with one host, which are all but one; see [`world_of`].
pub fn golden_world() -> String {
    world_of("")
}

/// The directory of the plugins that the recordings call: `golden`, a Python program, and `golden-noexec`, which
/// cannot be run. Nothing without Python, which is said, so that the caller can skip its test.
///
/// # Panics
/// Without Python if the environment variable `CI` is `true`: there, nothing may be skipped.
#[expect(clippy::print_stderr, reason = "a skip must be seen")]
pub fn plugins_dir() -> Option<PathBuf> {
    let python = std::process::Command::new("python3").arg("--version").output();
    if python.is_ok_and(|output| output.status.success()) {
        return Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("plugins"));
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "not installed: python3");
    eprintln!("skipped: not installed: python3");
    None
}

/// Reads one scenario by name.
///
/// # Panics
/// When there is no such scenario or its file is damaged: tests cannot go on without it.
pub fn scenario(name: &str) -> Scenario {
    let path = golden_dir().join(format!("{name}.json.gz"));
    let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(file)
        .read_to_end(&mut text)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A recorded conversation with one freshly seeded server.
#[derive(Debug, Clone, Deserialize)]
pub struct Scenario {
    /// The scenario's name, as in the file's name.
    pub scenario: String,
    /// The exchanges in order.
    pub steps: Vec<Step>,
}

/// One exchange.
#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    /// What the step shows.
    pub note: String,
    /// `xmlrpc`, `jsonrpc1`, `jsonrpc2` or `http`.
    pub transport: String,
    /// The connection it was sent on; `cN` is a fresh one for this step alone.
    pub conn: String,
    /// The RPC method, for RPC steps.
    pub method_name: Option<String>,
    /// What was sent.
    pub request: Request,
    /// What came back.
    pub response: Response,
    /// References and uuids first seen in this step, by name.
    #[serde(default)]
    pub binds: BTreeMap<String, String>,
    /// The answer was read only after the step with this index had been answered.
    pub read_after_step: Option<usize>,
    /// The request was repeated until this held (`status != pending`).
    pub repeat_until: Option<String>,
    /// The request was part of the previous step's bytes.
    #[serde(default)]
    pub pipelined: bool,
    /// Milliseconds from sending to the end of the answer.
    #[serde(default)]
    pub elapsed_ms: f64,
}

/// A recorded request: either a structured one or, with `raw*`, the complete bytes.
#[derive(Debug, Clone, Deserialize)]
pub struct Request {
    /// HTTP method; empty for raw requests.
    #[serde(default)]
    pub method: String,
    /// Path and query.
    #[serde(default)]
    pub path: String,
    /// Headers in order of sending.
    #[serde(default)]
    pub headers: serde_json::Map<String, serde_json::Value>,
    /// HTTP version when it is not 1.1.
    pub version: Option<String>,
    #[serde(flatten)]
    content: Content,
}

/// A recorded response.
#[derive(Debug, Clone, Deserialize)]
pub struct Response {
    /// HTTP status; `None` when the connection ended or stayed silent without an answer.
    pub status: Option<u16>,
    /// Reason phrase.
    pub reason: Option<String>,
    /// HTTP version.
    pub version: Option<String>,
    /// Name and value as received; the value keeps the text after the colon, blanks included.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The answer was cut: reset, shorter than its length, or request not completely accepted.
    #[serde(default)]
    pub closed_early: bool,
    /// `keep`, `fin`, `rst` or `timeout`.
    #[serde(default)]
    pub end: String,
    #[serde(flatten)]
    content: Content,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Content {
    body: Option<String>,
    body_b64: Option<String>,
    body_sparse: Option<Sparse>,
    raw: Option<String>,
    raw_b64: Option<String>,
    raw_sparse: Option<Sparse>,
}

/// A large body with zeros in its gaps.
#[derive(Debug, Clone, Deserialize)]
pub struct Sparse {
    /// Total size in bytes.
    pub size: u64,
    /// SHA-256 of the whole, in hexadecimal.
    pub sha256: String,
    extents: Vec<(u64, u64, String, String)>,
}

impl Sparse {
    /// The whole content.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = vec![0; usize::try_from(self.size).expect("recorded bodies fit in memory")];
        for (offset, len, kind, data) in &self.extents {
            let data = from_base64(data);
            let at = *offset as usize;
            let target = &mut all[at..at + *len as usize];
            match kind.as_str() {
                "b64" => target.copy_from_slice(&data),
                "rep" => target.iter_mut().zip(data.iter().cycle()).for_each(|(to, from)| *to = *from),
                other => panic!("unknown extent kind {other:?}"),
            }
        }
        all
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(text).expect("recordings hold valid base64")
}

fn bytes(text: &Option<String>, b64: &Option<String>, sparse: &Option<Sparse>) -> Option<Vec<u8>> {
    text.as_ref()
        .map(|t| t.clone().into_bytes())
        .or_else(|| b64.as_deref().map(from_base64))
        .or_else(|| sparse.as_ref().map(Sparse::to_vec))
}

impl Request {
    /// The body that was sent, or `None` when there was none.
    pub fn body(&self) -> Option<Vec<u8>> {
        bytes(&self.content.body, &self.content.body_b64, &self.content.body_sparse)
    }

    /// The complete bytes sent, headers included, for malformed or unusual requests.
    pub fn raw(&self) -> Option<Vec<u8>> {
        bytes(&self.content.raw, &self.content.raw_b64, &self.content.raw_sparse)
    }
}

impl Response {
    /// The body received; empty when there was none.
    pub fn body(&self) -> Vec<u8> {
        bytes(&self.content.body, &self.content.body_b64, &self.content.body_sparse).unwrap_or_default()
    }

    /// The size of a sparse body without building it, with its digest.
    pub fn sparse(&self) -> Option<&Sparse> {
        self.content.body_sparse.as_ref()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_recording_reads() {
        let names = super::scenario_names();
        assert_eq!(names.len(), 42);
        let steps: usize = names.iter().map(|name| super::scenario(name).steps.len()).sum();
        assert!(steps > 3_800, "only {steps} steps");
    }
}
