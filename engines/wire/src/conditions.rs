//! What a wire does to the frames of one direction. The words mean what they mean to `tc netem`.

use serde::Deserialize;

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// The part of the frames that never arrives: 0 to 1, 1 being a wire that is cut.
    pub loss: f64,
    /// The part of the frames that is not delayed, and so overtakes those that are.
    pub reorder: f64,
    /// What every frame takes, and by how much less or more: evenly spread, and never less than nothing.
    pub delay_ms: f64,
    pub jitter_ms: f64,
    /// Whether jitter leaves frames in their order, as a queue does. If not, each goes by itself, as with netem.
    pub ordered: bool,
    /// What the wire takes, Mbit/s of whole frames; 0 is as much as comes.
    pub rate_mbps: f64,
    /// What may wait for its turn at that rate; a frame that would wait for longer is lost.
    pub queue_ms: f64,
}

impl Default for Conditions {
    fn default() -> Self {
        Self { loss: 0.0, reorder: 0.0, delay_ms: 0.0, jitter_ms: 0.0, ordered: false, rate_mbps: 0.0, queue_ms: 100.0 }
    }
}

impl Conditions {
    /// A sentence when it makes no sense.
    pub fn check(&self) -> Result<(), &'static str> {
        let parts = [self.loss, self.reorder].iter().all(|part| (0.0..=1.0).contains(part));
        let amounts = [self.delay_ms, self.jitter_ms, self.rate_mbps, self.queue_ms];
        match (parts, amounts.iter().all(|amount| (0.0..=1e6).contains(amount))) {
            (false, _) => Err("loss and reorder are parts: 0 to 1"),
            (_, false) => Err("delay_ms, jitter_ms, rate_mbps and queue_ms are 0 to 1,000,000"),
            _ => Ok(()),
        }
    }

    /// Every frame goes on at once.
    pub fn is_straight(&self) -> bool {
        self.delay_ms == 0.0 && self.jitter_ms == 0.0 && self.rate_mbps == 0.0
    }
}
