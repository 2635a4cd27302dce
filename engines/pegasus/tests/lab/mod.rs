//! Four hosts on this machine, joined by veth pairs, with two real engines between client and server:
//!
//! ```text
//! client 10.1.0.2 ── 10.1.0.1 edge-a 10.9.0.1 ══ 10.9.0.2 edge-b 10.2.0.1 ── server 10.2.0.2      (and fd01::, fd09::, fd02::)
//! ```
#![allow(dead_code, reason = "each test file uses its part")]

pub mod stream;

use std::{
    ffi::OsStr,
    fs::File,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

pub const PATIENCE: Duration = Duration::from_secs(20);
const DATA_PORT: u16 = 7947;
static LABS: AtomicU32 = AtomicU32::new(0);
static ENGINES: AtomicU32 = AtomicU32::new(0);

/// None where the host has no namespaces or TPROXY; then the test has nothing to run on. In CI that is a failure.
pub fn lab() -> Option<Lab> {
    if let Err(missing) = may_run() {
        assert!(std::env::var_os("CI").is_none(), "in CI this test must run, but: {missing}");
        eprintln!("skipped: {missing}");
        return None;
    }
    Some(Lab::build())
}

fn may_run() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("network namespaces need root".into());
    }
    for tool in ["ip", "nft"] {
        if Command::new(tool).arg("-V").output().is_err() {
            return Err(format!("{tool} is not installed"));
        }
    }
    Ok(())
}

pub fn run(line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let out = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
}

pub struct Lab {
    id: String,
    dir: tempfile::TempDir,
}

