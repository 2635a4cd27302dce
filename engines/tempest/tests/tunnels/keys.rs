//! Keys that change, by age or by the agent's word, while packets travel under them.

use std::{
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    SOON,
    lab::{self, Engine, Host, flow::Flow, lab, transfer},
};

#[test]
fn keys_change_under_traffic_and_nothing_is_lost() {
    let Some(lab) = lab() else { return };
    let (mut a, mut b) = lab.quick_engines();
    lab.a.reaches("10.77.0.2", SOON);
    let mut handshakes = vec![];
    let mut until = |count: usize, a: &mut Engine, meanwhile: &dyn Fn()| {
        let start = Instant::now();
        while handshakes.len() < count {
            assert!(start.elapsed() < Duration::from_secs(30), "keys do not change: {handshakes:?}");
            handshakes.push(a.stats()["tunnels"][0]["handshake_at_ms"].as_u64().unwrap());
            handshakes.dedup();
            meanwhile();
        }
    };
    let flows = Flow::both_ways(&lab.a, &lab.b, Duration::from_micros(500));
    until(5, &mut a, &|| thread::sleep(Duration::from_millis(50)));
    flows.into_iter().for_each(Flow::end);
    until(7, &mut a, &|| transfer(&lab.b, &lab.a, "10.77.0.1", 3_000_000));
    for engine in [&mut a, &mut b] {
        assert_eq!(engine.stats()["tunnels"][0]["dropped"], 0);
    }
}

#[test]
fn a_new_private_key_begins_everything_anew() {
    let Some(lab) = lab() else { return };
    let (mut a, mut b) = lab.engines();
    lab.a.reaches("10.77.0.2", SOON);
    let rotated = [77; 32];
    a.apply_with_key(&lab.a, &rotated, &[lab.a.to(&lab.b)]);
    assert!(!lab.a.pings("-c1 -W1 10.77.0.2"), "the peer does not know the new key yet");
    let mut tunnel = lab.b.to(&lab.a);
    tunnel["public_key"] = json!(lab::public_key(&rotated));
    b.apply(&lab.b, &[tunnel]);
    lab.a.reaches("10.77.0.2", SOON);
}

