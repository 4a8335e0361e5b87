//! Every function of the plugins of Nova's, called as Nova's driver and Neutron's agent call them: the program is started
//! under the plugin's name with the XML that XAPI makes, arguments by place in a pickle where their client gives them so.

mod host;
mod killed;
mod table;

use std::collections::BTreeSet;
use std::io::Read;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::ZlibDecoder;
use serde_json::{Value, json};
use xapi_plugins::pickle;

use host::Host;
use table::{Args, Wanted};

/// The functions that Nova's plugins have, of their version 2.1.
const FUNCTIONS: &[(&str, &[&str])] = &[
    ("agent", &["agentupdate", "inject_file", "key_init", "password", "resetnetwork", "version"]),
    ("bandwidth", &["fetch_all_bandwidth"]),
    ("config_file", &["get_val"]),
    ("console", &["get_console_log"]),
    ("dom0_plugin_version", &["get_version"]),
    ("glance", &["download_vhd2", "upload_vhd2"]),
    ("ipxe", &["inject"]),
    ("kernel", &["copy_vdi", "create_kernel_ramdisk", "remove_kernel_ramdisk"]),
    ("migration", &["move_vhds_into_sr", "transfer_vhd"]),
    ("netwrap", &["run_command"]),
    ("partition_utils", &["make_partition", "mkfs", "wait_for_dev"]),
    ("workarounds", &["safe_copy_vdis"]),
    (
        "xenhost",
        &[
            "get_config",
            "get_pci_device_details",
            "get_pci_type",
            "host_data",
            "host_join",
            "host_reboot",
            "host_shutdown",
            "host_start",
            "host_uptime",
            "iptables_config",
            "network_config",
            "query_gc",
            "set_config",
            "set_host_enabled",
        ],
    ),
    ("xenstore", &["delete_record", "list_records", "read_record", "write_record"]),
];

#[test]
fn each_answers_as_nova_expects() -> Result<()> {
    let host = Host::new()?;
    let (mut answered, mut failed) = (BTreeSet::new(), BTreeSet::new());
    for row in table::rows(&host) {
        let what = format!("{}.{}({})", row.plugin, row.function, row.args);
        let got = host.call(row.plugin, row.function, &row.args).with_context(|| what.clone())?;
        match (&row.wanted, got) {
            (Wanted::Text(wanted), Ok(got)) => assert_eq!(&got, wanted, "{what}"),
            (Wanted::Json(wanted), Ok(got)) => {
                let got: Value = serde_json::from_str(&got).with_context(|| format!("{what}: {got}"))?;
                assert_eq!(&got, wanted, "{what}");
            }
            (Wanted::Pickled(wanted), Ok(got)) => {
                assert_eq!(&pickle::loads(&got).with_context(|| what.clone())?, wanted, "{what}");
            }
            (Wanted::Log(wanted), Ok(got)) => {
                let mut log = String::new();
                ZlibDecoder::new(&BASE64_STANDARD.decode(got)?[..]).read_to_string(&mut log)?;
                assert_eq!(&log, wanted, "{what}");
            }
            (Wanted::Failure(class, text), Err(failure)) => {
                assert_eq!(failure.code, "XENAPI_PLUGIN_FAILURE", "{what}");
                let [function, found, said] = &failure.params[..] else { panic!("{what}: {failure:?}") };
                assert_eq!((function.as_str(), found.as_str()), (row.function, *class), "{what}: {said}");
                assert!(said.contains(text), "{what}: {said}");
            }
            (wanted, got) => panic!("{what}: {got:?} instead of {wanted:?}"),
        }
        let seen = if matches!(row.wanted, Wanted::Failure(..)) { &mut failed } else { &mut answered };
        seen.insert((row.plugin, row.function));
        if let Some(after) = row.after {
            after(&host).context(what)?;
        }
    }
    let all: BTreeSet<_> =
        FUNCTIONS.iter().flat_map(|(plugin, functions)| functions.iter().map(|f| (*plugin, *f))).collect();
    assert_eq!(answered, all, "each has a row with an answer");
    // Those without arguments, or whose programs' failures are answers, have none to tell.
    let cannot = [
        ("bandwidth", "fetch_all_bandwidth"),
        ("config_file", "get_val"),
        ("dom0_plugin_version", "get_version"),
        ("xenhost", "get_pci_device_details"),
        ("xenhost", "host_uptime"),
    ];
    let told: BTreeSet<_> = all.iter().filter(|function| !cannot.contains(function)).copied().collect();
    assert_eq!(failed, told, "each has a row with a failure");
    Ok(())
}

#[test]
fn a_function_that_is_none() -> Result<()> {
    let host = Host::new()?;
    for (plugin, _) in FUNCTIONS {
        let failure = host.call(plugin, "no_such", &Args::Plain(vec![]))?.expect_err("there is none");
        assert_eq!(
            (failure.code.as_str(), &failure.params[..]),
            ("UNKNOWN_XENAPI_PLUGIN_FUNCTION", &["no_such".to_owned()][..])
        );
    }
    Ok(())
}

/// What the rows send and get is what Python's own `pickle` writes and reads.
#[test]
fn python_reads_and_writes_these_pickles() -> Result<()> {
    if !e2e::tools::present(&["python3"]) {
        return Ok(());
    }
    let host = Host::new()?;
    let script = "import json,pickle,sys\nfor line in sys.stdin:\n p=json.loads(line)\n print(json.dumps([pickle.loads(t.encode('latin1')) for t in p]))";
    let mut asked = Vec::new();
    let mut wanted = Vec::new();
    for row in table::rows(&host) {
        let (Args::Pickled(args, kwargs), Wanted::Pickled(answer)) = (&row.args, &row.wanted) else {
            continue;
        };
        asked.push(json!([row.args.params(), pickle::dumps(answer)]));
        wanted.push(
            json!([{"args": table::json_of(args), "kwargs": table::json_of(kwargs)}, table::json_of(answer)]),
        );
    }
    assert!(wanted.len() > 10);
    let lines = asked.iter().map(|line| format!("{line}\n")).collect::<String>();
    let got = host::with_input("python3", &["-c", script], &lines)?;
    let got = got.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    assert_eq!(got, wanted);
    Ok(())
}
