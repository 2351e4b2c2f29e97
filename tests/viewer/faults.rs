//! Viewers that are not there, die, stop, or are something else: capture goes on, memory stays
//! flat, counts add up, and the viewer gets going again by itself. The peers are Rerun's own
//! program and pages of this test, over loopback.

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

/// A page: what it asks the server for, over HTTP/1.1 as browsers do without encryption.
struct Page {
    port: u16,
    body: BufReader<TcpStream>,
    id: u64,
    /// Of the stream's records, what is not whole yet.
    rest: Vec<u8>,
    /// Messages that were read.
    given: u64,
    /// The newest cloud.
    drawn: u64,
    ids: CachingApplicationIdInjector,
    arrived: Arrived,
}

impl Page {
    fn open(port: u16) -> Self {
        let (body, id) = request(port, "GET /stream", "");
        let (ids, arrived) = Default::default();
        let mut page = Self {
            port,
            body,
            id: id.unwrap(),
            rest: Vec::new(),
            given: 0,
            drawn: 0,
            ids,
            arrived,
        };
        page.acknowledge(0);
        page
    }

    /// Done with all clouds up to this one; 0 for a page that is ready for the first.
    fn acknowledge(&mut self, cloud: u64) {
        self.drawn = cloud;
        let clock = answer(request(self.port, "POST /clock", "{}").0);
        let at_ms = clock["now_ms"].as_f64().unwrap();
        let acknowledgement = serde_json::json!({
            "page": self.id, "given": self.given, "cloud": cloud, "drawn": cloud,
            "at_ms": at_ms, "uncertainty_ms": 1.0, "frame_ms": 16.0,
        });
        answer(request(self.port, "POST /seen", &acknowledgement.to_string()).0);
    }

    /// Reads for a while, one of HTTP's chunks after the other, and draws what comes at once.
    fn read(&mut self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            let length = line(&mut self.body);
            let length = usize::from_str_radix(&length, 16)
                .unwrap_or_else(|_| panic!("no length of a chunk: {length:?}"));
            assert!(length > 0, "the stream has ended");
            let before = self.rest.len();
            self.rest.resize(before + length, 0);
            self.body.read_exact(&mut self.rest[before..]).unwrap();
            assert_eq!(line(&mut self.body), "");
            while let Some((cloud, message)) = self.record() {
                // The first record holds the header of Rerun's format.
                if message.starts_with(b"RRF2") {
                    continue;
                }
                // After five bytes with gRPC's idea of the length.
                let message = ReadMessagesResponse::decode(&message[5..]).unwrap();
                let message = message.log_msg.unwrap().to_application((&mut self.ids, None));
                self.arrived.add(&message.unwrap());
                self.given += 1;
                if cloud > 0 || self.given.is_multiple_of(8) {
                    self.acknowledge(self.drawn.max(cloud));
                }
            }
        }
    }

    /// The next record that is whole: the number of its cloud, and its message.
    fn record(&mut self) -> Option<(u64, Vec<u8>)> {
        let header = self.rest.first_chunk::<24>()?;
        let number = |at: usize| u64::from_be_bytes(header[at..at + 8].try_into().unwrap());
        let (cloud, length) = (number(0), number(16) as usize);
        let record = self.rest.get(24..24 + length)?.to_vec();
        self.rest.drain(..24 + length);
        Some((cloud, record))
    }
}

/// Asks the server, which must agree. The body of its answer, and the number of the page that it
/// is for.
fn request(port: u16, what: &str, body: &str) -> (BufReader<TcpStream>, Option<u64>) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(
        socket,
        "{what} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = BufReader::new(socket);
    let status = line(&mut answer);
    assert!(status.contains("200 OK"), "{what}: {status}");
    let mut page = None;
    loop {
        let header = line(&mut answer);
        if header.is_empty() {
            return (answer, page);
        }
        page = page.or(header.strip_prefix("depthcast-page: ").map(|id| id.parse().unwrap()));
    }
}

fn line(socket: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    socket.read_line(&mut line).unwrap();
    line.trim().to_owned()
}

/// A JSON object.
fn answer(body: BufReader<TcpStream>) -> Value {
    serde_json::Deserializer::from_reader(body).into_iter().next().unwrap().unwrap()
}

#[test]
fn a_page_that_takes_nothing_delays_nobody() {
    let run = Run::start(&mut demo(&format!("{WEB} --show-rate 30")));
    let port = run.address().rsplit(':').next().unwrap().trim_end_matches('/').parse().unwrap();
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

    // The first goes on: of clouds with the newest alone.
    let continued_at = now_ns();
    let before = page.arrived.clouds_at_ns.len();
    page.read(Duration::from_secs(3));
    let clouds = page.arrived.clouds_after(continued_at);
    assert!(clouds > 5, "{clouds} clouds in 3 s");
    let stale = page.arrived.clouds_at_ns[before..].iter().filter(|at| **at <= continued_at);
    assert!(stale.count() <= 4, "clouds waited for the page");
    most = most.max(watch(&run, Duration::from_millis(100)));
    drop(page);
    run.wait_for("1 page open");

    // Stopped at the end, which must come all the same.
    let report = finish(run);
    assert!(most < usual + MORE_MEMORY_KB, "{usual} KB resident, then {most} KB");
    assert!(number(&report, "/sinks/0/drops/busy") > 0, "{report}");
    for stage in ["viewer", "arrival_to_eye"] {
        let p50 = report.pointer(&format!("/latency_us/{stage}/p50")).and_then(Value::as_f64);
        assert!(p50.unwrap() > 0.0, "{report}");
    }
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
