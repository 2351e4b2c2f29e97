//! The broadcast buffer: what viewers are to get, kept once for all of them.
//!
//! Rerun's own connections keep what a viewer has not taken, block when that is too much, and never
//! connect again. Here a viewer *pulls*, whenever its connection has room, what it has not had yet.
//! One that is slow, stopped or gone costs nothing, and one that comes later, or again, starts with
//! all that it needs. See [`Kind`] for what is kept.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use futures_util::stream::{self, Stream};
use rerun::external::re_log_encoding::rrd::Compression;
use rerun::log::{Chunk, LogMsg};
use rerun::sink::{LogSink, SinkFlushError};
use tokio::sync::{oneshot, watch};

use super::encoding::{self, Parts};

/// Small data that is kept for viewers which are behind or come later: the plots of about a minute.
const RECENT_BYTES: usize = 5 << 20;
/// What a small message takes beside its few numbers: names, schema, bookkeeping.
const MESSAGE_BYTES: usize = 1 << 10;
/// What clouds and images are made of.
const SCENE: [&str; 3] = ["Points3D:", "DepthImage:", "Image:"];
/// A message from this size on is large.
const LARGE_BYTES: usize = 64 << 10;
const DRAIN_POLL: Duration = Duration::from_millis(5);
/// Where a viewer looks for the moment at which a message was sent.
const SENT_AT: &str = "rerun:timestamp_sdk_ipc_encoded";

pub struct BroadcastBuffer {
    compression: Compression,
    state: Mutex<State>,
    /// Reports every change of the state.
    changed: watch::Sender<()>,
}

/// What a message is kept as, in the order viewers get them: plots never wait for clouds.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// For good, the newest with its key: stores, layout, static data.
    Lasting,
    /// The newest [`RECENT_BYTES`], such as the points of plots.
    Recent,
    /// The newest with its key: clouds and images.
    Scene,
}

/// Number of the last entry of each kind that a viewer has had.
type Cursor = [u64; 3];

#[derive(Default)]
struct State {
    /// Of the newest entry; the first is 1.
    number: u64,
    /// By kind, in the order of their numbers.
    entries: [VecDeque<Entry>; 3],
    recent_bytes: usize,
    /// Of the viewers that are connected, by [`Viewer::id`].
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
    form: Mutex<Form>,
}

enum Form {
    Plain(LogMsg),
    /// `None` if that is not possible.
    Encoded(Option<Parts>),
}

