//! The image, as other people's tools see it.
//!
//! Needs fsck.vfat (dosfstools), mcopy, mdir and mlabel (mtools), blkid (util-linux) and the
//! cloud-init Python package; without one of them its test is skipped, or fails if `CI` is `true`.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use config_drive::{
    Addressing, ConfigDrive, Ec2MetaData, ImageSize, KeyPair, Link, LinkKind, MetaData, Network, NetworkData,
    Route, Service, Tree, vfat,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

/// A skip that can be seen, or a failure where all tools must be there.
#[expect(clippy::print_stderr, reason = "a skip must be seen")]
fn skip(why: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}");
    eprintln!("skipped: {why}");
}

/// The standard output of a program, or `None` if there is no such program.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    // Debian keeps fsck.vfat and blkid where a user's PATH may not look.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output =
        match Command::new(program).args(arguments).env("PATH", path).env("LC_ALL", "C.UTF-8").output() {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                skip(&format!("{program} is not installed"));
                return None;
            }
            Err(error) => panic!("{program}: {error}"),
        };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Some(text)
}

fn drive() -> ConfigDrive {
    let meta_data = MetaData {
        keys: vec![KeyPair::ssh("mine", "ssh-ed25519 AAAA me")],
        random_seed: (0..=255).cycle().take(512).collect(),
        admin_pass: Some("hunter2".into()),
        ..MetaData::new("6f70656e-7374-4163-8b00-000000000001".parse().unwrap(), "web 1", "web-1.example.org")
    };
    let network = |id: &str, link: &str, addressing, routes| Network {
        id: id.into(),
        link: link.into(),
        network_id: None,
        addressing,
        routes,
        services: vec![Service::Dns("10.0.0.53".parse().unwrap())],
    };
    let link = |id: &str, mac: &str| Link {
        id: id.into(),
        vif_id: None,
        kind: LinkKind::Phy,
        mtu: Some(1450),
        mac: mac.parse().unwrap(),
    };
    ConfigDrive::new(meta_data)
        .user_data("#cloud-config\npackages: [nginx]\n")
        .vendor_data(serde_json::json!({"cloud-init": "#cloud-config\n"}))
        .ec2(Ec2MetaData { instance_id: "i-1".into(), ..Ec2MetaData::default() })
        .injected_file("/etc/motd", "hello\n")
        .injected_file("/etc/big", (0..200_000u32).map(|i| (i / 256 + i) as u8).collect::<Vec<_>>())
        .network_data(NetworkData {
            links: vec![link("tap0", "fa:16:3e:00:00:01"), link("tap1", "fa:16:3e:00:00:02")],
            networks: vec![
                network(
                    "network0",
                    "tap0",
                    Addressing::Static { address: "10.0.0.5".parse().unwrap(), prefix: 24 },
                    vec![Route::default_via("10.0.0.1".parse().unwrap())],
                ),
                network("network1", "tap1", Addressing::Dhcp4, vec![]),
            ],
            services: vec![],
        })
}

fn odd_names() -> Tree {
    let many = (0..100u8)
        .map(|i| (format!("many/a rather long file name, number {i:04}"), vec![i; 40 * usize::from(i)]));
    let odd = [
        "latest/UPPER",
        "latest/mixed.Case",
        "a b/c d",
        "naïve/日本語.txt",
        "deep/a/b/c/d/e/f/g/h",
        "x.y.z",
        "~",
        "empty",
    ];
    let odd = odd.map(|path| (path.to_owned(), path.as_bytes().to_vec()));
    Tree::from_files(many.chain(odd)).unwrap()
}

/// Every shape worth checking: content, size, and with it FAT12, FAT16 and FAT32.
fn images() -> Vec<(Tree, ImageSize)> {
    let sizes =
        [ImageSize::Nova, ImageSize::Smallest, ImageSize::Bytes(6 << 20), ImageSize::Bytes(600 << 20)];
    let trees = [drive().tree().unwrap(), odd_names()];
    trees.iter().flat_map(|tree| sizes.map(|size| (tree.clone(), size))).collect()
}

fn write(tree: &Tree, size: ImageSize, path: &Path) {
    let image = vfat::build(tree, size).unwrap();
    let mut file = fs::File::create(path).unwrap();
    file.set_len(image.len_bytes()).unwrap();
    for (offset, bytes) in image.extents() {
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(bytes).unwrap();
    }
}

#[test]
fn fsck_finds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    for (tree, size) in images() {
        write(&tree, size, &path);
        let Some(report) = run("fsck.vfat", &["-n", "-v", path.to_str().unwrap()]) else { return };
        for word in [
            "Bad",
            "Wrong",
            "differs",
            "Free cluster",
            "error",
            "would",
            "Removing",
            "Auto",
            "ignored",
            "lost",
        ] {
            assert!(!report.contains(word), "{size:?}: {report}");
        }
        let files = format!("{} files", tree.files().count() + tree.directories().count() + 1);
        assert!(report.contains(&files), "{size:?}: {files} expected in {report}");
    }
}

