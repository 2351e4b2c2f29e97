#![allow(unused_imports, dead_code)]
//! `profile` from outside: its files, its comparisons; and the figures that a run shows while it goes on.

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use depthcast::clock::{Clock, HostTime, MonotonicClock};
use depthcast::pipeline::{self, PipelineSettings, Policy, Stop};
use depthcast::profile::compare::{Comparison, Verdict};
use depthcast::profile::report::{CellReport, Measuring, ProfileReport, SCHEMA};
use depthcast::profile::{self, Run, environment::Environment};
use depthcast::project::ProjectOptions;
use depthcast::sink::{CloudSink, NullSink};
use depthcast::source::FrameSource as _;
use depthcast::source::synthetic::{SyntheticCamera, SyntheticOptions};
use serde_json::Value;

/// A clock on which short sleeps are exact: it waits awake.
struct Awake(MonotonicClock);

impl Clock for Awake {
    fn now(&self) -> HostTime {
        self.0.now()
    }
    fn sleep_until(&self, t: HostTime) {
        if t.since(self.now()) > Duration::from_millis(1) {
            return self.0.sleep_until(t);
        }
        while self.now() < t {
            std::hint::spin_loop();
        }
    }
    fn unix_ns(&self, t: HostTime) -> i64 {
        self.0.unix_ns(t)
    }
}

/// One repetition of the synthetic camera, whose projection takes so much longer.
fn repetition(project_delay: Option<Duration>) -> (depthcast::source::SourceInfo, PipelineSettings, Run) {
    let clock: Arc<dyn Clock> = Arc::new(Awake(MonotonicClock::new()));
    let options = SyntheticOptions { width: 848, height: 480, fps: 90.0, seed: 1, color: false };
    let camera = SyntheticCamera::new(options, Arc::clone(&clock)).unwrap();
    let settings = PipelineSettings {
        policy: Policy::Newest,
        capture_queue: 4,
        cloud_queue: 4,
        threads: 1,
        duration: None,
        frames: Some(100),
        journal: true,
        project_delay,
        project: ProjectOptions::default(),
    };
    let info = camera.info().clone();
    let sinks: Vec<Box<dyn CloudSink>> = vec![Box::new(NullSink)];
    let outcome = pipeline::run(Box::new(camera), sinks, settings.clone(), clock, Stop::default(), &mut |_| {}).unwrap();
    (info, settings, Run::new(&outcome, Duration::from_millis(100), 0.0).unwrap())
}

fn session(delay: Option<Duration>, runs: Vec<Run>) -> ProfileReport {
    let (info, settings, _) = repetition(delay);
    let (cell, _): (CellReport, _) = profile::cell(0, &info, &settings, "none", Duration::from_millis(100), runs);
    ProfileReport {
        schema: SCHEMA.into(),
        command: "demo".into(),
        began_unix_s: 0,
        environment: Environment::default(),
        measuring: Measuring::new(Duration::ZERO),
        cells: vec![cell],
    }
}


#[test]
fn experiment() {
    let slower = Some(Duration::from_micros(200));
    let (mut found, mut equal) = (0, 0);
    for round in 0..10 {
        let (mut usual, mut again, mut slow) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..5 {
            usual.push(repetition(None).2);
            slow.push(repetition(slower).2);
            again.push(repetition(None).2);
        }
        let [usual, again, slow] = [session(None, usual), session(None, again), session(slower, slow)];
        let c = Comparison::new(&usual, &slow, 0.1).unwrap();
        let p = c.changes().find(|change| change.figure == "project p50").unwrap().clone();
        found += u32::from(c.has_regressed() && p.verdict == Verdict::Regression);
        let e = Comparison::new(&usual, &again, 0.1).unwrap();
        let differing: Vec<_> = e.changes().filter(|c| c.verdict != Verdict::Same).map(|c| format!("{} {:+.1}%", c.figure, c.change * 100.0)).collect();
        equal += u32::from(differing.is_empty());
        println!("round {round}: slow {} ({:.0} -> {:.0} us); equal: {differing:?}", c.has_regressed(), p.a, p.b);
    }
    println!("found {found} of 10; equal {equal} of 10");
}
