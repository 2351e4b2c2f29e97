//! A headless Chromium, driven over its debugging pipe: pages are opened, looked at, reloaded and
//! closed.
//!
//! The pipe carries JSON, each message ended by a zero byte. The shell puts it where Chromium wants
//! it: what it reads on 3, what it writes on 4.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// For one answer of a browser that renders in software on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);
/// For one picture, before the next one is tried.
const GLANCE: Duration = Duration::from_secs(40);

/// Lines and clouds are told from their ground by at least this.
pub const CLEARLY: u8 = 48;

pub struct Browser {
    process: Child,
    to: ChildStdin,
    from: mpsc::Receiver<Value>,
    last: u64,
    size: [u32; 2],
    _profile: tempfile::TempDir,
}

/// An open page.
pub struct Page {
    target: String,
    session: String,
}

/// What a page looks like: RGB.
#[derive(Clone)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    rgb: Vec<u8>,
    pub png: Vec<u8>,
}

impl Browser {
    pub fn start(chromium: &Path, width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null"])
            .arg(chromium)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
            ])
            .args([
                "--disable-component-update",
                "--disable-sync",
                "--use-angle=swiftshader",
                "--enable-unsafe-swiftshader",
            ])
            .args(["--hide-scrollbars", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let to = process.stdin.take().unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let (tx, from) = mpsc::channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while out.read_until(0, &mut message).is_ok_and(|n| n > 0) {
                message.pop();
                let Ok(value) = serde_json::from_slice(&message) else { break };
                if tx.send(value).is_err() {
                    break;
                }
                message.clear();
            }
        });
        Self { process, to, from, last: 0, size: [width, height], _profile: profile }
    }

    fn call(&mut self, session: Option<&str>, method: &str, params: Value) -> Value {
        let answer = self
            .ask(session, method, params, PATIENCE)
            .unwrap_or_else(|| panic!("{method}: no answer from chromium"));
        assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }

    /// The answer, be it a result or an error, or `None` if there is none in time.
    fn ask(
        &mut self,
        session: Option<&str>,
        method: &str,
        params: Value,
        patience: Duration,
    ) -> Option<Value> {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("chromium has ended");
        let (id, deadline) = (self.last, Instant::now() + patience);
        loop {
            let answer =
                self.from.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
            if answer["id"] == id {
                return Some(answer);
            }
            // "Leave this page?"
            if answer["method"] == "Page.javascriptDialogOpening" {
                self.last += 1;
                let accept = json!({"id": self.last, "sessionId": answer["sessionId"], "method": "Page.handleJavaScriptDialog",
                    "params": {"accept": true}});
                self.to.write_all(format!("{accept}\0").as_bytes()).expect("chromium has ended");
            }
        }
    }

    pub fn open(&mut self, address: &str) -> Page {
        let target = self.call(None, "Target.createTarget", json!({"url": address}))["targetId"]
            .as_str()
            .unwrap()
            .to_owned();
        let attached =
            self.call(None, "Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        let session = attached["sessionId"].as_str().unwrap().to_owned();
        self.call(Some(&session), "Page.enable", json!({}));
        let [width, height] = self.size;
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call(Some(&session), "Emulation.setDeviceMetricsOverride", metrics);
        let dark = json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
        self.call(Some(&session), "Emulation.setEmulatedMedia", dark);
        Page { target, session }
    }

    pub fn reload(&mut self, page: &Page) {
        self.call(Some(&page.session), "Page.reload", json!({}));
    }

    pub fn close(&mut self, page: Page) {
        self.call(None, "Target.closeTarget", json!({"targetId": page.target}));
    }

    /// `None` if the page is too busy; one that is asked while it loads may never answer, or only
    /// that it is no active page yet.
    fn look(&mut self, page: &Page) -> Option<Picture> {
        let answer = self.ask(
            Some(&page.session),
            "Page.captureScreenshot",
            json!({"format": "png"}),
            GLANCE,
        )?;
        Some(Picture::decode(from_base64(answer["result"]["data"].as_str()?)))
    }

    /// Looks until the page is as wanted, and keeps the last picture as `kept`.
    pub fn look_until(
        &mut self,
        page: &Page,
        kept: &Path,
        wanted: impl Fn(&Picture) -> bool,
    ) -> Picture {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(picture) = self.look(page) {
                std::fs::write(kept, &picture.png).unwrap();
                if wanted(&picture) {
                    return picture;
                }
            }
            assert!(Instant::now() < deadline, "{}: not what was waited for", kept.display());
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.to.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline
            && self.process.try_wait().is_ok_and(|status| status.is_none())
        {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Picture {
    fn decode(png: Vec<u8>) -> Self {
        let mut reader = png::Decoder::new(std::io::Cursor::new(&png)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        let channels = info.color_type.samples();
        assert!(channels >= 3 && info.bit_depth == png::BitDepth::Eight, "{info:?}");
        let rgb = bytes[..info.buffer_size()]
            .chunks_exact(channels)
            .flat_map(|p| [p[0], p[1], p[2]])
            .collect();
        Self { width: info.width as usize, height: info.height as usize, rgb, png }
    }

    /// What share of the points of a region this holds for. A region goes from `across[0]` to
    /// `across[1]` of the width, and so down.
    pub fn share(
        &self,
        [across, down]: [[f32; 2]; 2],
        holds: impl Fn(usize, usize) -> bool,
    ) -> f32 {
        let range = |[from, to]: [f32; 2], size: usize| {
            (from * size as f32) as usize..(to * size as f32) as usize
        };
        let points =
            range(down, self.height).flat_map(|y| range(across, self.width).map(move |x| (x, y)));
        let (held, all) =
            points.fold((0, 0), |(held, all), (x, y)| (held + usize::from(holds(x, y)), all + 1));
        held as f32 / all as f32
    }

    /// Whether something else than the dark ground fills a good part of a region.
    pub fn is_filled(&self, region: [[f32; 2]; 2]) -> bool {
        self.share(region, |x, y| self.at(x, y).into_iter().any(|c| c >= CLEARLY)) > 0.3
    }

    pub fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let i = 3 * (y * self.width + x);
        [self.rgb[i], self.rgb[i + 1], self.rgb[i + 2]]
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other} in base64"),
    };
    let digits: Vec<u8> = text.bytes().take_while(|&c| c != b'=').map(value).collect();
    let group = |digits: &[u8]| {
        let bits = digits
            .iter()
            .enumerate()
            .fold(0, |bits, (i, &digit)| bits | u32::from(digit) << (18 - 6 * i));
        bits.to_be_bytes()[1..digits.len()].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}
