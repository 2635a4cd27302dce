//! What neighbours say to each other over their link, one word a message.

use std::{net::SocketAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::service::Side;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "snake_case")]
pub enum Word {
    /// With a worker's sockets for intercepted clients.
    Listener { name: Arc<str>, port: u16, worker: usize },
    /// With a worker's socket of the data port.
    Data { address: SocketAddr, worker: usize },
    /// With a worker's socket of the KCP port, and the end of a relay for what arrives there for the one before.
    Door { address: SocketAddr, worker: usize },
    /// That was all of it.
    All { workers: usize },
    /// The successor is at work.
    InForce,
    /// How many flows wait for bandwidth at the one who says it and behind it; of services not named none. `more`: the rest follows.
    Waiting { services: Vec<Waiting>, more: bool },
    /// What the one before has carried in its life.
    Totals { services: Vec<Totals> },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub side: Side,
    pub service_id: Arc<str>,
    pub flows: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub side: Side,
    pub service_id: Arc<str>,
    pub flows_total: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// So many services in one message: each has some 100 bytes, and a message some 30 KiB at most.
pub const SERVICES_PER_WORD: usize = 256;

impl Word {
    pub fn encode(&self) -> Vec<u8> {
        // Nothing in a word can fail to be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// None: not a word of this version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Splits what waits into words, the last of which says that it is the last; at least that one.
    pub fn waiting(services: &[Waiting]) -> Vec<Self> {
        let mut words: Vec<Self> = services
            .chunks(SERVICES_PER_WORD)
            .map(|services| Self::Waiting { services: services.to_vec(), more: true })
            .collect();
        match words.last_mut() {
            Some(Self::Waiting { more, .. }) => *more = false,
            _ => words.push(Self::Waiting { services: Vec::new(), more: false }),
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn waiting() -> impl Strategy<Value = Waiting> {
        (any::<bool>(), "[0-9A-Z]{1,26}", any::<usize>()).prop_map(|(source, id, flows)| Waiting {
            side: if source { Side::Source } else { Side::Target },
            service_id: id.into(),
            flows,
        })
    }

    proptest! {
        #[test]
        fn what_waits_is_told_whole_and_ends_once(services in proptest::collection::vec(waiting(), 0..600)) {
            let (mut heard, mut ends) = (Vec::new(), 0);
            for word in Word::waiting(&services) {
                let bytes = word.encode();
                prop_assert!(bytes.len() < super::super::link::WORD_BYTES_MAX);
                match Word::decode(&bytes) {
                    Some(Word::Waiting { services, more }) => {
                        prop_assert_eq!(ends, 0, "nothing follows the end");
                        heard.extend(services);
                        ends += usize::from(!more);
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            prop_assert_eq!((heard, ends), (services, 1));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Word::decode(&bytes);
        }
    }
}
