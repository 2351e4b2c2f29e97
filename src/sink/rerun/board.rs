//! What all cameras of a session share of its page: the eye that sees every cloud, and the text
//! panel.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::layout::{Eye, Sample, document};
use super::{Entities, Session};
use crate::camera::Extrinsics;

/// Facts about one camera, and how it stands.
pub(super) struct Column {
    pub name: String,
    pub facts: Vec<(&'static str, String)>,
    pub state: &'static str,
    /// Where the camera stands, and where its points are: what the lens lets expect, then some of a
    /// cloud.
    pose: Extrinsics,
    points: Sample,
}

/// One camera's access to the board.
pub(super) struct Place {
    index: usize,
    columns: Arc<Mutex<Vec<Column>>>,
    pub entities: Arc<Vec<Entities>>,
}

impl Place {
    /// A place for each.
    pub fn all(sessions: &[Session]) -> Vec<Self> {
        let column = |session: &Session| Column {
            name: session.camera.as_ref().map_or(String::new(), |camera| camera.serial.clone()),
            facts: session.facts.clone(),
            state: "starting",
            pose: session.camera.as_ref().map_or(Extrinsics::IDENTITY, |camera| camera.pose),
            points: Sample::of_lens(&session.stream.intrinsics),
        };
        let columns = Arc::new(Mutex::new(sessions.iter().map(column).collect()));
        let entities = Arc::new(
            sessions.iter().map(|session| Entities::of(session.camera.as_ref())).collect(),
        );
        let place =
            |index| Self { index, columns: Arc::clone(&columns), entities: Arc::clone(&entities) };
        (0..sessions.len()).map(place).collect()
    }

    pub fn entities(&self) -> &Entities {
        &self.entities[self.index]
    }

    fn columns(&self) -> MutexGuard<'_, Vec<Column>> {
        self.columns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how the camera stands, and `log`s the panel's new text if that has changed. In the
    /// order of the changes, also of other cameras'.
    pub fn tell<E>(
        &self,
        state: &'static str,
        log: impl FnOnce(&rerun::TextDocument) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut columns = self.columns();
        if std::mem::replace(&mut columns[self.index].state, state) == state {
            return Ok(());
        }
        log(&document(&columns))
    }

    /// Logs the panel's text.
    pub fn document(&self) -> rerun::TextDocument {
        document(&self.columns())
    }

    /// Notes what the camera's scene looks like, if it is known by now, and `send`s the layout for
    /// what is known of all.
    pub fn look<E>(
        &self,
        seen: Option<Sample>,
        send: impl FnOnce(&Eye) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut columns = self.columns();
        if let Some(points) = seen {
            columns[self.index].points = points;
        }
        let clouds: Vec<_> = columns.iter().map(|column| (&column.pose, &column.points)).collect();
        send(&Eye::for_clouds(&clouds))
    }
}
