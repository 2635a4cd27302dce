//! Routes that lead in a circle: what goes round has an end, and others do not notice.

mod lab;

use std::{io::Read, net::SocketAddr};

use lab::{
    source_state,
    stream::{connect, echo, echoes},
    target_state, v4,
};
use serde_json::json;

#[test]
fn two_meshes_that_lead_to_each_other_end_a_flow_as_routers_end_a_packet() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = (lab.engine("edge-a", 2), lab.engine("edge-b", 2));
    let mut target = target_state();
    target["inbound"][0]["routes"] = json!([{"source": null, "dest": "10.2.0.0/16"}]);
    b.apply_ok(1, target);
    let applied = a.apply_ok(1, source_state());
    let port = applied["listeners"][0]["port"].as_u64().unwrap();
    // Whatever comes to edge-a for 10.2/16 is taken, from edge-b too, and edge-b knows no other way to 10.2.5/24.
    lab.steer(
        "edge-a",
        &format!("ip daddr 10.2.0.0/16 meta l4proto tcp tproxy ip to 127.0.0.1:{port} meta mark set 0x1 accept"),
    );
    lab.exec("edge-b", "ip route add 10.2.5.0/24 via 10.9.0.1");
    echo(&lab, v4(7));
    let mut other = connect(&lab, v4(7));
    assert!(echoes(&mut other, b"before"));

    let mut lost = connect(&lab, SocketAddr::from(([10, 2, 5, 1], 80)));
    assert!(lost.read(&mut [0; 1]).is_err(), "it is reset");
    let once_more = a.until("an end of it", |stats| stats["services"][0]["flows"] == 1);
    let rounds = once_more["services"][0]["flows_total"].as_u64().unwrap() - 1;
    assert!((2..=64).contains(&rounds), "{rounds} rounds");
    let mut reasons: Vec<String> = Vec::new();
    for _ in 0..rounds {
        reasons.push(a.flow()["reason"].as_str().unwrap().to_owned());
    }
    assert!(reasons.iter().any(|reason| reason == "hop_limit"), "{reasons:?}");
    assert!(echoes(&mut other, b"after"));
}

#[test]
fn a_peer_that_is_asked_for_its_own_data_port_refuses() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = (lab.engine("edge-a", 1), lab.engine("edge-b", 1));
    let mut target = target_state();
    target["data_listen"] = json!("10.9.0.2:7947");
    target["inbound"][0]["routes"] = json!([{"source": null, "dest": "10.0.0.0/8"}]);
    b.apply_ok(1, target);
    let mut source = source_state();
    source["listeners"][0]["table"]["routes"][0]["dest"] = json!("10.0.0.0/8");
    let applied = a.apply_ok(1, source);
    let port = applied["listeners"][0]["port"].as_u64().unwrap();
    lab.steer(
        "edge-a",
        &format!(
            "iifname w1r ip daddr 10.9.0.2 meta l4proto tcp tproxy ip to 127.0.0.1:{port} meta mark set 0x1 accept"
        ),
    );
    let mut client = connect(&lab, "10.9.0.2:7947".parse().unwrap());
    assert!(client.read(&mut [0; 1]).is_err());
    assert_eq!(a.flow()["reason"], "refused_not_covered");
    assert_eq!(b.event("refused")["reason"], "refused_not_covered");
}
