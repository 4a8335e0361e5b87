//! What the tests of images share.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test uses a part")]

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use config_drive::{
    Addressing, ConfigDrive, Ec2MetaData, Image, ImageOptions, KeyPair, Link, LinkKind, MetaData, Network,
    NetworkData, Route, Service, Tree,
};

/// A skip that can be seen, or a failure where all tools must be there.
#[expect(clippy::print_stderr, reason = "a skip must be seen")]
pub fn skip(why: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}");
    eprintln!("skipped: {why}");
}

/// The standard output of a program, or `None` if there is no such program.
pub fn run(program: &str, arguments: &[&str]) -> Option<String> {
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

pub fn meta_data() -> MetaData {
    MetaData {
        keys: vec![KeyPair::ssh("mine", "ssh-ed25519 AAAA me")],
        random_seed: (0..=255).cycle().take(512).collect(),
        admin_pass: Some("hunter2".into()),
        ..MetaData::new("6f70656e-7374-4163-8b00-000000000001".parse().unwrap(), "web 1", "web-1.example.org")
    }
}

pub fn network_data() -> NetworkData {
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
    NetworkData {
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
    }
}

pub fn drive() -> ConfigDrive {
    ConfigDrive::new(meta_data())
        .user_data("#cloud-config\npackages: [nginx]\n")
        .vendor_data(serde_json::json!({"cloud-init": "#cloud-config\n"}))
        .ec2(Ec2MetaData { instance_id: "i-1".into(), ..Ec2MetaData::default() })
        .injected_file("/etc/motd", "hello\n")
        .injected_file("/etc/big", (0..200_000u32).map(|i| (i / 256 + i) as u8).collect::<Vec<_>>())
        .network_data(network_data())
}

pub fn odd_names() -> Tree {
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

/// Writes the image of a tree to a file.
pub fn write(tree: &Tree, options: ImageOptions, path: &Path) {
    let image = Image::build(tree, options).unwrap();
    let mut file = fs::File::create(path).unwrap();
    file.set_len(image.len_bytes()).unwrap();
    for (offset, bytes) in image.extents() {
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(bytes).unwrap();
    }
}

/// The files below a directory, as the tree would have them.
pub fn collect(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    collect_into(root, root, &mut found);
    found.sort();
    found
}

fn collect_into(root: &Path, directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_into(root, &path, found);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.push((name, fs::read(&path).unwrap()));
        }
    }
}

#[track_caller]
pub fn assert_same(tree: &Tree, found: &[(String, Vec<u8>)], context: &str) {
    let names: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
    let expected: Vec<_> = tree.files().map(|(path, _)| path).collect();
    assert_eq!(names, expected, "{context}");
    for ((path, content), (_, expected)) in found.iter().zip(tree.files()) {
        assert!(content == expected, "{context}: {path} has other content");
    }
}
