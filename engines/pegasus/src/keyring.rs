//! Which static keys a handshake is made with. While a key is being changed both it and the one before are good, on this
//! side and on a peer's, so that neither has to change at the same moment as the other.

use control::{PrivateKey, Secrets};

use crate::{
    handshake::{Refusal, public_key},
    kcp::DoorKeys,
    peer::Peer,
};

/// This host's own keys.
#[derive(Debug)]
pub struct Keyring {
    newest: OwnKey,
    before: Option<OwnKey>,
}

#[derive(Debug)]
pub struct OwnKey {
    private: PrivateKey,
    public: [u8; 32],
    pub door: DoorKeys,
}

/// The public keys of both ends that a carrier was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    own: [u8; 32],
    theirs: [u8; 32],
}

impl OwnKey {
    fn new(private: &PrivateKey) -> Self {
        let public = public_key(private.bytes()).unwrap_or_default();
        Self { private: private.clone(), public, door: DoorKeys::new(private.bytes(), &public) }
    }

    pub fn private(&self) -> &[u8; 32] {
        self.private.bytes()
    }
}

impl Keyring {
    pub fn new(secrets: &Secrets) -> Self {
        let before = secrets.private_key_before.as_ref();
        Self { newest: OwnKey::new(&secrets.private_key), before: before.map(OwnKey::new) }
    }

    /// The newest first.
    pub fn own(&self) -> impl Iterator<Item = &OwnKey> {
        [&self.newest].into_iter().chain(&self.before)
    }

    pub fn newest(&self) -> &OwnKey {
        &self.newest
    }

    /// The key for handshakes that we begin with this peer.
    pub fn towards(&self, peer: &Peer) -> &OwnKey {
        self.before.as_ref().filter(|_| peer.use_key_before).unwrap_or(&self.newest)
    }

    /// What a handshake that we begin with this peer now is made with.
    pub fn pair_towards(&self, peer: &Peer) -> Pair {
        Pair { own: self.towards(peer).public, theirs: peer.public_key }
    }

    /// Whether a carrier made with these keys may go on.
    pub fn accepts(&self, peer: &Peer, pair: &Pair) -> bool {
        self.own().any(|own| own.public == pair.own) && peer.public_keys().any(|theirs| *theirs == pair.theirs)
    }

    /// Answers a handshake with whichever of both ends' keys it was begun with: a Noise KK message tells nobody which.
    pub fn respond<T>(
        &self,
        peer: &Peer,
        mut respond: impl FnMut(&OwnKey, &[u8; 32]) -> Result<T, Refusal>,
    ) -> Result<(T, Pair), Refusal> {
        for theirs in peer.public_keys() {
            for own in self.own() {
                match respond(own, theirs) {
                    Ok(answer) => return Ok((answer, Pair { own: own.public, theirs: *theirs })),
                    Err(Refusal::WrongKey) => (),
                    Err(refusal) => return Err(refusal),
                }
            }
        }
        Err(Refusal::WrongKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        handshake::{Hello, Initiator, respond},
        state::Transport,
    };

    const OLD: [u8; 32] = [1; 32];
    const NEW: [u8; 32] = [2; 32];
    const PEER_OLD: [u8; 32] = [3; 32];
    const PEER_NEW: [u8; 32] = [4; 32];

    fn public(private: &[u8; 32]) -> [u8; 32] {
        public_key(private).unwrap()
    }

    fn peer(newest: &[u8; 32], before: Option<&[u8; 32]>) -> Peer {
        Peer {
            id: "peer-a".into(),
            transport: Transport::Tcp,
            public_key: public(newest),
            public_key_before: before.map(public),
            use_key_before: false,
            addresses: Vec::new(),
            health: Default::default(),
        }
    }

    fn answers(keys: &Keyring, peer: &Peer, theirs: &[u8; 32], ours: &[u8; 32]) -> Option<Pair> {
        let (_, hello) = Initiator::start(theirs, "peer-a", "peer-b", &public(ours), true).unwrap();
        let hello = Hello::decode(&hello).unwrap().unwrap();
        let answered = keys.respond(peer, |own, theirs| respond(&hello, own.private(), "peer-b", theirs, true));
        answered.ok().map(|(_, pair)| pair)
    }

    #[test]
    fn while_both_ends_change_keys_every_pair_of_old_and_new_is_answered() {
        let keys = Keyring::new(&Secrets::new(NEW, Some(OLD)));
        let changing = peer(&PEER_NEW, Some(&PEER_OLD));
        for theirs in [PEER_OLD, PEER_NEW] {
            for ours in [OLD, NEW] {
                let pair = answers(&keys, &changing, &theirs, &ours).unwrap();
                assert_eq!(pair, Pair { own: public(&ours), theirs: public(&theirs) });
                assert!(keys.accepts(&changing, &pair));
            }
            assert_eq!(answers(&keys, &changing, &theirs, &[9; 32]), None);
        }
        assert_eq!(answers(&keys, &changing, &[9; 32], &NEW), None);
    }

    #[test]
    fn what_is_over_is_neither_answered_nor_goes_on() {
        let changing = Keyring::new(&Secrets::new(NEW, Some(OLD)));
        let over = Keyring::new(&Secrets::new(NEW, None));
        let (there_before, there) = (peer(&PEER_NEW, Some(&PEER_OLD)), peer(&PEER_NEW, None));
        let with_old = answers(&changing, &there_before, &PEER_OLD, &OLD).unwrap();
        let with_new = answers(&over, &there, &PEER_NEW, &NEW).unwrap();
        assert_eq!(answers(&over, &there_before, &PEER_NEW, &OLD), None);
        assert_eq!(answers(&over, &there, &PEER_OLD, &NEW), None);
        assert!(!over.accepts(&there_before, &with_old) && !changing.accepts(&there, &with_old));
        assert!(over.accepts(&there, &with_new));
    }

    #[test]
    fn the_key_before_is_used_towards_a_peer_only_as_long_as_there_is_one() {
        let mut late = peer(&PEER_NEW, None);
        late.use_key_before = true;
        assert_eq!(Keyring::new(&Secrets::new(NEW, Some(OLD))).towards(&late).private(), &OLD);
        assert_eq!(Keyring::new(&Secrets::new(NEW, None)).towards(&late).private(), &NEW);
        late.use_key_before = false;
        assert_eq!(Keyring::new(&Secrets::new(NEW, Some(OLD))).towards(&late).private(), &NEW);
    }
}