/// Datagrams both ways once in a millisecond while both hosts change their keys, one after the other.
#[test]
fn keys_of_both_ends_are_changed_under_running_traffic() {
    let Some(lab) = lab() else { return };
    let (mut a, mut b) = lab.engines();
    lab.a.reaches("10.77.0.2", SOON);
    let (a_new, b_new) = ([77; 32], [78; 32]);
    let fine = |answer: Value| assert_eq!(answer["errors"], json!([]), "{answer}");
    let (a_old, b_old) = (lab.a.private, lab.b.private);
    let handshake_at = |a: &mut Engine| a.stats()["tunnels"][0]["handshake_at_ms"].as_u64().unwrap();
    let mut last = handshake_at(&mut a);
    // One that is expected may take its time; none is expected for long enough to see one.
    let mut makes_a_handshake = |a: &mut Engine, expected: bool, why: &str| {
        let start = Instant::now();
        let time = if expected { SOON } else { Duration::from_millis(300) };
        let is_new = loop {
            thread::sleep(Duration::from_millis(20));
            let at = handshake_at(a);
            if at > last || start.elapsed() > time {
                break std::mem::replace(&mut last, at) < at;
            }
        };
        assert_eq!(is_new, expected, "{why}");
        // Some traffic under it, and time for one that crosses it.
        thread::sleep(Duration::from_millis(100));
        last = handshake_at(a);
    };
    let flows = Flow::both_ways(&lab.a, &lab.b, Duration::from_millis(1));
    let late = knowing(&lab.b, &lab.a, &a_old, None, true);
    fine(b.apply_with(&lab.b, &secrets(&b_new, Some(&b_old)), &late));
    makes_a_handshake(&mut a, false, "nothing that is in use has changed");
    fine(a.apply(&lab.a, &knowing(&lab.a, &lab.b, &b_new, Some(&b_old), false)));
    makes_a_handshake(&mut a, true, "one with the new key");
    fine(b.apply_with(&lab.b, &secrets(&b_new, Some(&b_old)), &[lab.b.to(&lab.a)]));
    makes_a_handshake(&mut a, true, "one that the other side begins with it");
    fine(b.apply_with(&lab.b, &secrets(&b_new, None), &[lab.b.to(&lab.a)]));
    let to_b = knowing(&lab.a, &lab.b, &b_new, None, false);
    fine(a.apply(&lab.a, &to_b));
    makes_a_handshake(&mut a, false, "the same keys");

    let late = knowing(&lab.a, &lab.b, &b_new, None, true);
    fine(a.apply_with(&lab.a, &secrets(&a_new, Some(&a_old)), &late));
    makes_a_handshake(&mut a, false, "the other side does not know the new key yet");
    fine(b.apply_with(&lab.b, &secrets(&b_new, None), &knowing(&lab.b, &lab.a, &a_new, Some(&a_old), false)));
    fine(a.apply_with(&lab.a, &secrets(&a_new, Some(&a_old)), &to_b));
    makes_a_handshake(&mut a, true, "one with the new key");
    fine(a.apply_with(&lab.a, &secrets(&a_new, None), &to_b));
    fine(b.apply_with(&lab.b, &secrets(&b_new, None), &knowing(&lab.b, &lab.a, &a_new, None, false)));
    makes_a_handshake(&mut a, false, "the same keys");
    flows.into_iter().for_each(Flow::end);
    for engine in [&mut a, &mut b] {
        engine.stats();
        // Two handshakes that cross leave one answer over, which is no stranger's.
        let strange = |event: &&Value| event["event"] == "refused" && event["reason"] != "unknown_session";
        assert_eq!(engine.events.iter().find(strange), None);
    }
    // With the old key alone a host is a stranger.
    a.apply(&lab.a, &knowing(&lab.a, &lab.b, &b_new, None, false));
    assert!(!lab.a.pings("-c1 -W1 10.77.0.2"));
}

/// Both hosts begin a handshake at the same time, over and over: the two cross, and leave each side two new sessions.
#[test]
fn handshakes_that_cross_lose_nothing() {
    let Some(lab) = lab() else { return };
    let (mut a, mut b) = lab.engines();
    lab.a.reaches("10.77.0.2", SOON);
    let (a_new, b_new) = ([77; 32], [78; 32]);
    let toggle = |engine: &mut Engine, host: &Host, peer: &Host, newest: &[u8; 32], theirs: &[u8; 32], late: bool| {
        let tunnels = knowing(host, peer, theirs, Some(&peer.private), late);
        assert_eq!(engine.apply_with(host, &secrets(newest, Some(&host.private)), &tunnels)["errors"], json!([]));
    };
    let flows = Flow::both_ways(&lab.a, &lab.b, Duration::from_micros(100));
    for round in 0..40 {
        let late = round % 2 == 0;
        thread::scope(|both| {
            both.spawn(|| toggle(&mut a, &lab.a, &lab.b, &a_new, &b_new, late));
            both.spawn(|| toggle(&mut b, &lab.b, &lab.a, &b_new, &a_new, late));
        });
        thread::sleep(Duration::from_millis(60));
    }
    flows.into_iter().for_each(Flow::end);
}

/// A host's own keys, with the one before as long as there is one.
fn secrets(newest: &[u8; 32], before: Option<&[u8; 32]>) -> Value {
    let mut secrets = json!({"private_key": STANDARD.encode(newest)});
    if let Some(before) = before {
        secrets["private_key_before"] = json!(STANDARD.encode(before));
    }
    secrets
}

/// The tunnel of a host that knows these keys of the other one; `late`: it still sends with its own key before.
fn knowing(from: &Host, to: &Host, newest: &[u8; 32], before: Option<&[u8; 32]>, late: bool) -> Vec<Value> {
    let mut tunnel = from.to(to);
    tunnel["public_key"] = json!(lab::public_key(newest));
    tunnel["use_key_before"] = json!(late);
    if let Some(before) = before {
        tunnel["public_key_before"] = json!(lab::public_key(before));
    }
    vec![tunnel]
}
