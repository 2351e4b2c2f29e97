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
use futures_util::stream::{self, Stream, StreamExt as _};
use rerun::external::re_log_encoding::rrd::Compression;
use rerun::log::{Chunk, LogMsg};
use rerun::sink::{LogSink, SinkFlushError};
use tokio::sync::{oneshot, watch};

use super::encoding::{self, Parts};
use super::window::{Acknowledgement, CloudNumber, Feeding, Seen, Window};

/// Small data that is kept for viewers which are behind or come later: the plots of about a minute.
const RECENT_BYTES: usize = 5 << 20;
/// What a small message takes beside its few numbers: names, schema, bookkeeping.
const MESSAGE_BYTES: usize = 1 << 10;
/// What clouds and images are made of.
const SCENE: [&str; 3] = ["Points3D:", "DepthImage:", "Image:"];
/// A message from this size on is large.
const LARGE_BYTES: usize = 64 << 10;
const DRAIN_POLL: Duration = Duration::from_millis(5);
/// What pages have shown and no sink has asked for, at most.
const SEEN: usize = 64;
/// Where a viewer looks for the moment at which a message was sent.
const SENT_AT: &str = "rerun:timestamp_sdk_ipc_encoded";

pub struct BroadcastBuffer {
    compression: Compression,
    feeding: Feeding,
    state: Mutex<State>,
    /// Reports every change of the state.
    changed: watch::Sender<()>,
}

/// What a message is kept as, in the order in which native viewers get them: plots never wait for
/// clouds. Pages get clouds first.
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

/// A viewer that is connected.
#[derive(Default)]
struct Viewer {
    cursor: Cursor,
    window: Option<Window>,
}

#[derive(Default)]
struct State {
    /// Of the newest entry; the first is 1.
    number: u64,
    /// By kind, in the order of their numbers.
    entries: [VecDeque<Entry>; 3],
    recent_bytes: usize,
    /// Those that are connected, by [`Feed::id`].
    viewers: BTreeMap<u64, Viewer>,
    last_viewer: u64,
    seen: VecDeque<Seen>,
    /// No more clouds will come.
    has_ended: bool,
    is_closed: bool,
}

struct Entry {
    number: u64,
    added: Instant,
    /// The same for what replaces it.
    key: String,
    bytes: usize,
    cloud: CloudNumber,
    /// Of a cloud, if that is adapted to pages: the most that those which were open drew quickly.
    max_points: usize,
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
    pub fn new(is_local: bool, feeding: Feeding) -> Arc<Self> {
        // Compressing costs four times as much as it saves, except where bytes are scarce.
        let compression = if is_local { Compression::Off } else { Compression::LZ4 };
        let (state, changed) = (Mutex::default(), watch::Sender::new(()));
        Arc::new(Self { compression, feeding, state, changed })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many viewers are connected.
    pub fn viewers(&self) -> usize {
        self.state().viewers.len()
    }

    /// Waits for at most `patience` until all connected viewers have everything: whether they have.
    pub fn drain(&self, patience: Duration) -> bool {
        let start = Instant::now();
        let is_drained = |state: &State| state.viewers.values().all(|v| state.next(v).is_none());
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
        self.connect(None).into_stream().map(|(_, parts)| parts)
    }

    /// The same for a page that acknowledges clouds, and gets none before its first
    /// acknowledgement: its number, and each message with the number of its cloud.
    pub fn feed_page(
        self: &Arc<Self>,
    ) -> (u64, impl Stream<Item = (CloudNumber, Parts)> + Send + use<>) {
        let feed = self.connect(Some(Window::new(self.feeding)));
        (feed.id, feed.into_stream())
    }

    fn connect(self: &Arc<Self>, window: Option<Window>) -> Feed {
        let changed = self.changed.subscribe();
        let mut state = self.state();
        state.last_viewer += 1;
        let id = state.last_viewer;
        state.viewers.insert(id, Viewer { window, ..Viewer::default() });
        Feed { id, buffer: Arc::clone(self), changed }
    }

    /// Takes a page's acknowledgement. Returns the most points of the clouds that it will get.
    pub fn acknowledge(&self, acknowledgement: Acknowledgement) -> usize {
        let mut too_large = Vec::new();
        let mut state = self.state();
        let State { viewers, seen, entries, .. } = &mut *state;
        let viewer = viewers.get_mut(&acknowledgement.page);
        let Some(Viewer { window: Some(window), .. }) = viewer else { return usize::MAX };
        let was_ready = window.is_ready();
        seen.extend(window.acknowledge(&acknowledgement));
        seen.drain(..seen.len().saturating_sub(SEEN));
        let max_points = window.max_points();
        if !was_ready {
            let clouds = entries[Kind::Scene as usize].iter();
            let is_too_large = |entry: &&Entry| entry.max_points > max_points;
            too_large.extend(clouds.filter(is_too_large).map(|entry| Arc::clone(&entry.message)));
        }
        drop(state);
        // Once they are encoded they are no longer in flight, and a smaller one takes their place.
        too_large.iter().for_each(|message| drop(message.encoded(self.compression)));
        self.changed.send_replace(());
        max_points
    }

    pub fn set_ended(&self) {
        self.state().has_ended = true;
    }

    /// Whether no more clouds will come.
    pub fn has_ended(&self) -> bool {
        self.state().has_ended
    }

    pub fn is_lossless(&self) -> bool {
        self.feeding.is_lossless
    }

    /// Whether there is a viewer that would be sent a new cloud of this camera at once.
    pub fn has_room(&self, camera: usize) -> bool {
        let has_room =
            |viewer: &Viewer| viewer.window.as_ref().is_none_or(|window| window.has_room(camera));
        self.state().viewers.values().any(has_room)
    }

    /// The most points that the slowest page draws quickly.
    pub fn max_points(&self) -> usize {
        self.state().max_points()
    }

    /// The oldest of a camera's clouds that a page has shown since this was asked last.
    pub fn next_seen(&self, camera: usize) -> Option<Seen> {
        let seen = &mut self.state().seen;
        let index = seen.iter().position(|seen| seen.cloud.camera() == camera)?;
        seen.remove(index)
    }
}

/// What goes to one viewer.
struct Feed {
    id: u64,
    buffer: Arc<BroadcastBuffer>,
    changed: watch::Receiver<()>,
}

impl Feed {
    fn into_stream(self) -> impl Stream<Item = (CloudNumber, Parts)> + Send {
        stream::unfold(self, |mut feed| async { feed.next().await.map(|message| (message, feed)) })
    }

