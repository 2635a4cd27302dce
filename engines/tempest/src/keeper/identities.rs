//! This host's static keys: the newest, and while that is being changed also the one before.

use control::Secrets;

use crate::{
    clock::Millis,
    cookie::Gate,
    noise::{Identity, PublicKey},
    peer::Peer,
};

/// The newest first; empty before the first state.
#[derive(Default)]
pub(super) struct Identities(Vec<(Identity, Gate)>);

impl Identities {
    /// Takes over what the state says. Keys that stay keep what their gate knows. False: none of those from before stays,
    /// so whatever was agreed under them is over.
    pub fn update(&mut self, secrets: &Secrets, now: Millis) -> bool {
        let mut before = std::mem::take(&mut self.0);
        let mut continues = false;
        for private in [Some(&secrets.private_key), secrets.private_key_before.as_ref()].into_iter().flatten() {
            let private = private.bytes();
            if let Some(at) = before.iter().position(|(identity, _)| identity.is(private)) {
                continues = true;
                self.0.push(before.swap_remove(at));
            } else {
                let identity = Identity::new(private);
                let gate = Gate::new(&identity.public, now);
                self.0.push((identity, gate));
            }
        }
        continues
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn is_own(&self, key: &PublicKey) -> bool {
        self.0.iter().any(|(identity, _)| identity.public == *key)
    }

    /// The key for handshakes that we begin with this peer.
    pub fn towards(&self, peer: &Peer) -> Option<&Identity> {
        let before = self.0.get(1).filter(|_| peer.use_key_before);
        before.or(self.0.first()).map(|(identity, _)| identity)
    }

    /// The key that a handshake message was made for, by its first mac.
    pub fn addressed(&mut self, message: &[u8]) -> Option<(&Identity, &mut Gate)> {
        self.0.iter_mut().find(|(_, gate)| gate.mac1_is_valid(message)).map(|(identity, gate)| (&*identity, gate))
    }
}
