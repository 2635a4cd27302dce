//! Secrets of an `apply`. They are wiped when dropped and print as `…`; no error text ever repeats them.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, de};
use zeroize::Zeroizing;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    pub private_key: PrivateKey,
    /// The one before it, as long as handshakes with it are still good.
    #[serde(default)]
    pub private_key_before: Option<PrivateKey>,
}

impl Secrets {
    pub fn new(private_key: [u8; 32], private_key_before: Option<[u8; 32]>) -> Self {
        let private_key_before = private_key_before.map(PrivateKey::new);
        Self { private_key: PrivateKey::new(private_key), private_key_before }
    }
}

/// An X25519 private key, Base64 of 32 bytes on the wire.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Zeroizing<[u8; 32]>);

impl PrivateKey {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

impl<'de> Deserialize<'de> for PrivateKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde's own messages quote the value they did not like, so a value of any type is taken and judged here.
        let wrong = || de::Error::custom("private_key is not Base64 of 32 bytes");
        let serde_json::Value::String(text) = serde_json::Value::deserialize(deserializer)? else {
            return Err(wrong());
        };
        let text = Zeroizing::new(text);
        let bytes = Zeroizing::new(STANDARD.decode(text.as_bytes()).map_err(|_| wrong())?);
        <[u8; 32]>::try_from(bytes.as_slice()).map(Self::new).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_round_trips_and_never_prints() {
        let text = STANDARD.encode([7u8; 32]);
        let secrets: Secrets = serde_json::from_str(&format!(r#"{{"private_key":"{text}"}}"#)).unwrap();
        assert_eq!(secrets.private_key.bytes(), &[7; 32]);
        assert!(secrets.private_key_before.is_none());
        assert!(!format!("{secrets:?}").contains('7'));
        let both = format!(r#"{{"private_key":"{text}","private_key_before":"{}"}}"#, STANDARD.encode([8u8; 32]));
        let secrets: Secrets = serde_json::from_str(&both).unwrap();
        assert_eq!(secrets.private_key_before.as_ref().unwrap().bytes(), &[8; 32]);
        assert!(!format!("{secrets:?}").contains('8'));
    }

    #[test]
    fn an_error_does_not_repeat_the_value() {
        for wrong in [r#""c2VjcmV0""#, r#""secret!""#, "12345678", r#"["secret"]"#] {
            let error =
                serde_json::from_str::<Secrets>(&format!(r#"{{"private_key":{wrong}}}"#)).unwrap_err().to_string();
            assert!(error.starts_with("private_key is not Base64 of 32 bytes"), "{error}");
            assert!(!error.contains("secret") && !error.contains("c2Vj") && !error.contains("1234"), "{error}");
        }
    }
}
