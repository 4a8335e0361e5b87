//! Whether disks fit before anything is created.

use crate::{Allocation, Repository, Size};

/// A disk that is going to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskRequest {
    /// Its size, before rounding.
    pub virtual_bytes: u64,
    /// How much of it will be written, in whole 2 MiB blocks; all of it if that is not known.
    pub data_bytes: Option<u64>,
}

/// Disks cannot be created in a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpaceError {
    /// A disk is larger than any can be there.
    #[error(
        "a disk of {} cannot be created in SR {name_label:?} ({sr_type}, {uuid}), where the largest is {}; \
         choose a smaller disk or another SR",
        Size(*.virtual_bytes), Size(*.max_bytes)
    )]
    DiskTooLarge {
        /// The repository.
        uuid: String,
        /// Its name label.
        name_label: String,
        /// Its type.
        sr_type: String,
        /// The size that was asked for.
        virtual_bytes: u64,
        /// The largest size.
        max_bytes: u64,
    },
    /// There is not enough free space.
    #[error(
        "SR {name_label:?} ({sr_type}, {uuid}) has {} free and {} are needed; free some space, wait for the \
         garbage collector to coalesce deleted snapshots, or choose another SR",
        Size(*.free_bytes), Size(*.needed_bytes)
    )]
    Full {
        /// The repository.
        uuid: String,
        /// Its name label.
        name_label: String,
        /// Its type.
        sr_type: String,
        /// What the disks take, tables included.
        needed_bytes: u64,
        /// What is free.
        free_bytes: u64,
    },
}

impl Repository {
    /// Whether all these disks fit, and what they take: the whole disks where space is taken at creation, what
    /// will be written elsewhere.
    ///
    /// A repository whose size the server does not know is taken to be large enough.
    ///
    /// # Errors
    ///
    /// [`SpaceError`], for the first disk that is too large or for all of them together.
    pub fn check_space(&self, disks: &[DiskRequest]) -> Result<u64, SpaceError> {
        let facts = self.facts();
        let mut needed_bytes = 0u64;
        for disk in disks {
            let virtual_bytes =
                facts.round_size(disk.virtual_bytes).map_err(|Size(max_bytes)| SpaceError::DiskTooLarge {
                    uuid: self.uuid.clone(),
                    name_label: self.name_label.clone(),
                    sr_type: self.sr_type.clone(),
                    virtual_bytes: disk.virtual_bytes,
                    max_bytes,
                })?;
            let written = match facts.allocation {
                Allocation::Thick => virtual_bytes,
                Allocation::Thin | Allocation::Unknown => {
                    disk.data_bytes.unwrap_or(virtual_bytes).min(virtual_bytes)
                }
            };
            needed_bytes = needed_bytes.saturating_add(facts.allocated_bytes(written));
        }
        match self.free_bytes() {
            Some(free_bytes) if needed_bytes > free_bytes => Err(SpaceError::Full {
                uuid: self.uuid.clone(),
                name_label: self.name_label.clone(),
                sr_type: self.sr_type.clone(),
                needed_bytes,
                free_bytes,
            }),
            _ => Ok(needed_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use xenapi_types::Ref;

    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn sr(sr_type: &str, size: Option<u64>, used: Option<u64>) -> Repository {
        Repository {
            reference: Ref::NULL,
            uuid: "u".into(),
            name_label: "n".into(),
            sr_type: sr_type.into(),
            is_tools_sr: false,
            other_config: [].into(),
            sm_config: [("use_vhd".to_owned(), "true".to_owned())].into(),
            physical_size: size,
            physical_utilisation: used,
            connections: vec![],
        }
    }

    fn disk(virtual_bytes: u64, data_bytes: Option<u64>) -> DiskRequest {
        DiskRequest { virtual_bytes, data_bytes }
    }

    #[test]
    fn thick_needs_all_and_thin_what_is_written() {
        let disks = [disk(10 * GIB, Some(GIB)), disk(64 * MIB, Some(0))];
        let lvm = 10 * GIB + 28 * MIB + 72 * MIB;
        assert_eq!(sr("lvm", Some(lvm + GIB), Some(GIB)).check_space(&disks), Ok(lvm));
        let error = sr("lvm", Some(lvm + GIB), Some(GIB + 1)).check_space(&disks).unwrap_err();
        assert!(
            matches!(error, SpaceError::Full { needed_bytes, free_bytes, .. } if needed_bytes - free_bytes == 1)
        );
        let ext = GIB + 512 * 4096 + 2 * 4_329_472;
        assert_eq!(sr("ext", Some(ext), Some(0)).check_space(&disks), Ok(ext));
        assert!(sr("ext", Some(ext), Some(1)).check_space(&disks).is_err());
        let error = sr("ext", Some(5 * GIB), Some(0)).check_space(&[disk(10 * GIB, None)]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("SR \"n\" (ext, u) has 5 GiB free and 10762719232 bytes (10.02 GiB)"),
            "{error}"
        );
    }

    #[test]
    fn unknown_sizes_and_overcommitted_repositories() {
        assert!(sr("ext", None, None).check_space(&[disk(10 * GIB, None)]).is_ok());
        assert!(sr("ext", Some(1), None).check_space(&[disk(10 * GIB, None)]).is_ok());
        let full = sr("ext", Some(GIB), Some(2 * GIB));
        assert_eq!(full.free_bytes(), Some(0));
        assert!(full.check_space(&[disk(MIB, None)]).is_err());
        assert_eq!(full.check_space(&[]), Ok(0));
    }

    #[test]
    fn too_large() {
        let error = sr("nfs", None, None).check_space(&[disk(2041 * GIB, Some(0))]).unwrap_err();
        let text = "a disk of 2041 GiB cannot be created in SR \"n\" (nfs, u), where the largest is 2040 GiB";
        assert!(error.to_string().starts_with(text), "{error}");
    }
}