impl BroadcastBuffer {
    pub fn new(is_local: bool) -> Arc<Self> {
        // Compressing costs four times as much as it saves, except where bytes are scarce.
        let compression = if is_local { Compression::Off } else { Compression::LZ4 };
        Arc::new(Self { compression, state: Mutex::default(), changed: watch::Sender::new(()) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many viewers are connected.
    pub fn viewers(&self) -> usize {
        self.state().cursors.len()
    }

    /// Waits for at most `patience` until all connected viewers have everything: whether they have.
    pub fn drain(&self, patience: Duration) -> bool {
        let start = Instant::now();
        let is_drained = |state: &State| state.cursors.values().all(|c| state.next(*c).is_none());
        while !is_drained(&self.state()) && start.elapsed() <= patience {
            std::thread::sleep(DRAIN_POLL);
        }
        is_drained(&self.state())
    }

    pub fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    /// Returns once the buffer is closed.
    pub async fn closed(&self) {
        let mut changed = self.changed.subscribe();
        while !self.is_closed() && changed.changed().await.is_ok() {}
    }

    /// All that a viewer needs from now on; it counts as connected as long as the stream lives.
    pub fn feed(self: &Arc<Self>) -> impl Stream<Item = Parts> + Send + use<> {
        let changed = self.changed.subscribe();
        let mut state = self.state();
        state.last_viewer += 1;
        let id = state.last_viewer;
        state.cursors.insert(id, Cursor::default());
        drop(state);
        let viewer = Viewer { id, buffer: Arc::clone(self), changed };
        stream::unfold(viewer, |mut viewer| async {
            viewer.next().await.map(|message| (message, viewer))
        })
    }
}

struct Viewer {
    id: u64,
    buffer: Arc<BroadcastBuffer>,
    changed: watch::Receiver<()>,
}

impl Viewer {
    /// `None` when all that there will ever be was taken.
    async fn next(&mut self) -> Option<Parts> {
        loop {
            self.changed.mark_unchanged();
            let (message, is_closed) = {
                let mut state = self.buffer.state();
                (state.take(self.id), state.is_closed)
            };
            match message {
                // One that cannot be encoded is passed over.
                Some(message) => {
                    if let Some(encoded) = message.encoded(self.buffer.compression) {
                        return Some(encoded);
                    }
                }
                None if is_closed => return None,
                None => self.changed.changed().await.ok()?,
            }
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.buffer.state().cursors.remove(&self.id);
    }
}

impl State {
    fn add(&mut self, message: Arc<Message>, kind: Kind, key: String, bytes: usize) {
        self.number += 1;
        let entries = &mut self.entries[kind as usize];
        if kind == Kind::Recent {
            self.recent_bytes += bytes;
        } else {
            entries.retain(|entry| entry.key != key);
        }
        entries.push_back(Entry { number: self.number, key, bytes, message });
        while kind == Kind::Recent
            && self.recent_bytes > RECENT_BYTES
            && let Some(oldest) = entries.pop_front()
        {
            self.recent_bytes -= oldest.bytes;
        }
    }

    /// What a viewer is to have next, and its cursor after that.
    fn next(&self, mut cursor: Cursor) -> Option<(Cursor, &Arc<Message>)> {
        self.entries.iter().enumerate().find_map(|(kind, entries)| {
            let next = entries.partition_point(|entry| entry.number <= cursor[kind]);
            let entry = entries.get(next)?;
            cursor[kind] = entry.number;
            Some((cursor, &entry.message))
        })
    }

    fn take(&mut self, viewer: u64) -> Option<Arc<Message>> {
        let (cursor, message) = self.next(*self.cursors.get(&viewer)?)?;
        let message = Arc::clone(message);
        self.cursors.insert(viewer, cursor);
        Some(message)
    }
}

/// What a message is kept as, the key of what it replaces, and its size.
fn classify(message: &LogMsg) -> (Kind, String, usize) {
    let (store, arrow) = match message {
        LogMsg::ArrowMsg(store, arrow) => (store, arrow),
        LogMsg::SetStoreInfo(message) => {
            return (Kind::Lasting, format!("store {:?}", message.info.store_id), 0);
        }
        LogMsg::BlueprintActivationCommand(command) => {
            return (Kind::Lasting, format!("activate {:?}", command.blueprint_id), 0);
        }
    };
    let bytes = MESSAGE_BYTES + arrow.batch.get_array_memory_size();
    let Ok(chunk) = Chunk::from_arrow_msg(arrow) else {
        let kind = if store.is_blueprint() { Kind::Lasting } else { Kind::Recent };
        return (kind, String::new(), bytes);
    };
    let mut components: Vec<_> = chunk.components_identifiers().map(|c| c.to_string()).collect();
    components.sort_unstable();
    let key = format!("{store:?} {} {components:?}", chunk.entity_path());
    let is_scene = |component: &String| SCENE.iter().any(|start| component.starts_with(start));
    let kind = match () {
        () if chunk.is_static() || store.is_blueprint() => Kind::Lasting,
        () if components.iter().any(is_scene) => Kind::Scene,
        () => Kind::Recent,
    };
    (kind, key, bytes)
}

impl Message {
    fn encoded(&self, compression: Compression) -> Option<Parts> {
        let mut form = self.form.lock().unwrap_or_else(PoisonError::into_inner);
        if let Form::Plain(message) = &mut *form {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let sent_at = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
            message.insert_arrow_record_batch_metadata(SENT_AT.into(), sent_at);
            let encoded = encoding::encode(message, self.is_large, compression)
                .inspect_err(|e| tracing::error!("a message cannot be encoded for viewers: {e}"));
            *form = Form::Encoded(encoded.ok());
        }
        if let Form::Encoded(encoded) = &*form { encoded.clone() } else { None }
    }
}

/// What Rerun's recording stream hands its messages to. Never blocks.
pub struct BroadcastSink(pub Arc<BroadcastBuffer>);

impl LogSink for BroadcastSink {
    fn send(&self, message: LogMsg) {
        let Self(buffer) = self;
        let (kind, key, bytes) = classify(&message);
        let is_large = bytes >= LARGE_BYTES;
        let message = Arc::new(Message { is_large, form: Mutex::new(Form::Plain(message)) });
        let is_watched = {
            let mut state = buffer.state();
            state.add(Arc::clone(&message), kind, key, bytes);
            !state.cursors.is_empty()
        };
        // Several small clouds in one message would all stay in flight while nobody takes it.
        if kind == Kind::Scene && !is_large && !is_watched {
            message.encoded(buffer.compression);
        }
        buffer.changed.send_replace(());
    }

    fn flush_blocking(&self, _: Duration) -> Result<(), SinkFlushError> {
        Ok(())
    }
}

/// The thread that runs the connections to viewers, until the closed buffer is empty or this drops.
pub struct Worker {
    buffer: Arc<BroadcastBuffer>,
    /// Ends the thread when it is dropped.
    _alive: oneshot::Sender<()>,
    ended: crossbeam_channel::Receiver<()>,
}

impl Worker {
    pub fn start<F: Future<Output = ()>>(
        buffer: &Arc<BroadcastBuffer>,
        connections: impl FnOnce(Arc<BroadcastBuffer>) -> F + Send + 'static,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the connections to viewers")?;
        let (alive, dropped) = oneshot::channel::<()>();
        let (ended_tx, ended) = crossbeam_channel::bounded(1);
        let shared = Arc::clone(buffer);
        std::thread::Builder::new().name("viewer".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! { () = connections(shared) => {}, _ = dropped => {} }
            });
            // Looking up a host's name can take its time.
            runtime.shutdown_background();
            let _ = ended_tx.send(());
        })?;
        Ok(Self { buffer: Arc::clone(buffer), _alive: alive, ended })
    }

    /// Closes the buffer, so that viewers get the rest and their streams end, and waits for that for
    /// at most `patience`: whether they have all.
    pub fn finish(self, patience: Duration) -> bool {
        self.buffer.state().is_closed = true;
        self.buffer.changed.send_replace(());
        self.ended.recv_timeout(patience).is_ok()
    }
}
