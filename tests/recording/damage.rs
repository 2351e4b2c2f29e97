//! A byte flipped, several, or all cut off, at random places in recordings of each kind: nothing
//! panics, hangs or takes much memory, all that is intact is delivered, what is lost is reported.
//!
//! `DEPTHCAST_DAMAGE_PLACES=2000` tries so many places of each kind, and `DEPTHCAST_DAMAGE_SEED=7`
//! others.

use std::ops::Range;
use std::process::Command;
use std::str::FromStr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use common::kinds::{self, Kind};
use common::recording::{File, drain, numbers, open, random_below, read, with_color};
use depthcast::frame::DepthFrame;
use depthcast::recording::{Damage, RecordingInfo, inspect};
use depthcast::source::FrameSource;

const MAX_MORE_BYTES: u64 = 64 << 20;
/// Far more than one damaged recording of this size takes on any machine.
const HANGS_AFTER: Duration = Duration::from_secs(120);

fn from_environment<T: FromStr>(name: &str, usual: T) -> T {
    let text = std::env::var(name).ok();
    text.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
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
    places: Vec<Range<usize>>,
}

impl<'a> Wound<'a> {
    fn flips(kind: &'a Kind, bits: &[(usize, usize)]) -> Self {
        let mut bytes = kind.bytes.clone();
        bits.iter().for_each(|&(at, bit)| bytes[at] ^= 1 << bit);
        Self { kind, bytes, places: bits.iter().map(|&(at, _)| at..at + 1).collect() }
    }

    fn cut(kind: &'a Kind, at: usize) -> Self {
        Self {
            kind,
            bytes: kind.bytes[..at].to_vec(),
            places: std::iter::once(at..kind.bytes.len()).collect(),
        }
    }

    fn is_cut(&self) -> bool {
        self.bytes.len() < self.kind.bytes.len()
    }

    fn spares(&self, places: &[Range<usize>]) -> bool {
        let is_apart = |a: &Range<usize>, b: &Range<usize>| a.end <= b.start || a.start >= b.end;
        places.iter().all(|place| self.places.iter().all(|wound| is_apart(place, wound)))
    }

    /// What is wrong with what was read.
    fn check(&self, intact: &[DepthFrame], replay: &Replay) -> Result<(), String> {
        // Several wounds may hit a frame and what would bring reading back to it.
        let is_single = self.places.len() == 1;
        let (frames, damage) = match replay {
            Err(e)
                if is_single
                    && self.spares(&self.kind.vital)
                    && self.kind.frames.iter().any(|places| self.spares(places)) =>
            {
                return Err(format!("it does not open: {e}"));
            }
            Err(_) => return Ok(()),
            Ok(replay) => replay,
        };
        // It may be about a whole stream, such as the name of the topic with all numbers.
        let is_reported = !self.spares(&self.kind.vital) && !damage.is_none();
        for (frame, places) in intact.iter().zip(&self.kind.frames) {
            if is_single
                && self.spares(places)
                && !is_reported
                && !frames.iter().any(|found| is_same(found, frame))
            {
                let number = frame.meta.number;
                return Err(format!("frame {number} is whole and not delivered: {damage:?}"));
            }
        }
        let wrong =
            frames.iter().filter(|found| !intact.iter().any(|frame| is_same(found, frame))).count();
        let unprotected = if self.kind.has_checksums { 0 } else { self.places.len() };
        if wrong > unprotected && !is_reported {
            return Err(format!("{wrong} frames are not those of the recording: {damage:?}"));
        }
        let ascend = frames.windows(2).all(|pair| pair[0].meta.number < pair[1].meta.number);
        if frames.len() > intact.len() || (wrong == 0 && !ascend) {
            return Err(format!("frames come twice or out of order: {damage:?}"));
        }
        let missing = (intact.len() - frames.len()) as u64;
        if damage.is_none() && (missing > 0 || self.is_cut()) {
            return Err(format!("{missing} frames are missing, and nothing is reported"));
        }
        if damage.frames_lost < missing && !self.is_cut() && is_single {
            return Err(format!("{missing} frames are missing, and others reported: {damage:?}"));
        }
        Ok(())
    }
}

/// The domain of time stamps is that of the stream.
fn is_same(a: &DepthFrame, b: &DepthFrame) -> bool {
    let facts = |frame: &DepthFrame| {
        (frame.meta.number, frame.meta.device_time.map(|time| time.ms), frame.meta.depth_units_m)
    };
    facts(a) == facts(b) && a.depth == b.depth
}

