//! A real host does what the conformance suite says that XAPI does.
//!
//! ```text
//! XENAPI_URL=https://xen1.example.org XENAPI_USER=root XENAPI_PASSWORD=… XENAPI_FINGERPRINT=3A:… \
//!     cargo test -p e2e --test host -- --ignored --nocapture
//! ```
//!
//! The checks make guests, disks, networks and tasks with `xenapi-conformance` in `other_config` or name, touch
//! nothing else, and take away what they made. Further variables:
//!
//! * `XENAPI_INSECURE=1`: any certificate is accepted. For test networks only.
//! * `XENAPI_SR`: name or uuid of the storage repository for the disks, instead of the pool's default one.
//! * `XENAPI_ENCODING`: `json` or `xml`; both, one after the other, if it is not set.
//! * `XENAPI_JOBS`: how many checks are made at the same time, 1 if it is not set.
//! * `XENAPI_ONLY`: only the checks whose area or name contains this.

use std::env::{self, VarError};

use anyhow::{Context, Result, bail};
use e2e::conformance::{self, Target};
use xenapi_client::{Config, Encoding, Trust};

#[expect(clippy::print_stdout, reason = "the table is what the run is for")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a host: XENAPI_URL, XENAPI_USER, XENAPI_PASSWORD"]
async fn a_real_host_conforms() -> Result<()> {
    let url = env::var("XENAPI_URL").context("XENAPI_URL is not set")?;
    let user = env::var("XENAPI_USER").context("XENAPI_USER is not set")?;
    let password = env::var("XENAPI_PASSWORD").context("XENAPI_PASSWORD is not set")?;
    let encodings = match variable("XENAPI_ENCODING")?.as_deref() {
        None => vec![Encoding::JsonRpc, Encoding::XmlRpc],
        Some("json") => vec![Encoding::JsonRpc],
        Some("xml") => vec![Encoding::XmlRpc],
        Some(other) => bail!("XENAPI_ENCODING is {other:?}, not json or xml"),
    };
    let jobs = variable("XENAPI_JOBS")?.map_or(Ok(1), |jobs| jobs.parse()).context("XENAPI_JOBS")?;
    let only = variable("XENAPI_ONLY")?.unwrap_or_default();
    let mut verdicts = Vec::new();
    for encoding in encodings {
        let config = Config::new(&url, &user, password.as_str())?.encoding(encoding);
        let target = Target::new(config, &user, &password).trust(trust()?);
        let mut checks = conformance::all();
        checks.retain(|check| check.area.contains(&only) || check.name.contains(&only));
        let report = conformance::run(&target, checks, jobs).await?;
        println!("{encoding:?}, {report}");
        verdicts.push(report.verify());
    }
    verdicts.into_iter().collect()
}

fn trust() -> Result<Trust> {
    if let Some(fingerprint) = variable("XENAPI_FINGERPRINT")? {
        return Ok(Trust::Fingerprints(vec![fingerprint.parse().context("XENAPI_FINGERPRINT")?]));
    }
    Ok(match variable("XENAPI_INSECURE")?.as_deref() {
        Some("1") => Trust::DangerAcceptAny,
        _ => Trust::SystemRoots,
    })
}

/// A variable that may be missing.
fn variable(name: &str) -> Result<Option<String>> {
    match env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(error) => Err(error).context(name.to_owned()),
    }
}
