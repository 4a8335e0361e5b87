//! The installer on a folder that looks like dom0.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Dom0 {
    root: tempfile::TempDir,
    unpacked: tempfile::TempDir,
}

impl Dom0 {
    fn new() -> Self {
        let (root, unpacked) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/install.sh");
        std::fs::copy(script, unpacked.path().join("install.sh")).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_xapi-plugins"), unpacked.path().join("xapi-plugins")).unwrap();
        Self { root, unpacked }
    }

    fn install(&self, options: &[&str]) -> Output {
        let script = self.unpacked.path().join("install.sh");
        Command::new("sh").arg(script).arg("--root").arg(self.root.path()).args(options).output().unwrap()
    }

    fn plugin(&self, name: &str) -> PathBuf {
        self.root.path().join("etc/xapi.d/plugins").join(name)
    }
}

#[test]
fn installed_again_and_removed() {
    let dom0 = Dom0::new();
    std::fs::create_dir_all(dom0.plugin("")).unwrap();
    std::fs::write(dom0.plugin("agent.py"), "somebody else's").unwrap();
    std::fs::write(dom0.plugin("other"), "of no concern").unwrap();
    for _ in 0..2 {
        let output = dom0.install(&[]);
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("xapi-plugins 0."));
        for name in ["agent.py", "agent", "partition_utils.py", "xenhost"] {
            let target = std::fs::read_link(dom0.plugin(name)).unwrap();
            assert_eq!(target, Path::new("/opt/xapi-plugins/xapi-plugins"), "{name}");
        }
        let kept = std::fs::read_to_string(dom0.plugin("agent.py.replaced")).unwrap();
        assert_eq!(kept, "somebody else's");
    }
    assert!(dom0.install(&["--remove"]).status.success());
    let mut left: Vec<_> =
        std::fs::read_dir(dom0.plugin("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["agent.py", "other"]);
    assert_eq!(std::fs::read_to_string(dom0.plugin("agent.py")).unwrap(), "somebody else's");
    assert!(!dom0.root.path().join("opt/xapi-plugins").exists());
}

#[test]
fn a_machine_that_is_no_dom0() {
    let output = Dom0::new().install(&[]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("this is not the control domain"));
}
