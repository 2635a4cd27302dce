//! Which library does a cipher on this CPU. The bytes are the same, whoever seals and whoever opens.

#[cfg(target_arch = "x86_64")]
use std::sync::LazyLock;

use ring::{
    aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    error::Unspecified,
};

use crate::{aead::Cipher, frame::TAG_BYTES};

/// A key of a cipher, and the code that does it.
pub enum Sealing {
    Ring(Box<LessSafeKey>),
    /// AES-256-GCM in 512-bit registers, which `ring` has not.
    #[cfg(target_arch = "x86_64")]
    Wide(aws_lc_rs::aead::LessSafeKey),
}

impl Sealing {
    /// By the fastest that there is here.
    pub fn new(cipher: Cipher, key: &[u8; 32]) -> Result<Self, Unspecified> {
        match cipher {
            #[cfg(target_arch = "x86_64")]
            Cipher::Aes256Gcm if *HAS_WIDE => Self::wide(key),
            _ => Self::ring(cipher, key),
        }
    }

    fn ring(cipher: Cipher, key: &[u8; 32]) -> Result<Self, Unspecified> {
        let algorithm = match cipher {
            Cipher::Aes256Gcm => &AES_256_GCM,
            Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        Ok(Self::Ring(Box::new(LessSafeKey::new(UnboundKey::new(algorithm, key)?))))
    }

    #[cfg(target_arch = "x86_64")]
    fn wide(key: &[u8; 32]) -> Result<Self, Unspecified> {
        use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| Unspecified)?;
        Ok(Self::Wide(LessSafeKey::new(key)))
    }

    /// Seals `body` in place and answers its tag; `head` is authenticated with it. No nonce may be used twice with a key.
    pub fn seal(&self, nonce: [u8; 12], head: &[u8], body: &mut [u8]) -> Result<[u8; TAG_BYTES], Unspecified> {
        match self {
            Self::Ring(key) => {
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(head), body)?;
                tag.as_ref().try_into().map_err(|_| Unspecified)
            }
            #[cfg(target_arch = "x86_64")]
            Self::Wide(key) => {
                use aws_lc_rs::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(head), body).map_err(|_| Unspecified)?;
                tag.as_ref().try_into().map_err(|_| Unspecified)
            }
        }
    }

    /// Opens `sealed`, which ends with its tag, in place and answers what was sealed.
    pub fn open<'a>(&self, nonce: [u8; 12], head: &[u8], sealed: &'a mut [u8]) -> Result<&'a mut [u8], Unspecified> {
        match self {
            Self::Ring(key) => key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(head), sealed),
            #[cfg(target_arch = "x86_64")]
            Self::Wide(key) => {
                use aws_lc_rs::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, Aad::from(head), sealed).map_err(|_| Unspecified)
            }
        }
    }
}

/// Whether this CPU has AES, carry-less multiplication and all else of AVX-512 that takes.
#[cfg(target_arch = "x86_64")]
static HAS_WIDE: LazyLock<bool> = LazyLock::new(|| {
    use std::is_x86_feature_detected as has;
    has!("vaes") && has!("vpclmulqdq") && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl")
});

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Both ends of a carrier may have other CPUs.
        #[test]
        fn either_library_opens_what_the_other_has_sealed_and_nothing_else(
            key: [u8; 32],
            nonce: [u8; 12],
            head in proptest::collection::vec(any::<u8>(), 0..20),
            body in proptest::collection::vec(any::<u8>(), 0..70_000),
            bent: prop::sample::Index,
            bit in 0..8_u8,
        ) {
            let (ring, wide) = (Sealing::ring(Cipher::Aes256Gcm, &key).unwrap(), Sealing::wide(&key).unwrap());
            for (seals, opens) in [(&ring, &wide), (&wide, &ring)] {
                let mut sealed = body.clone();
                let tag = seals.seal(nonce, &head, &mut sealed).unwrap();
                sealed.extend_from_slice(&tag);
                let mut changed = sealed.clone();
                let at = bent.index(changed.len());
                changed[at] ^= 1 << bit;
                prop_assert!(opens.open(nonce, &head, &mut changed).is_err());
                prop_assert_eq!(opens.open(nonce, &head, &mut sealed).unwrap(), &body[..]);
            }
        }
    }

    #[test]
    fn chacha_is_rings_on_every_cpu() {
        assert!(matches!(Sealing::new(Cipher::ChaCha20Poly1305, &[1; 32]), Ok(Sealing::Ring(_))));
    }

    #[test]
    fn too_little_to_hold_a_tag_is_an_error() {
        for key in [Sealing::ring(Cipher::Aes256Gcm, &[1; 32]).unwrap(), Sealing::wide(&[1; 32]).unwrap()] {
            assert!(key.open([0; 12], b"head", &mut [0; TAG_BYTES - 1]).is_err());
        }
    }
}
