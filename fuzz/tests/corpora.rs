//! Every input in `corpora` goes through its target: what fuzzing has reached once stays reached and right. A target of
//! libFuzzer that is given files runs them, one after the other, and needs no instrumentation for it.

use std::path::Path;
use std::process::Command;

macro_rules! targets {
    ($($name:ident)*) => { [$((stringify!($name), env!(concat!("CARGO_BIN_EXE_", stringify!($name))))),*] };
}

const TARGETS: [(&str, &str); 28] = targets! {
    chunked chunked_disk config_drive datetime disk_archive disk_stream envelope guest_agent guest_archive
    jsonrpc_roundtrip known_hosts nbd nova_conf owner_key packed_disk partition_table plugin_arguments
    plugin_pickle qcow2_layout qcow2_parse query router rrd vhd_inspect vhd_layout vhd_parse xmlrpc_decode
    xmlrpc_roundtrip
};

#[test]
fn what_fuzzing_has_found_holds() -> std::io::Result<()> {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora");
    let folders = std::fs::read_dir(&corpora)?.count();
    assert_eq!(folders, TARGETS.len(), "every target has a corpus, and every corpus a target");
    for (name, program) in TARGETS {
        let inputs: Vec<_> = std::fs::read_dir(corpora.join(name))?
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<_>>()?;
        assert!(!inputs.is_empty(), "{name}");
        let output = Command::new(program).args(&inputs).output()?;
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {log}");
        assert_eq!(log.matches("Executed ").count(), inputs.len(), "{name}: {log}");
    }
    Ok(())
}
