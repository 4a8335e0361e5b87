//! What holds for any input: nothing is lost on the way there and back, and nothing panics.

use proptest::prelude::*;
use xenapi_types::chunked::{Decoder, Header, TERMINATOR};
use xenapi_types::handler::{ExportRawVdi, Format, ImportRawVdi, Params, Present, Request};
use xenapi_types::query::{Operand, Query, Quoted};
use xenapi_types::{Ref, VmPowerState, VmRecord, vdi};

fn operand() -> impl Strategy<Value = Operand> {
    let text = "[^\"]{0,12}".prop_map(|text| Quoted::new(text).unwrap());
    prop_oneof![text.clone().prop_map(Operand::Field), text.prop_map(Operand::Literal)]
}

fn query() -> impl Strategy<Value = Query> {
    let leaf = prop_oneof![
        Just(Query::True),
        Just(Query::False),
        (operand(), operand()).prop_map(|(left, right)| Query::Eq(left, right)),
    ];
    leaf.prop_recursive(6, 40, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|q| !q),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a.and(b)),
            (inner.clone(), inner).prop_map(|(a, b)| a.or(b)),
        ]
    })
}

proptest! {
    #[test]
    fn queries_mean_the_same_after_they_are_written(query in query()) {
        prop_assert_eq!(query.to_string().parse(), Ok(query));
    }

    #[test]
    fn any_text_is_a_query_or_an_error_in_it(text in "(field|\"a\"|=|and|or|not|true|[() ]|\\PC){0,20}") {
        if let Err(error) = text.parse::<Query>() {
            prop_assert!(error.offset <= text.len());
        }
    }

    #[test]
    fn targets_carry_any_value(vdi in ".*", session in ".*", format in ".*", chunked: bool) {
        let handler = ImportRawVdi {
            vdi: Some(Ref::from(vdi)),
            format: Some(Format::from(format.as_str())),
            chunked: Present(chunked),
            ..ImportRawVdi::default()
        };
        let request = Request { session_id: Some(Ref::from(session)), ..Request::from(handler) };
        let target = request.path_and_query();
        prop_assert!(target.bytes().all(|b| b.is_ascii_graphic()));
        prop_assert_eq!(Request::<ImportRawVdi>::parse(&target), Some(Ok(request)));
    }

    #[test]
    fn an_archive_is_what_was_written_however_it_comes(
        form in 0..4_u8,
        noise: Vec<u8>,
        members in prop::collection::vec((0..6_u8, 0..3_u8, any::<u8>(), 0..3_000_u16, any::<u8>()), 0..8),
    ) {
        let mut list = vec![form, 200];
        for (kind, disk, index, len, fill) in members {
            let [low, high] = len.to_le_bytes();
            match kind {
                0 => list.extend([0, low, high, fill]),
                4 => list.push(4),
                _ => list.extend([kind, disk, index, low, high, fill]),
            }
        }
        xenapi_types::fuzzing::archive(&list);
        xenapi_types::fuzzing::archive(&[&list[..], &noise].concat());
        xenapi_types::fuzzing::archive(&noise);
    }

    #[test]
    fn any_target_is_read(target in "(/export_raw_vdi)?\\PC*") {
        let _ = Request::<ExportRawVdi>::parse(&target);
        let _ = Params::from_query(&target);
    }

    #[test]
    fn chunks_come_out_as_they_went_in(
        chunks in prop::collection::vec((0_u64..1 << 50, 1_u32..6), 0..6),
        step in 1_usize..700,
    ) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (number, (sector, sectors)) in chunks.into_iter().enumerate() {
            let header = Header::new(sector * 512, sectors * 512).unwrap();
            let content = vec![number as u8; header.content_len() as usize];
            stream.extend(header.to_bytes());
            stream.extend(&content);
            expected.extend((header.offset()..).zip(content));
        }
        stream.extend(TERMINATOR);
        let mut decoder = Decoder::new();
        let mut found = Vec::new();
        for mut input in stream.chunks(step) {
            while let Some(piece) = decoder.next(&mut input).unwrap() {
                found.extend((piece.offset..).zip(piece.bytes.iter().copied()));
            }
        }
        decoder.finish().unwrap();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_bytes_are_chunks_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = Decoder::new();
        let mut input = &bytes[..];
        while let Ok(Some(_)) = decoder.next(&mut input) {}
        let _ = decoder.finish();
    }

    #[test]
    fn enums_keep_any_text(text in ".*") {
        let state = VmPowerState::from(text.as_str());
        prop_assert_eq!(state.as_str(), text);
    }

    #[test]
    fn records_and_calls_survive(name in ".*", size: i64, key in ".*", value in ".*") {
        let create = vdi::Create {
            name_label: name.clone(),
            virtual_size: size,
            other_config: [(key, value)].into(),
            ..Default::default()
        };
        let json = serde_json::to_string(&create).unwrap();
        prop_assert_eq!(serde_json::from_str::<vdi::Create>(&json).unwrap(), create);

        let mut vm = VmRecord::default();
        vm.name_label = name;
        vm.memory_static_max = size;
        let json = serde_json::to_string(&vm).unwrap();
        prop_assert_eq!(serde_json::from_str::<VmRecord>(&json).unwrap(), vm);
    }
}

proptest! {
    #[test]
    fn chunks_read_in_parts_are_the_same(
        chunks in prop::collection::vec((0_u64..1 << 40, 1_u32..4), 0..4),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut stream = Vec::new();
        for (sector, sectors) in chunks {
            stream.extend(Header::new(sector * 512, sectors * 512).unwrap().to_bytes());
            stream.resize(stream.len() + sectors as usize * 512, 7);
        }
        stream.extend(TERMINATOR);
        xenapi_types::fuzzing::chunked(&stream);
        xenapi_types::fuzzing::chunked(&stream[..cut.index(stream.len())]);
        stream.extend(&noise);
        xenapi_types::fuzzing::chunked(&stream);
        xenapi_types::fuzzing::chunked(&noise);
    }
}
