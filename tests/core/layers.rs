//! Imports go down only: each room knows those below it and no other.

use std::collections::BTreeMap;
use std::path::Path;

/// The rooms of `src`, top to bottom. Rooms of one line know nothing of one another.
const LAYERS: &[&[&str]] = &[
    &["main", "lib"],
    &["cli"],
    &["config"],
    &["profile", "export", "doctor", "bench"],
    &["report"],
    &["pipeline"],
    &["monitor", "record", "sink"],
    &["stats"],
    &["source"],
    &["recording"],
    &["project"],
    &["pairing"],
    &["frame"],
    &["camera", "color", "realtime"],
    &["clock"],
    &["access", "pool", "words"],
];
/// Those of `recording`.
const RECORDING: &[&[&str]] =
    &[&["inspect"], &["reader"], &["streams"], &["image_codec"], &["container"], &["ros"]];

/// Every `<root>room` that the code in `folder` names, as (file, room it is in, room it names).
fn mentions(folder: &Path, root: &str, layers: &[&[&str]]) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inside) = folders.pop() {
        for entry in std::fs::read_dir(&inside).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
            let Some(room) = name.strip_suffix(".rs").and_then(|name| name.split('/').next())
            else {
                continue;
            };
            let code = std::fs::read_to_string(&path).unwrap();
            let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            for named in code.flat_map(|line| line.split(root).skip(1)) {
                let end = named.find(|c: char| !(c.is_alphanumeric() || c == '_'));
                let named = &named[..end.unwrap_or(named.len())];
                if layers.iter().any(|rooms| rooms.contains(&named)) && named != room {
                    found.push((name.to_owned(), room.to_owned(), named.to_owned()));
                }
            }
        }
    }
    found
}

fn check(folder: &str, root: &str, layers: &[&[&str]]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let depths = layers.iter().enumerate();
    let depth: BTreeMap<_, _> =
        depths.flat_map(|(depth, rooms)| rooms.iter().map(move |&room| (room, depth))).collect();
    let found = mentions(&folder, root, layers);
    assert!(found.len() > layers.len(), "only {} imports were found", found.len());
    let upward = found.into_iter().filter(|(_, room, named)| {
        depth.get(&**room).is_some_and(|&depth_of_room| depth_of_room >= depth[&**named])
    });
    let upward: Vec<_> =
        upward.map(|(file, _, named)| format!("{file} uses {root}{named}")).collect();
    assert!(upward.is_empty(), "imports go down only:\n{}", upward.join("\n"));
}

#[test]
fn rooms_import_only_from_rooms_below() {
    check("src", "crate::", LAYERS);
}

#[test]
fn rooms_of_recording_import_only_from_rooms_below() {
    check("src/recording", "crate::recording::", RECORDING);
}

/// A test of the test: a room of `src` that stands in no layer would not be checked.
#[test]
fn every_room_is_in_a_layer() {
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let room = name.strip_suffix(".rs").unwrap_or(&name);
        assert!(LAYERS.iter().any(|rooms| rooms.contains(&room)), "{room} is in no layer");
    }
}
