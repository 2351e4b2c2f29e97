//! What viewers are to get, kept once for all of them.
//!
//! Rerun's own connections keep what a viewer has not taken, block when that is too much, and never
//! connect again. Here nothing is kept for anybody: a viewer *pulls*, whenever its connection has
//! room, what it has not had yet. One that is slow, stopped or gone costs nothing, and one that
//! comes later, or again, starts with all that it needs. The hub keeps
//!
//! - what every viewer must have, for good: stores, layout, static data (the newest of each kind);
//! - clouds and images: the newest of each entity;
//! - all else, such as the points of plots: the newest [`RECENT_BYTES`], in order, so that plots
//! never wait behind clouds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::stream::{self, Stream};
use rerun::external::re_log_encoding::rrd::Compression;
use rerun::log::{Chunk, LogMsg};
use rerun::sink::{LogSink, SinkFlushError};
use tokio::sync::watch;

use super::wire::{self, Parts};

/// Small data that is kept for viewers which are behind or come later: the plots of about a minute.
const RECENT_BYTES: usize = 5 << 20;
/// What a small message takes beside its few numbers: names, schema, bookkeeping.
const MESSAGE_BYTES: usize = 1 << 10;
/// What clouds and images are made of.
const SCENE: [&str; 3] = ["Points3D:", "DepthImage:", "Image:"];
/// A message from this size on is large.
const LARGE_BYTES: usize = 64 << 10;
/// How often it is looked whether viewers have everything.
const DRAIN_LOOK: Duration = Duration::from_millis(5);
/// Where a viewer looks for the moment at which a message was sent.
const SENT_AT: &str = "rerun:timestamp_sdk_ipc_encoded";

pub(super) struct Hub {
    compression: Compression,
    state: Mutex<State>,
    /// Tells of every change of the state.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// Of the newest entry. Numbers begin at 1.
    number: u64,
    lasting: Vec<Entry>,
    recent: VecDeque<Entry>,
    recent_bytes: usize,
    newest: Vec<Entry>,
    /// Of those that are connected, by [`Viewer::id`].
    cursors: BTreeMap<u64, Cursor>,
    last_viewer: u64,
    is_closed: bool,
}

struct Entry {
    number: u64,
    /// The same for what replaces it.
    key: String,
    bytes: usize,
    message: Arc<Message>,
}

/// A message, encoded when the first viewer takes it: what nobody takes costs nothing.
struct Message {
    is_large: bool,
    is_scene: bool,
    form: Mutex<Form>,
}

enum Form {
    Plain(LogMsg),
    Encoded(Parts),
    /// It can't be encoded.
    Faulty,
}

/// How far a viewer is: the number of the last entry of each kind that it has had.
#[derive(Default, Clone, Copy)]
struct Cursor {
    lasting: u64,
    recent: u64,
    newest: u64,
}

