//! What is measured.

use xenapi_types::archive::xxh64;

use super::{Archive, Consolidation, STEP};
use crate::db::{Object, View};

/// A VM, a host or an SR with what is measured of it.
pub(super) struct Owner {
    /// `vm`, `host` or `sr`.
    pub(super) kind: &'static str,
    pub(super) uuid: String,
    /// Since when there are values, in seconds since 1970.
    since: i64,
    pub(super) sources: Vec<Source>,
}

/// One thing that is measured.
pub(super) struct Source {
    pub(super) name: String,
    /// `GAUGE`, or `DERIVE` of what is counted and told as a rate.
    pub(super) kind: &'static str,
    pub(super) max: f64,
    shape: Shape,
}

enum Shape {
    Constant(f64),
    /// Goes up and down between two values.
    Wave(f64, f64),
    /// The mean of the first sources.
    Mean(usize),
}

/// A gibibyte a second: what no disk or network does.
const MAX_RATE: f64 = 1_073_741_824.0;

impl Owner {
    pub(super) fn vm(view: &View, vm: Object<'_>) -> Self {
        let metrics = view.find("VM_metrics", vm.str("metrics"));
        let memory = metrics.map_or(0, |metrics| metrics.int("memory_actual"));
        let since = metrics.and_then(|metrics| metrics.date("start_time").unix_seconds().ok()).unwrap_or(0);
        let mut sources = cpus(vm.int("VCPUs_at_startup"));
        sources.push(Source::gauge("memory", memory as f64));
        sources.push(Source::gauge("memory_target", memory as f64));
        if view.exists("VM_guest_metrics", vm.str("guest_metrics")) {
            let free_kib = memory as f64 / 1_024.0;
            sources.push(Source::wave(
                "memory_internal_free",
                "GAUGE",
                free_kib * 0.3,
                free_kib * 0.6,
                f64::INFINITY,
            ));
        }
        for vif in view.follow(vm, "VIFs", "VIF") {
            sources.extend(rates(&format!("vif_{}", vif.str("device")), ["rx", "tx"], 2e5));
        }
        for vbd in view.follow(vm, "VBDs", "VBD").filter(|vbd| !vbd.bool("empty")) {
            sources.extend(rates(&format!("vbd_{}", vbd.str("device")), ["read", "write"], 4e6));
        }
        Self { kind: "vm", uuid: vm.str("uuid").to_owned(), since, sources }
    }

    pub(super) fn host(view: &View, host: Object<'_>) -> Self {
        let total = view.find("host_metrics", host.str("metrics")).map_or(0, |m| m.int("memory_total"));
        let guests = view.objects("VM").filter(|vm| vm.str("resident_on") == host.reference());
        let actual =
            |vm: Object<'_>| view.find("VM_metrics", vm.str("metrics")).map_or(0, |m| m.int("memory_actual"));
        let used: i64 = guests.map(actual).sum();
        let count = host.entry("cpu_info", "cpu_count").and_then(|count| count.parse().ok());
        let mut sources = cpus(count.unwrap_or(1));
        sources.push(Source {
            name: "cpu_avg".to_owned(),
            kind: "GAUGE",
            max: 1.0,
            shape: Shape::Mean(sources.len()),
        });
        sources.push(Source::wave("loadavg", "GAUGE", 0.05, 0.6, f64::INFINITY));
        sources.push(Source::gauge("memory_total_kib", total as f64 / 1_024.0));
        sources.push(Source::gauge("memory_free_kib", (total - used).max(0) as f64 / 1_024.0));
        for pif in view.objects("PIF").filter(|pif| pif.str("host") == host.reference()) {
            sources.extend(rates(&format!("pif_{}", pif.str("device")), ["rx", "tx"], 1e6));
        }
        // In MiB a second, named after the first characters of the uuid.
        for pbd in view.objects("PBD").filter(|pbd| pbd.bool("currently_attached")) {
            if pbd.str("host") != host.reference() {
                continue;
            }
            let Some(sr) = view.find("SR", pbd.str("SR")).and_then(|sr| sr.str("uuid").get(..8)) else {
                continue;
            };
            let throughput = |way: &str| {
                Source::wave(&format!("io_throughput_{way}_{sr}"), "GAUGE", 0.0, 8.0, f64::INFINITY)
            };
            sources.extend(["read", "write"].map(throughput));
        }
        // Also in the state directory's world nobody says when the host was booted.
        let since =
            host.entry("other_config", "boot_time").and_then(|time| time.trim_end_matches('.').parse().ok());
        Self { kind: "host", uuid: host.str("uuid").to_owned(), since: since.unwrap_or(0), sources }
    }

    pub(super) fn sr(sr: Object<'_>) -> Self {
        let gauge = |name: &str, field: &str| Source::gauge(name, sr.int(field) as f64);
        let sources =
            vec![gauge("size", "physical_size"), gauge("physical_utilisation", "physical_utilisation")];
        Self { kind: "sr", uuid: sr.str("uuid").to_owned(), since: 0, sources }
    }

    /// The value of a source for the row that ends at `end`; not a number before there was anything.
    pub(super) fn value(&self, source: &Source, cf: Consolidation, archive: Archive, end: i64) -> f64 {
        let begin = end - archive.step();
        if begin < self.since {
            return f64::NAN;
        }
        // Of long rows a few measurements stand for all.
        let count = archive.per_row.min(12);
        let samples = (1..=count).map(|i| self.sample(source, begin + i * archive.per_row / count * STEP));
        match cf {
            Consolidation::Average => samples.sum::<f64>() / count as f64,
            Consolidation::Min => samples.fold(f64::INFINITY, f64::min),
            Consolidation::Max => samples.fold(f64::NEG_INFINITY, f64::max),
        }
    }

    fn sample(&self, source: &Source, time: i64) -> f64 {
        match source.shape {
            Shape::Constant(value) => value,
            Shape::Wave(low, high) => {
                let phase = (xxh64(format!("{}/{}", self.uuid, source.name).as_bytes()) % 3_600) as f64;
                let turn = (time as f64 + phase) / 613.0 * std::f64::consts::TAU;
                low + (high - low) * (0.5 + 0.5 * turn.sin())
            }
            Shape::Mean(count) => {
                self.sources[..count].iter().map(|s| self.sample(s, time)).sum::<f64>() / count.max(1) as f64
            }
        }
    }
}

impl Source {
    fn gauge(name: &str, value: f64) -> Self {
        Self { name: name.to_owned(), kind: "GAUGE", max: f64::INFINITY, shape: Shape::Constant(value) }
    }

    fn wave(name: &str, kind: &'static str, low: f64, high: f64, max: f64) -> Self {
        Self { name: name.to_owned(), kind, max, shape: Shape::Wave(low, high) }
    }
}

/// The use of each CPU, from 0 to 1.
fn cpus(count: i64) -> Vec<Source> {
    (0..count).map(|n| Source::wave(&format!("cpu{n}"), "DERIVE", 0.01, 0.35, 1.0)).collect()
}

/// Bytes a second, in both directions.
fn rates(device: &str, directions: [&str; 2], high: f64) -> [Source; 2] {
    directions.map(|way| Source::wave(&format!("{device}_{way}"), "DERIVE", 0.0, high, MAX_RATE))
}
