//! The seeds of the fuzz targets: small recordings of every kind. Written to the folder that `DEPTHCAST_WRITE_SEEDS` names.

mod common;

use std::path::PathBuf;

use common::bag_writer::{ALL_PACKINGS, Spec, write_bag};
use common::recording::{File, read};

/// Images as small as they can be, so that most bytes mean something.
fn small() -> Spec {
    Spec { width: 4, height: 3, stamps_ns: (0..4).map(|i| 1_000_000_000 + i * 33_000_000).collect(), ..Spec::default() }
}

fn bags() -> Vec<Vec<u8>> {
    let mut bags = vec![];
    for packing in ALL_PACKINGS {
        for (has_color, frames_a_chunk, is_closed) in [(false, 1, true), (true, 2, true), (true, 4, false)] {
            bags.push(write_bag(&Spec { packing, has_color, frames_a_chunk, is_closed, ..small() }).bytes);
        }
    }
    bags
}

#[test]
fn every_seed_is_a_recording() {
    let folder = std::env::var_os("DEPTHCAST_WRITE_SEEDS").map(PathBuf::from);
    for (target, seeds) in [("bag", bags())] {
        for (i, seed) in seeds.into_iter().enumerate() {
            let (frames, _) = read(&File::new(), &seed).unwrap();
            assert_eq!(frames.len(), 4, "{target} {i}");
            if let Some(folder) = &folder {
                let folder = folder.join(target);
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(folder.join(format!("seed{i}")), seed).unwrap();
            }
        }
    }
}
