//! A peer's static key is changed while flows run: old and new for an overlap, then the new one alone.

mod lab;

use std::{
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lab::{
    Engine, Lab, private_key, source_state,
    stream::{connect, drink, echo, echoes, pour_until, serve},
    target_state, v4,
};
use serde_json::{Value, json};

fn secrets(newest: &[u8; 32], before: Option<&[u8; 32]>) -> Value {
    let mut secrets = json!({"private_key": STANDARD.encode(newest)});
    if let Some(before) = before {
        secrets["private_key_before"] = json!(STANDARD.encode(before));
    }
    secrets
}

fn public(private: &[u8; 32]) -> String {
    STANDARD.encode(pegasus::handshake::public_key(private).unwrap())
}

/// `state` with its only peer described so.
fn knowing(mut state: Value, newest: &[u8; 32], before: Option<&[u8; 32]>, use_key_before: bool) -> Value {
    let peer = &mut state["peers"][0];
    peer["public_key"] = json!(public(newest));
    if let Some(before) = before {
        peer["public_key_before"] = json!(public(before));
    }
    peer["use_key_before"] = json!(use_key_before);
    state
}

fn applies(engine: &Engine, generation: u64, secrets: &Value, state: &Value) {
    let applied = engine.apply_with(generation, secrets, state);
    assert_eq!(applied["errors"], json!([]), "{applied}");
}

/// Short flows, one after the other, and one that stays.
fn works(lab: &Lab, staying: &mut TcpStream, when: &str) {
    for _ in 0..20 {
        assert!(echoes(&mut connect(lab, v4(7)), b"short"), "{when}");
    }
    assert!(echoes(staying, when.as_bytes()), "{when}");
}

fn by(transport: &str, mut state: Value, list: &str) -> Value {
    state[list][0]["transport"] = json!(transport);
    state
}

#[test]
fn keys_of_both_ends_are_changed_under_running_flows() {
    for transport in ["tcp", "kcp"] {
        let Some(lab) = lab::lab() else { return };
        let (source, target) = (by(transport, source_state(), "outbound"), by(transport, target_state(), "inbound"));
        let (a, b) = lab.pair(2);
        a.apply_ok(2, source.clone());
        b.apply_ok(2, target.clone());
        echo(&lab, v4(7));
        let server = serve(&lab, v4(9), |mut stream| drink(&mut stream, 3));
        let (bulk, stop) = (connect(&lab, v4(9)), Arc::new(AtomicBool::new(false)));
        let until = stop.clone();
        let bulk = thread::spawn(move || pour_until(bulk, 3, &until));
        let mut staying = connect(&lab, v4(7));
        works(&lab, &mut staying, "at first");

        let (a_old, b_old) = (private_key("edge-a"), private_key("edge-b"));
        let (a_new, b_new) = ([41; 32], [42; 32]);
        // The target's key: it takes both, the source hears of it later, then the old one is gone.
        applies(&b, 3, &secrets(&b_new, Some(&b_old)), &target);
        works(&lab, &mut staying, "the source knows only the old key");
        let knows_b = knowing(source.clone(), &b_new, Some(&b_old), false);
        applies(&a, 3, &secrets(&a_old, None), &knows_b);
        works(&lab, &mut staying, "the source knows both keys");
        a.until("new carriers", |stats| {
            let idle = |peer: &Value| peer["transport"] == transport && peer["carriers_idle"].as_u64() > Some(2);
            stats["peers"].as_array().unwrap().iter().any(idle)
        });
        // Carriers made with the old key were replaced by now, so nobody notices that it goes.
        thread::sleep(Duration::from_millis(1500));
        applies(&b, 4, &secrets(&b_new, None), &target);
        let knows_b = knowing(source, &b_new, None, false);
        applies(&a, 4, &secrets(&a_old, None), &knows_b);
        works(&lab, &mut staying, "the target has only its new key");

        // The source's key: used only once the target knows it.
        let mut late = knows_b.clone();
        late["peers"][0]["use_key_before"] = json!(true);
        applies(&a, 5, &secrets(&a_new, Some(&a_old)), &late);
        works(&lab, &mut staying, "the target does not know the source's new key");
        applies(&b, 5, &secrets(&b_new, None), &knowing(target.clone(), &a_new, Some(&a_old), false));
        applies(&a, 6, &secrets(&a_new, Some(&a_old)), &knows_b);
        works(&lab, &mut staying, "the source uses its new key");
        thread::sleep(Duration::from_millis(1500));
        applies(&a, 7, &secrets(&a_new, None), &knows_b);
        applies(&b, 6, &secrets(&b_new, None), &knowing(target, &a_new, None, false));
        works(&lab, &mut staying, "only new keys are left");

        stop.store(true, Ordering::Relaxed);
        assert_eq!(bulk.join().unwrap(), server.join().unwrap(), "{transport}");
        for engine in [&a, &b] {
            assert_eq!(engine.unheard("refused"), 0, "no handshake was made with a key that the other did not know");
            assert_eq!(engine.stats()["refused_total"], 0);
        }
    }
}

#[test]
fn an_erased_key_opens_no_door_any_more() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(1);
    echo(&lab, v4(7));
    let mut staying = connect(&lab, v4(7));
    assert!(echoes(&mut staying, b"before"));
    let b_new = [42; 32];
    applies(&b, 2, &secrets(&b_new, None), &target_state());
    assert!(echoes(&mut staying, b"after"), "a flow that runs goes on");
    let refused = b.event("refused");
    assert_eq!((&refused["reason"], &refused["peer_id"]), (&json!("wrong_key"), &json!("edge-a")));
    a.apply_ok(2, knowing(source_state(), &b_new, None, false));
    a.until("carriers", |stats| stats["peers"][0]["carriers_idle"].as_u64() > Some(0));
    assert!(echoes(&mut connect(&lab, v4(7)), b"again"));
}
