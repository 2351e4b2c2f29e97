//! Keys on the terminal while a recording is played.

use std::io::{Write as _, stderr, stdin};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{self as channel, Receiver, Sender, TryRecvError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, kill_current_process_group};

use super::terminal::Terminal;
use crate::pipeline::Stop;
use crate::source::recording::control::{Command, Remote};

/// What the keys do, for the help.
pub(super) const HELP: &str = "\
Keys, on a terminal:
  space       pause, and go on
  .           one frame, and pause
  right, left 5 s forward, back
  up, down    twice, half the speed
  q           end";

/// The same in short, for the start of a run.
const HINT: &str = "space pause  . step  <- -> 5 s  up/down speed  q quit";

const SEEK_NS: i64 = 5_000_000_000;
/// How long a look for keys lasts.
const WAIT: Duration = Duration::from_millis(50);
/// How long the end of a run waits for the thread; keys that come later are the shell's.
const LAST_WAIT: Duration = Duration::from_millis(300);

/// Reads keys until it is dropped; then the terminal is as it was found.
pub(super) struct Keys {
    terminal: Arc<Terminal>,
    /// Dropped, it asks the thread to end.
    ask_to_end: Option<Sender<()>>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

impl Keys {
    pub(super) fn start(
        terminal: Arc<Terminal>,
        remote: Remote,
        stop: Stop,
    ) -> std::io::Result<Self> {
        let (ask_to_end, asked) = channel::bounded(0);
        let (end, ended) = channel::bounded(0);
        let keys = Self { terminal: Arc::clone(&terminal), ask_to_end: Some(ask_to_end), ended };
        terminal.start();
        std::thread::Builder::new().name("keys".into()).spawn(move || {
            let _end: Sender<()> = end;
            read_keys(&terminal, &remote, &stop, &asked);
        })?;
        let _ = writeln!(stderr(), "{HINT}");
        Ok(keys)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.ask_to_end = None;
        let _ = self.ended.recv_timeout(LAST_WAIT);
        self.terminal.end();
    }
}

fn read_keys(terminal: &Terminal, remote: &Remote, stop: &Stop, asked: &Receiver<()>) {
    let (mut decoder, mut bytes) = (Decoder::default(), [0; 64]);
    let wait = Timespec { tv_sec: 0, tv_nsec: WAIT.subsec_nanos().into() };
    while asked.try_recv() == Err(TryRecvError::Empty) {
        if !terminal.has_keys() {
            std::thread::sleep(WAIT);
            continue;
        }
        let stdin = stdin();
        let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut ready, Some(&wait)) {
            Ok(0) | Err(Errno::INTR) => continue,
            // Whoever was in front of it has gone.
            Ok(_) if ready[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) => return,
            Ok(_) => {}
            Err(_) => return,
        }
        // Meanwhile the terminal may have become another job's.
        if !terminal.has_keys() {
            continue;
        }
        match rustix::io::read(&stdin, &mut bytes) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return,
            Ok(count) => {
                for &byte in &bytes[..count] {
                    match decoder.key(byte) {
                        Some(Key::Char(key)) if terminal.is_suspend_key(key) => suspend(terminal),
                        Some(Key::Char(b'q')) => stop.ask(),
                        Some(key) => {
                            command(key).into_iter().for_each(|command| remote.ask(command))
                        }
                        None => {}
                    }
                }
            }
        }
    }
}

/// Stops this job as Ctrl-Z does, the terminal being as it was found.
fn suspend(terminal: &Terminal) {
    terminal.leave();
    let _ = kill_current_process_group(Signal::TSTP);
    // The system may take a moment to stop this thread, or not stop it at all where no shell could
    // make it go on.
    std::thread::sleep(2 * WAIT);
    terminal.enter();
}

fn command(key: Key) -> Option<Command> {
    Some(match key {
        Key::Char(b' ') => Command::PauseOrGo,
        Key::Char(b'.') => Command::Step,
        Key::Right => Command::SeekBy { ns: SEEK_NS },
        Key::Left => Command::SeekBy { ns: -SEEK_NS },
        Key::Up => Command::SpeedBy(2.0),
        Key::Down => Command::SpeedBy(0.5),
        Key::Char(_) => return None,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Char(u8),
    Right,
    Left,
    Up,
    Down,
}

/// Makes keys of the bytes that a terminal sends. An arrow is `ESC [ C`, or `ESC O C` where a
/// program before this one left it so.
#[derive(Debug, Default)]
enum Decoder {
    #[default]
    Plain,
    Escape,
    /// After `ESC [` or `ESC O`; numbers may come here, such as `1;5` for an arrow with Ctrl.
    Sequence {
        has_numbers: bool,
    },
}

impl Decoder {
    fn key(&mut self, byte: u8) -> Option<Key> {
        const ESCAPE: u8 = 0x1b;
        let (next, key) = match (std::mem::take(self), byte) {
            (_, ESCAPE) => (Self::Escape, None),
            (Self::Escape, b'[' | b'O') => (Self::Sequence { has_numbers: false }, None),
            (Self::Sequence { .. }, b'0'..=b'?') => (Self::Sequence { has_numbers: true }, None),
            (Self::Sequence { has_numbers: false }, arrow @ b'A'..=b'D') => (
                Self::Plain,
                Some([Key::Up, Key::Down, Key::Right, Key::Left][usize::from(arrow - b'A')]),
            ),
            (Self::Sequence { .. }, _) => (Self::Plain, None),
            // After a lone ESC a key is a key.
            (Self::Plain | Self::Escape, byte) => (Self::Plain, Some(Key::Char(byte))),
        };
        *self = next;
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_however_their_bytes_arrive() {
        let keys = |bytes: &[u8]| {
            let mut decoder = Decoder::default();
            bytes.iter().filter_map(|&byte| decoder.key(byte)).collect::<Vec<_>>()
        };
        let (space, dot, q) = (Key::Char(b' '), Key::Char(b'.'), Key::Char(b'q'));
        assert_eq!(keys(b" .q"), [space, dot, q]);
        assert_eq!(keys(b"\x1b[A\x1b[B\x1b[C\x1b[D"), [Key::Up, Key::Down, Key::Right, Key::Left]);
        assert_eq!(keys(b"\x1bOC.\x1bOD"), [Key::Right, dot, Key::Left]);
        assert_eq!(keys(b"\x1b\x1b[C"), [Key::Right], "a lone ESC before an arrow");
        assert_eq!(keys(b"\x1bq\x1b"), [q]);
        assert_eq!(keys(b"\x1b[1;5C\x1b[3~\x1b[15~\x1bOP."), [dot], "keys that nobody asked for");
        assert_eq!(keys(b"\x1b[ \x1b[\x1b[Aq"), [Key::Up, q], "sequences that break off");
    }
}
