//! An answer in pieces is the same answer, and is let go of while it is read.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;

use proptest::prelude::*;
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use testdata::{scenario, scenario_names};
use xenapi_wire::{Limits, Value, fuzzing, xmlrpc};

#[test]
fn recorded_answers_cut_anywhere() {
    let mut cut = 0;
    for name in scenario_names() {
        let answers = scenario(&name).steps.into_iter().filter(|step| step.transport == "xmlrpc");
        for (number, body) in answers.map(|step| step.response.body()).enumerate() {
            // Those that are long take long; they are cut by other lengths.
            let sizes: &[usize] = if body.len() < 3_000 { &[1, 7, 64, 500] } else { &[997, 65_536] };
            for size in sizes {
                fuzzing::pieces(&body, *size + number % 3);
                cut += 1;
            }
        }
    }
    assert!(cut > 500, "{cut}");
}

/// What breaks off, and what is damaged, does so alike.
#[test]
fn broken_answers_in_pieces() {
    let vms: BTreeMap<String, Value> =
        (0..40).map(|n| (format!("OpaqueRef:{n}"), format!("é{n}<&").into())).collect();
    let body = xmlrpc::encode_response(Ok(&vms)).unwrap().into_bytes();
    for end in (0..body.len()).step_by(13) {
        fuzzing::pieces(&body[..end], 100);
        let mut damaged = body.clone();
        for byte in [b'<', b'&', 0xe2, b'>'] {
            damaged[end] = byte;
            fuzzing::pieces(&damaged, 1 + end % 200);
        }
    }
    let pieces =
        |bytes: &[u8]| xmlrpc::decode_pieces_with(PhantomData::<Value>, bytes.chunks(50), &Limits::RESPONSE);
    let cut_off = pieces(&body[..body.len() - 100]).unwrap_err();
    assert_eq!(cut_off.kind(), &xenapi_wire::DecodeErrorKind::Truncated, "{cut_off}");
    assert_eq!(cut_off.offset(), Some(body.len() - 100));
    let small = Limits { max_bytes: 1_000, ..Limits::RESPONSE };
    let error = xmlrpc::decode_pieces_with(PhantomData::<Value>, body.chunks(50), &small).unwrap_err();
    assert!(matches!(error.kind(), xenapi_wire::DecodeErrorKind::TooBig { .. }), "{error}");
}

proptest! {
    #[test]
    fn any_text_in_any_pieces(
        texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 0..20),
        size in 1..200_usize,
    ) {
        let mut body = b"<?xml version=\"1.0\"?><methodResponse><params><param><value><struct><member><name>Status</name>\
            <value>Success</value></member><member><name>Value</name><value><array><data>".to_vec();
        for text in &texts {
            body.extend_from_slice(b"<value>");
            body.extend(text.iter().map(|byte| if b"<&".contains(byte) { b'x' } else { *byte }));
            body.extend_from_slice(b"</value><!-- between --> \n");
        }
        body.extend_from_slice(b"</data></array></value></member></struct></value></param></params></methodResponse>");
        fuzzing::pieces(&body, size);
    }
}

thread_local! {
    static HELD: Rc<Cell<usize>> = Rc::default();
}

/// A piece that is counted while it is held.
struct Piece(Vec<u8>);

impl Piece {
    fn new(bytes: &[u8]) -> Self {
        HELD.with(|held| held.set(held.get() + bytes.len()));
        Self(bytes.to_vec())
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        HELD.with(|held| held.set(held.get() - self.0.len()));
    }
}

/// How much of the answer was held at each member.
struct Watching(Vec<usize>);

impl<'de> Deserialize<'de> for Watching {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Watching;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Watching, A::Error> {
                let mut held = Vec::new();
                while map.next_entry::<String, IgnoredAny>()?.is_some() {
                    held.push(HELD.with(|held| held.get()));
                }
                Ok(Watching(held))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[test]
fn what_has_been_read_is_let_go_of() {
    const PIECE: usize = 4_096;
    let records: BTreeMap<String, String> =
        (0..1_000).map(|n| (format!("OpaqueRef:{n:04}"), "x".repeat(900))).collect();
    let body = xmlrpc::encode_response(Ok(&records)).unwrap();
    let pieces: Vec<Piece> = body.as_bytes().chunks(PIECE).map(Piece::new).collect();
    let read = xmlrpc::decode_pieces_with(PhantomData::<Watching>, pieces, &Limits::RESPONSE);
    let held = read.unwrap().unwrap().0;
    assert_eq!(held.len(), records.len());
    for (number, held) in held.into_iter().enumerate() {
        let left = body.len() - number * body.len() / records.len();
        assert!(held <= left, "{held} bytes are held at member {number}, where {left} are left to read");
    }
}
