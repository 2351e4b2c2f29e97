//! In steady state the path from the synthetic camera to the finished cloud allocates nothing, and
//! a recorder beside it no images.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use depthcast::clock::{Clock, MonotonicClock};
use depthcast::frame::Cloud;
use depthcast::pipeline::{self, Outcome, Outlets, PipelineSettings, Policy, Stop};
use depthcast::project::ProjectOptions;
use depthcast::realtime::Realtime;
use depthcast::record::{RecordOptions, Recorder};
use depthcast::sink::{CloudSink, Needs, Offer};
use depthcast::source::FrameSource;
use depthcast::source::synthetic::{SyntheticCamera, SyntheticOptions};

/// The system's allocator, counting what the threads of the pipeline allocate.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// Those that an image could be in.
static LARGE: AtomicU64 = AtomicU64::new(0);
const LARGE_BYTES: usize = 64 << 10;
/// One test counts at a time.
static TURN: Mutex<()> = Mutex::new(());

thread_local! {
    /// The supervisor makes a snapshot of the figures five times a second, beside the frames' path.
    static IS_SUPERVISOR: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !IS_SUPERVISOR.get() {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
            LARGE.fetch_add(u64::from(layout.size() >= LARGE_BYTES), Ordering::Relaxed);
        }
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `alloc` with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads the count when clouds arrive. Colours are asked for, so that they count too.
struct Watch {
    counted: &'static AtomicU64,
    clouds: u64,
    before: u64,
}

const WARM_UP: u64 = 60;
const MEASURED: u64 = 400;
const FRAMES: u64 = 450;
/// A thread that has to wait for the first time makes what it waits with, and on a loaded machine
/// that can be late.
const ONCE: u64 = 8;

impl CloudSink for Watch {
    fn name(&self) -> String {
        "watch".into()
    }
    fn needs(&self) -> Needs {
        Needs { texture: true, depth_image: true }
    }
    fn offer(&mut self, cloud: &Arc<Cloud>) -> anyhow::Result<Offer> {
        assert!(!cloud.points.positions_m.is_empty());
        self.clouds += 1;
        if self.clouds == WARM_UP {
            self.before = self.counted.load(Ordering::Relaxed);
        }
        // Not the very last ones: a thread that ends allocates.
        if self.clouds == MEASURED {
            let allocations = self.counted.load(Ordering::Relaxed) - self.before;
            anyhow::ensure!(
                allocations <= ONCE,
                "{allocations} allocations in {} frames",
                MEASURED - WARM_UP
            );
        }
        Ok(Offer::Taken)
    }
}

/// Runs the camera into a sink that watches; nothing else may allocate meanwhile.
fn run(counted: &'static AtomicU64, recording: Option<&Path>) -> Outcome {
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    // On a machine that is busy elsewhere more frames may wait for the recorder than the camera has
    // made colour images for.
    let color = recording.is_none();
    let options = SyntheticOptions { width: 320, height: 240, fps: 200.0, seed: 1, color };
    let camera = SyntheticCamera::new(options, Arc::clone(&clock)).unwrap();
    let recorder = recording.map(|path| {
        let options = RecordOptions { min_free_bytes: 0, ..RecordOptions::default() };
        Recorder::create(path, camera.info(), options, Arc::clone(&clock)).unwrap()
    });
    let settings = PipelineSettings {
        policy: Policy::Lossless,
        capture_queue: 2,
        cloud_queue: 2,
        threads: 2,
        duration: None,
        frames: Some(FRAMES),
        journal: false,
        realtime: Realtime::default(),
        project: ProjectOptions { texture: color, ..Default::default() },
    };
    let sinks: Vec<Box<dyn CloudSink>> = vec![Box::new(Watch { counted, clouds: 0, before: 0 })];
    IS_SUPERVISOR.set(true);
    let outcome = pipeline::run(
        Box::new(camera),
        Outlets { sinks: sinks.into(), recorder },
        settings,
        clock,
        Stop::default(),
        &mut |_| {},
    )
    .unwrap();
    assert_eq!(outcome.error.as_ref().map(|e| format!("{e:#}")), None);
    assert_eq!(outcome.stats.sinks[0].shown.count(), FRAMES);
    assert_eq!(outcome.warnings, Vec::<String>::new());
    outcome
}

#[test]
fn no_allocation_per_frame_from_the_source_to_the_cloud() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    run(&ALLOCATIONS, None);
}

#[test]
fn a_recorder_uses_its_buffers_again() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let outcome = run(&LARGE, Some(&dir.path().join("x.mcap")));
    assert_eq!(outcome.stats.recording.as_ref().unwrap().frames.get(), FRAMES);
}