#[test]
fn the_label_is_in_both_places_in_lower_case() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    for (tree, size) in images() {
        write(&tree, size, &path);
        let path = path.to_str().unwrap();
        let Some(report) = run("blkid", &["-p", "-o", "export", path]) else { return };
        for line in ["LABEL=config-2", "LABEL_FATBOOT=config-2", "TYPE=vfat", "USAGE=filesystem"] {
            assert!(report.lines().any(|l| l == line), "{size:?}: {report}");
        }
        let Some(label) = run("mlabel", &["-s", "-i", path, "::"]) else { return };
        assert_eq!(label.trim(), "Volume label is config-2", "{size:?}");
    }
}

#[test]
fn mtools_reads_every_file_back() {
    for (tree, size) in images() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        write(&tree, size, &image);
        let image = image.to_str().unwrap();
        let out = directory.path().join("out");
        fs::create_dir(&out).unwrap();
        if run("mcopy", &["-s", "-n", "-i", image, "::/", out.to_str().unwrap()]).is_none() {
            return;
        }
        let mut found = Vec::new();
        collect(&out, &out, &mut found);
        found.sort();
        let expected: Vec<_> =
            tree.files().map(|(path, content)| (path.to_owned(), content.to_vec())).collect();
        assert_eq!(
            found.iter().map(|f| &f.0).collect::<Vec<_>>(),
            expected.iter().map(|f| &f.0).collect::<Vec<_>>()
        );
        assert!(found == expected, "{size:?}: content differs");
        let listing = run("mdir", &["-/", "-b", "-i", image, "::/"]).unwrap();
        assert_eq!(listing.lines().count(), tree.files().count() + tree.directories().count(), "{listing}");
    }
}

fn collect(root: &Path, directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else {
            found.push((
                path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(),
                fs::read(&path).unwrap(),
            ));
        }
    }
}

#[test]
fn cloud_init_reads_it() {
    const SCRIPT: &str = include_str!("read_config_drive.py");
    let directory = tempfile::tempdir().unwrap();
    for (path, content) in drive().tree().unwrap().files() {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    // Debian's package belongs to Debian's Python, which may not be the first one in PATH.
    let python = ["/usr/bin/python3", "python3"].into_iter().find(|python| {
        Command::new(python)
            .args(["-c", "import cloudinit.sources"])
            .output()
            .is_ok_and(|o| o.status.success())
    });
    let Some(python) = python else { return skip("the cloud-init Python package is not installed") };
    let Some(report) = run(python, &["-c", SCRIPT, directory.path().to_str().unwrap()]) else { return };
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let expected: serde_json::Value = serde_json::from_str(include_str!("cloud_init_sees.json")).unwrap();
    assert_eq!(report, expected, "{report:#}");
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    let sha256 =
        |tree: &Tree, size| format!("{:x}", Sha256::digest(vfat::build(tree, size).unwrap().to_vec()));
    for (tree, size) in images() {
        let reversed: Vec<_> =
            tree.files().map(|(path, content)| (path.to_owned(), content.clone())).collect();
        let reversed = Tree::from_files(reversed.into_iter().rev()).unwrap();
        assert_eq!(sha256(&tree, size), sha256(&reversed, size), "{size:?}");
    }
    let one = Tree::from_files([("a", "1")]).unwrap();
    // Recorded, so that a change of the layout does not go unseen.
    assert_eq!(
        sha256(&one, ImageSize::Smallest),
        "1b2602589786c35b1a7af774ad63a862be3bb2ffa193af0f148508b6da13f5d1"
    );
    let other = Tree::from_files([("a", "2")]).unwrap();
    let serial = |tree| vfat::build(tree, ImageSize::Nova).unwrap().to_vec()[39..43].to_vec();
    assert_ne!(serial(&one), serial(&other), "the volume id follows the content");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever names the tree accepts, the image holds; `fatfs` itself reads them back.
    #[test]
    fn accepted_names_survive(
        files in proptest::collection::vec(("[a-zA-Z0-9 ._~é$%-]{1,20}(/[^\\x00-\\x1f]{1,40}){0,2}", any::<Vec<u8>>()), 0..20),
    ) {
        let mut tree = Tree::new();
        for (path, content) in files {
            let _ = tree.insert(path, content);
        }
        let image = match vfat::build(&tree, ImageSize::Smallest) {
            Ok(image) => image,
            Err(error) => {
                prop_assert!(error.to_string().contains("short alias"), "{}", error);
                return Ok(());
            }
        };
        let volume = fatfs::FileSystem::new(std::io::Cursor::new(image.to_vec()), fatfs::FsOptions::new()).unwrap();
        for (path, content) in tree.files() {
            let mut read = Vec::new();
            std::io::Read::read_to_end(&mut volume.root_dir().open_file(path).unwrap(), &mut read).unwrap();
            prop_assert_eq!(&read, content);
        }
    }

    /// No path, however odd, makes it panic or leave the tree half changed.
    #[test]
    fn any_path_is_accepted_or_refused(path in any::<String>()) {
        let mut tree = Tree::new();
        match tree.insert(path.clone(), "") {
            Ok(()) => prop_assert!(!path.split('/').any(|part| part.is_empty() || part == "..")),
            Err(_) => prop_assert_eq!(tree, Tree::new()),
        }
    }
}
