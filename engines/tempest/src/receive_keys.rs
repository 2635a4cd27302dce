//! The keys that a tunnel receives under, the newest first, and which of them the peer has taken into use.
//!
//! The paper (6.1 to 6.3) keeps three of them: previous, current, next. That loses packets when two handshakes cross:
//! each side then has two new sessions beside the one under which its peer goes on sending until it hears of either, and
//! may for good send under one of them and receive under the other. So a key stays until its time is over.

use crate::{
    clock::Millis,
    limits::RECEIVE_KEYS_MAX,
    session::{ReceiveKey, Refusal, SendKey, Session},
    timing::Timing,
};

#[derive(Default)]
pub struct ReceiveKeys(Vec<Received>);

struct Received {
    key: ReceiveKey,
    /// This side answered, and the peer has not used the session yet: what to send under once it does.
    waiting: Option<SendKey>,
}

impl ReceiveKeys {
    /// This side asked and was answered: the session is in use at once, and none from before is any more. Returns its
    /// sending half, and the index of a key that had to go.
    pub fn begin_as_initiator(&mut self, session: Session) -> (SendKey, Option<u32>) {
        stop_waiting(&mut self.0);
        let gone = self.add(Received { key: session.receive, waiting: None });
        (session.send, gone)
    }

    /// This side answered: the session waits for the peer's first packet. Returns the index of a key that had to go.
    pub fn begin_as_responder(&mut self, session: Session) -> Option<u32> {
        self.add(Received { key: session.receive, waiting: Some(session.send) })
    }

    /// Where there is no room, a session goes that the peer did not use though newer ones are there: it asked again, for
    /// no answer reached it. Without one, the oldest goes.
    fn add(&mut self, received: Received) -> Option<u32> {
        let is_full = self.0.len() == RECEIVE_KEYS_MAX;
        let gone = is_full.then(|| {
            let is_given_up = |at: &usize| *at >= RECEIVE_KEYS_MAX / 2 && self.0[*at].key.is_unused();
            let at = (0..self.0.len()).rev().find(is_given_up).unwrap_or(self.0.len() - 1);
            self.0.remove(at).key.index
        });
        self.0.insert(0, received);
        gone
    }

    /// Opens a message under the key it names. `Some(send)`: the peer confirmed a waiting session, send under this.
    #[inline]
    pub fn open(
        &mut self,
        index: u32,
        counter: u64,
        message: &mut [u8],
        timing: &Timing,
        now: Millis,
    ) -> Result<(usize, Option<SendKey>), Refusal> {
        let at = self.0.iter().position(|received| received.key.index == index).ok_or(Refusal::UnknownSession)?;
        let Received { key, waiting } = &mut self.0[at];
        if !key.is_usable(timing, now) {
            return Err(Refusal::UnknownSession);
        }
        let length = key.open(counter, message)?;
        let confirmed = waiting.take();
        if confirmed.is_some() {
            // A packet that was overtaken must not lead back to an older one.
            stop_waiting(&mut self.0[at..]);
        }
        Ok((length, confirmed))
    }

    /// Drops what is too old to be used. Returns the indices.
    pub fn expire(&mut self, timing: &Timing, now: Millis) -> Vec<u32> {
        self.0
            .extract_if(.., |received| !received.key.is_usable(timing, now))
            .map(|received| received.key.index)
            .collect()
    }

    /// Drops all. Returns the indices.
    pub fn clear(&mut self) -> Vec<u32> {
        self.0.drain(..).map(|received| received.key.index).collect()
    }
}

