//! `workarounds`: copies of disks that the SR's own clone would tie to their origin.

use super::{Outcome, migration, xenhost};
use crate::convention::{Args, Function};
use crate::dom0::Dom0;
use crate::plugins::Error;
use crate::staging::{self, Staging};

pub(super) const FUNCTIONS: &[Function] =
    &[Function::serialized("safe_copy_vdis", &["sr_path", "vdi_uuids", "uuid_stack"], safe_copy_vdis)];

/// `safe_copy_vdis(sr_path, vdi_uuids, uuid_stack)`: a chain copied, the leaf first:
/// `{"root": {"uuid": …}}`.
fn safe_copy_vdis(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let sr = staging::sr_path(dom0, args)?;
    let uuids = xenhost::uuids("vdi_uuids", args)?;
    let stack = args.list("uuid_stack")?;
    let staged = Staging::new(dom0, &sr)?;
    for (number, uuid) in uuids.iter().enumerate() {
        let source = sr.join(format!("{uuid}.vhd"));
        if !source.is_file() {
            return Err(Error::file(&source, &std::io::ErrorKind::NotFound.into()));
        }
        staging::copy(dom0, &source, &staged.path().join(format!("{number}.vhd")))?;
    }
    staging::import_vhds(dom0, &sr, staged.path(), stack).map(migration::root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pickle::Pickle;
    use crate::staging::tests::{Sr, uuid};

    #[test]
    fn a_chain_is_copied() {
        let sr = Sr::with_chain(2);
        let before = sr.files();
        let args = sr
            .args(&[])
            .with_list("vdi_uuids", &[&uuid(0), &uuid(1)])
            .with_list("uuid_stack", &[&uuid(12), &uuid(11), &uuid(10)]);
        let Ok(answer) = safe_copy_vdis(&sr.dom0(), &args) else { panic!() };
        assert_eq!(answer, migration::root(uuid(10)));
        assert!(matches!(answer, Pickle::Dict(_)));
        let after = sr.files();
        assert_eq!(after.len(), 4);
        assert_eq!(after[&uuid(10)], format!("leaf 0\nparent={}.vhd\n", uuid(11)));
        assert_eq!(after[&uuid(11)], "leaf 1\n");
        assert!(before.iter().all(|(name, text)| after[name] == *text));
    }

    #[test]
    fn a_disk_that_is_not_there() {
        let sr = Sr::with_chain(1);
        let args = sr
            .args(&[])
            .with_list("vdi_uuids", &[&uuid(0), &uuid(1)])
            .with_list("uuid_stack", &[&uuid(10), &uuid(11)]);
        assert!(safe_copy_vdis(&sr.dom0(), &args).is_err());
        assert_eq!(sr.files().len(), 1);
        let args = sr.args(&[]).with_list("vdi_uuids", &["../x"]).with_list("uuid_stack", &[]);
        assert!(matches!(safe_copy_vdis(&sr.dom0(), &args), Err(Error::Argument { name: "vdi_uuids", .. })));
    }
}
