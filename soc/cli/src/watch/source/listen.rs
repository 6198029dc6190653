//! Lines that come to us: syslog in datagrams and over TCP (RFC 5426; RFC 6587, both ways of telling where a message ends), and
//! stdin. What has come cannot be read again: datagrams that find no room are dropped and counted; TCP and stdin wait.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;

use hindcap_events::LINE_BYTES_MAX;

use super::Batch;

/// Lines that wait between a listener and the rules.
const WAITING_MAX: usize = 1_000;
/// Senders over TCP at a time.
const SENDERS_MAX: usize = 64;
/// The largest datagram.
const DATAGRAM_BYTES: usize = 65_536;

/// What listeners have received.
#[derive(Debug)]
pub(in crate::watch) struct Inbox {
    lines: Receiver<Vec<u8>>,
    dropped: Arc<AtomicU64>,
    told: u64,
    /// Whether it ends some time: stdin does.
    has_end: bool,
}

impl Inbox {
    fn new() -> (SyncSender<Vec<u8>>, Self) {
        let (sender, lines) = sync_channel(WAITING_MAX);
        (sender, Self { lines, dropped: Arc::default(), told: 0, has_end: false })
    }

    pub(super) fn udp(place: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(place)?;
        let (sender, inbox) = Self::new();
        let dropped = Arc::clone(&inbox.dropped);
        thread::Builder::new().name("syslog-udp".into()).spawn(move || {
            let mut datagram = vec![0; DATAGRAM_BYTES];
            loop {
                let Ok(count) = socket.recv(&mut datagram) else { continue };
                match sender.try_send(datagram[..count].to_vec()) {
                    Ok(()) => {}
                    Err(TrySendError::Full(_)) => {
                        dropped.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(TrySendError::Disconnected(_)) => return,
                }
            }
        })?;
        Ok(inbox)
    }

    pub(super) fn tcp(place: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(place)?;
        let (sender, inbox) = Self::new();
        let senders = Arc::new(AtomicUsize::new(0));
        thread::Builder::new().name("syslog-tcp".into()).spawn(move || {
            for stream in listener.incoming().flatten() {
                if senders.fetch_add(1, Ordering::Relaxed) >= SENDERS_MAX {
                    senders.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                let (sender, open) = (sender.clone(), Arc::clone(&senders));
                let receive = move || {
                    let _ = messages(BufReader::new(stream), |message| sender.send(message).is_ok());
                    open.fetch_sub(1, Ordering::Relaxed);
                };
                if thread::Builder::new().name("syslog-sender".into()).spawn(receive).is_err() {
                    senders.fetch_sub(1, Ordering::Relaxed);
                }
            }
        })?;
        Ok(inbox)
    }

    pub(super) fn stdin() -> io::Result<Self> {
        let (sender, mut inbox) = Self::new();
        inbox.has_end = true;
        thread::Builder::new().name("stdin".into()).spawn(move || {
            let mut stdin = io::stdin().lock();
            while let Ok(Some(line)) = line(&mut stdin) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        })?;
        Ok(inbox)
    }

    pub(super) fn look(&mut self, room: usize, to_the_end: bool) -> Batch {
        let mut batch = Batch::default();
        while batch.lines.len() < room {
            match self.lines.try_recv() {
                Ok(line) => batch.lines.push_back(line),
                Err(error) => {
                    batch.dry = true;
                    batch.ended = error == TryRecvError::Disconnected || to_the_end && !self.has_end;
                    break;
                }
            }
        }
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > self.told {
            batch.remarks.push(format!("{} datagrams found no room and were dropped", dropped - self.told));
            self.told = dropped;
        }
        batch
    }
}

/// One line, at most [`LINE_BYTES_MAX`] of it; `None` at the end.
fn line(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let count = from.take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)?;
    if line.len() > LINE_BYTES_MAX && !line.ends_with(b"\n") {
        // The rest of it says nothing without its beginning.
        from.skip_until(b'\n')?;
    }
    Ok((count > 0).then_some(line))
}

/// Gives every message of a stream to `take` until that has enough: counted octets where one begins with a digit, else a line.
fn messages(mut from: impl BufRead, mut take: impl FnMut(Vec<u8>) -> bool) -> io::Result<()> {
    loop {
        let first = from.fill_buf()?.first().copied();
        let message = match first {
            None => return Ok(()),
            Some(b'1'..=b'9') => counted(&mut from)?,
            Some(_) => line(&mut from)?.unwrap_or_default(),
        };
        if !take(message) {
            return Ok(());
        }
    }
}

/// `LENGTH SP MESSAGE` (RFC 6587, 3.4.1); a line that only begins with a digit stays a line.
fn counted(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    from.take(8).read_until(b' ', &mut head)?;
    let digits = head.strip_suffix(b" ").unwrap_or_default();
    let count = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<usize>().ok());
    match count.filter(|count| *count <= LINE_BYTES_MAX) {
        Some(count) => {
            let mut message = Vec::new();
            from.take(count as u64).read_to_end(&mut message)?;
            Ok(message)
        }
        None if head.ends_with(b"\n") => Ok(head),
        None => {
            head.extend(line(from)?.unwrap_or_default());
            Ok(head)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_end_by_line_or_by_count() {
        let stream = b"<13>one\n7 <13>two11 <13>th\nree\n5: no count\n2026-01-01 x\n<13>last";
        let mut all = Vec::new();
        messages(&stream[..], |message| {
            all.push(String::from_utf8(message).unwrap());
            true
        })
        .unwrap();
        let expected =
            ["<13>one\n", "<13>two", "<13>th\nree\n", "5: no count\n", "2026-01-01 x\n", "<13>last"];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_line_without_measure_is_cut_and_its_rest_passed_over() {
        let long = [&vec![b'x'; LINE_BYTES_MAX * 2][..], b"\nnext\n"].concat();
        let mut from = &long[..];
        assert_eq!(line(&mut from).unwrap().unwrap().len(), LINE_BYTES_MAX + 1);
        assert_eq!(line(&mut from).unwrap().unwrap(), b"next\n");
        assert_eq!(line(&mut from).unwrap(), None);
    }
}
