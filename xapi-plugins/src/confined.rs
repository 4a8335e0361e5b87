//! Files of a guest's file system that is mounted here, reached so that nothing outside of it is touched:
//! names are walked one by one, and links are followed as the guest would, from its own root. What an
//! absolute link or too many `..` mean on this host never matters.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Links that are followed for one path; the kernel follows as many.
const MAX_LINKS: usize = 40;

/// What is read of a guest's file: far more than one of keys or of passwords has, and no more than dom0 can spare.
const MAX_CONTENT_BYTES: u64 = 4 << 20;

/// The root of a guest's file system.
pub(crate) struct Root {
    dir: OwnedFd,
}

/// Whether something is added to a file or takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    Append,
    Replace,
}

/// A folder, and a name in it that is no link.
struct Place {
    folder: OwnedFd,
    name: String,
}

impl Root {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { dir: fs::open(path, folder_flags(), Mode::empty())? })
    }

    /// Whether there is a plain file, of whatever size.
    pub(crate) fn has(&self, path: &str) -> io::Result<bool> {
        Ok(found(self.place(path, None).and_then(|place| plain(&place)))?.is_some())
    }

    /// The content of a plain file; `None` when there is none. One of more than 4 MiB is refused.
    pub(crate) fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        found(self.place(path, None).and_then(|place| content(&place, &plain(&place)?)))
    }

    /// Writes a file whole or not at all. Folders that are missing are made, for root alone when the file
    /// is; a file that is there keeps its owner and mode.
    pub(crate) fn write(&self, path: &str, bytes: &[u8], mode: u32, put: Put) -> io::Result<()> {
        let folder_mode = if mode & 0o077 == 0 { 0o700 } else { 0o755 };
        let place = self.place(path, Some(Mode::from_raw_mode(folder_mode)))?;
        let stat = found(plain(&place))?;
        let old = match &stat {
            Some(stat) if put == Put::Append => content(&place, stat)?,
            _ => Vec::new(),
        };
        // A name that is there already is a leftover of a call that was killed, or bait: it goes unopened.
        let part = format!(".{}.xapi-plugins", place.name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || fs::openat(&place.folder, &part, flags, Mode::RUSR | Mode::WUSR);
        let fd = match open() {
            Err(Errno::EXIST) => {
                fs::unlinkat(&place.folder, &part, AtFlags::empty())?;
                open()
            }
            other => other,
        }?;
        let written = (|| {
            let mut file = File::from(fd);
            file.write_all(&old)?;
            file.write_all(bytes)?;
            let mode = stat.as_ref().map_or(mode, |stat| stat.st_mode & 0o7777);
            if let Some(stat) = &stat {
                let owner = (fs::Uid::from_raw(stat.st_uid), fs::Gid::from_raw(stat.st_gid));
                fs::fchown(&file, Some(owner.0), Some(owner.1))?;
            }
            // After the owner: changing that clears the bits for foreign identities.
            fs::fchmod(&file, Mode::from_raw_mode(mode))?;
            file.sync_all()?;
            Ok(fs::renameat(&place.folder, &part, &place.folder, &place.name)?)
        })();
        if written.is_err() {
            let _ = fs::unlinkat(&place.folder, &part, AtFlags::empty());
        }
        written
    }

    /// Walks to where a path leads. Missing folders are made when a mode for them is given.
    fn place(&self, path: &str, make: Option<Mode>) -> io::Result<Place> {
        let mut ahead: VecDeque<String> = names(path).collect();
        let mut folders: Vec<OwnedFd> = Vec::new();
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                folders.pop();
                continue;
            }
            let here = folders.last().unwrap_or(&self.dir);
            let link = match fs::readlinkat(here, &name, Vec::new()) {
                Ok(link) => Some(link.into_string().map_err(|_| wrong("a link is no text"))?),
                Err(Errno::INVAL | Errno::NOENT) => None,
                Err(e) => return Err(e.into()),
            };
            if let Some(link) = link {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                if link.starts_with('/') {
                    folders.clear();
                }
                for name in names(&link).collect::<Vec<_>>().into_iter().rev() {
                    ahead.push_front(name);
                }
            } else if ahead.is_empty() {
                return Ok(Place { folder: here.try_clone()?, name });
            } else {
                folders.push(enter(here, &name, make)?);
            }
        }
        Err(wrong("the path leads to a folder"))
    }
}

fn names(path: &str) -> impl Iterator<Item = String> + '_ {
    path.split('/').filter(|name| !matches!(*name, "" | ".")).map(str::to_owned)
}

fn enter(here: &OwnedFd, name: &str, make: Option<Mode>) -> io::Result<OwnedFd> {
    match (fs::openat(here, name, folder_flags(), Mode::empty()), make) {
        (Err(Errno::NOENT), Some(mode)) => {
            fs::mkdirat(here, name, mode)?;
            Ok(fs::openat(here, name, folder_flags(), Mode::empty())?)
        }
        (opened, _) => Ok(opened?),
    }
}

/// What there is, if anything.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(it) => Ok(Some(it)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Looks at a file before anybody opens it: opening a pipe waits, opening a device does something.
fn plain(place: &Place) -> io::Result<fs::Stat> {
    let stat = fs::statat(&place.folder, &place.name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(stat),
        _ => Err(wrong("it is not a plain file")),
    }
}

/// The content of a file. Its size is the guest's word: one without blocks costs it nothing, and dom0 all it has.
fn content(place: &Place, stat: &fs::Stat) -> io::Result<Vec<u8>> {
    let too_large = || wrong(&format!("it has more than {MAX_CONTENT_BYTES} bytes"));
    let len =
        u64::try_from(stat.st_size).ok().filter(|len| *len <= MAX_CONTENT_BYTES).ok_or_else(too_large)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(fs::openat(&place.folder, &place.name, flags, Mode::empty())?);
    let mut content = Vec::new();
    // A damaged file system may have another size for who reads than for who asks.
    match file.take(len + 1).read_to_end(&mut content)? as u64 > len {
        true => Err(too_large()),
        false => Ok(content),
    }
}

