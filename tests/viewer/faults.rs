//! Viewers that are not there, die, stop, or are something else: capture goes on, memory stays
//! flat, counts add up, and the viewer gets going again by itself. The peers are Rerun's own
//! program and pages that speak its protocol, over loopback.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use re_protos::external::prost::Message as _;
use re_protos::sdk_comms::v1alpha1::ReadMessagesResponse;
use rerun::external::re_log_encoding::{CachingApplicationIdInjector, ToApplication as _};
use rerun::log::{Chunk, LogMsg};
use serde_json::Value;

use super::{PATIENCE, Process, Run, WEB, depthcast, messages, number, parse_report};

common::with_rerun! { a_viewer_may_be_away_die_be_replaced_and_stop }

/// What a fault may cost beyond what a run takes anyway.
const MORE_MEMORY_KB: u64 = 64 << 10;

/// How long a viewer stays stopped; `DEPTHCAST_FAULT_SECONDS=20` is what a patient person asks for.
fn fault_time() -> Duration {
    let seconds = std::env::var("DEPTHCAST_FAULT_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or(3.0))
}

/// A demo; `DEPTHCAST_FAULT_DEPTH=848x480@90` for its depth mode where the machine is up to it.
fn demo(words: &str) -> Command {
    let depth = std::env::var("DEPTHCAST_FAULT_DEPTH").unwrap_or_else(|_| "640x480@60".into());
    depthcast(&format!("demo --json --depth {depth} {words}"), &[])
}

/// Lets time pass and returns the most memory that was resident meanwhile.
fn watch(run: &Run, time: Duration) -> u64 {
    let start = Instant::now();
    let mut most_kb = 0;
    while start.elapsed() < time {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", run.process.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        most_kb = most_kb.max(line.trim().trim_end_matches(" kB").parse().unwrap());
        std::thread::sleep(Duration::from_millis(50));
    }
    most_kb
}

/// Interrupts the run, which has to end soon and well, and returns its report.
fn finish(run: Run) -> Value {
    let interrupted = Instant::now();
    run.process.signal("INT");
    let (code, report, _) = run.end();
    assert_eq!(code, Some(0));
    assert!(interrupted.elapsed() < PATIENCE, "{:?}", interrupted.elapsed());
    let report = parse_report(&report);
    assert_kept_its_rate(&report);
    report
}

/// The frames that were due were captured and projected, and the sink's thread was never delayed: a
/// sink that is takes nothing out of the cloud queue, which loses frames then.
fn assert_kept_its_rate(report: &Value) {
    let figure = |pointer: &str| report.pointer(pointer).unwrap().as_f64().unwrap();
    let due = figure("/duration_s") * figure("/source/nominal_fps");
    let captured = figure("/frames/captured");
    assert!(captured + figure("/drops/source") > 0.98 * due - 5.0, "{report}");
    assert!(captured > 0.8 * due, "{report}");
    assert!(figure("/drops/capture_queue") < 0.1 * captured, "{report}");
    assert!(figure("/drops/cloud_queue") < 0.1 * captured, "{report}");
}

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

/// What arrived at a viewer.
#[derive(Default)]
struct Arrived {
    /// When the frames of the clouds came into depthcast, in nanoseconds of the wall clock.
    clouds_at_ns: Vec<i64>,
    figures: usize,
    has_store: bool,
    has_layout: bool,
    static_entities: Vec<String>,
}

impl Arrived {
    fn add(&mut self, message: &LogMsg) {
        match message {
            LogMsg::SetStoreInfo(_) => self.has_store = true,
            LogMsg::BlueprintActivationCommand(_) => self.has_layout = true,
            LogMsg::ArrowMsg(store, arrow) if store.is_recording() => {
                let chunk = Chunk::from_arrow_msg(arrow).unwrap();
                let entity = chunk.entity_path().to_string();
                let mut timelines = chunk.timelines().iter();
                if chunk.is_static() {
                    self.static_entities.push(entity);
                } else if entity == "/camera/cloud" {
                    let capture = timelines.find(|(name, _)| name.as_str() == "capture").unwrap();
                    self.clouds_at_ns.extend_from_slice(capture.1.times_raw());
                } else {
                    self.figures += 1;
                }
            }
            LogMsg::ArrowMsg(..) => {}
        }
    }

    fn clouds_after(&self, ns: i64) -> usize {
        self.clouds_at_ns.iter().filter(|at| **at > ns).count()
    }

    fn assert_is_whole(&self) {
        let Self { has_store, has_layout, static_entities, .. } = self;
        assert!(has_store & has_layout, "store {has_store}, layout {has_layout}");
        for entity in ["/camera", "/camera/image", "/camera/cloud", "/session"] {
            let has_it = static_entities.iter().any(|e| e == entity);
            assert!(has_it, "{entity} is missing in {static_entities:?}");
        }
        assert!(self.figures > 0);
    }
}

fn a_viewer_may_be_away_die_be_replaced_and_stop(rerun: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let viewer = |name: &str| {
        let file = dir.path().join(name);
        let mut command = Command::new(rerun);
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save"]).arg(&file);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        (Process(child), file)
    };
    let fault = fault_time();

    // Not there yet.
    let view = format!("--view connect=rerun+http://127.0.0.1:{port}/proxy --show-rate 30");
    let run = Run::start(&mut demo(&view));
    run.wait_for("waiting for a viewer at rerun+http://127.0.0.1");
    watch(&run, Duration::from_secs(1));
    let (first, first_file) = viewer("first.rrd");
    run.wait_for("connected to");
    let usual = watch(&run, Duration::from_secs(3));
    let mut most = 0;

    // Killed.
    drop(first);
    run.wait_for("lost, trying again");
    most = most.max(watch(&run, fault));

    // Replaced by a program that accepts and never reads.
    let mute = TcpListener::bind(("127.0.0.1", port)).unwrap();
    most = most.max(watch(&run, fault));
    drop(mute);

    // There again.
    let (second, second_file) = viewer("second.rrd");
    run.wait_for("connected to");
    most = most.max(watch(&run, Duration::from_secs(2)));

    // Stopped for a while.
    second.signal("STOP");
    most = most.max(watch(&run, fault.max(Duration::from_secs(6))));
    run.wait_for("takes nothing");
    let continued_at = now_ns();
    second.signal("CONT");
    run.wait_for("connected to");
    most = most.max(watch(&run, Duration::from_secs(3)));

    // Stopped at the end, which must come all the same.
    second.signal("STOP");
    watch(&run, Duration::from_secs(1));
    let report = finish(run);
    second.signal("CONT");
    std::thread::sleep(Duration::from_secs(1));
    drop(second);

    assert!(most < usual + MORE_MEMORY_KB, "{usual} KB resident, then {most} KB");
    for drops in ["disconnected", "busy"] {
        assert!(number(&report, &format!("/sinks/0/drops/{drops}")) > 0, "{report}");
    }
    let [first, second] = [first_file, second_file].map(|file| {
        // The viewer was killed while it wrote.
        let mut arrived = Arrived::default();
        messages(&file).for_each(|message| arrived.add(&message));
        arrived.assert_is_whole();
        arrived
    });
    let clouds = [first.clouds_at_ns.len(), second.clouds_after(continued_at)];
    assert!(clouds.iter().all(|&clouds| clouds > 10), "{clouds:?}");
}

/// A page: what the web viewer asks the server for, over HTTP/1.1 as browsers do without
/// encryption.
struct Page {
    body: BufReader<TcpStream>,
    /// Of gRPC, what is not whole yet.
    rest: Vec<u8>,
    ids: CachingApplicationIdInjector,
    arrived: Arrived,
}

impl Page {
    fn open(port: u16) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let call = "POST /rerun.sdk_comms.v1alpha1.MessageProxyService/ReadMessages HTTP/1.1\r\n\
                    Host: 127.0.0.1\r\nContent-Type: application/grpc-web+proto\r\n\
                    X-Grpc-Web: 1\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0";
        socket.write_all(call.as_bytes()).unwrap();
        let body = BufReader::new(socket);
        let mut page =
            Self { body, rest: Vec::new(), ids: Default::default(), arrived: Arrived::default() };
        assert!(page.line().contains("200 OK"));
        while !page.line().is_empty() {}
        page
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.body.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Reads for a while, one of HTTP's chunks after the other.
    fn read(&mut self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            let line = self.line();
            let length = usize::from_str_radix(&line, 16)
                .unwrap_or_else(|_| panic!("no length of a chunk: {line:?}"));
            assert!(length > 0, "the stream has ended");
            let before = self.rest.len();
            self.rest.resize(before + length, 0);
            self.body.read_exact(&mut self.rest[before..]).unwrap();
            assert_eq!(self.line(), "");
            while let Some(message) = self.message() {
                self.arrived.add(&message);
            }
        }
    }

    /// The next message that is whole, after five bytes with its length.
    fn message(&mut self) -> Option<LogMsg> {
        let header = self.rest.first_chunk::<5>()?;
        let end = 5 + u32::from_be_bytes(header[1..].try_into().unwrap()) as usize;
        let message =
            ReadMessagesResponse::decode(self.rest.get(5..end)?).unwrap().log_msg.unwrap();
        self.rest.drain(..end);
        Some(message.to_application((&mut self.ids, None)).unwrap())
    }
}

