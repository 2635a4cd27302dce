//! Flows of limited services taking turns; the arithmetic is in `limiter`.

use crate::{
    limiter::{QUANTUM_BYTES, Throttle},
    slots::Key,
    worker::Worker,
};

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
            while let Some(key) = self.throttles[index].grant(self.now) {
                match self.flows.get_mut(key) {
                    None => self.throttles[index].refund(QUANTUM_BYTES),
                    Some(flow) => {
                        flow.throttled = false;
                        flow.granted = true;
                        self.carry_up(key);
                        if let Some(flow) = self.flows.get_mut(key)
                            && std::mem::take(&mut flow.granted)
                        {
                            // It could not read after all.
                            self.throttles[index].refund(QUANTUM_BYTES);
                        }
                    }
                }
                self.throttles[index].served();
            }
        }
    }
}
