//! Which of a recording's streams are delivered: the depth stream that was asked for or the only
//! one, and the colour stream beside it. If there is none, why.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use crate::recording::container::{Container, Topic};
use crate::recording::streams::catalogue::{Catalogue, StreamFacts};
use crate::recording::streams::driver;
use crate::recording::streams::librealsense::{RsTopic, is_librealsense};
use crate::words;

/// Where the images of a stream are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    pub stream: String,
    /// The name of their topic.
    pub topic: String,
}

/// The depth stream among all, or why it has to be chosen; nothing if there is none.
///
/// Of librealsense's it is the first: they come in the order of their topics, or of their images
/// where no index tells the topics. Drivers' names mean nothing, so of several the user has to
/// choose; but a compressed copy of raw images is no second stream.
///
/// # Errors
/// Words that continue the recording's path and ": ".
pub fn depth<'a>(
    known: &Catalogue,
    all: &'a [Images],
    asked: Option<&str>,
    counts: &BTreeMap<String, u64>,
) -> Result<Option<&'a Images>, String> {
    if let Some(asked) = asked {
        let is_asked = |images: &&Images| {
            [&images.topic, &images.stream].into_iter().any(|name| same(name, asked))
        };
        return all
            .iter()
            .find(is_asked)
            .map(Some)
            .ok_or_else(|| no_such(known, all, asked, counts));
    }
    if let Some(first) = all.iter().find(|images| is_librealsense(&images.topic)) {
        return Ok(Some(first));
    }
    let is_copy = |images: &&Images| {
        let base = driver::base(&images.topic);
        base != images.topic && all.iter().any(|other| other.topic == base)
    };
    let streams: Vec<&Images> = all.iter().filter(|images| !is_copy(images)).collect();
    match streams[..] {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        _ => Err(format!(
            "several topics have depth images; choose one with --topic: {}",
            list(known, streams.iter().copied(), counts)
        )),
    }
}

/// The colour stream beside the depth stream: the first of librealsense's; of drivers' a raw one
/// with a lens before others, then the one whose name is like that of the depth topic for the
/// longest, then the first by name.
pub fn color<'a>(known: &Catalogue, all: &'a [Images], depth: &Images) -> Option<&'a Images> {
    if let Some(first) = all.iter().find(|images| is_librealsense(&images.topic)) {
        return Some(first);
    }
    all.iter().min_by_key(|images| {
        let has_lens =
            known.streams.get(&images.stream).is_some_and(|facts| facts.intrinsics.is_some());
        let is_copy = driver::base(&images.topic) != images.topic;
        let alike =
            images.topic.bytes().zip(depth.topic.bytes()).take_while(|(a, b)| a == b).count();
        (is_copy, !has_lens, Reverse(alike), &images.topic)
    })
}

/// People leave out the slash in front.
fn same(name: &str, asked: &str) -> bool {
    name.trim_start_matches('/') == asked.trim_start_matches('/')
}

/// What there is instead of the topic asked for, the likeliest first.
fn no_such(
    known: &Catalogue,
    all: &[Images],
    asked: &str,
    counts: &BTreeMap<String, u64>,
) -> String {
    let asked_text = asked.escape_debug();
    let what = match known.streams.iter().find(|(stream, _)| same(stream, asked)) {
        Some((_, facts)) => {
            let encoding = facts.encoding.as_deref().unwrap_or("?").escape_debug();
            format!(
                "--topic {asked_text}: this is no depth ({}, {encoding})",
                facts.kind.to_lowercase()
            )
        }
        None => format!("--topic {asked_text}: there is no such stream"),
    };
    if all.is_empty() {
        return format!("{what}, and none has depth");
    }
    let mut sorted: Vec<&Images> = all.iter().collect();
    let unlike = |images: &&Images| {
        [&images.topic, &images.stream]
            .into_iter()
            .map(|name| strsim::damerau_levenshtein(name, asked))
            .min()
    };
    sorted.sort_by_cached_key(unlike);
    format!("{what}; depth is on: {}", list(known, sorted.into_iter(), counts))
}

/// `/camera/depth/image_rect_raw (16UC1 640x480, 20 frames), ...`
fn list<'a>(
    known: &Catalogue,
    streams: impl Iterator<Item = &'a Images>,
    counts: &BTreeMap<String, u64>,
) -> String {
    let one = |images: &Images| {
        let format = known.streams.get(&images.stream).map(format_of).unwrap_or_default();
        let frames = counts.get(&images.topic).map(|count| words::count(count, "frame"));
        let details: Vec<String> =
            Some(format).filter(|text| !text.is_empty()).into_iter().chain(frames).collect();
        with_details(&images.stream, &details.join(", "))
    };
    streams.map(one).collect::<Vec<_>>().join(", ")
}

/// Why a recording has no colour to deliver.
pub fn no_color(path: &Path, reader: &dyn Container, known: &Catalogue) -> String {
    let path = path.display();
    if reader.topics().iter().any(|topic| known.stream_of_kind(topic, "Color").is_some()) {
        return format!(
            "{path}: colour was asked for, and its colour stream has no image that can be read"
        );
    }
    format!(
        "{path}: colour was asked for, and it has no colour stream; it has: {}",
        list_streams(known)
    )
}

/// Why a recording has no depth to deliver.
pub fn no_depth(reader: &dyn Container, known: &Catalogue) -> String {
    let mut topics: Vec<&Topic> = reader.topics();
    topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let has_depth = topics.iter().any(|topic| known.stream_of_kind(topic, "Depth").is_some());
    let damage = reader.damage().notes.first();
    match damage {
        Some(note) if has_depth || known.streams.is_empty() => {
            format!("no depth frame in it can be read ({note})")
        }
        _ if has_depth => "its depth stream has no frames".to_owned(),
        _ if topics.is_empty() => "is a recording without any messages".to_owned(),
        _ if !known.streams.is_empty()
            || topics.iter().any(|topic| {
                RsTopic::parse(&topic.name).is_some_and(|topic| topic != RsTopic::Other)
            }) =>
        {
            format!("has no depth stream; it has: {}", list_streams(known))
        }
        _ => {
            let named = |topics: &[&Topic]| -> String {
                let some = topics.iter().take(4);
                let named = some.map(|topic| format!("{} ({})", topic.name, topic.schema));
                named.collect::<Vec<_>>().join(", ")
            };
            let is_image = |topic: &&&Topic| {
                let schema = topic.schema.to_ascii_lowercase();
                ["image", "rgbd", "video", "depth"].iter().any(|word| schema.contains(word))
            };
            let images: Vec<&Topic> = topics.iter().filter(is_image).copied().collect();
            if images.is_empty() {
                return format!("is a recording without images; it has: {}", named(&topics));
            }
            format!("has images of a type that depthcast does not read: {}", named(&images))
        }
    }
}

/// `Color (rgb8 640x480), Gyro`: which streams a recording has, for messages to people.
fn list_streams(known: &Catalogue) -> String {
    let one = |facts: &StreamFacts| with_details(&facts.kind, &format_of(facts));
    let streams: Vec<String> = known.streams.values().map(one).collect();
    if streams.is_empty() { "no stream at all".to_owned() } else { streams.join(", ") }
}

/// `rgb8 640x480`
fn format_of(facts: &StreamFacts) -> String {
    let parts = [
        facts.encoding.as_ref().map(|encoding| encoding.escape_debug().to_string()),
        facts.size_px.map(|(width, height)| format!("{width}x{height}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn with_details(name: &str, details: &str) -> String {
    if details.is_empty() { name.to_owned() } else { format!("{name} ({details})") }
}
