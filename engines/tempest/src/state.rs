//! What the agent wants, as it arrives (`engines/PROTOCOL.md`, "Tempest state"), and what is wrong with it.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use control::ObjectError;
use serde::Deserialize;

use crate::{limits::TUNNELS_MAX, noise::PublicKey};

/// Smallest MTU that IPv4 knows; below it no packet would pass.
const MTU_MIN: usize = 576;
const MTU_MAX: usize = 65_535 - 80;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub data_listen: SocketAddr,
    #[serde(rename = "self")]
    pub own_id: String,
    #[serde(default)]
    pub bypass_mark: u32,
    pub tunnels: Vec<TunnelState>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunnelState {
    pub peer_id: String,
    pub public_key: String,
    /// The one before it, as long as handshakes with it are still good.
    #[serde(default)]
    pub public_key_before: Option<String>,
    /// This peer does not know this host's newest key yet: handshakes that we begin take the one before.
    #[serde(default)]
    pub use_key_before: bool,
    pub endpoints: Vec<String>,
    pub device: String,
    pub mtu: usize,
    #[serde(default)]
    pub keepalive_s: u64,
}

/// One tunnel, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub peer_id: String,
    pub public_key: PublicKey,
    pub public_key_before: Option<PublicKey>,
    pub use_key_before: bool,
    pub endpoints: Vec<SocketAddr>,
    pub device: String,
    pub mtu: usize,
    pub keepalive_s: u64,
}

impl Wanted {
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        [&self.public_key].into_iter().chain(&self.public_key_before)
    }
}

/// The tunnels that can be had, and why the others cannot.
pub fn understand(tunnels: Vec<TunnelState>, is_own: impl Fn(&PublicKey) -> bool) -> (Vec<Wanted>, Vec<ObjectError>) {
    let mut wanted: Vec<Wanted> = Vec::with_capacity(tunnels.len());
    let mut errors = Vec::new();
    for tunnel in tunnels {
        let object = format!("peer:{}", tunnel.peer_id);
        match understand_one(tunnel, &is_own, &wanted) {
            Ok(one) => wanted.push(one),
            Err((code, message)) => errors.push(ObjectError::new(object, code, message)),
        }
    }
    (wanted, errors)
}

fn understand_one(
    tunnel: TunnelState,
    is_own: &impl Fn(&PublicKey) -> bool,
    others: &[Wanted],
) -> Result<Wanted, (&'static str, String)> {
    let understood = |text: &String| {
        let key = STANDARD.decode(text).ok().and_then(|bytes| PublicKey::try_from(bytes).ok());
        key.ok_or_else(|| ("InvalidPublicKey", "public_key is not Base64 of 32 bytes".to_owned()))
    };
    let public_key = understood(&tunnel.public_key)?;
    let public_key_before = tunnel.public_key_before.as_ref().map(understood).transpose()?;
    let keys = || [public_key].into_iter().chain(public_key_before);
    if keys().any(|key| is_own(&key)) {
        return Err(("InvalidPublicKey", "public_key is this host's own; name another peer".into()));
    }
    if others.len() == TUNNELS_MAX {
        return Err(("TooManyTunnels", format!("an engine carries at most {TUNNELS_MAX} tunnels")));
    }
    if !(MTU_MIN..=MTU_MAX).contains(&tunnel.mtu) {
        return Err(("InvalidMtu", format!("mtu {} is not within {MTU_MIN} to {MTU_MAX}", tunnel.mtu)));
    }
    for other in others {
        let clash = if other.peer_id == tunnel.peer_id {
            "peer_id"
        } else if other.keys().any(|theirs| keys().any(|key| key == *theirs)) {
            "public_key"
        } else if other.device == tunnel.device {
            "device"
        } else {
            continue;
        };
        return Err(("Duplicate", format!("{clash} is also that of peer {}; each tunnel has its own", other.peer_id)));
    }
    let endpoints = tunnel.endpoints.iter().map(|text| {
        text.parse::<SocketAddr>()
            .map_err(|_| ("InvalidEndpoint", format!("endpoint {text:?} is not IP:PORT or [IPv6]:PORT")))
    });
    Ok(Wanted {
        endpoints: endpoints.collect::<Result<_, _>>()?,
        peer_id: tunnel.peer_id,
        public_key,
        public_key_before,
        use_key_before: tunnel.use_key_before,
        device: tunnel.device,
        mtu: tunnel.mtu,
        keepalive_s: tunnel.keepalive_s,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnel(number: u8) -> TunnelState {
        TunnelState {
            peer_id: format!("peer-{number}"),
            public_key: STANDARD.encode([number; 32]),
            public_key_before: None,
            use_key_before: false,
            endpoints: vec!["10.9.0.2:7947".into(), "[fd00::2]:7947".into()],
            device: format!("arct-{number}"),
            mtu: 1420,
            keepalive_s: 25,
        }
    }

    #[test]
    fn each_fault_is_named_and_leaves_the_others_alone() {
        let spoil = |number, how: fn(&mut TunnelState)| {
            let mut spoiled = tunnel(number);
            how(&mut spoiled);
            spoiled
        };
        let tunnels = vec![
            tunnel(1),
            spoil(2, |tunnel| tunnel.public_key = "short".into()),
            spoil(3, |tunnel| tunnel.endpoints.push("example.org:1".into())),
            spoil(4, |tunnel| tunnel.mtu = 100),
            spoil(5, |tunnel| tunnel.device = "arct-1".into()),
            spoil(6, |tunnel| tunnel.public_key = STANDARD.encode([9; 32])),
            tunnel(1),
            tunnel(7),
            spoil(8, |tunnel| tunnel.public_key_before = Some(STANDARD.encode([7; 32]))),
            spoil(10, |tunnel| tunnel.public_key_before = Some("short".into())),
            spoil(11, |tunnel| tunnel.public_key_before = Some(STANDARD.encode([12; 32]))),
        ];
        let (wanted, errors) = understand(tunnels, |key| *key == [9; 32]);
        assert_eq!(wanted.iter().map(|one| one.peer_id.as_str()).collect::<Vec<_>>(), ["peer-1", "peer-7", "peer-11"]);
        assert_eq!(wanted[2].keys().collect::<Vec<_>>(), [&[11; 32], &[12; 32]]);
        let codes: Vec<_> = errors.iter().map(|error| (error.object.as_str(), error.code)).collect();
        assert_eq!(
            codes,
            [
                ("peer:peer-2", "InvalidPublicKey"),
                ("peer:peer-3", "InvalidEndpoint"),
                ("peer:peer-4", "InvalidMtu"),
                ("peer:peer-5", "Duplicate"),
                ("peer:peer-6", "InvalidPublicKey"),
                ("peer:peer-1", "Duplicate"),
                ("peer:peer-8", "Duplicate"),
                ("peer:peer-10", "InvalidPublicKey"),
            ]
        );
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let text = r#"{"data_listen":"0.0.0.0:7947","self":"x","bypass_mark":1,"tunnels":[],"more":1}"#;
        assert!(serde_json::from_str::<State>(text).is_err());
        assert!(serde_json::from_str::<State>(&text.replace(",\"more\":1", "")).is_ok());
    }
}