impl Hub {
    pub(super) fn new(compression: Compression) -> Arc<Self> {
        Arc::new(Self { compression, state: Mutex::default(), changed: watch::Sender::new(()) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many viewers are connected.
    pub(super) fn viewers(&self) -> usize {
        self.state().cursors.len()
    }

    /// Waits until all viewers that are connected have taken everything, for at most `patience`.
    /// Says whether they have.
    pub(super) fn drain(&self, patience: Duration) -> bool {
        let start = Instant::now();
        loop {
            let state = self.state();
            if state.cursors.values().all(|cursor| state.after(*cursor).is_none()) {
                return true;
            }
            drop(state);
            if start.elapsed() > patience {
                return false;
            }
            std::thread::sleep(DRAIN_LOOK);
        }
    }

    /// Nothing more will come: viewers get the rest, then their streams end.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.send_replace(());
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    /// Returns once the hub is closed.
    pub(super) async fn closed(&self) {
        let mut changed = self.changed.subscribe();
        while !self.is_closed() && changed.changed().await.is_ok() {}
    }

    /// All that a viewer needs from now on, as fast as it polls. It counts as connected as long as
    /// the stream lives.
    pub(super) fn feed(self: &Arc<Self>) -> impl Stream<Item = Parts> + Send + use<> {
        stream::unfold(Viewer::new(self), |mut viewer| async {
            viewer.next().await.map(|message| (message, viewer))
        })
    }
}

struct Viewer {
    id: u64,
    hub: Arc<Hub>,
    changed: watch::Receiver<()>,
}

impl Viewer {
    fn new(hub: &Arc<Hub>) -> Self {
        let changed = hub.changed.subscribe();
        let mut state = hub.state();
        state.last_viewer += 1;
        let id = state.last_viewer;
        state.cursors.insert(id, Cursor::default());
        drop(state);
        Self { id, hub: Arc::clone(hub), changed }
    }

    /// `None` when all that there will ever be was taken.
    async fn next(&mut self) -> Option<Parts> {
        loop {
            self.changed.mark_unchanged();
            let (message, is_closed) = {
                let mut state = self.hub.state();
                (state.take(self.id), state.is_closed)
            };
            match message {
                // One that can't be encoded is passed over.
                Some(message) => match message.encoded(self.hub.compression) {
                    Some(encoded) => return Some(encoded),
                    None => continue,
                },
                None if is_closed => return None,
                None => self.changed.changed().await.ok()?,
            }
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.hub.state().cursors.remove(&self.id);
    }
}

impl State {
    fn add(&mut self, message: LogMsg, (kind, key, bytes): (Kind, String, usize)) -> Arc<Message> {
        self.number += 1;
        let form = Mutex::new(Form::Plain(message));
        let is_scene = matches!(kind, Kind::Newest);
        let message = Arc::new(Message { is_large: bytes >= LARGE_BYTES, is_scene, form });
        let entry = Entry { number: self.number, key, bytes, message: Arc::clone(&message) };
        match kind {
            Kind::Lasting => replace(&mut self.lasting, entry),
            Kind::Newest => replace(&mut self.newest, entry),
            Kind::Recent => {
                self.recent_bytes += entry.bytes;
                self.recent.push_back(entry);
                while self.recent_bytes > RECENT_BYTES
                    && let Some(oldest) = self.recent.pop_front()
                {
                    self.recent_bytes -= oldest.bytes;
                }
            }
        }
        message
    }

    /// What a viewer is to have next, and where it stands then.
    fn after(&self, mut cursor: Cursor) -> Option<(Cursor, &Arc<Message>)> {
        if let Some(entry) = self.lasting.iter().find(|e| e.number > cursor.lasting) {
            cursor.lasting = entry.number;
            return Some((cursor, &entry.message));
        }
        if let Some(entry) =
            self.recent.get(self.recent.partition_point(|e| e.number <= cursor.recent))
        {
            cursor.recent = entry.number;
            return Some((cursor, &entry.message));
        }
        let entry = self.newest.iter().find(|e| e.number > cursor.newest)?;
        cursor.newest = entry.number;
        Some((cursor, &entry.message))
    }

    fn take(&mut self, viewer: u64) -> Option<Arc<Message>> {
        let (cursor, message) = self.after(*self.cursors.get(&viewer)?)?;
        let message = Arc::clone(message);
        self.cursors.insert(viewer, cursor);
        Some(message)
    }
}

/// Entries stay in the order of their numbers.
fn replace(entries: &mut Vec<Entry>, entry: Entry) {
    entries.retain(|e| e.key != entry.key);
    entries.push(entry);
}

enum Kind {
    Lasting,
    Recent,
    Newest,
}

/// What is to be done with a message, the key of what it replaces, and its size.
fn classify(message: &LogMsg) -> (Kind, String, usize) {
    match message {
        LogMsg::SetStoreInfo(info) => (Kind::Lasting, format!("store {:?}", info.info.store_id), 0),
        LogMsg::BlueprintActivationCommand(command) => {
            (Kind::Lasting, format!("activate {:?}", command.blueprint_id), 0)
        }
        LogMsg::ArrowMsg(store, arrow) => {
            let bytes = MESSAGE_BYTES + arrow.batch.get_array_memory_size();
            let (is_static, is_scene, key) = match Chunk::from_arrow_msg(arrow) {
                Ok(chunk) => {
                    let mut components: Vec<_> =
                        chunk.components_identifiers().map(|c| c.to_string()).collect();
                    components.sort_unstable();
                    let is_scene = components
                        .iter()
                        .any(|component| SCENE.iter().any(|begin| component.starts_with(begin)));
                    (
                        chunk.is_static(),
                        is_scene,
                        format!("{store:?} {} {components:?}", chunk.entity_path()),
                    )
                }
                Err(_) => (false, false, String::new()),
            };
            let kind = match () {
                () if is_static || store.is_blueprint() => Kind::Lasting,
                () if is_scene => Kind::Newest,
                () => Kind::Recent,
            };
            (kind, key, bytes)
        }
    }
}

impl Message {
    fn encoded(&self, compression: Compression) -> Option<Parts> {
        let mut form = self.form.lock().unwrap_or_else(PoisonError::into_inner);
        if let Form::Plain(_) = &*form
            && let Form::Plain(mut plain) = std::mem::replace(&mut *form, Form::Faulty)
        {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            plain.insert_arrow_record_batch_metadata(
                SENT_AT.into(),
                format!("{}.{:09}", now.as_secs(), now.subsec_nanos()),
            );
            match wire::encode(&plain, self.is_large, compression) {
                Ok(parts) => *form = Form::Encoded(parts),
                Err(error) => {
                    tracing::error!("a message for the viewer cannot be encoded: {error}")
                }
            }
        }
        if let Form::Encoded(encoded) = &*form { Some(encoded.clone()) } else { None }
    }
}

/// What Rerun's recording stream hands its messages to. Never blocks.
pub(super) struct HubSink(pub(super) Arc<Hub>);

impl LogSink for HubSink {
    fn send(&self, message: LogMsg) {
        let class = classify(&message);
        let (message, is_watched) = {
            let mut state = self.0.state();
            (state.add(message, class), !state.cursors.is_empty())
        };
        // Small clouds may come several in one message, which would hold them all while nobody is
        // there to take it.
        if message.is_scene && !message.is_large && !is_watched {
            message.encoded(self.0.compression);
        }
        self.0.changed.send_replace(());
    }

    fn flush_blocking(&self, _: Duration) -> Result<(), SinkFlushError> {
        Ok(())
    }
}
