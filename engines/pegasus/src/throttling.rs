//! Flows of limited services taking turns; the arithmetic is in `limiter`.

use crate::{limiter::Throttle, slots::Key, worker::Worker};

impl Worker {
    /// The flow wants to read and has to wait for its turn.
    pub fn wait_for_bandwidth(&mut self, key: Key) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        if std::mem::replace(&mut flow.throttled, true) {
            return;
        }
        let at = self.throttles.iter().position(|throttle| throttle.is_of(&flow.service)).unwrap_or_else(|| {
            self.throttles.push(Throttle::new(flow.service.clone(), self.now));
            self.throttles.len() - 1
        });
        self.throttles[at].wait(key, self.now);
    }

    /// Gives turns to those for whom there is bandwidth.
    pub fn serve_throttles(&mut self) {
        for index in 0..self.throttles.len() {
            while let Some((key, bytes)) = self.throttles[index].grant(self.now) {
                match self.flows.get_mut(key) {
                    None => self.throttles[index].refund(bytes),
                    Some(flow) => {
                        flow.throttled = false;
                        flow.granted = bytes as u32;
                        self.carry_up(key);
                        if let Some(flow) = self.flows.get_mut(key) {
                            // What is left when it could not read after all.
                            let left = std::mem::take(&mut flow.granted);
                            self.throttles[index].refund(left as usize);
                        }
                    }
                }
                self.throttles[index].served();
            }
        }
    }
}