fn folder_flags() -> OFlags {
    OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC
}

fn wrong(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    struct World {
        outer: tempfile::TempDir,
        root: Root,
    }

    /// A guest's root beside a secret of the host.
    fn world() -> World {
        let outer = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(outer.path().join("guest/etc")).unwrap();
        std::fs::write(outer.path().join("secret"), "host").unwrap();
        let root = Root::open(&outer.path().join("guest")).unwrap();
        World { outer, root }
    }

    impl World {
        fn at(&self, path: &str) -> std::path::PathBuf {
            self.outer.path().join(path)
        }

        fn write(&self, path: &str, text: &str) -> io::Result<()> {
            self.root.write(path, text.as_bytes(), 0o600, Put::Replace)
        }

        #[track_caller]
        fn host_is_untouched(&self) {
            assert_eq!(std::fs::read_to_string(self.at("secret")).unwrap(), "host");
            assert_eq!(std::fs::read_dir(self.outer.path()).unwrap().count(), 2);
        }
    }

    #[test]
    fn new_files_and_folders_are_roots_alone() {
        let world = world();
        world.write("/root/.ssh/authorized_keys", "key").unwrap();
        let mode = |path| std::fs::metadata(world.at(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("guest/root/.ssh"), mode("guest/root/.ssh/authorized_keys")), (0o700, 0o600));
        world.root.write("/root/.ssh/authorized_keys", b"\nmore", 0o644, Put::Append).unwrap();
        assert_eq!(world.root.read("root/.ssh/authorized_keys").unwrap().unwrap(), b"key\nmore");
        assert_eq!(mode("guest/root/.ssh/authorized_keys"), 0o600);
        assert_eq!(std::fs::read_dir(world.at("guest/root/.ssh")).unwrap().count(), 1);
    }

    #[test]
    fn links_are_the_guests() {
        let world = world();
        std::fs::create_dir_all(world.at("guest/run/net")).unwrap();
        symlink("/run/net", world.at("guest/etc/net")).unwrap();
        symlink("../run/net/resolv", world.at("guest/etc/resolv.conf")).unwrap();
        world.write("/etc/net/up", "a").unwrap();
        world.write("/etc/resolv.conf", "b").unwrap();
        assert_eq!(std::fs::read_to_string(world.at("guest/run/net/up")).unwrap(), "a");
        assert_eq!(std::fs::read_to_string(world.at("guest/run/net/resolv")).unwrap(), "b");
        assert!(std::fs::symlink_metadata(world.at("guest/etc/resolv.conf")).unwrap().is_symlink());
    }

    #[test]
    fn links_that_lead_out_do_not() {
        let world = world();
        let secret = world.at("secret");
        symlink(&secret, world.at("guest/etc/shadow")).unwrap();
        symlink("../../secret", world.at("guest/etc/up")).unwrap();
        symlink(world.outer.path(), world.at("guest/out")).unwrap();
        for path in
            ["/etc/shadow", "/etc/up", "/out/secret", "/../../secret", "../secret", "/etc/../../secret"]
        {
            assert_ne!(world.root.read(path).unwrap(), Some(b"host".to_vec()), "{path}");
            world.write(path, "guest").unwrap();
            world.host_is_untouched();
        }
    }

    #[test]
    fn a_hard_link_is_not_written_through() {
        let world = world();
        std::fs::hard_link(world.at("secret"), world.at("guest/etc/passwd")).unwrap();
        world.root.write("/etc/passwd", b"guest", 0o600, Put::Append).unwrap();
        world.host_is_untouched();
    }

    /// A sparse file of terabytes is a few bytes of a guest's disk.
    #[test]
    fn files_without_end_are_not_read() {
        let world = world();
        let file = File::create(world.at("guest/etc/shadow")).unwrap();
        file.set_len(1 << 30).unwrap();
        assert!(world.root.has("/etc/shadow").unwrap());
        for refused in [
            world.root.read("/etc/shadow").map(drop),
            world.root.write("/etc/shadow", b"more", 0o600, Put::Append),
        ] {
            assert!(refused.unwrap_err().to_string().contains("more than 4194304 bytes"));
        }
        assert_eq!(std::fs::read_dir(world.at("guest/etc")).unwrap().count(), 1);
        file.set_len(MAX_CONTENT_BYTES + 1).unwrap();
        assert!(world.root.read("/etc/shadow").is_err());
        file.set_len(MAX_CONTENT_BYTES).unwrap();
        assert_eq!(world.root.read("/etc/shadow").unwrap().unwrap().len() as u64, MAX_CONTENT_BYTES);
        // What takes its place does not read it.
        file.set_len(1 << 30).unwrap();
        world.write("/etc/shadow", "new").unwrap();
        assert_eq!(world.root.read("/etc/shadow").unwrap().unwrap(), b"new");
        assert!(!world.root.has("/etc/passwd").unwrap());
    }

    #[test]
    fn what_is_not_a_file() {
        let world = world();
        symlink("a", world.at("guest/b")).unwrap();
        symlink("b", world.at("guest/a")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(world.at("guest/etc/socket")).unwrap();
        for path in ["/a", "/etc", "/", "", "/etc/socket", "/etc/.."] {
            assert!(world.write(path, "x").is_err(), "{path}");
            assert!(world.root.read(path).is_err(), "{path}");
        }
        world.write("/etc/file", "x").unwrap();
        assert!(world.write("/etc/file/below", "x").is_err());
    }
}
