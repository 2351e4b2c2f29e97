//! Viewers that are not there, die, stop, or are something else: capture goes on, memory stays
//! flat, counts add up, and the viewer gets going again by itself. The peers are Rerun's own
//! program and pages that speak its protocol, over loopback.
#![cfg(feature = "viewer")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use re_protos::external::prost::Message as _;
use re_protos::sdk_comms::v1alpha1::ReadMessagesResponse;
use rerun::external::re_log_encoding::{
    CachingApplicationIdInjector, DecoderApp, ToApplication as _,
};
use rerun::log::{Chunk, LogMsg};

/// What a fault may cost beyond what a run takes anyway.
const MORE_MEMORY_KB: u64 = 64 << 10;
/// A loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a viewer stays stopped; `DEPTHCAST_FAULT_SECONDS=20` is what a patient person asks for.
fn fault_time() -> Duration {
    let seconds = std::env::var("DEPTHCAST_FAULT_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or(3.0))
}

/// The depth mode; `DEPTHCAST_FAULT_DEPTH=848x480@90` where the machine is up to it.
fn mode() -> String {
    std::env::var("DEPTHCAST_FAULT_DEPTH").unwrap_or_else(|_| "640x480@60".into())
}

common::with_rerun! { a_viewer_may_be_away_die_be_replaced_and_stop }

fn signal(process: &Child, signal: &str) {
    assert!(
        Command::new("kill")
            .args(["-s", signal, &process.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
}

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A demo with what it says on standard error, line by line.
struct Demo {
    process: Process,
    lines: mpsc::Receiver<String>,
}

impl Demo {
    fn start(args: &[&str]) -> Self {
        Self::start_as(&mut Command::new(env!("CARGO_BIN_EXE_depthcast")), args)
    }

    fn start_as(program: &mut Command, args: &[&str]) -> Self {
        let mut child = program
            .args(["demo", "--depth", &mode(), "--json"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tx, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| drop(tx.send(line)))
        });
        Self { process: Process(child), lines }
    }

    /// Waits for a line that contains `text`.
    fn says(&self, text: &str) -> String {
        let start = Instant::now();
        let mut before = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
            if line.contains(text) {
                return line;
            }
            before.push(line);
        }
        panic!("depthcast did not say {text:?}, but {before:#?}");
    }

    fn resident_kb(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Lets time pass and returns the most memory that was resident meanwhile.
    fn watch(&self, time: Duration) -> u64 {
        let start = Instant::now();
        let mut most = 0;
        while start.elapsed() < time {
            most = most.max(self.resident_kb());
            std::thread::sleep(Duration::from_millis(50));
        }
        most
    }

    /// Interrupts the run, which has to end soon and well, and returns its report.
    fn finish(mut self) -> serde_json::Value {
        signal(&self.process.0, "INT");
        let mut text = String::new();
        self.process.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(self.process.0.wait().unwrap().success(), "{text}");
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_kept_its_rate(&report);
        report
    }
}

/// The frames that were due were captured and projected, and the sink's thread was never held up: a
/// sink that is takes nothing out of the cloud queue, which loses frames then.
fn assert_kept_its_rate(report: &serde_json::Value) {
    common::assert_identities(report);
    let number = |pointer: &str| report.pointer(pointer).unwrap().as_f64().unwrap();
    let due = number("/duration_s") * number("/source/nominal_fps");
    let captured = number("/frames/captured");
    assert!(captured + number("/drops/source") > 0.98 * due - 5.0, "{report}");
    assert!(captured > 0.8 * due, "{report}");
    assert!(number("/drops/capture_queue") < 0.1 * captured, "{report}");
    assert!(number("/drops/cloud_queue") < 0.1 * captured, "{report}");
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
    /// Of a file that a viewer was writing when it was killed.
    fn in_file(path: &Path) -> Self {
        let mut arrived = Self::default();
        let file = BufReader::new(std::fs::File::open(path).unwrap());
        DecoderApp::decode_eager(file)
            .unwrap()
            .map_while(Result::ok)
            .for_each(|message| arrived.add(&message));
        arrived
    }

    fn add(&mut self, message: &LogMsg) {
        match message {
            LogMsg::SetStoreInfo(_) => self.has_store = true,
            LogMsg::BlueprintActivationCommand(_) => self.has_layout = true,
            LogMsg::ArrowMsg(store, arrow) if store.is_recording() => {
                let chunk = Chunk::from_arrow_msg(arrow).unwrap();
                let entity = chunk.entity_path().to_string();
                if chunk.is_static() {
                    self.static_entities.push(entity);
                } else if entity == "/camera/cloud" {
                    let times = chunk
                        .timelines()
                        .iter()
                        .find(|(name, _)| name.as_str() == "capture")
                        .unwrap()
                        .1;
                    self.clouds_at_ns.extend_from_slice(times.times_raw());
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
        assert!(
            self.has_store && self.has_layout,
            "store {}, layout {}",
            self.has_store,
            self.has_layout
        );
        for entity in ["/camera", "/camera/image", "/camera/cloud", "/session"] {
            assert!(
                self.static_entities.iter().any(|e| e == entity),
                "{entity} is missing in {:?}",
                self.static_entities
            );
        }
        assert!(self.figures > 0);
    }
}

fn a_viewer_may_be_away_die_be_replaced_and_stop(rerun: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let viewer = |name: &str| {
        let file = dir.path().join(name);
        let args =
            ["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", file.to_str().unwrap()];
        let child = Command::new(rerun)
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        (Process(child), file)
    };
    let fault = fault_time();

    // Not there yet.
    let demo = Demo::start(&[
        "--view",
        &format!("connect=rerun+http://127.0.0.1:{port}/proxy"),
        "--show-rate",
        "30",
    ]);
    demo.says("waiting for a viewer at rerun+http://127.0.0.1");
    demo.watch(Duration::from_secs(1));
    let (first, first_file) = viewer("first.rrd");
    demo.says("connected to");
    let usual = demo.watch(Duration::from_secs(3));
    let mut most = 0;

    // Killed.
    drop(first);
    demo.says("lost, trying again");
    most = most.max(demo.watch(fault));

    // Replaced by a program that accepts and never reads.
    let mute = TcpListener::bind(("127.0.0.1", port)).unwrap();
    most = most.max(demo.watch(fault));
    drop(mute);

    // There again.
    let (second, second_file) = viewer("second.rrd");
    demo.says("connected to");
    most = most.max(demo.watch(Duration::from_secs(2)));

    // Stopped for a while.
    signal(&second.0, "STOP");
    most = most.max(demo.watch(fault.max(Duration::from_secs(6))));
    demo.says("takes nothing");
    let continued_at = now_ns();
    signal(&second.0, "CONT");
    demo.says("connected to");
    most = most.max(demo.watch(Duration::from_secs(3)));

    // Stopped at the end, which must come all the same.
    signal(&second.0, "STOP");
    demo.watch(Duration::from_secs(1));
    let interrupted = Instant::now();
    let report = demo.finish();
    assert!(interrupted.elapsed() < PATIENCE, "{:?}", interrupted.elapsed());
    signal(&second.0, "CONT");
    std::thread::sleep(Duration::from_secs(1));
    drop(second);

    assert!(most < usual + MORE_MEMORY_KB, "{usual} KB resident, then {most} KB");
    let sink = &report["sinks"][0]["drops"];
    assert!(
        sink["disconnected"].as_u64().unwrap() > 0 && sink["busy"].as_u64().unwrap() > 0,
        "{report}"
    );
    for file in [&first_file, &second_file] {
        let arrived = Arrived::in_file(file);
        arrived.assert_is_whole();
        assert!(
            arrived.clouds_at_ns.len() > 10,
            "{}: {} clouds",
            file.display(),
            arrived.clouds_at_ns.len()
        );
    }
    let again = Arrived::in_file(&second_file).clouds_after(continued_at);
    assert!(again > 10, "{again} clouds after the viewer went on");
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
        let call = "POST /rerun.sdk_comms.v1alpha1.MessageProxyService/ReadMessages HTTP/1.1\r\nHost: 127.0.0.1\r\n\
                    Content-Type: application/grpc-web+proto\r\nX-Grpc-Web: 1\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0";
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

    /// The next message that is whole: five bytes with its length stand before it.
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
fn a_page_that_takes_nothing_holds_up_nobody() {
    let demo =
        Demo::start(&["--view", "web", "--web-port", "0", "--data-port", "0", "--show-rate", "30"]);
    let line = demo.says("viewer: open");
    let port = line.rsplit("%3A").next().unwrap().trim_end_matches("%2Fproxy").parse().unwrap();
    let mut page = Page::open(port);
    demo.says("1 page open");
    page.read(Duration::from_secs(2));
    let usual = demo.watch(Duration::from_millis(100));

    // It stops, alone.
    let mut most = demo.watch(fault_time().max(Duration::from_secs(6)));
    demo.says("taking nothing");

    // Another one is opened meanwhile, late, and gets all.
    let opened_at = now_ns();
    let mut second = Page::open(port);
    demo.says("2 pages open");
    second.read(Duration::from_secs(3));
    second.arrived.assert_is_whole();
    let clouds = second.arrived.clouds_after(opened_at);
    assert!(clouds > 5, "{clouds} clouds in 3 s");
    most = most.max(demo.watch(Duration::from_millis(100)));

    // The first goes on.
    let continued_at = now_ns();
    page.read(Duration::from_secs(3));
    let clouds = page.arrived.clouds_after(continued_at);
    assert!(clouds > 5, "{clouds} clouds in 3 s");
    most = most.max(demo.watch(Duration::from_millis(100)));
    drop(page);
    demo.says("1 page open");

    // Stopped at the end, which must come all the same.
    let interrupted = Instant::now();
    let report = demo.finish();
    assert!(interrupted.elapsed() < PATIENCE, "{:?}", interrupted.elapsed());
    assert!(most < usual + MORE_MEMORY_KB, "{usual} KB resident, then {most} KB");
    assert!(report["sinks"][0]["drops"]["busy"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn a_full_disk_ends_the_saving_and_not_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("x.rrd");
    // A limit of 4000 blocks, each of 512 bytes, stands for the disk. At the limit a write fails if
    // the signal for it is ignored.
    let mut program = Command::new("sh");
    program.args([
        "-c",
        "trap '' XFSZ; ulimit -f 4000; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_depthcast"),
    ]);
    let mut demo = Demo::start_as(
        &mut program,
        &["--view", "none", "--duration", "3s", "--save", saved.to_str().unwrap()],
    );
    let started = Instant::now();
    demo.says("x.rrd: cannot be written any more; is the disk full?");
    assert!(
        demo.process.0.try_wait().unwrap().is_none(),
        "it was not said at once, but after {:?}",
        started.elapsed()
    );
    let mut text = String::new();
    demo.process.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(demo.process.0.wait().unwrap().code(), Some(1));
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_kept_its_rate(&report);
    assert_eq!(report["end"], "duration");
    assert!(report["error"].as_str().unwrap().contains("x.rrd: the file is not whole"), "{report}");
    assert!(report["drops"]["viewer"].as_u64().unwrap() > 0);
}
