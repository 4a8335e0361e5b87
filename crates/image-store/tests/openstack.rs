//! Images in a real Glance, with tokens of a real Keystone.
//!
//! `testdata::openstack` says what has to be installed for them; without it they are skipped.
#![cfg(feature = "http")]

use std::time::Duration;

use image_store::glance::{Credentials, Glance, GlanceSink, GlanceSource, Keystone, NewImage};
use image_store::http::Client;
use image_store::{
    Algorithm, Content, Declared, Digest, Error, FileSink, Image, ImageSink, ImageSource, Pending, Retry,
    Stored,
};
use testdata::openstack::{self, OpenStack};

struct World(&'static OpenStack);

fn world() -> Option<World> {
    openstack::get().map(World)
}

impl World {
    fn admin(&self) -> Credentials {
        Credentials::password("admin", &*self.0.password, "admin")
    }

    fn keystone(&self, credentials: Credentials) -> Keystone {
        Keystone::new(Client::default(), &self.0.auth_url, credentials).unwrap()
    }

    fn glance(&self) -> Glance {
        Glance::new(self.keystone(self.admin())).retry(quick())
    }

    /// An address where nothing listens.
    fn nowhere(&self) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    }
}

/// Nova's number of attempts, without its pauses.
fn quick() -> Retry {
    Retry { first_pause: Duration::from_millis(1), ..Retry::default() }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 253) as u8).collect()
}

fn content_of(bytes: &[u8], len: Option<u64>) -> Image {
    let inner = Content::from_bytes("inner", bytes.to_vec());
    Image { declared: Declared::default(), len, content: Content::from_body("test", len, inner) }
}

async fn put(glance: &Glance, image: NewImage, bytes: &[u8]) -> Result<Stored, Error> {
    let sink = GlanceSink::new(glance.clone(), image);
    let make = || -> Pending<'_, _> { Box::pin(async { Ok(content_of(bytes, Some(bytes.len() as u64))) }) };
    sink.store(&make).await
}

