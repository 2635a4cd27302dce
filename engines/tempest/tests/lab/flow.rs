//! A flow of numbered datagrams through the tunnel, and which of them did not arrive.
//!
//! Nothing but the tunnel may lose one: the receiver's buffer holds seconds of them, and the end of the flow waits for
//! what is late. `ping` does neither: after its last packet it waits for twice the longest round trip that it has seen.

use std::{
    net::UdpSocket,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use super::{DEVICE, Host};

const PORT: u16 = 9002;
static BUFFER_BYTES: libc::c_int = 16 << 20;
/// What has not arrived this long after the last was sent does not.
const LATE: Duration = Duration::from_secs(5);

pub struct Flow {
    from: String,
    end: End,
    sent: thread::JoinHandle<u64>,
    arrived: thread::JoinHandle<Vec<bool>>,
}

/// Ends the flow when dropped, by a test that fails too.
struct End(Arc<AtomicBool>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

impl Flow {
    /// One each way.
    pub fn both_ways(a: &Host, b: &Host, pause: Duration) -> [Self; 2] {
        [Self::begin(a, b, "10.77.0.2", pause), Self::begin(b, a, "10.77.0.1", pause)]
    }

    /// One datagram each `pause`, which is as long as the scheduler makes it, until [`Flow::end`].
    pub fn begin(from: &Host, to: &Host, address: &'static str, pause: Duration) -> Self {
        // A stalled engine must not overflow its device.
        from.ip(&format!("link set {DEVICE} txqueuelen 20000"));
        let receiver = to
            .inside(move || {
                let socket = UdpSocket::bind((address, PORT)).unwrap();
                socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                // SAFETY: takes a pointer to an int and its size.
                let forced = unsafe {
                    let size = (&raw const BUFFER_BYTES).cast();
                    libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, size, 4)
                };
                assert_eq!(forced, 0, "a large buffer");
                socket
            })
            .join()
            .unwrap();
        let end = End(Arc::default());
        let told = end.0.clone();
        let sent = from.inside(move || {
            let any = if address.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
            let socket = UdpSocket::bind(any).unwrap();
            socket.connect((address, PORT)).unwrap();
            let mut number = 0u64;
            while !told.load(Relaxed) {
                socket.send(&number.to_le_bytes()).unwrap();
                number += 1;
                thread::sleep(pause);
            }
            // An empty one says that this was all; as it may be lost, the other end also has a deadline.
            socket.send(&[]).unwrap();
            number
        });
        let told = end.0.clone();
        let arrived = thread::spawn(move || {
            let (mut arrived, mut deadline, mut buffer) = (Vec::new(), None, [0; 8]);
            while deadline.is_none_or(|deadline| Instant::now() < deadline) {
                match receiver.recv(&mut buffer) {
                    Ok(0) => break,
                    Ok(_) => {
                        let number = u64::from_le_bytes(buffer) as usize;
                        if arrived.len() <= number {
                            arrived.resize(number + 1, false);
                        }
                        assert!(!std::mem::replace(&mut arrived[number], true), "{number} arrived twice");
                    }
                    Err(_) if told.load(Relaxed) => {
                        deadline.get_or_insert_with(|| Instant::now() + LATE);
                    }
                    Err(_) => (),
                }
            }
            arrived
        });
        Self { from: from.namespace.clone(), end, sent, arrived }
    }

    /// Panics unless every one that was sent has arrived.
    pub fn end(self) {
        drop(self.end);
        let (sent, arrived) = (self.sent.join().unwrap(), self.arrived.join().unwrap());
        let is_lost = |number: &u64| !arrived.get(*number as usize).copied().unwrap_or(false);
        let lost: Vec<u64> = (0..sent).filter(is_lost).collect();
        assert!(lost.is_empty(), "{} of {sent} from {} were lost: {lost:?}", lost.len(), self.from);
    }
}
