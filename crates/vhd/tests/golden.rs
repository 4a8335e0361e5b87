//! VHD streams of a real XAPI.

use vhd::format::{Creator, DiskType, Geometry};
use vhd::fuzzing::{self, Found};
use vhd::layout::{Dialect, Layout, Parameters};
use vhd::{Decoder, Event};

fn exports() -> Vec<(String, Vec<u8>)> {
    let scenario = testdata::scenario("export_vdi");
    let exports: Vec<_> = scenario
        .steps
        .into_iter()
        .filter(|step| step.transport == "http" && step.response.body().starts_with(b"conectix"))
        .map(|step| (step.note.clone(), step.response.body()))
        .collect();
    assert!(exports.len() >= 4, "{} VHD exports recorded", exports.len());
    exports
}

#[test]
fn exports_of_a_real_xapi_decode() {
    for (note, stream) in exports() {
        for decoder in [Decoder::new(), Decoder::with_len(stream.len() as u64)] {
            let (found, summary) = fuzzing::decode(decoder, &stream, &[4096, 1, 77]);
            let summary = summary.unwrap_or_else(|e| panic!("{note}: {e}"));
            assert_eq!(summary.footer.creator, Creator::XAPI, "{note}");
            assert_eq!(summary.footer.disk_type, DiskType::Dynamic, "{note}");
            assert_eq!(summary.footer.geometry, Geometry::for_size(summary.footer.current_size), "{note}");
            assert_eq!(summary.stream_len, stream.len() as u64, "{note}");
            let full = found
                .iter()
                .filter(|found| matches!(found, Found::Structure(Event::Block { full: true, .. })))
                .count();
            assert_eq!(full, summary.blocks as usize, "{note}: all bitmaps are full");
        }
    }
}

#[test]
fn the_layout_of_xapi_is_reproduced_byte_for_byte() {
    for (note, stream) in exports() {
        let (found, summary) = fuzzing::decode(Decoder::new(), &stream, &[]);
        let summary = summary.unwrap_or_else(|e| panic!("{note}: {e}"));
        let data: Vec<_> = found
            .into_iter()
            .filter_map(|found| match found {
                Found::Data(offset, bytes) => Some((offset, bytes)),
                _ => None,
            })
            .collect();
        let parameters = Parameters {
            virtual_size: summary.footer.current_size,
            uuid: summary.footer.uuid,
            timestamp: summary.footer.timestamp,
            dialect: Dialect::Xapi,
        };
        let extents = data.iter().map(|(offset, bytes)| *offset..*offset + bytes.len() as u64);
        let layout = Layout::dynamic_from_extents(&parameters, extents).unwrap();
        assert_eq!(layout.stream_len(), stream.len() as u64, "{note}");
        let again = fuzzing::render(layout, |at| {
            data.iter()
                .find_map(|(offset, bytes)| bytes.get(usize::try_from(at.checked_sub(*offset)?).ok()?))
                .copied()
                .unwrap_or(0)
        });
        assert!(again == stream, "{note}: differs");
    }
}