async fn read(source: &GlanceSource) -> Result<Vec<u8>, Error> {
    let mut content = source.open().await?.content;
    let mut all = Vec::new();
    while let Some(piece) = content.chunk().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// What a host needs to fetch an image by itself, tried with the program that hosts have for it.
#[tokio::test]
async fn somebody_else_fetches_an_image() {
    let Some(world) = world() else { return };
    let content = bytes(100_000);
    put(&world.glance(), NewImage::new("somebody else's", "aki", "aki"), &content).await.unwrap();
    let remote = world.glance().remote("somebody else's").await.unwrap();
    assert_eq!(remote.digest, Digest::of(Algorithm::Sha512, &content));
    let mut curl = tokio::process::Command::new("curl");
    curl.args(["-s", "-f", &remote.url]);
    for (name, text) in &remote.headers {
        curl.arg("-H").arg(format!("{name}: {}", text.expose()));
    }
    let fetched = curl.output().await.unwrap();
    assert!(fetched.status.success() && fetched.stdout == content, "{}", fetched.status);
    let shown = format!("{remote:?}");
    assert!(remote.headers.values().all(|text| !shown.contains(text.expose())), "{shown}");
    let without =
        tokio::process::Command::new("curl").args(["-s", "-f", &remote.url]).output().await.unwrap();
    assert!(!without.status.success(), "the token is needed");
}

#[tokio::test]
async fn an_image_goes_there_and_comes_back() {
    let Some(world) = world() else { return };
    let glance = world.glance();
    let content = bytes(5_000_000);
    let mut new = NewImage::new("there and back: ü & ?", "ovf", "vhd");
    new.min_disk_gib = 3;
    new.properties = [("auto_disk_config", "disabled"), ("os_type", "linux"), ("vm-mode", "hvm")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let stored = put(&glance, new, &content).await.unwrap();
    assert_eq!((stored.len, &stored.digest), (5_000_000, &Digest::of(Algorithm::Sha512, &content)));

    let by_name = GlanceSource::new(glance.clone(), "there and back: ü & ?");
    let found = by_name.open().await.unwrap();
    assert_eq!(found.len, Some(5_000_000));
    assert_eq!(
        (found.declared.container.as_deref(), found.declared.disk.as_deref()),
        (Some("ovf"), Some("vhd"))
    );
    assert_eq!(found.declared.min_disk_gib, Some(3));
    assert_eq!(found.declared.properties["auto_disk_config"], "disabled");
    assert_eq!(found.declared.properties["vm-mode"], "hvm");
    drop(found);
    assert!(read(&by_name).await.unwrap() == content);

    // To a file, by the other ways to log in, and by the other interface, whose address ends with /v2/.
    let directory = tempfile::tempdir().unwrap();
    let logins = [
        Credentials::application(&*world.0.credential_id, &*world.0.credential_secret),
        Credentials::token(&*world.0.token),
    ];
    for (number, login) in logins.into_iter().enumerate() {
        let glance = Glance::new(world.keystone(login).region("one").interface("internal"));
        let source = GlanceSource::new(glance, &*stored.place);
        let sink = FileSink::new(directory.path().join(number.to_string()));
        assert_eq!(sink.store(&|| source.open()).await.unwrap().digest, stored.digest);
    }

    // A second one of the name is ambiguous, and both ids are told.
    let other = put(&glance, NewImage::new("there and back: ü & ?", "bare", "raw"), b"x").await.unwrap();
    let error = by_name.open().await.unwrap_err().to_string();
    assert!(error.contains(&stored.place) && error.contains(&other.place), "{error}");
    for id in [&stored.place, &other.place] {
        glance.delete(id).await.unwrap();
        // Nothing to remove is no error.
        glance.delete(id).await.unwrap();
    }
    let error = by_name.open().await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_leaves_nothing() {
    let Some(world) = world() else { return };
    let glance = world.glance();
    let stored = put(&glance, NewImage::new("right", "bare", "raw"), &bytes(100_000)).await.unwrap();
    let wanted = Digest::of(Algorithm::Sha256, b"something else");
    let error = read(&GlanceSource::new(glance.clone(), &*stored.place).digest(wanted)).await.unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error:?}");

    // An upload whose own source is wrong is no image: it ends early, too late, or with another digest.
    let sink = GlanceSink::new(glance.clone(), NewImage::new("wrong", "bare", "raw"));
    let bad_digest = || {
        let mut image = content_of(b"123456", None);
        image.content.check(Digest::of(Algorithm::Md5, b"654321"));
        image
    };
    let makers: [&(dyn Fn() -> Image + Sync); 3] =
        [&|| content_of(b"123456", Some(7)), &|| content_of(b"123456", Some(5)), &bad_digest];
    for make in makers {
        let make = || -> Pending<'_, _> { Box::pin(async { Ok(make()) }) };
        let error = sink.store(&make).await.unwrap_err();
        assert!(matches!(error, Error::Length { .. } | Error::Digest { .. }), "{error}");
        assert!(glance.list(Some("wrong")).await.unwrap().is_empty(), "after {error}");
    }

    // What Glance refuses is told in its own words, and the image is not there either.
    let odd = NewImage::new("wrong", "bare", "no-such-format");
    let error = put(&glance, odd, b"x").await.unwrap_err().to_string();
    assert!(error.contains("400") && error.contains("no-such-format"), "{error}");
    assert!(glance.list(Some("wrong")).await.unwrap().is_empty());
    glance.delete(&stored.place).await.unwrap();
}

#[tokio::test]
async fn credentials_that_are_wrong_are_not_tried_again_and_not_shown() {
    let Some(world) = world() else { return };
    let logins = [
        Credentials::password("admin", "a wrong secret", "admin"),
        Credentials::application(&*world.0.credential_id, "a wrong secret"),
        Credentials::token("gAAAAAB-a-wrong-secret"),
        Credentials::password("nobody", "a wrong secret", "admin"),
    ];
    for login in logins {
        // The pause of a second attempt would be noticed.
        let retry = Retry { first_pause: Duration::from_secs(3600), ..Retry::default() };
        let glance = Glance::new(world.keystone(login)).retry(retry);
        let error = GlanceSource::new(glance, "any").open().await.unwrap_err();
        assert!(matches!(error, Error::Status { status: 401, .. }), "{error}");
        let text = format!("{error} {error:?}");
        assert!(text.contains("credentials") && !text.contains("wrong"), "{text}");
    }
    let elsewhere = Glance::new(world.keystone(world.admin()).region("two"));
    let error = elsewhere.list(None).await.unwrap_err().to_string();
    assert!(error.contains("\"two\""), "{error}");
}

#[tokio::test]
async fn attempts_go_from_endpoint_to_endpoint() {
    let Some(world) = world() else { return };
    let keystone = world.keystone(world.admin());
    let (dead, alive) = (world.nowhere(), &world.0.glance);
    let glance = |urls: &[&str]| Glance::new(keystone.clone()).retry(quick()).endpoints(urls).unwrap();
    // Wherever it begins, of four attempts at least one arrives.
    for _ in 0..4 {
        glance(&[&dead, &dead, &dead, alive]).list(None).await.unwrap();
    }
    let error = glance(&[&dead]).list(None).await.unwrap_err();
    assert!(matches!(error, Error::GivenUp { attempts: 4, .. }), "{error}");

    // So it is with uploads: each attempt makes an image of its own, and one stays.
    let turning = glance(&[&dead, alive]);
    let stored = put(&turning, NewImage::new("turns", "bare", "raw"), &bytes(10_000)).await.unwrap();
    let named = world.glance().list(Some("turns")).await.unwrap();
    assert_eq!(named.iter().map(|image| &image.id).collect::<Vec<_>>(), [&stored.place]);
    assert!(
        read(&GlanceSource::new(glance(&[alive, &dead]), &*stored.place)).await.unwrap() == bytes(10_000)
    );
    world.glance().delete(&stored.place).await.unwrap();
}
