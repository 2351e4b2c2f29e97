//! One byte flipped, or all cut off, at random places in recordings of each kind: nothing panics,
//! hangs or takes much memory, all that is intact is delivered, and what is lost is told.
//!
//! `DEPTHCAST_DAMAGE_PLACES=2000` tries so many places of each kind, and `DEPTHCAST_DAMAGE_SEED=7`
//! others. A binary of its own, since the memory that it looks at is the whole process's.

use std::ops::Range;
use std::str::FromStr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use common::kinds::{self, Kind};
use common::recording::{File, read};
use depthcast::frame::DepthFrame;
use depthcast::recording::Damage;
use depthcast::recording::inspect;

const MAX_MORE_BYTES: u64 = 64 << 20;
/// Far more than one damaged recording of this size takes on any machine.
const HANGS_AFTER: Duration = Duration::from_secs(120);

fn from_environment<T: FromStr>(name: &str, usual: T) -> T {
    let told = std::env::var(name).ok();
    told.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// The most memory that this process has ever had: whoever allocates it counts, libraries in C too.
/// Address space would count what the allocator sets aside for each thread and never touches.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Frames and damage, or why it cannot be opened.
type Replay = Result<(Vec<DepthFrame>, Damage), String>;

/// A recording and what is wrong with it.
struct Wound<'a> {
    kind: &'a Kind,
    bytes: Vec<u8>,
    place: Range<usize>,
}

impl<'a> Wound<'a> {
    fn flip(kind: &'a Kind, at: usize, bit: u32) -> Self {
        let mut bytes = kind.bytes.clone();
        bytes[at] ^= 1 << bit;
        Self { kind, bytes, place: at..at + 1 }
    }

    fn cut(kind: &'a Kind, at: usize) -> Self {
        Self { kind, bytes: kind.bytes[..at].to_vec(), place: at..kind.bytes.len() }
    }

    fn is_cut(&self) -> bool {
        self.bytes.len() < self.kind.bytes.len()
    }

    fn spares(&self, places: &[Range<usize>]) -> bool {
        places.iter().all(|place| place.end <= self.place.start || place.start >= self.place.end)
    }

    /// Tells what is wrong with what was read.
    fn check(&self, intact: &[DepthFrame], replay: &Replay) -> Result<(), String> {
        let (frames, damage) = match replay {
            Err(e)
                if self.spares(&self.kind.vital)
                    && self.kind.frames.iter().any(|places| self.spares(places)) =>
            {
                return Err(format!("it does not open: {e}"));
            }
            Err(_) => return Ok(()),
            Ok(replay) => replay,
        };
        // What is told of streams, such as the name of the topic with all frames' numbers and time
        // stamps.
        let is_told = !self.spares(&self.kind.vital) && !damage.is_none();
        for (frame, places) in intact.iter().zip(&self.kind.frames) {
            if self.spares(places) && !is_told && !frames.iter().any(|found| is_same(found, frame))
            {
                return Err(format!(
                    "frame {}, which is whole, is not delivered: {damage:?}",
                    frame.meta.number
                ));
            }
        }
        let wrong =
            frames.iter().filter(|found| !intact.iter().any(|frame| is_same(found, frame))).count();
        if wrong > usize::from(!self.kind.has_checksums) && !is_told {
            return Err(format!("{wrong} frames are not those of the recording: {damage:?}"));
        }
        let ascend = frames.windows(2).all(|pair| pair[0].meta.number < pair[1].meta.number);
        if frames.len() > intact.len() || (wrong == 0 && !ascend) {
            return Err(format!("frames come twice or out of order: {damage:?}"));
        }
        let missing = (intact.len() - frames.len()) as u64;
        if damage.is_none() && (missing > 0 || self.is_cut()) {
            return Err(format!("{missing} frames are missing, and nothing is told"));
        }
        if damage.frames_lost < missing && !self.is_cut() {
            return Err(format!("{missing} frames are missing, and others told: {damage:?}"));
        }
        Ok(())
    }
}

/// The domain of time stamps is told of the stream, once.
fn is_same(a: &DepthFrame, b: &DepthFrame) -> bool {
    let facts = |frame: &DepthFrame| {
        (frame.meta.number, frame.meta.device_time.map(|time| time.ms), frame.meta.depth_units_m)
    };
    facts(a) == facts(b) && a.depth == b.depth
}

#[test]
fn damage_costs_only_what_it_hits() {
    let places: usize = from_environment("DEPTHCAST_DAMAGE_PLACES", 100);
    let seed: u64 = from_environment("DEPTHCAST_DAMAGE_SEED", 1);
    let only: String = from_environment("DEPTHCAST_DAMAGE_KIND", String::new());
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize % below
    };
    // A hang is not told by a test that hangs.
    let (begin, begun) = mpsc::channel::<String>();
    std::thread::spawn(move || {
        let mut now = String::new();
        loop {
            match begun.recv_timeout(HANGS_AFTER) {
                Ok(next) => now = next,
                Err(RecvTimeoutError::Timeout) => {
                    eprintln!("{now}: it hangs");
                    std::process::abort();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    });
    let file = File::new();
    let mut problems = vec![];
    for kind in kinds::all().into_iter().filter(|kind| kind.name.contains(&only)) {
        let (intact, damage) = read(&file, &kind.bytes).unwrap();
        assert_eq!((intact.len(), damage), (kind.frames.len(), Damage::default()), "{}", kind.name);
        inspect(&file.put(&kind.bytes)).unwrap();
        let most_bytes = peak_bytes() + MAX_MORE_BYTES;
        let (mut opened, mut kept) = (0, 0);
        for _ in 0..places {
            let (flip_at, bit, cut_at) =
                (next(kind.bytes.len()), next(8) as u32, next(kind.bytes.len()));
            for (wound, what) in [
                (
                    Wound::flip(&kind, flip_at, bit),
                    format!("{}, bit {bit} of byte {flip_at} flipped", kind.name),
                ),
                (Wound::cut(&kind, cut_at), format!("{}, cut at {cut_at}", kind.name)),
            ] {
                begin.send(what.clone()).unwrap();
                let replay = read(&file, &wound.bytes);
                let info = inspect(&file.put(&wound.bytes));
                if let Ok((frames, _)) = &replay {
                    (opened, kept) = (opened + 1, kept + frames.len());
                    if let Err(e) = &info {
                        problems.push(format!("{what}: it opens, and there is no info: {e}"));
                    }
                }
                if let Err(problem) = wound.check(&intact, &replay) {
                    problems.push(format!("{what}: {problem}"));
                }
                assert!(
                    peak_bytes() <= most_bytes,
                    "{what}: it takes {} MB more",
                    (peak_bytes() - most_bytes) >> 20
                );
            }
        }
        println!("{}: {opened} of {} open, with {kept} frames", kind.name, 2 * places);
    }
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems[..problems.len().min(30)].join("\n")
    );
}
