//! Two hosts joined by a wire, in network namespaces, with an engine or wireguard-go on each. Everything is gone when
//! the lab is dropped.

#![allow(dead_code)]

pub mod flow;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

pub const PORT: u16 = 7947;
pub const DEVICE: &str = "arct-t";
static LABS: AtomicUsize = AtomicUsize::new(0);

pub struct Lab {
    pub a: Host,
    pub b: Host,
    dir: tempfile::TempDir,
}

pub struct Host {
    pub namespace: String,
    pub number: u8,
    pub private: [u8; 32],
    pub public: String,
    socket: PathBuf,
}

pub struct Engine {
    pub child: Child,
    reader: BufReader<UnixStream>,
    generation: u64,
    pub events: Vec<Value>,
}

/// None, said on stderr, where the host cannot do it; in CI that is a failure.
pub fn lab() -> Option<Lab> {
    let missing = [
        // SAFETY: takes nothing, changes nothing.
        (unsafe { libc::geteuid() } == 0, "root"),
        (fs::exists("/dev/net/tun").unwrap_or(false), "/dev/net/tun"),
        (has("ip"), "iproute2"),
        (has("ping"), "iputils-ping"),
    ];
    for (present, what) in missing {
        if !present {
            assert!(std::env::var_os("CI").is_none(), "{what} is missing");
            eprintln!("skipped: {what} is missing");
            return None;
        }
    }
    Some(Lab::new())
}

pub fn has(program: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {program}")]).output().is_ok_and(|out| out.status.success())
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let name = format!("tmt-{}-{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let host = |number: u8, letter| {
            let private = [number; 32];
            let namespace = format!("{name}{letter}");
            run(&format!("ip netns add {namespace}"));
            run(&format!("ip -n {namespace} link set lo up"));
            // Small packets of the host's own would only disturb what is counted.
            run(&format!("ip netns exec {namespace} sysctl -qw net.ipv6.conf.default.router_solicitations=0"));
            Host {
                socket: dir.path().join(format!("{letter}.sock")),
                public: public_key(&private),
                namespace,
                number,
                private,
            }
        };
        let lab = Self { a: host(1, 'a'), b: host(2, 'b'), dir };
        run(&format!("ip -n {} link add wire type veth peer name wire netns {}", lab.a.namespace, lab.b.namespace));
        for host in [&lab.a, &lab.b] {
            host.ip(&format!("addr add 10.9.0.{}/24 dev wire", host.number));
            host.ip(&format!("addr add fd09::{}/64 dev wire nodad", host.number));
            host.ip("link set wire up");
            host.make_device();
        }
        lab
    }

    /// The usual: an engine on each host, each knowing the other.
    pub fn engines(&self) -> (Engine, Engine) {
        self.told(self.a.engine(), self.b.engine())
    }

    /// As [`Lab::engines`], by [`Host::quick_engine`].
    pub fn quick_engines(&self) -> (Engine, Engine) {
        self.told(self.a.quick_engine(), self.b.quick_engine())
    }

    fn told(&self, mut a: Engine, mut b: Engine) -> (Engine, Engine) {
        assert_eq!(a.apply(&self.a, &[self.a.to(&self.b)])["errors"], json!([]));
        assert_eq!(b.apply(&self.b, &[self.b.to(&self.a)])["errors"], json!([]));
        (a, b)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for host in [&self.a, &self.b] {
            let _ = Command::new("ip").args(["netns", "del", &host.namespace]).status();
        }
    }
}

impl Host {
    pub fn ip(&self, args: &str) {
        run(&format!("ip -n {} {args}", self.namespace));
    }

    pub fn make_device(&self) {
        self.ip(&format!("tuntap add dev {DEVICE} mode tun vnet_hdr"));
        self.ip(&format!("addr add 10.77.0.{}/24 dev {DEVICE}", self.number));
        self.ip(&format!("addr add fd77::{}/64 dev {DEVICE} nodad", self.number));
        self.ip(&format!("link set {DEVICE} mtu 1420 up"));
    }

    pub fn delete_device(&self) {
        self.ip(&format!("link del {DEVICE}"));
    }

    /// The tunnel to `peer` as an agent would want it.
    pub fn to(&self, peer: &Host) -> Value {
        json!({"peer_id": peer.namespace, "public_key": peer.public, "endpoints": [format!("10.9.0.{}:{PORT}", peer.number)],
            "device": DEVICE, "mtu": 1420, "keepalive_s": 0})
    }

    pub fn engine(&self) -> Engine {
        let mut command = self.command(env!("CARGO_BIN_EXE_tempest"));
        command.args(["--workers", "2", "--control"]).arg(&self.socket);
        Engine::start(command, &self.socket)
    }

