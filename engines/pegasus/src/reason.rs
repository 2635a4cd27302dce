//! Why a flow ended. The numbers go over the wire in a RESET frame, the words into access lines.

macro_rules! reasons {
    ($($name:ident = $code:literal $word:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Reason { $($name = $code,)* }

        impl Reason {
            #[cfg(test)]
            const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            pub fn word(self) -> &'static str {
                match self { $(Reason::$name => $word,)* }
            }

            /// A number from the wire; one of a newer version is `Unknown`.
            pub fn from_code(code: u8) -> Self {
                match code { $($code => Reason::$name,)* _ => Reason::Unknown }
            }
        }
    };
}

reasons! {
    Unknown = 0 "unknown",
    Closed = 1 "closed",
    ClientReset = 2 "client_reset",
    DestinationReset = 3 "destination_reset",
    DestinationRefused = 4 "destination_refused",
    DestinationUnreachable = 5 "destination_unreachable",
    DestinationTimeout = 6 "destination_timeout",
    CarrierLost = 7 "carrier_lost",
    NotCovered = 8 "refused_not_covered",
    UnknownService = 9 "refused_unknown_service",
    ServiceRemoved = 10 "service_removed",
    PeerDown = 11 "peer_down",
    PeerUnknown = 12 "peer_unknown",
    Drained = 13 "drained",
    NoLocalPort = 14 "no_local_port",
    OutOfFiles = 15 "out_of_files",
    PeerRemoved = 17 "peer_removed",
    ProtocolError = 18 "protocol_error",
    HopLimit = 19 "hop_limit",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        for &reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason as u8), reason);
        }
        assert_eq!(Reason::from_code(250), Reason::Unknown);
    }
}
