//! Flows through two engines on four hosts, as the client and the server see them.

mod lab;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use lab::{
    PATIENCE, SERVICE,
    stream::{connect, echo, echoes, serve},
    target_state, v4, v6,
};
use serde_json::json;
use socket2::{Domain, Socket, Type};

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

#[test]
fn more_flows_than_the_kernel_has_ports_to_give() {
    let Some(lab) = lab::lab() else { return };
    for host in ["edge-a", "edge-b"] {
        lab.on(host, || std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "50000 50009").unwrap());
    }
    let (a, b) = lab.pair(2);
    echo(&lab, v4(7));
    let mut clients: Vec<TcpStream> = (0..60).map(|_| connect(&lab, v4(7))).collect();
    for client in &mut clients {
        assert!(echoes(client, b"there"), "{} {}", a.stats(), b.stats());
    }
    assert_eq!((&a.service()["flows"], &b.service()["flows"]), (&60.into(), &60.into()));
}

#[test]
fn the_flows_of_a_service_can_be_listed_while_they_last() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(2);
    echo(&lab, v4(7));
    let mut clients = Vec::new();
    for number in 0..5 {
        // Ages are told in milliseconds, and each worker has its own now.
        thread::sleep(Duration::from_millis(20));
        let mut client = connect(&lab, v4(7));
        assert!(echoes(&mut client, &vec![b'x'; 1 + 100 * number]));
        clients.push(client);
    }
    let ask = |engine: &lab::Engine, sort: &str, limit: usize| {
        engine.say(&json!({"type": "flows", "id": 9, "service_id": SERVICE, "sort": sort, "limit": limit}));
        engine.hear("flows", |message| message["type"] == "flows")
    };
    for (engine, side) in [(&a, "source"), (&b, "target")] {
        let list = ask(engine, "bytes", 2);
        assert_eq!((&list["total"], &list["flows"][0]["side"]), (&5.into(), &side.into()), "{list}");
        let bytes: Vec<u64> =
            list["flows"].as_array().unwrap().iter().map(|flow| flow["bytes_in"].as_u64().unwrap()).collect();
        assert_eq!(bytes, [401, 301], "{list}");
        assert_eq!(list["flows"][0]["client"], clients[4].local_addr().unwrap().to_string());
        assert_eq!(list["flows"][0]["state"], "open");
        let ages = ask(engine, "age", 10);
        assert_eq!(ages["flows"].as_array().unwrap().len(), 5);
        assert_eq!(ages["flows"][0]["client"], clients[0].local_addr().unwrap().to_string());
    }
    assert!(ask(&b, "bytes", 1)["flows"][0]["connect_ms"].is_u64());
    b.say(&json!({"type": "flows", "id": 9, "service_id": "01JNOBODY", "sort": "age", "limit": 10}));
    assert_eq!(b.hear("flows", |message| message["type"] == "flows")["total"], 0);
}

#[test]
fn a_transparent_service_shows_the_destination_the_client_itself() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(1);
    let mut target = target_state();
    target["inbound"][0]["transparent"] = true.into();
    b.apply_ok(2, target);
    lab.steer("edge-b", "");
    for address in [v4(8001), v6(8001)] {
        // The second time somebody at the target has that port: another has to do.
        for same_port in [true, false] {
            let _taken = (!same_port).then(|| lab.on("edge-b", || TcpListener::bind("[::]:5555").unwrap()));
            let server = serve(&lab, address, |mut stream| {
                stream.write_all(b"seen").unwrap();
                stream.peer_addr().unwrap()
            });
            let from: SocketAddr = if address.is_ipv4() { "10.1.0.2:5555" } else { "[fd01::2]:5555" }.parse().unwrap();
            let mut client: TcpStream = lab.on("client", || {
                let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
                socket.set_reuse_address(true).unwrap();
                socket.bind(&from.into()).unwrap();
                socket.connect(&address.into()).unwrap();
                socket.into()
            });
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut word = Vec::new();
            client.read_to_end(&mut word).unwrap();
            drop(client);
            let seen = server.join().unwrap();
            assert_eq!((&word[..], seen.ip(), seen.port() == from.port()), (&b"seen"[..], from.ip(), same_port));
            let line = b.flow();
            assert_eq!((&line["client"], &line["dialled_from"]), (&from.to_string().into(), &seen.to_string().into()));
            a.flow();
        }
    }
}