    /// The engine of `tests/tunnels.rs` `engine_process`, whose times are short.
    pub fn quick_engine(&self) -> Engine {
        let own = std::env::current_exe().unwrap();
        let mut command = self.command(own.to_str().unwrap());
        command
            .args(["--exact", "engine_process", "--ignored", "--nocapture"])
            .env("TEMPEST_TEST_CONTROL", &self.socket);
        command.stdout(Stdio::null());
        Engine::start(command, &self.socket)
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, program]);
        command
    }

    /// Whether a ping with these arguments is answered, every time it is sent.
    pub fn pings(&self, args: &str) -> bool {
        let out = self.ping(args);
        out.contains(" 0% packet loss")
    }

    pub fn ping(&self, args: &str) -> String {
        let out = self.command("ping").args(args.split(' ')).output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// Pings until answered; how long that took.
    pub fn reaches(&self, address: &str, within: Duration) -> Duration {
        let start = Instant::now();
        while !self.pings(&format!("-c1 -W1 {address}")) {
            assert!(start.elapsed() < within, "{address} did not answer within {within:?}");
            thread::sleep(Duration::from_millis(50));
        }
        start.elapsed()
    }

    /// Runs `work` on a thread inside this host.
    pub fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
        let namespace = fs::File::open(format!("/run/netns/{}", self.namespace)).unwrap();
        thread::spawn(move || {
            // SAFETY: changes only this thread's namespace, to one that is open.
            assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0, "setns");
            work()
        })
    }

    pub fn key_file(&self, lab: &Lab) -> PathBuf {
        let path = lab.path(&format!("{}.key", self.namespace));
        fs::write(&path, STANDARD.encode(self.private)).unwrap();
        path
    }

    pub fn public_bytes(&self) -> [u8; 32] {
        STANDARD.decode(&self.public).unwrap().try_into().unwrap()
    }
}

impl Engine {
    fn start(mut command: Command, socket: &PathBuf) -> Self {
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "{}: {error}", socket.display()),
            }
            thread::sleep(Duration::from_millis(10));
        };
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut engine = Self { child, reader: BufReader::new(stream), generation: 0, events: Vec::new() };
        assert_eq!(engine.answer("hello")["engine"], "tempest");
        engine
    }

    pub fn apply(&mut self, host: &Host, tunnels: &[Value]) -> Value {
        self.apply_with_key(host, &host.private, tunnels)
    }

    pub fn apply_with_key(&mut self, host: &Host, private: &[u8; 32], tunnels: &[Value]) -> Value {
        self.apply_with(host, &json!({"private_key": STANDARD.encode(private)}), tunnels)
    }

    pub fn apply_with(&mut self, host: &Host, secrets: &Value, tunnels: &[Value]) -> Value {
        self.generation += 1;
        let message = json!({"type": "apply", "generation": self.generation, "secrets": secrets,
            "state": {"data_listen": format!("0.0.0.0:{PORT}"), "self": host.namespace, "bypass_mark": 16_777_216, "tunnels": tunnels}});
        self.send(&message);
        let answer = self.answer("applied");
        assert_eq!(answer["generation"], self.generation);
        answer
    }

    pub fn stats(&mut self) -> Value {
        self.send(&json!({"type": "stats", "id": 1}));
        self.answer("stats")
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.reader.get_mut(), "{message}").unwrap();
    }

    /// The next message of this type; events before it are kept.
    fn answer(&mut self, kind: &str) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.reader.read_line(&mut line).unwrap() > 0, "the engine closed the connection");
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["type"] == kind {
                return message;
            }
            assert_eq!(message["type"], "event", "{message}");
            self.events.push(message);
        }
    }

    pub fn drain(&mut self, timeout: Duration) {
        self.send(&json!({"type": "drain", "timeout_ms": timeout.as_millis() as u64}));
        self.answer("draining");
    }

    pub fn terminate(&self) {
        // SAFETY: a child of ours that was not waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
    }

    /// Waits for the engine to end, at most 10 s.
    pub fn exit_code(&mut self) -> Option<i32> {
        for _ in 0..1000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            thread::sleep(Duration::from_millis(10));
        }
        None
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends `bytes` of a pattern over TCP from one host to the other; panics unless all arrive as sent.
pub fn transfer(from: &Host, to: &Host, address: &'static str, bytes: usize) {
    let listener = to.inside(move || TcpListener::bind((address, 9000)).unwrap()).join().unwrap();
    let received = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.read_to_end(&mut all).unwrap();
        all
    });
    let pattern: Vec<u8> = (0..bytes).map(|at| (at * 7 + at / 251) as u8).collect();
    let sent = pattern.clone();
    from.inside(move || TcpStream::connect((address, 9000)).unwrap().write_all(&sent).unwrap()).join().unwrap();
    assert!(received.join().unwrap() == pattern, "what arrived is not what was sent");
}

/// An echo server on `to` and a client on `from`: how many of `sizes` came back as sent.
pub fn echoes(from: &Host, to: &Host, address: &'static str, sizes: Vec<usize>, pause: Duration) -> usize {
    let server = to.inside(move || UdpSocket::bind((address, 9001)).unwrap()).join().unwrap();
    server.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let echo = thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok((length @ 1.., from)) = server.recv_from(&mut buffer) {
            let _ = server.send_to(&buffer[..length], from);
        }
    });
    let back = from.inside(move || {
        let any = if address.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        let client = UdpSocket::bind(any).unwrap();
        client.connect((address, 9001)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut buffer = vec![0; 65_536];
        let mut back = 0;
        for (number, size) in sizes.into_iter().enumerate() {
            let message: Vec<u8> = (0..size).map(|at| (at + number) as u8).collect();
            client.send(&message).unwrap();
            // One that was given up may still come, before the one that is waited for.
            while let Ok(length) = client.recv(&mut buffer) {
                if buffer[..length] == message {
                    back += 1;
                    break;
                }
            }
            thread::sleep(pause);
        }
        // Nothing more comes.
        client.send(&[]).unwrap();
        back
    });
    let back = back.join().unwrap();
    echo.join().unwrap();
    back
}

pub fn run(command: &str) {
    let out = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
}

pub fn public_key(private: &[u8; 32]) -> String {
    STANDARD.encode(x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(*private)))
}
