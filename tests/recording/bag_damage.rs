//! Damaged recordings: everything that is whole is delivered, everything else is counted, and
//! nothing panics or hangs.

use common::bag_writer::{ALL_PACKINGS, Bag, Packing, Spec, depth_of, write_bag};
use common::recording::{self, File, at_once, numbers, open, read};
use depthcast::frame::DepthFrame;
use depthcast::source::FrameSource;
use depthcast::source::recording::RecordingSource;

fn assert_genuine(spec: &Spec, frames: &[DepthFrame]) {
    recording::assert_genuine(frames, |i| depth_of(spec, i as usize));
}

#[test]
fn messages_of_a_cut_chunk_are_read_as_far_as_they_are_whole() {
    let file = File::new();
    let spec = Spec { packing: Packing::None, frames_a_chunk: 10, ..Spec::default() };
    let Bag { bytes, chunks } = write_bag(&spec);
    let (frames, damage) = read(&file, &bytes[..chunks[0].record.end - 300]).unwrap();
    assert_eq!(numbers(&frames), (100..109).collect::<Vec<u64>>());
    assert_eq!(damage.frames_lost, 1, "{damage:?}");
}

#[test]
fn a_damaged_chunk_costs_its_own_frames_only() {
    let file = File::new();
    for packing in [Packing::Lz4, Packing::Bz2] {
        let spec = Spec { packing, frames_a_chunk: 2, ..Spec::default() };
        let Bag { mut bytes, chunks } = write_bag(&spec);
        let place = chunks[2].data.clone();
        bytes[place.start + place.len() / 2] ^= 0x10;
        let (frames, damage) = read(&file, &bytes).unwrap();
        assert_eq!(numbers(&frames), [100, 101, 102, 103, 106, 107, 108, 109]);
        let lost = (damage.chunks_skipped, damage.frames_lost, damage.bytes_skipped);
        assert_eq!((lost, damage.notes.len()), ((1, 2, place.len() as u64), 1));
        assert!(damage.notes[0].contains(&place.start.to_string()), "{damage:?}");

        // The same in a bag without an index: the chunk's own index counts.
        let Bag { mut bytes, .. } = write_bag(&Spec { is_closed: false, ..spec });
        bytes[place.start + place.len() / 2] ^= 0x10;
        let (_, damage) = read(&file, &bytes).unwrap();
        assert_eq!((damage.chunks_skipped, damage.frames_lost), (1, 2));
    }
}

#[test]
fn a_wrong_chunk_length_costs_no_other_chunk() {
    let file = File::new();
    for packing in ALL_PACKINGS {
        let spec = Spec { packing, ..Spec::default() };
        let Bag { bytes, chunks } = write_bag(&spec);
        let data = &chunks[4].data;
        for wrong in [data.len() + 9, data.len() - 9, 0, data.len() + 700, u32::MAX as usize] {
            let mut bytes = bytes.clone();
            bytes[data.start - 4..data.start].copy_from_slice(&(wrong as u32).to_le_bytes());
            let (frames, damage) = read(&file, &bytes).unwrap();
            assert!(frames.len() >= 9, "{packing:?} {wrong}: {:?} {damage:?}", numbers(&frames));
            assert_genuine(&spec, &frames);
            assert_eq!(damage.frames_lost, 10 - frames.len() as u64);
            assert!(!damage.is_none());
        }
    }
}

#[test]
fn a_first_chunk_that_is_damaged_behind_the_intrinsics_still_gives_them() {
    let file = File::new();
    let spec = Spec { packing: Packing::Lz4, width: 256, height: 200, ..Spec::default() };
    let Bag { mut bytes, chunks } = write_bag(&spec);
    bytes[chunks[0].data.end - 6] ^= 1;
    let (frames, damage) = read(&file, &bytes).unwrap();
    assert_eq!(numbers(&frames), (101..110).collect::<Vec<u64>>());
    assert_eq!(damage.frames_lost, 1);
}

#[test]
fn frames_of_a_wrong_size_are_counted_as_lost() {
    let file = File::new();
    let bag = write_bag(&Spec { short_frames: vec![3, 4], ..Spec::default() });
    let (frames, damage) = read(&file, &bag.bytes).unwrap();
    assert_eq!(numbers(&frames), [100, 101, 102, 105, 106, 107, 108, 109]);
    assert_eq!(damage.frames_lost, 2);
    assert!(damage.notes[0].contains("16x12"), "{damage:?}");
}

#[test]
fn intrinsics_from_a_chunk_that_fails_its_checksum_are_reported() {
    let file = File::new();
    let bag = write_bag(&Spec { packing: Packing::Lz4, frames_a_chunk: 2, ..Spec::default() });
    let ppx = |source: &RecordingSource| source.info().stream.intrinsics.ppx.to_bits();
    let want = ppx(&open(&file.put(&bag.bytes), at_once()).unwrap());
    let mut reported = 0;
    for at in bag.chunks[0].data.clone().step_by(3) {
        let mut bytes = bag.bytes.clone();
        bytes[at] ^= 0x10;
        let Ok(source) = open(&file.put(&bytes), at_once()) else { continue };
        let notes = source.damage().notes;
        let is_reported = notes.iter().any(|note| note.contains("intrinsics"));
        assert!(is_reported || ppx(&source) == want, "byte {at}: {notes:?}");
        reported += u32::from(is_reported);
    }
    assert!(reported > 0);
}
