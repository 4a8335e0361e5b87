//! `bandwidth`: what each guest's interfaces have moved.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Error, Outcome};
use crate::convention::{Args, Function};
use crate::dom0::Dom0;
use crate::pickle::Pickle;

const COUNTERS: &str = "/proc/net/dev";

pub(super) const FUNCTIONS: &[Function] =
    &[Function::serialized("fetch_all_bandwidth", &[], fetch_all_bandwidth)];

/// `{domid: {vif: {bw_in, bw_out}}}` in bytes, as the guest sees them: what the control domain's end of
/// an interface transmits is what the guest receives.
fn fetch_all_bandwidth(dom0: &dyn Dom0, _: &Args) -> Outcome {
    let text = dom0.read_to_string(Path::new(COUNTERS)).map_err(|e| Error::file(COUNTERS, &e))?;
    let mut domains: BTreeMap<String, Pickle> = BTreeMap::new();
    for (domain, vif, received, transmitted) in text.lines().filter_map(interface) {
        let counters = [("bw_in", transmitted), ("bw_out", received)];
        let counters = counters.map(|(name, bytes)| (name.to_owned(), Pickle::Int(bytes)));
        let entry = domains.entry(domain.to_owned()).or_insert_with(|| Pickle::Dict(BTreeMap::new()));
        if let Pickle::Dict(vifs) = entry {
            vifs.insert(vif.to_owned(), Pickle::Dict(BTreeMap::from(counters)));
        }
    }
    Ok(Pickle::Dict(domains))
}

/// `vif<domid>.<number>: received … transmitted …`: the first and the ninth counter.
fn interface(line: &str) -> Option<(&str, &str, i64, i64)> {
    let (name, counters) = line.trim_start().split_once(':')?;
    let (domain, vif) = name.strip_prefix("vif")?.split_once('.')?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mut counters = counters.split_ascii_whitespace();
    let received = counters.next()?.parse().ok()?;
    let transmitted = counters.nth(7)?.parse().ok()?;
    (number(domain) && number(vif)).then_some((domain, vif, received, transmitted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    #[test]
    fn guests_interfaces_only() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets\n\
            \x20 eth0: 9 1 0 0 0 0 0 0 8 1 0 0 0 0 0 0\n\
            vif2.0:100 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0\n\
            \x20vif2.1: 0 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0\n\
            vif3.0-emu: 5 0 0 0 0 0 0 0 5 0 0 0 0 0 0 0\n vif4.0: 1 2\n";
        let dom0 = Fake::default().with_file(COUNTERS, text);
        let vif = |bw_in, bw_out| {
            let counters = [("bw_in", bw_in), ("bw_out", bw_out)];
            Pickle::Dict(counters.map(|(k, v)| (k.to_owned(), Pickle::Int(v))).into())
        };
        let vifs = [("0".to_owned(), vif(200, 100)), ("1".to_owned(), vif(1, 0))];
        let wanted = Pickle::Dict([("2".to_owned(), Pickle::Dict(vifs.into()))].into());
        assert_eq!(fetch_all_bandwidth(&dom0, &Args::default()), Ok(wanted));
    }
}
