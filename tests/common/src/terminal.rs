//! A terminal without a screen, on which programs run and keys are pressed.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OutputModes, Winsize, tcgetattr, tcsetwinsize};

/// A pseudo-terminal. What a program shows on it is collected.
pub struct Terminal {
    keyboard: File,
    pub slave: OwnedFd,
    shown: Arc<Mutex<String>>,
    pub as_found: String,
}

impl Terminal {
    pub fn new() -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 })
            .unwrap();
        let name = ptsname(&master, vec![]).unwrap();
        let slave =
            rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
                .unwrap();
        let keyboard = File::from(master);
        let mut screen = keyboard.try_clone().unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let all = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = screen.read(&mut bytes) {
                all.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        let mut new = Self { keyboard, slave, shown, as_found: String::new() };
        new.as_found = new.mode();
        new
    }

    /// Starts the program with this as its terminal, on which it reads and tells, in a session of
    /// its own.
    pub fn start(&self, program: &str, args: &[&str]) -> Child {
        let slave = || Stdio::from(self.slave.try_clone().unwrap());
        let mut command = Command::new("setsid");
        command
            .arg("--ctty")
            .arg(program)
            .args(args)
            .env_remove("DISPLAY")
            .env("TERM", "xterm")
            .env_remove("NO_COLOR");
        command.stdin(slave()).stderr(slave()).stdout(Stdio::piped()).spawn().unwrap()
    }

    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// All settings, as text.
    pub fn mode(&self) -> String {
        format!("{:?}", tcgetattr(&self.slave).unwrap())
    }

    pub fn takes_single_keys(&self) -> bool {
        let mode = tcgetattr(&self.slave).unwrap();
        assert!(
            mode.output_modes.contains(OutputModes::OPOST)
                && mode.local_modes.contains(LocalModes::ISIG)
        );
        !mode.local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }

    pub fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Waits until `text` is shown that was not there before, and forgets what was shown.
    pub fn wait_for(&self, text: &str) -> String {
        let since = Instant::now();
        loop {
            if self.shown().contains(text) {
                return std::mem::take(&mut self.shown.lock().unwrap());
            }
            let last: String = self
                .shown()
                .chars()
                .rev()
                .take(500)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect();
            assert!(
                since.elapsed() < Duration::from_secs(20),
                "'{text}' was never shown: {last:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
