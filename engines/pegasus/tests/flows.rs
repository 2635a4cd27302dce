//! Flows through two engines on four hosts, as the client and the server see them.

mod lab;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use lab::{Lab, PATIENCE, v4, v6};

/// Serves one connection on the server host.
fn serve<T: Send + 'static>(
    lab: &Lab,
    address: SocketAddr,
    work: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> JoinHandle<T> {
    let listener = lab.on("server", || TcpListener::bind(address).unwrap());
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        work(stream)
    })
}

fn connect(lab: &Lab, address: SocketAddr) -> TcpStream {
    let stream = lab.on("client", || TcpStream::connect_timeout(&address, PATIENCE).unwrap());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn a_request_is_answered_and_both_sides_write_one_line() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(2);
    for address in [v4(8001), v6(8001)] {
        let server = serve(&lab, address, |mut stream| {
            let mut request = [0; 5];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(b"answer").unwrap();
            (request, stream.peer_addr().unwrap())
        });
        let mut client = connect(&lab, address);
        let from = client.local_addr().unwrap();
        client.write_all(b"hello").unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        drop(client);
        let (request, seen) = server.join().unwrap();
        assert_eq!((&request, &answer[..]), (b"hello", &b"answer"[..]));
        assert!(
            ["10.2.0.1", "fd02::1"].contains(&seen.ip().to_string().as_str()),
            "the server sees edge-b, not {seen}"
        );
        for (engine, side, other) in [(&a, "source", "edge-b"), (&b, "target", "edge-a")] {
            let line = engine.flow();
            assert_eq!(line["side"], side);
            assert_eq!(
                (&line["client"], &line["destination"]),
                (&from.to_string().into(), &address.to_string().into())
            );
            assert_eq!((&line["peer_id"], &line["reason"]), (&other.into(), &"closed".into()), "{line}");
            assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&5.into(), &6.into()));
            assert_eq!(line["dialled_from"].as_str().is_some(), side == "target");
            assert!(line["first_byte_ms"].is_number());
        }
    }
    let service = a.service();
    assert_eq!((&service["flows"], &service["flows_total"], &service["bytes_in"]), (&0.into(), &2.into(), &10.into()));
    assert_eq!((a.unheard("flow"), b.unheard("flow")), (0, 0), "exactly one line per flow and side");
}
