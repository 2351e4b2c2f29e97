//! What all cameras of a session share of the viewer: the text panel, and the layout with the eye
//! that sees every cloud.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use rerun::{RecordingStream, TextDocument};

use super::eye::{Eye, Sample};
use super::layout::{self, Scene};
use super::session::{Entities, Session};
use crate::camera::Extrinsics;

pub struct Dashboard {
    /// By camera.
    pub entities: Vec<Entities>,
    columns: Mutex<Vec<Column>>,
}

/// Facts about one camera, and its state.
struct Column {
    name: String,
    facts: Vec<(&'static str, String)>,
    state: &'static str,
    /// Of the camera, and of its points: what the lens lets expect, then some of a cloud.
    pose: Extrinsics,
    points: Sample,
}

impl Dashboard {
    pub fn new(sessions: &[Session]) -> Self {
        let column = |session: &Session| Column {
            name: session.camera.as_ref().map_or(String::new(), |camera| camera.serial.clone()),
            facts: session.facts.clone(),
            state: "starting",
            pose: session.camera.as_ref().map_or(Extrinsics::IDENTITY, |camera| camera.pose),
            points: Sample::of_lens(&session.stream.intrinsics),
        };
        let columns = Mutex::new(sessions.iter().map(column).collect());
        let entities = sessions.iter().map(|session| Entities::new(session.camera.as_ref()));
        Self { entities: entities.collect(), columns }
    }

    // It stays locked while something is logged, so that what is logged last is the newest.
    fn columns(&self) -> MutexGuard<'_, Vec<Column>> {
        self.columns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs the text panel.
    pub fn log(&self, rec: &RecordingStream) -> anyhow::Result<()> {
        log_document(rec, &self.columns())
    }

    /// Logs the text panel with a camera's state, if that has changed.
    pub fn set_state(
        &self,
        rec: &RecordingStream,
        camera: usize,
        state: &'static str,
    ) -> anyhow::Result<()> {
        let mut columns = self.columns();
        if std::mem::replace(&mut columns[camera].state, state) == state {
            return Ok(());
        }
        log_document(rec, &columns)
    }

    /// Notes what a camera's scene looks like.
    pub fn set_points(&self, camera: usize, points: Sample) {
        self.columns()[camera].points = points;
    }

    /// Sends the layout for what is known of all scenes.
    pub fn send_layout(
        &self,
        rec: &RecordingStream,
        session: &Session,
        is_file: bool,
    ) -> anyhow::Result<()> {
        let columns = self.columns();
        let clouds: Vec<_> = columns.iter().map(|column| (&column.pose, &column.points)).collect();
        let (eye, cameras) = (&Eye::for_clouds(&clouds), &self.entities[..]);
        layout::send(rec, &Scene { session, is_file, eye, cameras })
            .context("cannot send the viewer's layout")?;
        let frustum = rerun::Pinhole::update_fields().with_image_plane_distance(eye.frustum_m);
        for camera in cameras {
            rec.log_static(camera.image.as_str(), &frustum)
                .context("cannot send the camera's frustum")?;
        }
        Ok(())
    }
}

fn log_document(rec: &RecordingStream, columns: &[Column]) -> anyhow::Result<()> {
    let document = TextDocument::from_markdown(document(columns));
    rec.log_static("session", &document).context("cannot send the session's facts")
}

/// Names and values, and the state of the session.
fn document(columns: &[Column]) -> String {
    let rows = |facts: &mut dyn Iterator<Item = &(&str, String)>| {
        facts.map(|(name, value)| format!("| {name} | {value} |\n")).collect::<String>()
    };
    // The state as the table's head: an empty one would take the room of a fact.
    if let [Column { facts, state, .. }] = columns {
        return format!("| state | {state} |\n| --- | --- |\n{}", rows(&mut facts.iter()));
    }
    // A line for each camera, and then what they have in common: columns for more than two would
    // not fit.
    let fact = |column: &Column, name| {
        column.facts.iter().find(|fact| fact.0 == name).map(|fact| fact.1.clone())
    };
    let mut text = String::from("| camera | state | profile |\n| --- | --- | --- |\n");
    for column in columns {
        let profile = fact(column, "profile").unwrap_or_default();
        let _ = writeln!(text, "| {} | {} | {profile} |", column.name, column.state);
    }
    let is_common = |(name, value): &&(&'static str, String)| {
        *name != "profile"
            && columns.iter().all(|column| fact(column, name).as_ref() == Some(value))
    };
    let facts = columns.iter().take(1).flat_map(|column| &column.facts);
    text + "\n| all | |\n| --- | --- |\n" + &rows(&mut facts.filter(is_common))
}