impl Lab {
    fn build() -> Self {
        let id = format!("pgt-{}-{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let lab = Self { id, dir: tempfile::tempdir().unwrap() };
        for host in ["client", "edge-a", "edge-b", "server"] {
            let ns = lab.ns(host);
            run(&format!("ip netns add {ns}"));
            run(&format!("ip -n {ns} link set lo up"));
            lab.exec(
                host,
                "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.tcp_congestion_control=reno",
            );
        }
        lab.wire("client", "edge-a", 1, (2, 1));
        lab.wire("edge-a", "edge-b", 9, (1, 2));
        lab.wire("edge-b", "server", 2, (1, 2));
        for (host, net) in [("client", 1), ("server", 2)] {
            let ns = lab.ns(host);
            run(&format!("ip -n {ns} route add default via 10.{net}.0.1"));
            run(&format!("ip -n {ns} -6 route add default via fd0{net}::1"));
        }
        lab
    }

    fn wire(&self, left: &str, right: &str, net: u8, (left_host, right_host): (u8, u8)) {
        let (left_ns, right_ns) = (self.ns(left), self.ns(right));
        run(&format!("ip link add w{net}l netns {left_ns} type veth peer name w{net}r netns {right_ns}"));
        for (ns, device, host) in
            [(&left_ns, format!("w{net}l"), left_host), (&right_ns, format!("w{net}r"), right_host)]
        {
            run(&format!("ip -n {ns} addr add 10.{net}.0.{host}/24 dev {device}"));
            run(&format!("ip -n {ns} addr add fd0{net}::{host}/64 dev {device} nodad"));
            run(&format!("ip -n {ns} link set {device} up"));
        }
    }

    pub fn ns(&self, host: &str) -> String {
        format!("{}-{host}", self.id)
    }

    pub fn exec(&self, host: &str, line: &str) {
        run(&format!("ip netns exec {} {line}", self.ns(host)));
    }

    /// Runs `work` on a host: a thread whose sockets are made there.
    pub fn on<T: Send>(&self, host: &str, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.ns(host));
        thread::scope(|scope| {
            let entered = scope.spawn(move || {
                let ns = File::open(path).unwrap();
                rustix::thread::move_into_link_name_space(
                    std::os::fd::AsFd::as_fd(&ns),
                    Some(rustix::thread::LinkNameSpaceType::Network),
                )
                .unwrap();
                work()
            });
            entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// What netmgr does on a source peer: TCP from the client's side towards 10.2/16 and fd02::/16 goes to this port.
    pub fn intercept(&self, port: u16) {
        self.steer(
            "edge-a",
            &format!(
                "iifname w1r ip daddr 10.2.0.0/16 meta l4proto tcp tproxy ip to 127.0.0.1:{port} meta mark set 0x1 accept\n\
                 iifname w1r ip6 daddr fd02::/16 meta l4proto tcp tproxy ip6 to [::1]:{port} meta mark set 0x1 accept"
            ),
        );
    }

    /// What netmgr does on a target peer of a transparent service: answers to the clients' addresses come back to us.
    pub fn steer(&self, host: &str, rules: &str) {
        let ns = self.ns(host);
        let rules = format!(
            "table inet arctic\ndelete table inet arctic\ntable inet arctic {{\nchain pre {{\ntype filter hook prerouting priority mangle; policy accept;\n\
             meta l4proto tcp socket transparent 1 meta mark set 0x1 accept\n{rules}\n}}\n}}\n"
        );
        let mut nft =
            Command::new("ip").args(["netns", "exec", &ns, "nft", "-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success());
        for family in ["-4", "-6"] {
            run(&format!("ip -n {ns} {family} rule add fwmark 1 lookup 100"));
            run(&format!("ip -n {ns} {family} route add local default dev lo table 100"));
        }
    }

    /// A rule for what comes in at a host.
    pub fn rule(&self, host: &str, rule: &str) {
        self.exec(host, "nft add table inet wire");
        self.exec(host, "nft add chain inet wire in { type filter hook input priority 0 ; }");
        self.exec(host, &format!("nft add rule inet wire in {rule}"));
    }

    pub fn engine(&self, host: &str, workers: usize) -> Engine {
        Engine::start(self, host, workers, None)
    }

    /// An engine that takes the place of this one once it is told its state.
    pub fn successor(&self, of: &Engine, workers: usize) -> Engine {
        Engine::start(self, &of.name, workers, Some(of))
    }

    /// Both engines, joined by one service from a to b for 10.2.0.0/24 and fd02::/64.
    pub fn pair(&self, workers: usize) -> (Engine, Engine) {
        self.pair_over("tcp", workers)
    }

    /// The same over this transport. With KCP, TCP between them is impossible.
    pub fn pair_over(&self, transport: &str, workers: usize) -> (Engine, Engine) {
        if transport == "kcp" {
            self.rule("edge-b", "tcp dport 7947 reject with tcp reset");
        }
        let (a, b) = (self.engine("edge-a", workers), self.engine("edge-b", workers));
        b.apply_ok(1, over(transport, target_state()));
        let applied = a.apply_ok(1, over(transport, source_state()));
        self.intercept(applied["listeners"][0]["port"].as_u64().unwrap() as u16);
        (a, b)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for host in ["client", "edge-a", "edge-b", "server"] {
            let _ = Command::new("ip").args(["netns", "del", &self.ns(host)]).output();
        }
    }
}

pub const SERVICE: &str = "01JSERVICE";

pub fn private_key(host: &str) -> [u8; 32] {
    let mut key = [0; 32];
    key[..host.len()].copy_from_slice(host.as_bytes());
    key
}

pub fn peer(host: &str, addresses: &[&str]) -> Value {
    let key = STANDARD.encode(pegasus::handshake::public_key(&private_key(host)).unwrap());
    json!({"peer_id": host, "public_key": key, "addresses": addresses})
}

pub fn state(host: &str) -> Value {
    json!({"data_listen": format!("[::]:{DATA_PORT}"), "self": host, "bypass_mark": 16_777_216, "peers": [], "listeners": [], "outbound": [], "inbound": []})
}

pub fn outbound(service: &str, mbps: f64) -> Value {
    json!({"service_id": service, "peer_id": "edge-b", "transport": "tcp", "bandwidth_mbps": mbps, "transparent": false})
}

/// A state with all of its services over this transport.
pub fn over(transport: &str, mut state: Value) -> Value {
    for side in ["outbound", "inbound"] {
        state[side].as_array_mut().unwrap().iter_mut().for_each(|service| service["transport"] = json!(transport));
    }
    state
}

pub fn source_state() -> Value {
    let mut state = state("edge-a");
    state["peers"] = json!([peer("edge-b", &["10.9.0.2:7947"])]);
    state["listeners"] = json!([{"name": "general", "port": 0, "table": {"attached": ["10.1.0.0/24"], "routes": [
        {"service_id": SERVICE, "route_id": "r4", "source": null, "dest": "10.2.0.0/16"},
        {"service_id": SERVICE, "route_id": "r6", "source": null, "dest": "fd02::/16"},
    ]}}]);
    state["outbound"] = json!([outbound(SERVICE, 0.0)]);
    state
}

pub fn target_state() -> Value {
    let mut state = state("edge-b");
    state["peers"] = json!([peer("edge-a", &["10.9.0.1:7947"])]);
    state["inbound"] = json!([{"service_id": SERVICE, "peer_id": "edge-a", "transport": "tcp", "bandwidth_mbps": 0, "transparent": false,
        "routes": [{"source": null, "dest": "10.2.0.0/24"}, {"source": null, "dest": "fd02::/64"}]}]);
    state
}

/// A running engine and everything it has said.
pub struct Engine {
    pub name: String,
    child: Child,
    stream: UnixStream,
    heard: Arc<(Mutex<Vec<Value>>, Condvar)>,
    socket: PathBuf,
}

impl Engine {
    fn start(lab: &Lab, host: &str, workers: usize, before: Option<&Engine>) -> Self {
        let number = ENGINES.fetch_add(1, Ordering::Relaxed);
        let socket = lab.dir.path().join(format!("{host}-{number}.sock"));
        let binary = std::env::var("PEGASUS").unwrap_or_else(|_| env!("CARGO_BIN_EXE_pegasus").to_owned());
        let child = Command::new("ip")
            .args(["netns", "exec", &lab.ns(host), &binary, "--control"])
            .arg(&socket)
            .args(["--workers", &workers.to_string()])
            .args(before.iter().flat_map(|before| [OsStr::new("--succeeds"), before.socket.as_os_str()]))
            .stderr(if std::env::var_os("LAB_LOGS").is_some() { Stdio::inherit() } else { Stdio::null() })
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "{host} does not listen: {error}"),
            }
            thread::sleep(Duration::from_millis(5));
        };
        let heard = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let (lines, hears) = (BufReader::new(stream.try_clone().unwrap()), heard.clone());
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                hears.0.lock().unwrap().push(serde_json::from_str(&line).unwrap());
                hears.1.notify_all();
            }
        });
        Self { name: host.to_owned(), child, stream, heard, socket }
    }

    pub fn say(&self, message: &Value) {
        (&self.stream).write_all(format!("{message}\n").as_bytes()).unwrap();
    }

    /// Waits for the next thing said that `fits`, and takes it.
    pub fn hear(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = self.heard.0.lock().unwrap();
        loop {
            if let Some(at) = heard.iter().position(&fits) {
                return heard.remove(at);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} never said {what}; it said {heard:#?}", self.name);
            heard = self.heard.1.wait_timeout(heard, left).unwrap().0;
        }
    }

    pub fn event(&self, event: &str) -> Value {
        self.hear(event, |message| message["event"] == event)
    }

    pub fn flow(&self) -> Value {
        self.event("flow")
    }

    /// How many things of this kind were said and not taken.
    pub fn unheard(&self, event: &str) -> usize {
        self.heard.0.lock().unwrap().iter().filter(|message| message["event"] == event).count()
    }

    pub fn apply(&self, generation: u64, state: &Value) -> Value {
        self.apply_with(generation, &json!({"private_key": STANDARD.encode(private_key(&self.name))}), state)
    }

    pub fn apply_with(&self, generation: u64, secrets: &Value, state: &Value) -> Value {
        self.say(&json!({"type": "apply", "generation": generation, "secrets": secrets, "state": state}));
        self.hear("applied", |message| {
            message["type"] == "applied" && message["generation"] == generation || message["type"] == "error"
        })
    }

    pub fn apply_ok(&self, generation: u64, state: Value) -> Value {
        let applied = self.apply(generation, &state);
        assert_eq!(applied["errors"], json!([]), "{applied}");
        applied
    }

    pub fn stats(&self) -> Value {
        self.say(&json!({"type": "stats", "id": 1}));
        self.hear("stats", |message| message["type"] == "stats")
    }

    pub fn service(&self) -> Value {
        self.stats()["services"][0].clone()
    }

    /// Waits until the stats say so.
    pub fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stats = self.stats();
            if is_so(&stats) {
                return stats;
            }
            assert!(Instant::now() < deadline, "{} never had {what}: {stats}", self.name);
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn pid(&self) -> u32 {
        // `ip netns exec` becomes the program it runs.
        self.child.id()
    }

    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    pub fn rss_kib(&self) -> u64 {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).unwrap();
        let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn terminate(&mut self) -> std::process::ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }

    pub fn wait(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "{} does not end", self.name);
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn has_socket(&self) -> bool {
        self.socket.exists()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let crashed = self.child.try_wait().ok().flatten().is_some_and(|status| status.code() == Some(1));
        let _ = self.child.kill();
        let _ = self.child.wait();
        assert!(!crashed || thread::panicking(), "{} ended with exit code 1: a bug", self.name);
    }
}

pub fn v4(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 2, 0, 2], port))
}

pub fn v6(port: u16) -> SocketAddr {
    SocketAddr::from(([0xfd02, 0, 0, 0, 0, 0, 0, 2], port))
}
