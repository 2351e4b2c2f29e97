//! Why a recording cannot be delivered, told to people.

use std::path::Path;

use crate::recording::container::{Container, Topic};
use crate::recording::inspect::list_streams;
use crate::recording::streams::catalogue::{Catalogue, Place};

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
                Place::parse(&topic.name).is_some_and(|place| place != Place::Other)
            }) =>
        {
            format!("has no depth stream; it has: {}", list_streams(known))
        }
        _ => {
            let some: Vec<String> = topics
                .iter()
                .take(4)
                .map(|topic| format!("{} ({})", topic.name, topic.schema))
                .collect();
            format!("is a recording without images; it has: {}", some.join(", "))
        }
    }
}
