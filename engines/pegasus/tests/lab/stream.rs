//! Clients, servers and a stream of bytes that shows where it was bent.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{Lab, PATIENCE};

/// A listener on the server host. A program that another test is just starting may hold the one before for a moment.
fn listen(lab: &Lab, address: SocketAddr) -> TcpListener {
    lab.on("server", || {
        for _ in 0..100 {
            match TcpListener::bind(address) {
                Err(error) if error.kind() == ErrorKind::AddrInUse => thread::sleep(Duration::from_millis(20)),
                other => return other.unwrap(),
            }
        }
        panic!("{address} stays in use")
    })
}

/// Serves one connection on the server host.
pub fn serve<T: Send + 'static>(
    lab: &Lab,
    address: SocketAddr,
    work: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> JoinHandle<T> {
    let listener = listen(lab, address);
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        work(stream)
    })
}

/// Echoes on the server host until the test ends.
pub fn echo(lab: &Lab, address: SocketAddr) {
    let listener = listen(lab, address);
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
            });
        }
    });
}

pub fn connect(lab: &Lab, address: SocketAddr) -> TcpStream {
    let stream = lab.on("client", || TcpStream::connect(address).unwrap());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends `word` and hears it back.
pub fn echoes(stream: &mut TcpStream, word: &[u8]) -> bool {
    let mut back = vec![0; word.len()];
    let heard = stream.write_all(word).and_then(|()| stream.read_exact(&mut back));
    heard.inspect_err(|error| eprintln!("no echo: {error}")).is_ok() && back == word
}

/// Whether a new connection ends in RST; it may come so quickly that not even connecting succeeds.
pub fn is_reset(lab: &Lab, host: &str, address: SocketAddr) -> bool {
    match lab.on(host, || TcpStream::connect(address)) {
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
        Ok(mut stream) => {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            ends_in_reset(&mut stream)
        }
    }
}

/// Reads until the connection ends: true for RST, false for FIN. Silence is a failure.
pub fn ends_in_reset(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 65536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(_) => (),
            Err(error) if error.kind() == ErrorKind::Interrupted => (),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return true,
            Err(error) => panic!("neither FIN nor RST: {error}"),
        }
    }
}

pub fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Pseudo-random numbers from a seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn byte_at(seed: u64, at: u64) -> u8 {
    ((at.wrapping_add(seed)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// Writes `total` bytes in pieces of random size, with a pause now and then.
pub fn pour(stream: &mut TcpStream, seed: u64, total: u64) {
    let mut dice = Dice(seed | 1);
    let mut at = 0;
    while at < total {
        let most = if dice.roll(4) == 0 { 600_000 } else { 3_000 };
        let length = (1 + dice.roll(most)).min(total - at);
        let piece: Vec<u8> = (at..at + length).map(|at| byte_at(seed, at)).collect();
        stream.write_all(&piece).unwrap();
        at += length;
        if dice.roll(60) == 0 {
            thread::sleep(Duration::from_millis(dice.roll(30)));
        }
    }
}

/// As [`pour`], until told to stop; then ends the stream and returns how much it was.
pub fn pour_until(mut stream: TcpStream, seed: u64, stop: &AtomicBool) -> u64 {
    let mut at = 0;
    while !stop.load(Ordering::Relaxed) {
        let piece: Vec<u8> = (at..at + 60_000).map(|at| byte_at(seed, at)).collect();
        stream.write_all(&piece).unwrap();
        at += 60_000;
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    at
}

/// Reads to the end in pieces of random size, with a pause now and then, and returns how much came; every byte is checked.
pub fn drink(stream: &mut TcpStream, seed: u64) -> u64 {
    let mut dice = Dice(seed.wrapping_add(77) | 1);
    let mut buffer = vec![0; 400_000];
    let mut at = 0;
    loop {
        let most = if dice.roll(3) == 0 { 400_000 } else { 5_000 };
        let room = 1 + dice.roll(most) as usize;
        let length = stream.read(&mut buffer[..room]).unwrap();
        if length == 0 {
            return at;
        }
        for byte in &buffer[..length] {
            assert_eq!(*byte, byte_at(seed, at), "at byte {at}");
            at += 1;
        }
        if dice.roll(60) == 0 {
            thread::sleep(Duration::from_millis(dice.roll(30)));
        }
    }
}
