//! The handshake's cryptography: `Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s` as the WireGuard paper (5.4) uses it, done by
//! snow. X25519 comes from dalek, which wipes its keys; points of low order are refused here.

use std::sync::LazyLock;

use snow::{
    Builder, Error, HandshakeState,
    params::{CipherChoice, DHChoice, HashChoice, NoiseParams},
    resolvers::{CryptoResolver, DefaultResolver},
    types::{Cipher, Dh, Hash, Random},
};
use x25519_dalek::{PublicKey as Point, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

const PATTERN: &str = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";
/// This engine uses no pre-shared keys; the protocol's value for that.
const NO_PSK: [u8; 32] = [0; 32];
const INITIATION_NOISE_BYTES: usize = 108;
const RESPONSE_NOISE_BYTES: usize = 48;

static PARAMS: LazyLock<NoiseParams> = LazyLock::new(|| PATTERN.parse().expect("a pattern that snow knows"));

pub type PublicKey = [u8; 32];
/// A secret that is wiped when dropped.
pub type Key = Zeroizing<[u8; 32]>;

/// This host's key pair.
pub struct Identity {
    private: Zeroizing<[u8; 32]>,
    pub public: PublicKey,
}

/// The two keys that a handshake ends in.
pub struct SessionKeys {
    pub send: Key,
    pub receive: Key,
}

/// An initiation that waits for its response.
pub struct Initiated(HandshakeState);

/// A peer's initiation, understood; who sent it is proven once its timestamp turns out to be new.
pub struct Consumed {
    pub peer: PublicKey,
    pub timestamp: [u8; 12],
    state: HandshakeState,
}

impl Identity {
    pub fn new(private: &[u8; 32]) -> Self {
        Self { private: Zeroizing::new(*private), public: public_key(private) }
    }

    pub fn is(&self, private: &[u8; 32]) -> bool {
        *self.private == *private
    }

    pub fn initiate(
        &self,
        peer: &PublicKey,
        timestamp: &[u8; 12],
    ) -> Option<(Initiated, [u8; INITIATION_NOISE_BYTES])> {
        let mut state = self.builder().ok()?.remote_public_key(peer).ok()?.build_initiator().ok()?;
        let mut message = [0; INITIATION_NOISE_BYTES];
        let written = state.write_message(timestamp, &mut message).ok()?;
        (written == message.len()).then_some((Initiated(state), message))
    }

    /// None: not made for this host's key, or altered on its way.
    pub fn consume(&self, message: &[u8; INITIATION_NOISE_BYTES]) -> Option<Consumed> {
        let mut state = self.builder().ok()?.build_responder().ok()?;
        let mut timestamp = [0; 12];
        let read = state.read_message(message, &mut timestamp).ok()?;
        let peer = state.get_remote_static()?.try_into().ok()?;
        (read == timestamp.len()).then_some(Consumed { peer, timestamp, state })
    }

    fn builder(&self) -> Result<Builder<'_>, Error> {
        Builder::with_resolver(PARAMS.clone(), Box::new(Resolver))
            .prologue(PROLOGUE)?
            .psk(2, &NO_PSK)?
            .local_private_key(&*self.private)
    }
}

impl Consumed {
    pub fn respond(mut self) -> Option<([u8; RESPONSE_NOISE_BYTES], SessionKeys)> {
        let mut message = [0; RESPONSE_NOISE_BYTES];
        let written = self.state.write_message(&[], &mut message).ok()?;
        let (receive, send) = split(&mut self.state)?;
        (written == message.len()).then_some((message, SessionKeys { send, receive }))
    }
}

impl Initiated {
    /// None: not the answer to this initiation, which goes on waiting for the right one.
    pub fn finish(&mut self, message: &[u8; RESPONSE_NOISE_BYTES]) -> Option<SessionKeys> {
        self.0.read_message(message, &mut []).ok()?;
        let (send, receive) = split(&mut self.0)?;
        Some(SessionKeys { send, receive })
    }
}

/// The initiator's sending key, then the responder's.
fn split(state: &mut HandshakeState) -> Option<(Key, Key)> {
    if !state.is_handshake_finished() {
        return None;
    }
    let (mut first, mut second) = state.dangerously_get_raw_split();
    let keys = (Zeroizing::new(first), Zeroizing::new(second));
    first.zeroize();
    second.zeroize();
    Some(keys)
}

fn public_key(private: &[u8; 32]) -> PublicKey {
    Point::from(&StaticSecret::from(*private)).to_bytes()
}

struct Resolver;

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Entropy))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        matches!(choice, DHChoice::Curve25519).then(|| Box::new(X25519Pair::default()) as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

struct Entropy;

impl Random for Entropy {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        getrandom::fill(dest).map_err(|_| Error::Rng)
    }
}

#[derive(Default)]
struct X25519Pair {
    private: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

impl Dh for X25519Pair {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, private: &[u8]) {
        self.private.copy_from_slice(private);
        self.public = public_key(&self.private);
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        let mut private = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(&mut *private)?;
        self.set(&*private);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &*self.private
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let public: PublicKey = public.get(..32).and_then(|key| key.try_into().ok()).ok_or(Error::Dh)?;
        let shared = StaticSecret::from(*self.private).diffie_hellman(&Point::from(public));
        // Whoever sends a point of low order chooses the result without knowing a key.
        if !shared.was_contributory() {
            return Err(Error::Dh);
        }
        out.get_mut(..32).ok_or(Error::Dh)?.copy_from_slice(shared.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Identity, Identity) {
        (Identity::new(&[1; 32]), Identity::new(&[2; 32]))
    }

    #[test]
    fn both_ends_get_the_same_keys() {
        let (a, b) = pair();
        let (mut initiated, first) = a.initiate(&b.public, &[9; 12]).unwrap();
        let consumed = b.consume(&first).unwrap();
        assert_eq!((consumed.peer, consumed.timestamp), (a.public, [9; 12]));
        let (second, theirs) = consumed.respond().unwrap();
        let ours = initiated.finish(&second).unwrap();
        assert_eq!((*ours.send, *ours.receive), (*theirs.receive, *theirs.send));
        assert_ne!(*ours.send, *ours.receive);
    }

    #[test]
    fn one_altered_bit_is_refused_and_the_right_answer_still_taken() {
        let (a, b) = pair();
        let (mut initiated, first) = a.initiate(&b.public, &[9; 12]).unwrap();
        for at in 0..first.len() {
            let mut altered = first;
            altered[at] ^= 1;
            assert!(b.consume(&altered).is_none(), "byte {at} of the initiation");
        }
        let (second, _) = b.consume(&first).unwrap().respond().unwrap();
        for at in 0..second.len() {
            let mut altered = second;
            altered[at] ^= 1;
            assert!(initiated.finish(&altered).is_none(), "byte {at} of the response");
        }
        assert!(initiated.finish(&second).is_some());
    }

    #[test]
    fn a_point_of_low_order_is_refused() {
        let (a, _) = pair();
        assert!(a.initiate(&[0; 32], &[9; 12]).is_none());
        assert!(a.consume(&[0; 108]).is_none());
    }
}