    /// `None` when all that there will ever be was taken.
    async fn next(&mut self) -> Option<(CloudNumber, Parts)> {
        loop {
            self.changed.mark_unchanged();
            let (taken, is_closed) = {
                let mut state = self.buffer.state();
                (state.take(self.id), state.is_closed)
            };
            match taken {
                // One that cannot be encoded is passed over.
                Some((cloud, message)) => {
                    if let Some(encoded) = message.encoded(self.buffer.compression) {
                        return Some((cloud, encoded));
                    }
                }
                None if is_closed => return None,
                None => self.changed.changed().await.ok()?,
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.buffer.state().viewers.remove(&self.id);
    }
}

impl State {
    fn max_points(&self) -> usize {
        let windows = self.viewers.values().filter_map(|viewer| viewer.window.as_ref());
        windows.map(Window::max_points).min().unwrap_or(usize::MAX)
    }

    fn add(&mut self, message: Arc<Message>, Class { kind, key, bytes, cloud }: Class) {
        self.number += 1;
        let max_points = self.max_points();
        let (number, added) = (self.number, Instant::now());
        let entries = &mut self.entries[kind as usize];
        if kind == Kind::Recent {
            self.recent_bytes += bytes;
        } else {
            entries.retain(|entry| entry.key != key);
        }
        entries.push_back(Entry { number, added, key, bytes, cloud, max_points, message });
        while kind == Kind::Recent
            && self.recent_bytes > RECENT_BYTES
            && let Some(oldest) = entries.pop_front()
        {
            self.recent_bytes -= oldest.bytes;
        }
    }

    /// What a viewer is to have next, and its cursor after that.
    fn next(&self, viewer: &Viewer) -> Option<(Cursor, &Entry)> {
        let mut cursor = viewer.cursor;
        let order = match &viewer.window {
            None => [Kind::Lasting, Kind::Recent, Kind::Scene],
            Some(_) => [Kind::Lasting, Kind::Scene, Kind::Recent],
        };
        let (kind, entry) = order.into_iter().find_map(|kind| {
            let entries = &self.entries[kind as usize];
            let next = entries.partition_point(|entry| entry.number <= cursor[kind as usize]);
            let entry = entries.get(next)?;
            let is_admitted = |window: &Window| match kind {
                _ if self.is_closed => true,
                Kind::Lasting => true,
                Kind::Recent => window.admits_small(),
                Kind::Scene => window.admits_cloud(entry.cloud, entry.max_points, entry.added),
            };
            viewer.window.as_ref().is_none_or(is_admitted).then_some((kind, entry))
        })?;
        cursor[kind as usize] = entry.number;
        Some((cursor, entry))
    }

    fn take(&mut self, viewer: u64) -> Option<(CloudNumber, Arc<Message>)> {
        let (cursor, entry) = self.next(self.viewers.get(&viewer)?)?;
        let (cloud, message) = (entry.cloud, Arc::clone(&entry.message));
        let viewer = self.viewers.get_mut(&viewer)?;
        viewer.cursor = cursor;
        if let Some(window) = &mut viewer.window {
            window.send(cloud);
        }
        Some((cloud, message))
    }
}

struct Class {
    kind: Kind,
    /// Of what it replaces.
    key: String,
    bytes: usize,
    cloud: CloudNumber,
}

fn classify(message: &LogMsg) -> Class {
    let lasting = |key| Class { kind: Kind::Lasting, key, bytes: 0, cloud: CloudNumber::default() };
    let (store, arrow) = match message {
        LogMsg::ArrowMsg(store, arrow) => (store, arrow),
        LogMsg::SetStoreInfo(message) => {
            return lasting(format!("store {:?}", message.info.store_id));
        }
        LogMsg::BlueprintActivationCommand(command) => {
            return lasting(format!("activate {:?}", command.blueprint_id));
        }
    };
    let bytes = MESSAGE_BYTES + arrow.batch.get_array_memory_size();
    let Ok(chunk) = Chunk::from_arrow_msg(arrow) else {
        let kind = if store.is_blueprint() { Kind::Lasting } else { Kind::Recent };
        return Class { kind, key: String::new(), bytes, cloud: CloudNumber::default() };
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
    Class { kind, key, bytes, cloud: CloudNumber::of(&chunk) }
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
        let class = classify(&message);
        let is_large = class.bytes >= LARGE_BYTES;
        let is_scene = class.kind == Kind::Scene;
        let message = Arc::new(Message { is_large, form: Mutex::new(Form::Plain(message)) });
        let is_watched = {
            let mut state = buffer.state();
            state.add(Arc::clone(&message), class);
            !state.viewers.is_empty()
        };
        // Several small clouds in one message would all stay in flight while nobody takes it.
        if is_scene && !is_large && !is_watched {
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
