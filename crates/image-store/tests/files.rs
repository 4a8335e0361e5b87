//! Files in and out.

use std::fs;

use bytes::Bytes;
use http_body::Body;
use image_store::{
    Algorithm, Content, Declared, Digest, Error, FileSink, FileSource, Image, ImageSink, ImageSource,
    Pending, Result,
};

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 251 + i) as u8).collect()
}

/// An image whose content is not what was announced.
fn image(content: Content) -> Image {
    Image { declared: Declared::default(), len: None, content }
}

#[tokio::test]
async fn a_file_is_copied_and_verified() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    let content = bytes(3_000_000);
    fs::write(&from, &content).unwrap();
    let source = FileSource::new(&from)
        .digest(Digest::of(Algorithm::Sha256, &content))
        .digest(Digest::of(Algorithm::Md5, &content));
    assert_eq!(source.open().await.unwrap().len, Some(3_000_000));
    let stored = FileSink::new(&to).store(&|| source.open()).await.unwrap();
    assert_eq!((stored.len, stored.digest), (3_000_000, Digest::of(Algorithm::Sha512, &content)));
    assert!(fs::read(&to).unwrap() == content);

    let again = FileSink::new(&to).store(&|| source.open()).await.unwrap_err();
    assert!(matches!(again, Error::Exists { .. }), "{again}");
    fs::write(&from, "other").unwrap();
    let other = FileSource::new(&from);
    FileSink::replacing(&to).store(&|| other.open()).await.unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"other");
}

#[tokio::test]
async fn what_is_wrong_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    fs::write(&from, "content").unwrap();
    fs::write(&to, "before").unwrap();
    let source = FileSource::new(&from).digest(Digest::of(Algorithm::Sha512, b"another"));
    let error = FileSink::replacing(&to).store(&|| source.open()).await.unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("from is damaged or not the image") && text.contains("sha512:"), "{text}");

    type Make = fn() -> Pending<'static, Result<Image>>;
    let lengths: [(Make, u64); 2] = [
        (|| Box::pin(async { Ok(image(announced(b"1234", 5))) }), 4),
        (|| Box::pin(async { Ok(image(announced(b"123456", 5))) }), 6),
    ];
    for (make, len) in lengths {
        let error = FileSink::replacing(&to).store(&make).await.unwrap_err();
        assert!(matches!(error, Error::Length { got, expected: 5, .. } if got == len), "{error}");
    }
    assert_eq!(fs::read(&to).unwrap(), b"before");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing half-written is left");
}

fn announced(bytes: &'static [u8], len: u64) -> Content {
    Content::from_body("test", Some(len), Content::from_bytes("inner", Bytes::from_static(bytes)))
}

#[tokio::test]
async fn content_is_a_body_of_exact_length() {
    let mut content = Content::from_bytes("test", "abc");
    assert_eq!(content.size_hint().exact(), Some(3));
    assert_eq!(content.chunk().await.unwrap().unwrap(), "abc");
    assert_eq!(content.size_hint().exact(), Some(0));
    assert!(content.chunk().await.unwrap().is_none());
    assert!(content.chunk().await.unwrap().is_none());
}

#[tokio::test]
async fn what_cannot_be_opened_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = FileSource::new(directory.path().join("missing.raw")).open().await.unwrap_err();
    assert!(missing.to_string().ends_with("missing.raw is not found"), "{missing}");
    let folder = FileSource::new(directory.path()).open().await.unwrap_err();
    assert!(matches!(folder, Error::Io { doing: "open", .. }), "{folder}");
    let source = FileSource::new("/dev/null");
    let nowhere = directory.path().join("no/such/directory");
    let error = FileSink::new(nowhere).store(&|| source.open()).await.unwrap_err();
    assert!(matches!(error, Error::Io { doing: "create", .. }), "{error}");
}