fn stop_waiting(received: &mut [Received]) {
    for one in received {
        one.waiting = None;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        message::{Message, parse},
        session::samples::{pair, sealed},
    };

    const TIMING: Timing = Timing::WIREGUARD;

    fn open(keys: &mut ReceiveKeys, message: &[u8], now: Millis) -> Result<Option<SendKey>, Refusal> {
        let mut message = message.to_vec();
        let Some(Message::Data(data)) = parse(&message) else { panic!("data") };
        let (index, counter) = (data.receiver, data.counter);
        let (length, confirmed) = keys.open(index, counter, &mut message, &TIMING, now)?;
        assert_eq!(message[16..][..length], [b'x'; 64]);
        Ok(confirmed)
    }

    #[test]
    fn the_responder_sends_only_once_the_peer_has_shown_its_keys() {
        let (initiator, responder) = pair(1, 2, 10);
        let (mut a, mut b) = (ReceiveKeys::default(), ReceiveKeys::default());
        let (mut a_send, _) = a.begin_as_initiator(initiator);
        b.begin_as_responder(responder);
        let first = sealed(&mut a_send);
        let mut b_send = open(&mut b, &first, 11).unwrap().expect("confirms the session");
        assert!(open(&mut b, &sealed(&mut a_send), 11).unwrap().is_none(), "confirmed once");
        assert!(matches!(open(&mut b, &first, 11), Err(Refusal::Replay)));
        assert!(open(&mut a, &sealed(&mut b_send), 11).unwrap().is_none());
    }

    #[test]
    fn what_is_overtaken_is_received_and_leads_back_to_no_older_session() {
        let mut b = ReceiveKeys::default();
        let mut late = Vec::new();
        for round in 0..3 {
            let (initiator, responder) = pair(10 + round, 20 + round, 1);
            b.begin_as_responder(responder);
            late.push(initiator.send);
        }
        assert!(open(&mut b, &sealed(&mut late[1]), 2).unwrap().is_some(), "newer than what was in use");
        assert!(open(&mut b, &sealed(&mut late[0]), 2).unwrap().is_none(), "older");
        assert!(open(&mut b, &sealed(&mut late[2]), 2).unwrap().is_some());

        // Asked for by this side meanwhile: that is what it sends under.
        let (initiator, responder) = pair(30, 40, 1);
        b.begin_as_responder(responder);
        let _ = b.begin_as_initiator(pair(50, 60, 1).0);
        assert!(open(&mut b, &sealed(&mut { initiator }.send), 2).unwrap().is_none());
    }

    #[test]
    fn a_key_is_gone_when_its_time_is_over() {
        let mut keys = ReceiveKeys::default();
        let (mut early, responder) = pair(1, 2, 10);
        keys.begin_as_responder(responder);
        keys.begin_as_responder(pair(3, 4, 11).1);
        let late = 10 + TIMING.reject_after_ms;
        assert!(matches!(open(&mut keys, &sealed(&mut early.send), late), Err(Refusal::UnknownSession)));
        assert_eq!(keys.expire(&TIMING, late), [2]);
        assert_eq!(keys.clear(), [4]);
    }

    /// A peer that asks again and again, because no answer reaches it, sends under the old key for as long.
    #[test]
    fn sessions_that_nobody_used_do_not_push_out_the_one_in_use() {
        let mut keys = ReceiveKeys::default();
        let (mut used, responder) = pair(1, 2, 10);
        keys.begin_as_responder(responder);
        assert!(open(&mut keys, &sealed(&mut used.send), 10).unwrap().is_some());
        let mut gone = Vec::new();
        for round in 0..3 * RECEIVE_KEYS_MAX as u32 {
            gone.extend(keys.begin_as_responder(pair(100 + round, 200 + round, 11).1));
            assert!(open(&mut keys, &sealed(&mut used.send), 12).unwrap().is_none());
        }
        let oldest: Vec<u32> = (200..).take(gone.len()).collect();
        assert_eq!(gone, oldest);
        assert_eq!(keys.clear().len(), RECEIVE_KEYS_MAX);
    }

    /// Nor does the one that the peer is about to use.
    #[test]
    fn a_session_that_has_just_begun_does_not_make_room_for_the_next() {
        let mut keys = ReceiveKeys::default();
        for round in 0..RECEIVE_KEYS_MAX as u32 {
            let (mut initiator, responder) = pair(100 + round, 200 + round, 10);
            keys.begin_as_responder(responder);
            assert!(open(&mut keys, &sealed(&mut initiator.send), 10).is_ok());
        }
        let (asked, mut answered) = pair(1, 2, 10);
        let (_, gone) = keys.begin_as_initiator(asked);
        assert_eq!(gone, Some(200));
        assert_eq!(keys.begin_as_responder(pair(3, 4, 10).1), Some(201));
        assert!(open(&mut keys, &sealed(&mut answered.send), 10).is_ok());
    }

    enum Sent {
        Asking(u32),
        Answer { asked: u32, answered: u32 },
        Data(Vec<u8>),
    }

    /// One host: keys as [`crate::peer`] and [`crate::keeper`] use them, and what is on its way to it.
    struct End {
        keys: ReceiveKeys,
        send: SendKey,
        asking: Option<u32>,
        coming: VecDeque<Sent>,
    }

    /// Two hosts that have a session, and a wire that keeps the order of what is sent.
    struct Ends([End; 2], u32);

    impl Ends {
        fn new() -> Self {
            let (asked, answered) = pair(1, 2, 0);
            let end = |session: Session| {
                let mut keys = ReceiveKeys::default();
                let (send, _) = keys.begin_as_initiator(session);
                End { keys, send, asking: None, coming: VecDeque::new() }
            };
            Self([end(asked), end(answered)], 2)
        }

        fn index(&mut self) -> u32 {
            self.1 += 1;
            self.1
        }

        fn ask(&mut self, who: usize) {
            if self.0[who].asking.is_none() {
                let index = self.index();
                self.0[who].asking = Some(index);
                self.0[1 - who].coming.push_back(Sent::Asking(index));
            }
        }

        fn say(&mut self, who: usize) {
            let data = sealed(&mut self.0[who].send);
            self.0[1 - who].coming.push_back(Sent::Data(data));
        }

        /// False: nothing is on its way to this one.
        fn hear(&mut self, who: usize) -> bool {
            let Some(sent) = self.0[who].coming.pop_front() else { return false };
            match sent {
                Sent::Asking(asked) => {
                    let answered = self.index();
                    self.0[who].keys.begin_as_responder(pair(asked, answered, 0).1);
                    self.0[1 - who].coming.push_back(Sent::Answer { asked, answered });
                }
                Sent::Answer { asked, answered } if self.0[who].asking == Some(asked) => {
                    let end = &mut self.0[who];
                    end.asking = None;
                    end.send = end.keys.begin_as_initiator(pair(asked, answered, 0).0).0;
                    self.say(who);
                }
                // The peer's session was confirmed before.
                Sent::Answer { .. } => (),
                Sent::Data(data) => {
                    let end = &mut self.0[who];
                    let confirmed = open(&mut end.keys, &data, 0).unwrap_or_else(|why| panic!("lost: {why:?}"));
                    if let Some(key) = confirmed {
                        end.send = key;
                        end.asking = None;
                    }
                }
            }
            true
        }
    }

    /// With three slots, 40 crossings between two hosts lost 143 to 307 of 28,000 datagrams.
    #[test]
    fn handshakes_that_cross_lose_no_packet() {
        let mut ends = Ends::new();
        ends.ask(0);
        ends.ask(1);
        // Each has been asked, and the first answered; the second still sends under the session before.
        assert!(ends.hear(0) && ends.hear(1) && ends.hear(0));
        ends.say(1);
        while ends.hear(0) || ends.hear(1) {}
        // Each may now send under a session of its own. The next handshake leaves both in place.
        ends.say(0);
        ends.say(1);
        ends.ask(0);
        assert!(ends.hear(1) && ends.hear(1));
        ends.say(0);
        while ends.hear(0) || ends.hear(1) {}
    }

    proptest! {
        #[test]
        fn no_order_of_handshakes_loses_a_packet(steps in proptest::collection::vec(0usize..6, 0..400)) {
            let mut ends = Ends::new();
            for step in steps {
                let who = step % 2;
                match step / 2 {
                    0 => ends.ask(who),
                    1 => ends.say(who),
                    _ => { ends.hear(who); }
                }
            }
            while ends.hear(0) || ends.hear(1) {}
        }
    }
}
