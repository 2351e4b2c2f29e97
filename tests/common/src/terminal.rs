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
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, vec![]).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name, flags, Mode::empty()).unwrap();
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
        let as_found = format!("{:?}", tcgetattr(&slave).unwrap());
        Self { keyboard, slave, shown, as_found }
    }

    /// Starts the program, in a session of its own, with this as its terminal for all but standard
    /// output.
    pub fn start(&self, program: &str, args: &[&str]) -> Child {
        let slave = || Stdio::from(self.slave.try_clone().unwrap());
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program).args(args);
        command.env_remove("DISPLAY").env("TERM", "xterm").env_remove("NO_COLOR");
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
        assert!(mode.output_modes.contains(OutputModes::OPOST));
        assert!(mode.local_modes.contains(LocalModes::ISIG));
        !mode.local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }

    pub fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Waits until `text` is shown that was not there before, and forgets what was shown.
    pub fn wait_for(&self, text: &str) -> String {
        let since = Instant::now();
        while !self.shown().contains(text) {
            let is_late = since.elapsed() >= Duration::from_secs(20);
            assert!(!is_late, "'{text}' was never shown: {:?}", self.shown());
            std::thread::sleep(Duration::from_millis(5));
        }
        std::mem::take(&mut self.shown.lock().unwrap())
    }
}