/// In a process of its own, since the memory that it looks at is the whole process's.
#[test]
fn damage_costs_only_what_it_hits() {
    const IS_ALONE: &str = "DEPTHCAST_DAMAGE_ALONE";
    if std::env::var_os(IS_ALONE).is_some() {
        return damage_recordings();
    }
    let arguments = ["damage::damage_costs_only_what_it_hits", "--exact", "--nocapture"];
    let mut alone = Command::new(std::env::current_exe().unwrap());
    let output = alone.args(arguments).env(IS_ALONE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{errors}");
}

fn damage_recordings() {
    let places: usize = from_environment("DEPTHCAST_DAMAGE_PLACES", 100);
    let seed: u64 = from_environment("DEPTHCAST_DAMAGE_SEED", 1);
    let only: String = from_environment("DEPTHCAST_DAMAGE_KIND", String::new());
    let mut next = random_below(seed);
    // A test that hangs does not report it.
    let (start, started) = mpsc::channel::<String>();
    std::thread::spawn(move || {
        let mut now = String::new();
        loop {
            match started.recv_timeout(HANGS_AFTER) {
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
        inspect(&file.put(&kind.bytes), &Default::default()).unwrap();
        let most_bytes = peak_bytes() + MAX_MORE_BYTES;
        let len = kind.bytes.len();
        let (mut opened, mut kept, mut colors) = (0, 0, 0);
        for _ in 0..places {
            let bits = [(); 3].map(|()| (next(len), next(8)));
            let cut_at = next(len);
            for (wound, what) in [
                (Wound::flips(&kind, &bits[..1]), format!("bit flipped: {:?}", bits[0])),
                (Wound::flips(&kind, &bits), format!("bits flipped: {bits:?}")),
                (Wound::cut(&kind, cut_at), format!("cut at {cut_at}")),
            ] {
                let what = format!("{}, {what}", kind.name);
                start.send(what.clone()).unwrap();
                let replay = read(&file, &wound.bytes);
                let path = file.put(&wound.bytes);
                let info = inspect(&path, &Default::default());
                if let Ok(mut source) = open(&path, with_color()) {
                    let frames = drain(&mut source);
                    colors += frames.iter().filter(|frame| frame.color.is_some()).count();
                    if kind.name.starts_with("bag")
                        && !costs_the_same(&wound, &replay, &frames, &source.damage())
                    {
                        problems.push(format!("{what}: with colour {:?}", source.damage()));
                    }
                }
                if let Ok((frames, damage)) = &replay {
                    (opened, kept) = (opened + 1, kept + frames.len());
                    match &info {
                        Err(e) => problems.push(format!("{what}: it opens, and has no info: {e}")),
                        // `info` does not decompress the images that librealsense packs by zstd.
                        Ok(info)
                            if wound.is_cut()
                                && kind.name != "db3 zstd"
                                && !counts_the_same(info, frames, damage) =>
                        {
                            problems.push(format!("{what}: {info:?} of {damage:?}"));
                        }
                        Ok(_) => {}
                    }
                }
                if let Err(problem) = wound.check(&intact, &replay) {
                    problems.push(format!("{what}: {problem}"));
                }
                let more_mb = peak_bytes().saturating_sub(most_bytes) >> 20;
                assert!(peak_bytes() <= most_bytes, "{what}: it takes {more_mb} MB more");
            }
        }
        println!("{}: {opened} of {} open, with {kept} frames", kind.name, 3 * places);
        // Where the start is damaged, the intrinsics may be lost.
        assert!(opened > 2 * places, "{}: {opened} of {} open", kind.name, 3 * places);
        assert!(kept > 7 * opened, "{}: {kept} frames of {opened}", kind.name);
        assert!(colors > 5 * opened, "{}: {colors} colour images of {opened}", kind.name);
    }
    let first = problems[..problems.len().min(30)].join("\n");
    assert!(problems.is_empty(), "{} problems:\n{first}", problems.len());
}

/// Damage costs with colour what it costs without.
fn costs_the_same(
    wound: &Wound<'_>,
    replay: &Replay,
    colored: &[DepthFrame],
    damage: &Damage,
) -> bool {
    replay.as_ref().is_ok_and(|(frames, plain)| {
        numbers(frames) == numbers(colored)
            && plain.frames_lost == damage.frames_lost
            && (!wound.is_cut() || plain == damage)
    })
}

/// `info` counts the same frames as a replay.
fn counts_the_same(info: &RecordingInfo, frames: &[DepthFrame], damage: &Damage) -> bool {
    let depth = info.streams.iter().find(|stream| stream.kind == "depth");
    !info.complete
        && depth.is_some_and(|depth| depth.frames == frames.len() as u64)
        && info.damage.frames_lost == damage.frames_lost
}
