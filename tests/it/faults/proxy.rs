//! A network that is slow, loses connections or says nothing any more: a proxy between clients and
//! a broker. No test itself.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;

/// How often a connection looks whether the network has changed.
const LOOK: Duration = Duration::from_millis(10);

/// What the network does to everything that crosses it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// Each piece waits so long, and up to as long again.
    pub(crate) delay: Duration,
    /// Of so many pieces one ends its connection instead; 0 is none.
    pub(crate) reset_one_in: u32,
    /// What the broker says waits, as on a path that is half open.
    pub(crate) holds_answers: bool,
    /// What clients say waits.
    pub(crate) holds_requests: bool,
}

#[derive(Debug, Default)]
struct Shared {
    target: Mutex<Option<SocketAddr>>,
    weather: Mutex<Weather>,
    /// Connections of an earlier number end, with what waits in them.
    epoch: AtomicU64,
    has_ended: AtomicBool,
    held: AtomicU64,
}

/// A proxy on the loopback interface; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// A proxy that knows no broker yet and refuses whoever comes.
    pub(crate) fn new(random: Rng) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting, random));
        Self { address, shared }
    }

    /// Where clients come to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads clients to the broker at `target`.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap() = Some(target);
    }

    /// From now on the network is like this.
    pub(crate) fn set(&self, weather: Weather) {
        *self.shared.weather.lock().unwrap() = weather;
    }

    /// Ends every connection; what waits in them is lost.
    pub(crate) fn cut(&self) {
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// Pieces that had to wait because their direction was held.
    pub(crate) fn held(&self) -> u64 {
        self.shared.held.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::SeqCst);
        self.cut();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, mut random: Rng) {
    while !shared.has_ended.load(Ordering::SeqCst) {
        let Ok((client, _)) = listener.accept() else {
            std::thread::sleep(LOOK);
            continue;
        };
        let target = *shared.target.lock().unwrap();
        let Some(broker) = target.and_then(|target| TcpStream::connect(target).ok()) else {
            continue;
        };
        for (from, to, are_answers) in [(&client, &broker, false), (&broker, &client, true)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let (shared, random) = (Arc::clone(shared), random.fork());
            std::thread::spawn(move || carry(from, to, are_answers, &shared, random));
        }
    }
}

/// Carries one direction of a connection until it ends.
fn carry(
    mut from: TcpStream,
    mut to: TcpStream,
    are_answers: bool,
    shared: &Shared,
    mut random: Rng,
) {
    let epoch = shared.epoch.load(Ordering::SeqCst);
    from.set_nonblocking(false).unwrap();
    from.set_read_timeout(Some(LOOK)).unwrap();
    let mut piece = [0; 16 << 10];
    while shared.epoch.load(Ordering::SeqCst) == epoch {
        let length = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => break,
        };
        let weather = *shared.weather.lock().unwrap();
        if weather.reset_one_in > 0 && random.u32(0..weather.reset_one_in) == 0 {
            break;
        }
        std::thread::sleep(weather.delay.mul_f64(1.0 + random.f64()));
        if !passes(are_answers, epoch, shared) || to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    // The other direction reads that it is over.
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}

/// Waits while the direction is held; false once the connection is cut.
fn passes(are_answers: bool, epoch: u64, shared: &Shared) -> bool {
    let mut is_counted = false;
    loop {
        if shared.epoch.load(Ordering::SeqCst) != epoch {
            return false;
        }
        let weather = *shared.weather.lock().unwrap();
        if !(if are_answers { weather.holds_answers } else { weather.holds_requests }) {
            return true;
        }
        if !is_counted {
            shared.held.fetch_add(1, Ordering::SeqCst);
            is_counted = true;
        }
        std::thread::sleep(LOOK);
    }
}
