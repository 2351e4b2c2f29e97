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

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

/// For one answer of a browser that renders in software on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);
/// For one image, before the next one is tried.
const IMAGE_PATIENCE: Duration = Duration::from_secs(40);
const FLAGS: &str = "--headless --no-sandbox --disable-quic --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync \
    --use-angle=swiftshader --enable-unsafe-swiftshader --hide-scrollbars --remote-debugging-pipe";

/// Lines and clouds differ from their ground by at least this.
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

/// What a page looks like.
pub struct Image {
    pub width: usize,
    pub height: usize,
    rgb: Vec<u8>,
}

impl Browser {
    pub fn start(chromium: &Path, width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null"])
            .arg(chromium)
            .args(FLAGS.split_whitespace())
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let to = process.stdin.take().unwrap();
        let messages = BufReader::new(process.stdout.take().unwrap()).split(0);
        let (tx, from) = mpsc::channel();
        std::thread::spawn(move || {
            for message in messages.map_while(Result::ok) {
                let Ok(value) = serde_json::from_slice(&message) else { break };
                if tx.send(value).is_err() {
                    break;
                }
            }
        });
        Self { process, to, from, last: 0, size: [width, height], _profile: profile }
    }

    fn send(&mut self, session: Option<&str>, method: &str, params: Value) -> u64 {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("chromium has ended");
        self.last
    }

    /// The answer, be it a result or an error, or `None` if there is none in time.
    fn ask(
        &mut self,
        session: Option<&str>,
        method: &str,
        params: Value,
        patience: Duration,
    ) -> Option<Value> {
        let id = self.send(session, method, params);
        let deadline = Instant::now() + patience;
        loop {
            let answer =
                self.from.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
            if answer["id"] == id {
                return Some(answer);
            }
            // "Leave this page?"
            if answer["method"] == "Page.javascriptDialogOpening" {
                let accept = json!({"accept": true});
                self.send(answer["sessionId"].as_str(), "Page.handleJavaScriptDialog", accept);
            }
        }
    }

    fn call(&mut self, session: Option<&str>, method: &str, params: Value) -> Value {
        let answer = self
            .ask(session, method, params, PATIENCE)
            .unwrap_or_else(|| panic!("{method}: no answer from chromium"));
        assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }

    pub fn open(&mut self, address: &str) -> Page {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let created = self.call(None, "Target.createTarget", json!({"url": address}));
        let target = text(&created["targetId"]);
        let attach = json!({"targetId": target, "flatten": true});
        let session = text(&self.call(None, "Target.attachToTarget", attach)["sessionId"]);
        let [width, height] = self.size;
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        let dark = json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
        self.call(Some(&session), "Page.enable", json!({}));
        self.call(Some(&session), "Emulation.setDeviceMetricsOverride", metrics);
        self.call(Some(&session), "Emulation.setEmulatedMedia", dark);
        Page { target, session }
    }

    pub fn reload(&mut self, page: &Page) {
        self.call(Some(&page.session), "Page.reload", json!({}));
    }

    /// What the page's JavaScript makes of an expression.
    pub fn evaluate(&mut self, page: &Page, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true});
        let result = self.call(Some(&page.session), "Runtime.evaluate", params);
        assert!(result.get("exceptionDetails").is_none(), "{result}");
        result["result"]["value"].clone()
    }

    /// All that the page looks like for a while: when, in seconds of the wall clock, and what.
    pub fn watch(&mut self, page: &Page, time: Duration) -> Vec<(f64, Image)> {
        let session = Some(&*page.session);
        let how = json!({"format": "png", "everyNthFrame": 1});
        self.call(session, "Page.startScreencast", how);
        let (deadline, mut images) = (Instant::now() + time, Vec::new());
        while let Ok(event) =
            self.from.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if event["method"] == "Page.screencastFrame" {
                let params = &event["params"];
                let taken = json!({"sessionId": params["sessionId"]});
                self.send(session, "Page.screencastFrameAck", taken);
                let png = BASE64_STANDARD.decode(params["data"].as_str().unwrap()).unwrap();
                images.push((params["metadata"]["timestamp"].as_f64().unwrap(), png));
            }
        }
        self.call(session, "Page.stopScreencast", json!({}));
        images.into_iter().map(|(at_s, png)| (at_s, Image::decode(&png))).collect()
    }

    pub fn close(&mut self, page: Page) {
        self.call(None, "Target.closeTarget", json!({"targetId": page.target}));
    }

    /// Looks until the page is as wanted, and keeps the last image as `kept`.
    pub fn wait_for(
        &mut self,
        page: &Page,
        kept: &Path,
        is_wanted: impl Fn(&Image) -> bool,
    ) -> Image {
        let deadline = Instant::now() + PATIENCE;
        let format = json!({"format": "png"});
        loop {
            // A page that is busy, or asked while it loads, may never answer, or only that it is no
            // active page yet.
            let (session, method) = (Some(&*page.session), "Page.captureScreenshot");
            let answer = self.ask(session, method, format.clone(), IMAGE_PATIENCE);
            if let Some(png) = answer.as_ref().and_then(|a| a["result"]["data"].as_str()) {
                let png = BASE64_STANDARD.decode(png).unwrap();
                std::fs::write(kept, &png).unwrap();
                let image = Image::decode(&png);
                if is_wanted(&image) {
                    return image;
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
        while Instant::now() < deadline && self.process.try_wait().is_ok_and(|s| s.is_none()) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Image {
    fn decode(png: &[u8]) -> Self {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        let channels = info.color_type.samples();
        assert!(channels >= 3 && info.bit_depth == png::BitDepth::Eight, "{info:?}");
        let pixels = bytes[..info.buffer_size()].chunks_exact(channels);
        let rgb = pixels.flat_map(|p| [p[0], p[1], p[2]]).collect();
        Self { width: info.width as usize, height: info.height as usize, rgb }
    }

    /// For what share of the pixels of a region this holds. A region goes from `across[0]` to
    /// `across[1]` of the width, and so down.
    pub fn share(
        &self,
        [across, down]: [[f32; 2]; 2],
        holds: impl Fn(usize, usize) -> bool,
    ) -> f32 {
        let range = |[from, to]: [f32; 2], size: usize| {
            (from * size as f32) as usize..(to * size as f32) as usize
        };
        let (columns, rows) = (range(across, self.width), range(down, self.height));
        let all = columns.len() * rows.len();
        let held = rows.map(|y| columns.clone().filter(|&x| holds(x, y)).count()).sum::<usize>();
        held as f32 / all as f32
    }

    /// Whether something else than the dark ground fills a good part of a region.
    pub fn is_filled(&self, region: [[f32; 2]; 2]) -> bool {
        self.share(region, |x, y| self.at(x, y).into_iter().any(|c| c >= CLEARLY)) > 0.3
    }

    /// Red, green, blue.
    pub fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let i = 3 * (y * self.width + x);
        [self.rgb[i], self.rgb[i + 1], self.rgb[i + 2]]
    }
}
