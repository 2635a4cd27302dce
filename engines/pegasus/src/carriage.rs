//! Bytes on their way: plain → carrier (`up`) and carrier → plain (`down`).
//!
//! 1. What waits for the writing side goes first; while something waits nothing is read, and the sender feels it.
//! 2. Read into the arena, seal or open in place, write from there.
//! 3. A direction goes on until a socket has no more, or its turn is over.

use std::{io::IoSlice, ops::Range};

use rustix::event::epoll::EventFlags;

use crate::{
    arena::Arena,
    carrier::{Behind, End, Phase},
    endpoint::Sink,
    frame::{self, HEADER_BYTES, Kind, Open, Reset},
    limits::{FIN_HELD_FOR, READ_BYTES, READ_BYTES_STALLED, TURN_BYTES},
    reason::Reason,
    service::Side,
    slots::Key,
    worker::{Turn, Worker},
};

/// Opened payloads written with one call.
const SLICES_MAX: usize = 32;

impl Worker {
    pub fn flow_event(&mut self, key: Key, flags: EventFlags) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        flow.plain.note(flags);
        if flow.dialling {
            return self.dialled(key);
        }
        if flags.contains(EventFlags::ERR)
            && let Some(error) = flow.plain.error()
        {
            return self.plain_failed(key, &error);
        }
        let carrier = flow.carrier;
        if !flow.backlog.is_empty() {
            match carrier {
                Some(carrier) => self.carry_down(carrier),
                None => self.deliver_rest(key),
            }
        }
        self.carry_up(key);
    }

    pub fn carrier_event(&mut self, key: Key, flags: EventFlags) {
        let Some(carrier) = self.carriers.get_mut(key) else { return };
        carrier.link.note(flags);
        match carrier.phase {
            Phase::Connecting => self.greet(key),
            Phase::Greeting(_) => self.hear_answer(key),
            Phase::Stranger => self.hear_stranger(key),
            _ => {
                if flags.contains(EventFlags::ERR)
                    && let Some(error) = carrier.link.error()
                {
                    carrier.suspect_after(&error);
                    return self.lose_carrier(key, &error.to_string());
                }
                match (carrier.flush(), carrier.flow) {
                    (Err(broken), _) => return self.lose_carrier(key, &broken.0),
                    (Ok(true), Some(flow)) => self.carry_up(flow),
                    _ => (),
                }
                self.carry_down(key);
            }
        }
    }

    pub fn go_on_up(&mut self, key: Key) {
        if let Some(flow) = self.flows.get_mut(key) {
            flow.queued = false;
            self.carry_up(key);
        }
    }

    pub fn go_on_down(&mut self, key: Key) {
        if let Some(carrier) = self.carriers.get_mut(key) {
            carrier.queued = false;
            self.carry_down(key);
        }
    }

    /// Plain → carrier.
    pub fn carry_up(&mut self, key: Key) {
        if self.arena.is_taken() {
            // Called while a carrier's frames are being taken: afterwards.
            return self.queue_flow(key);
        }
        let mut arena = std::mem::take(&mut self.arena);
        self.carry_up_in(&mut arena, key);
        self.arena = arena;
    }

    fn carry_up_in(&mut self, arena: &mut Arena, key: Key) {
        let mut left = TURN_BYTES;
        loop {
            let Some(flow) = self.flows.get_mut(key) else { return };
            let Some(carrier_key) = flow.carrier.filter(|_| !flow.up_ended && !flow.dialling) else { return };
            let Some(carrier) = self.carriers.get_mut(carrier_key) else { return };
            match carrier.flush() {
                Ok(true) if flow.plain.readable => (),
                Ok(_) => return,
                Err(broken) => return self.lose_carrier(carrier_key, &broken.0),
            }
            if left == 0 {
                return self.queue_flow(key);
            }
            let limited = flow.service.bucket.is_limited();
            let granted = if limited { std::mem::take(&mut flow.granted) as usize } else { 0 };
            if limited && granted == 0 {
                return self.wait_for_bandwidth(key);
            }
            let payload_most = carrier.payload_most();
            let most = if limited {
                granted
            } else if flow.stalled {
                READ_BYTES_STALLED.min(payload_most)
            } else {
                READ_BYTES
            };
            let read = arena.read_payloads(&mut flow.plain, most, payload_most);
            if limited {
                let unread = granted - read.as_ref().map_or(0, |read| read.unwrap_or(0));
                if let Some(throttle) = self.throttles.iter_mut().find(|throttle| throttle.is_of(&flow.service)) {
                    throttle.refund(unread);
                }
            }
            let sent = match read {
                Err(error) => return self.plain_failed(key, &error),
                Ok(None) => return,
                Ok(Some(0)) => {
                    flow.up_ended = true;
                    carrier.sent = End::Fin;
                    if carrier.may_hold_fin() {
                        self.held_fins.push_back((carrier_key, self.now + FIN_HELD_FOR));
                        carrier.hold_control(Kind::Fin, &[])
                    } else {
                        carrier.send_control(Kind::Fin, &[])
                    }
                }
                Ok(Some(length)) => {
                    left = left.saturating_sub(length);
                    flow.count_up(length, self.now);
                    // An end that is there already goes in the same segment.
                    let last = flow.plain.is_at_end();
                    let more = !last && flow.plain.has_ended() && !limited && left > 0;
                    if last {
                        flow.up_ended = true;
                        carrier.sent = End::Fin;
                    }
                    let sent = carrier.send_payloads(arena, length, Behind { last, more }, self.now);
                    if length == READ_BYTES {
                        carrier.fit_frames();
                    }
                    sent
                }
            };
            flow.stalled = !carrier.backlog.is_empty();
            match sent {
                Err(broken) => return self.lose_carrier(carrier_key, &broken.0),
                Ok(()) if flow.up_ended => return self.settle(carrier_key),
                Ok(()) => (),
            }
        }
    }

    fn queue_flow(&mut self, key: Key) {
        if let Some(flow) = self.flows.get_mut(key)
            && !std::mem::replace(&mut flow.queued, true)
        {
            self.turns.push_back(Turn::Flow(key));
        }
    }

    /// Carrier → plain, and whatever else the frames of a carrier say.
    pub fn carry_down(&mut self, key: Key) {
        let mut arena = std::mem::take(&mut self.arena);
        let kept = self.carry_down_in(&mut arena, key);
        if let Some(carrier) = self.carriers.get_mut(key) {
            carrier.partial = if kept == 0 { Vec::new() } else { arena.bytes[..kept].to_vec() };
        }
        self.arena = arena;
    }

    /// Returns how many bytes of an unfinished frame stand at the beginning of the arena.
    fn carry_down_in(&mut self, arena: &mut Arena, key: Key) -> usize {
        let Some(carrier) = self.carriers.get(key) else { return 0 };
        let mut kept = carrier.partial.len();
        arena.bytes[..kept].copy_from_slice(&carrier.partial);
        let mut left = TURN_BYTES;
        loop {
            let Some(carrier) = self.carriers.get_mut(key) else { return 0 };
            if let Some(flow) = carrier.flow
                && !self.has_delivered(flow)
            {
                return kept;
            }
            let Some(carrier) = self.carriers.get_mut(key) else { return 0 };
            if !carrier.link.is_readable() {
                return kept;
            }
            if left == 0 {
                self.queue_carrier(key);
                return kept;
            }
            let length = match carrier.link.read(arena.behind(kept), self.now) {
                Ok(None) => return kept,
                Ok(Some(0)) => {
                    self.lose_carrier(key, "the other side has closed it");
                    return 0;
                }
                Ok(Some(length)) => length,
                Err(error) => {
                    self.lose_carrier(key, &error.to_string());
                    return 0;
                }
            };
            left = left.saturating_sub(length);
            match self.take_frames(arena, kept + length, key) {
                Ok(rest) => kept = rest,
                Err(error) => {
                    if let Some(carrier) = self.carriers.get(key) {
                        let peer_id = carrier.peer.as_ref().map(|peer| peer.id.clone());
                        self.shared.refusals.count(
                            peer_id.as_deref(),
                            carrier.address,
                            Reason::ProtocolError.word(),
                            self.now,
                        );
                    }
                    self.lose_carrier(key, error);
                    return 0;
                }
            }
        }
    }

    /// Nothing waits for the flow's plain side (any more), so more may be read for it.
    fn has_delivered(&mut self, key: Key) -> bool {
        let Some(flow) = self.flows.get_mut(key) else { return true };
        if flow.dialling {
            return flow.backlog.is_empty();
        }
        match flow.backlog.flush(&mut flow.plain) {
            Ok(done) => {
                flow.finish_if_delivered();
                done
            }
            Err(error) => {
                self.plain_failed(key, &error);
                true
            }
        }
    }

    /// Its next turn to be read comes without an event.
    pub fn queue_carrier(&mut self, key: Key) {
        if let Some(carrier) = self.carriers.get_mut(key)
            && !std::mem::replace(&mut carrier.queued, true)
        {
            self.turns.push_back(Turn::Carrier(key));
        }
    }

    /// Opens the frames in `arena[..end]` and does what they say. Moves the unfinished rest to the beginning and returns
    /// its length.
    fn take_frames(&mut self, arena: &mut Arena, end: usize, key: Key) -> Result<usize, &'static str> {
        let mut payloads = std::mem::take(&mut self.payloads);
        let rest = self.take_frames_with(&mut payloads, arena, end, key);
        payloads.clear();
        self.payloads = payloads;
        rest
    }

    fn take_frames_with(
        &mut self,
        payloads: &mut Vec<Range<usize>>,
        arena: &mut Arena,
        end: usize,
        key: Key,
    ) -> Result<usize, &'static str> {
        let mut at = 0;
        while let Some(header) = frame::next(&arena.bytes[at..end]).map_err(|_| "malformed frame")? {
            let Some(carrier) = self.carriers.get_mut(key) else { return Ok(0) };
            let Some(keys) = &mut carrier.keys else { return Err("a frame before the handshake") };
            keys.open
                .open(&mut arena.bytes[at..at + header.frame_bytes()])
                .map_err(|_| "a frame that is not authentic")?;
            if matches!(carrier.phase, Phase::Unproven) {
                carrier.permit = None;
                carrier.enter(Phase::Idle, self.now);
            }
            let payload = at + HEADER_BYTES..at + HEADER_BYTES + header.length;
            at += header.frame_bytes();
            if header.kind == Kind::Data {
                payloads.push(payload);
                if payloads.len() == SLICES_MAX {
                    self.deliver(arena, payloads, key, false)?;
                }
            } else {
                self.deliver(arena, payloads, key, header.kind == Kind::Fin)?;
                if header.kind == Kind::Open {
                    let open = Open::decode(&arena.bytes[payload]).map_err(|_| "malformed OPEN")?;
                    // Not proven before it is opened, and no more than a hint.
                    let next = frame::next(&arena.bytes[at..end]);
                    self.opened(key, &open, matches!(next, Ok(Some(next)) if next.kind == Kind::Data))?;
                } else {
                    self.take_control(header.kind, &arena.bytes[payload], key)?;
                }
            }
        }
        self.deliver(arena, payloads, key, false)?;
        arena.bytes.copy_within(at..end, 0);
        Ok(end - at)
    }

    /// Writes opened payloads to the flow's plain side; what it does not take waits with the flow. With `fin` the end follows
    /// at once and goes in the same segment.
    fn deliver(
        &mut self,
        arena: &Arena,
        payloads: &mut Vec<Range<usize>>,
        key: Key,
        fin: bool,
    ) -> Result<(), &'static str> {
        if payloads.is_empty() {
            return Ok(());
        }
        let Some(carrier) = self.carriers.get(key) else { return Ok(()) };
        let length: usize = payloads.iter().map(ExactSizeIterator::len).sum();
        let ranges = payloads.drain(..);
        if carrier.received != End::Open || !matches!(carrier.phase, Phase::Busy | Phase::Confirming) {
            return Err("DATA where none may be");
        }
        // After our RESET, what was on its way is of no use to anybody.
        let Some(flow_key) = carrier.flow else { return Ok(()) };
        let Some(flow) = self.flows.get_mut(flow_key) else { return Ok(()) };
        flow.count_down(length, self.now);
        if flow.dialling || !flow.backlog.is_empty() {
            ranges.for_each(|range| flow.backlog.push(&arena.bytes[range]));
            return Ok(());
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        for (slice, range) in slices.iter_mut().zip(ranges) {
            *slice = IoSlice::new(&arena.bytes[range]);
            count += 1;
        }
        let written = match &slices[..count] {
            [one] => flow.plain.write(one, fin),
            several => flow.plain.write_vectored(several, fin),
        };
        let mut skip = match written {
            Ok(written) => written,
            Err(error) => {
                self.plain_failed(flow_key, &error);
                return Ok(());
            }
        };
        for slice in &slices[..count] {
            let done = skip.min(slice.len());
            skip -= done;
            flow.backlog.push(&slice[done..]);
        }
        Ok(())
    }

    fn take_control(&mut self, kind: Kind, payload: &[u8], key: Key) -> Result<(), &'static str> {
        match kind {
            Kind::Fin => self.finished(key),
            Kind::Reset => {
                let reset = Reset::decode(payload).map_err(|_| "malformed RESET")?;
                self.was_reset(key, reset);
                Ok(())
            }
            Kind::Rekey => {
                let Some(keys) = self.carriers.get_mut(key).and_then(|carrier| carrier.keys.as_mut()) else {
                    return Ok(());
                };
                keys.open.ratchet().map_err(|_| "the key could not be changed")
            }
            Kind::Ready => {
                self.heard_ready(key);
                Ok(())
            }
            Kind::Retire => self.asked_to_retire(key),
            // Taken care of before.
            Kind::Data | Kind::Open => Ok(()),
        }
    }

    /// The plain side has failed, usually by an RST.
    fn plain_failed(&mut self, key: Key, error: &std::io::Error) {
        let Some(flow) = self.flows.get(key) else { return };
        let reason = match (flow.service.side, error.raw_os_error()) {
            (Side::Source, _) => Reason::ClientReset,
            (Side::Target, Some(libc::ETIMEDOUT)) => Reason::DestinationTimeout,
            (Side::Target, Some(libc::EHOSTUNREACH | libc::ENETUNREACH)) => Reason::DestinationUnreachable,
            (Side::Target, _) => Reason::DestinationReset,
        };
        self.reset_flow(key, reason);
    }
}
