//! What Prometheus is told: its text format, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use xenapi_client::{Cache, Status};
use xenapi_driver::reconcile::Reconciled;
use xenapi_types::{Host, Sr, Vm};

/// How the reconciliations went.
#[derive(Debug, Default)]
pub struct Chores(Mutex<Counts>);

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    runs: u64,
    failures: u64,
    done: u64,
    leftovers: usize,
    waiting: usize,
    /// Seconds since 1970, or 0 for never.
    succeeded: u64,
}

impl Chores {
    /// Counts one more.
    pub fn note(&self, result: &xenapi_driver::Result<Reconciled>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.runs += 1;
        match result {
            Ok(found) => {
                counts.done += found.done.len() as u64;
                (counts.leftovers, counts.waiting) = (found.leftovers.len(), found.waiting.len());
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                counts.succeeded = now.map_or(0, |now| now.as_secs());
            }
            Err(_) => counts.failures += 1,
        }
    }

    fn counts(&self) -> Counts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why the pool is not followed at the moment, if it is not.
pub fn trouble(cache: &Cache) -> Option<String> {
    match cache.status() {
        Status::Following => None,
        Status::Resyncing(cause) => Some(format!("everything is read again: {cause:?}")),
        Status::Interrupted(error) => Some(error.to_string()),
        Status::Ended(Some(error)) => Some(error.to_string()),
        _ => Some("the pool is followed no more".to_owned()),
    }
}

/// Why the pool will not be followed again by this process, if it will not.
pub fn end(status: &Status) -> Option<String> {
    match status {
        Status::Ended(Some(error)) => Some(error.to_string()),
        Status::Ended(None) => Some("it was given up".to_owned()),
        _ => None,
    }
}

/// All of it.
pub fn render(cache: &Cache, chores: &Chores) -> String {
    let mut page = Page::default();
    page.gauge("xenapi_following", "Whether the pool is followed; else what is shown is old.");
    page.sample(&[], u8::from(trouble(cache).is_none()).into());
    let counters = cache.counters();
    page.counter("xenapi_changes_total", "Changes of objects that have been seen.");
    page.sample(&[], counters.changes as f64);
    page.counter("xenapi_resyncs_total", "How often everything was read again, the start included.");
    page.sample(&[], counters.resyncs as f64);
    pool(&mut page, cache);
    reconciliations(&mut page, chores.counts());
    page.text
}

fn pool(page: &mut Page, cache: &Cache) {
    let pool = cache.snapshot();
    let mut hosts: Vec<_> = pool.iter::<Host>().collect();
    hosts.sort_by(|a, b| (&a.name_label, &a.uuid).cmp(&(&b.name_label, &b.uuid)));
    page.gauge("xenapi_host_enabled", "Whether a host takes new guests.");
    for host in &hosts {
        page.sample(&[("host", &host.name_label), ("uuid", &host.uuid)], u8::from(host.enabled).into());
    }
    for (name, help, all) in [
        ("xenapi_host_memory_bytes", "Memory of a host.", true),
        ("xenapi_host_memory_free_bytes", "Memory of a host that nobody uses.", false),
    ] {
        page.gauge(name, help);
        for host in &hosts {
            let Some(metrics) = pool.get(&host.metrics) else { continue };
            let bytes = if all { metrics.memory_total } else { metrics.memory_free };
            page.sample(&[("host", &host.name_label), ("uuid", &host.uuid)], bytes as f64);
        }
    }
    page.gauge("xenapi_vms", "Guests by power state; those of this driver are instances.");
    let mut vms = BTreeMap::new();
    for vm in pool.iter::<Vm>() {
        if !vm.is_a_template && !vm.is_a_snapshot && !vm.is_control_domain {
            let ours = vm.other_config.contains_key("xenapi-rs:instance");
            *vms.entry((vm.power_state.to_string(), ours)).or_insert(0_u32) += 1;
        }
    }
    for ((state, ours), count) in vms {
        let instance = if ours { "yes" } else { "no" };
        page.sample(&[("power_state", &state), ("instance", instance)], count.into());
    }
    let mut srs: Vec<_> = pool.iter::<Sr>().filter(|sr| sr.physical_size > 0).collect();
    srs.sort_by(|a, b| (&a.name_label, &a.uuid).cmp(&(&b.name_label, &b.uuid)));
    for (name, help, all) in [
        ("xenapi_sr_bytes", "Size of a storage repository.", true),
        ("xenapi_sr_used_bytes", "What is used of a storage repository.", false),
    ] {
        page.gauge(name, help);
        for sr in &srs {
            let bytes = if all { sr.physical_size } else { sr.physical_utilisation };
            page.sample(&[("sr", &sr.name_label), ("uuid", &sr.uuid), ("type", &sr.r#type)], bytes as f64);
        }
    }
}

fn reconciliations(page: &mut Page, counts: Counts) {
    page.counter("xenapi_reconciliations_total", "Reconciliations that have ended.");
    page.sample(&[], counts.runs as f64);
    page.counter("xenapi_reconciliation_failures_total", "Those that could not look at the pool.");
    page.sample(&[], counts.failures as f64);
    page.counter("xenapi_reconciled_total", "Things that were put in order.");
    page.sample(&[], counts.done as f64);
    page.gauge("xenapi_reconcile_leftovers", "Things that could not be, the last time.");
    page.sample(&[], counts.leftovers as f64);
    page.gauge("xenapi_reconcile_waiting", "Resizes that wait to be confirmed or reverted.");
    page.sample(&[], counts.waiting as f64);
    page.gauge("xenapi_reconciled_timestamp_seconds", "When one ended well; 0 for never.");
    page.sample(&[], counts.succeeded as f64);
}

#[derive(Default)]
struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    fn gauge(&mut self, name: &'static str, help: &str) {
        self.family(name, help, "gauge");
    }

    fn counter(&mut self, name: &'static str, help: &str) {
        self.family(name, help, "counter");
    }

    fn family(&mut self, name: &'static str, help: &str, kind: &str) {
        self.name = name;
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(self.name);
        for (number, (label, value)) in labels.iter().enumerate() {
            let start = if number == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{start}{label}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// Names are whatever operators call things.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_a_line() {
        let mut page = Page::default();
        page.gauge("m", "help");
        page.sample(&[("sr", "a\"} 1\nm{sr=\"\\"), ("type", "ext")], 2.0);
        assert_eq!(
            page.text,
            "# HELP m help\n# TYPE m gauge\nm{sr=\"a\\\"} 1\\nm{sr=\\\"\\\\\",type=\"ext\"} 2\n"
        );
    }
}