#[test]
fn a_page_that_takes_nothing_delays_nobody() {
    let run = Run::start(&mut demo(&format!("{WEB} --show-rate 30")));
    let address = run.address();
    let port = address.rsplit("%3A").next().unwrap().trim_end_matches("%2Fproxy").parse().unwrap();
    let mut page = Page::open(port);
    run.wait_for("1 page open");
    page.read(Duration::from_secs(2));
    let usual = watch(&run, Duration::from_millis(100));

    // It stops, alone.
    let mut most = watch(&run, fault_time().max(Duration::from_secs(6)));
    run.wait_for("taking nothing");

    // Another one is opened meanwhile, late, and gets all.
    let opened_at = now_ns();
    let mut second = Page::open(port);
    run.wait_for("2 pages open");
    second.read(Duration::from_secs(3));
    second.arrived.assert_is_whole();
    let clouds = second.arrived.clouds_after(opened_at);
    assert!(clouds > 5, "{clouds} clouds in 3 s");
    most = most.max(watch(&run, Duration::from_millis(100)));

    // The first goes on.
    let continued_at = now_ns();
    page.read(Duration::from_secs(3));
    let clouds = page.arrived.clouds_after(continued_at);
    assert!(clouds > 5, "{clouds} clouds in 3 s");
    most = most.max(watch(&run, Duration::from_millis(100)));
    drop(page);
    run.wait_for("1 page open");

    // Stopped at the end, which must come all the same.
    let report = finish(run);
    assert!(most < usual + MORE_MEMORY_KB, "{usual} KB resident, then {most} KB");
    assert!(number(&report, "/sinks/0/drops/busy") > 0, "{report}");
}

#[test]
fn a_full_disk_ends_the_saving_and_not_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let demo = demo("--view none --duration 3s --save");
    // A limit of 4000 blocks, each of 512 bytes, stands for the disk. At the limit a write fails if
    // the signal for it is ignored.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 4000; exec \"$0\" \"$@\""]);
    limited.arg(demo.get_program()).args(demo.get_args()).arg(dir.path().join("x.rrd"));
    let mut run = Run::start(&mut limited);
    let started = Instant::now();
    run.wait_for("x.rrd: cannot be written any more; is the disk full?");
    assert!(run.process.is_running(), "it was not said at once, but after {:?}", started.elapsed());
    let (code, report, _) = run.end();
    assert_eq!(code, Some(1));
    let report = parse_report(&report);
    assert_kept_its_rate(&report);
    assert_eq!(report["end"], "duration");
    assert!(report["error"].as_str().unwrap().contains("x.rrd: the file is not whole"), "{report}");
    assert!(number(&report, "/drops/viewer") > 0);
}
