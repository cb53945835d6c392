//! A stretch of network that can be cut, or can lose answers.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How often a connection looks whether its stretch still is whole.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

const WHOLE: u8 = 0;
const CUT: u8 = 1;
const SILENT: u8 = 2;
const LOSES_ANSWERS: u8 = 3;
const ENDED: u8 = 4;

/// Forwards connections to a server, while the stretch is whole.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    state: Arc<AtomicU8>,
}

impl Proxy {
    pub(crate) fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::new(AtomicU8::new(WHOLE)),
        };
        let state = Arc::clone(&proxy.state);
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || accept(&listener, target, &state));
        proxy
    }

    /// Ends all connections and refuses new ones.
    pub(crate) fn cut(&self) {
        self.state.store(CUT, Ordering::SeqCst);
    }

    /// Holds all bytes back, as a router does that drops packets.
    pub(crate) fn silence(&self) {
        self.state.store(SILENT, Ordering::SeqCst);
    }

    /// Lets requests through, and ends a connection in place of the answer.
    pub(crate) fn lose_answers(&self) {
        self.state.store(LOSES_ANSWERS, Ordering::SeqCst);
    }

    pub(crate) fn mend(&self) {
        self.state.store(WHOLE, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.store(ENDED, Ordering::SeqCst);
    }
}

fn accept(listener: &TcpListener, target: SocketAddr, state: &Arc<AtomicU8>) {
    while state.load(Ordering::SeqCst) != ENDED {
        let Ok((client, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        if state.load(Ordering::SeqCst) == CUT {
            continue;
        }
        let Ok(server) = TcpStream::connect(target) else {
            continue;
        };
        for end in [&client, &server] {
            end.set_nonblocking(false).unwrap();
            end.set_nodelay(true).ok();
            end.set_read_timeout(Some(LOOK_INTERVAL)).unwrap();
        }
        let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let (requests, answers) = (Arc::clone(state), Arc::clone(state));
        std::thread::spawn(move || forward(from_client, to_server, &requests, false));
        std::thread::spawn(move || forward(server, client, &answers, true));
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, state: &AtomicU8, is_answer: bool) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match state.load(Ordering::SeqCst) {
            CUT | ENDED => break,
            SILENT => {
                std::thread::sleep(LOOK_INTERVAL);
                continue;
            }
            _ => {}
        }
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => break,
        };
        if is_answer && state.load(Ordering::SeqCst) == LOSES_ANSWERS {
            break;
        }
        while state.load(Ordering::SeqCst) == SILENT {
            std::thread::sleep(LOOK_INTERVAL);
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}
