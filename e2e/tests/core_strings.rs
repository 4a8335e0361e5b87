//! What is left of a password in the memory of a process when everything that held it is gone. A program of its own: other
//! tests have passwords in theirs.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use config_drive::{ConfigDrive, Format, Image, ImageOptions, MetaData, NoCloud};
use guest_agent::{Digest, Offer};
use image_store::glance::{Credentials, Glance, GlanceSource, Keystone};
use xenapi_client::{Client, Config, Secret};
use xenapi_driver::volume::{Iscsi, Storage, Volume, VolumeDisk};

/// The password, in a way in which it is not in the program's own data.
const MASKED: [u8; 24] =
    *b"\x29\x69\x39\x28\x69\x2e\x77\x35\x3c\x77\x28\x35\x35\x2e\x77\x13\x34\x77\x17\x3f\x37\x35\x28\x23";
const MASK: u8 = 0x5a;

/// It, in one place of the heap.
fn password() -> String {
    let mut text = String::with_capacity(MASKED.len());
    MASKED.iter().for_each(|byte| text.push(char::from(byte ^ MASK)));
    text
}

/// How often it is in memory that can be written to: the heap, stacks, data.
fn found() -> Result<usize> {
    let (maps, memory) = (fs::read_to_string("/proc/self/maps")?, File::open("/proc/self/mem")?);
    let mut buffer = vec![0; 1 << 20];
    let mut count = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).context("a range")?;
        let (mut at, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
        while at + MASKED.len() as u64 <= to {
            let len = usize::try_from(to - at)?.min(buffer.len());
            // Some pages cannot be read even by their owner.
            let Ok(len) = memory.read_at(&mut buffer[..len], at) else { break };
            if len < MASKED.len() {
                break;
            }
            let here = |window: &&[u8]| window.iter().zip(MASKED).all(|(byte, masked)| byte ^ MASK == masked);
            count += buffer[..len].windows(MASKED.len()).filter(here).count();
            // One that lies across the border is found with the next piece.
            at += (len - MASKED.len() + 1) as u64;
        }
    }
    // What was looked at is not to be found.
    buffer.fill(0);
    std::hint::black_box(&buffer);
    Ok(count)
}

#[test]
fn nothing_is_left_of_a_password() -> Result<()> {
    assert_eq!(found()?, 0, "it is not there before anybody has it");
    let plain = password();
    assert!(found()? >= 1, "it is found where it is");
    let mut plain = plain.into_bytes();
    plain.fill(0);
    std::hint::black_box(&plain);
    assert_eq!(found()?, 0, "it is gone when it is overwritten");

    let secret = Secret::from(password());
    assert!(found()? >= 1);
    let copies = vec![secret.clone(); 3];
    drop(copies);
    drop(secret);
    assert_eq!(found()?, 0, "Secret");

    let config = Config::new("http://127.0.0.1:1", "root", password())?;
    let client = Client::new(config.clone())?;
    assert!(found()? >= 1);
    drop((config, client));
    assert_eq!(found()?, 0, "a client that is not used");

    let volume = || {
        let chap = Some(("user".to_owned(), Secret::from(password())));
        let target =
            Iscsi { portal: "192.0.2.1".parse()?, iqn: "iqn.2010-10.org.example:volume".into(), chap };
        anyhow::Ok(Volume::new(Storage::Iscsi(target), VolumeDisk::Lun(0)))
    };
    let volumes = [volume()?, volume()?];
    assert!(found()? >= 2);
    drop(volumes.clone());
    drop(volumes);
    assert_eq!(found()?, 0, "the CHAP secret of a volume");

    // A token that somebody else got, and the password for one.
    let kinds: [fn() -> Credentials; 2] =
        [|| Credentials::token(password()), || Credentials::password("nova", password(), "service")];
    for make in kinds {
        let credentials = make();
        assert!(found()? >= 1);
        drop(credentials.clone());
        drop(credentials);
        assert_eq!(found()?, 0, "what an image service is asked with");
    }
    let http = image_store::http::Client::default();
    let keystone = Keystone::new(http, "http://127.0.0.1:1/v3", Credentials::token(password()))?;
    let glance = Glance::new(keystone);
    let sources =
        [GlanceSource::new(glance.clone(), "image-1"), GlanceSource::new(glance.clone(), "image-2")];
    assert!(found()? >= 1);
    drop((glance, sources));
    assert_eq!(found()?, 0, "the token of an image service that was not asked");

    let (ours, theirs) = (Offer::new([7; 10]), Offer::new([8; 10]));
    let channel = ours.agree(&theirs.public())?;
    let secret = Secret::from(password());
    for digest in [Digest::Md5, Digest::Sha256] {
        let sealed = channel.seal(secret.expose(), digest);
        assert_eq!(*theirs.agree(&ours.public())?.open(&sealed, digest)?, secret.expose());
    }
    drop(secret);
    assert_eq!(found()?, 0, "a password that was sealed for an agent and opened");

    for is_nocloud in [false, true] {
        let uuid = "6f70656e-7374-4163-8b00-000000000001".parse()?;
        let mut data = MetaData::new(uuid, "web1", "web1");
        data.admin_pass = Some(Secret::from(password()));
        let tree = || match is_nocloud {
            true => NoCloud::new(data.clone()).tree(),
            false => ConfigDrive::new(data.clone()).tree(),
        };
        // Many, and something between them that stays: what they leave is neither used again by what looks for it nor
        // given back to the system unseen.
        let (trees, kept): (Vec<_>, Vec<_>) = (0..1024).map(|_| (tree(), vec![1_u8; 600])).unzip();
        let trees = trees.into_iter().collect::<Result<Vec<_>, _>>()?;
        let formats = [Format::Iso9660, Format::Vfat];
        let image = |format| Image::build(&trees[0], ImageOptions { format, ..ImageOptions::default() });
        let images = formats.into_iter().cycle().take(16).map(image).collect::<Result<Vec<_>, _>>()?;
        assert!(found()? >= trees.len() + images.len());
        drop((trees, images, data));
        assert_eq!(found()?, 0, "a config drive, NoCloud: {is_nocloud}");
        drop(kept);
    }
    Ok(())
}
