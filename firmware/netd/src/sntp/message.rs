//! NTP messages: the question, and what is taken from an answer.
//!
//! ```text
//!  0  leap (2 bits), version (3), mode (3)     16  reference timestamp
//!  1  stratum, poll, precision                 24  origin timestamp
//!  4  root delay                               32  receive timestamp
//!  8  root dispersion                          40  transmit timestamp
//! 12  reference id
//! ```
//!
//! Numbers are big-endian; delay and dispersion are seconds with sixteen binary places, timestamps with thirty-two.
//!
//! Source: RFC 5905 §7.3, RFC 4330 §4.

/// Without extensions and authentication. What follows in an answer is not looked at.
pub(super) const OCTETS: usize = 48;

const VERSION: u8 = 4;
/// Servers that speak the version before answer with it; nothing that is read here differs.
const VERSION_MIN: u8 = 3;
const CLIENT: u8 = 3;
const SERVER: u8 = 4;
/// RFC 5905 figure 9: the clock of the server is not set.
const LEAP_UNKNOWN: u8 = 3;
/// RFC 5905 §7.3: a server at stratum 16 is not set either.
const STRATUM_MAX: u8 = 15;
/// Seconds from the era of NTP, 1900, to that of Unix, 1970 (RFC 5905 figure 4).
const UNIX_EPOCH_SECONDS: i64 = 2_208_988_800;
const ERA_SECONDS: i64 = 1 << 32;

/// A point in time within an era of 136 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timestamp(pub(super) u64);

impl Timestamp {
    /// Milliseconds since 1970, in the era that puts it nearest to `pivot_unix_seconds`.
    pub(super) fn unix_ms(self, pivot_unix_seconds: u64) -> i64 {
        let pivot = i64::try_from(pivot_unix_seconds).unwrap_or(i64::MAX / 2) % (1 << 40);
        let pivot = pivot + UNIX_EPOCH_SECONDS;
        let seconds = i64::try_from(self.0 >> 32).unwrap_or(0);
        let half = ERA_SECONDS / 2;
        let away = (seconds - pivot + half).rem_euclid(ERA_SECONDS) - half;
        // To the nearest.
        let fraction_ms = i64::try_from(((self.0 & 0xffff_ffff) * 1000 + (1 << 31)) >> 32).unwrap_or(0);
        (pivot + away - UNIX_EPOCH_SECONDS) * 1000 + fraction_ms
    }

    /// Milliseconds from `earlier` to this one, of two that are less than 68 years apart.
    pub(super) fn ms_since(self, earlier: Self) -> i64 {
        let away = i128::from(self.0.wrapping_sub(earlier.0).cast_signed());
        i64::try_from((away * 1000) >> 32).unwrap_or(0)
    }
}

/// The question. RFC 4330 §5 wants everything zero but the version, the mode and the transmit timestamp; the timestamp is
/// a random number that comes back, and tells nothing of our clock.
pub(super) fn request(nonce: u64) -> Vec<u8> {
    let mut octets = vec![0; OCTETS];
    octets[0] = VERSION << 3 | CLIENT;
    octets[40..].copy_from_slice(&nonce.to_be_bytes());
    octets
}

/// A server's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Response {
    leap: u8,
    stratum: u8,
    root_delay: u32,
    root_dispersion: u32,
    reference: [u8; 4],
    /// The number of the question.
    pub(super) nonce: u64,
    receive: Timestamp,
    transmit: Timestamp,
}

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saying {
    Time {
        receive: Timestamp,
        transmit: Timestamp,
        /// How wrong it may be by its own account: half the delay to the clock it follows, and that one's dispersion.
        root_distance_ms: u32,
    },
    /// RFC 5905 §7.4, RATE: asked too often.
    AskedTooOften,
    /// RFC 5905 §7.4, DENY and RSTR: do not ask again.
    Denied,
    /// Its clock is not set, or it says something that no client needs to understand.
    Nothing,
}

impl Response {
    /// The message in a datagram; `None` if it is not one of a server.
    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let octets = payload.first_chunk::<OCTETS>()?;
        let (version, mode) = ((octets[0] >> 3) & 7, octets[0] & 7);
        if !(VERSION_MIN..=VERSION).contains(&version) || mode != SERVER {
            return None;
        }
        let u32_at = |at: usize| Some(u32::from_be_bytes(*octets[at..].first_chunk()?));
        let u64_at = |at: usize| Some(u64::from_be_bytes(*octets[at..].first_chunk()?));
        Some(Self {
            leap: octets[0] >> 6,
            stratum: octets[1],
            root_delay: u32_at(4)?,
            root_dispersion: u32_at(8)?,
            reference: *octets[12..].first_chunk()?,
            nonce: u64_at(24)?,
            receive: Timestamp(u64_at(32)?),
            transmit: Timestamp(u64_at(40)?),
        })
    }

    pub(super) fn saying(&self) -> Saying {
        match (self.stratum, &self.reference) {
            (0, b"RATE") => Saying::AskedTooOften,
            (0, b"DENY" | b"RSTR") => Saying::Denied,
            (1..=STRATUM_MAX, _)
                if self.leap != LEAP_UNKNOWN && self.receive.0 != 0 && self.transmit.0 != 0 =>
            {
                let distance = u64::from(self.root_delay / 2) + u64::from(self.root_dispersion);
                Saying::Time {
                    receive: self.receive,
                    transmit: self.transmit,
                    root_distance_ms: u32::try_from((distance * 1000) >> 16).unwrap_or(u32::MAX),
                }
            }
            _ => Saying::Nothing,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// 2026-01-01.
    const PIVOT: u64 = 1_767_225_600;

    /// RFC 5905 figure 4, by its column of seconds: the day and its number in the era.
    #[test]
    fn the_days_of_the_rfc_are_those_of_unix() {
        for (ntp, unix) in [
            // 1 Jan 1970 and the last day of era 0, 7 Feb 2036, both of era 0; 8 Feb 2036 of era 1 is 63 104.
            (2_208_988_800_u64, 0_i64),
            (2_272_060_800, 63_072_000),
            (4_294_944_000, 2_085_955_200),
            (63_104, 2_086_041_600),
        ] {
            assert_eq!(Timestamp(ntp << 32).unix_ms(PIVOT), unix * 1000, "{ntp}");
        }
    }

    #[test]
    fn the_era_rolls_over_in_2036_without_a_step() {
        let last = Timestamp(0xffff_ffff_8000_0000).unix_ms(PIVOT);
        assert_eq!(last, 2_085_978_495_500);
        assert_eq!(Timestamp(0).unix_ms(PIVOT), last + 500);
        assert_eq!(Timestamp(0).ms_since(Timestamp(u64::MAX - 0xffff_ffff)), 1000);
        assert_eq!(Timestamp(1 << 32).ms_since(Timestamp(u64::MAX << 32)), 2000);
        // A box that was built in 2040 has the same clock.
        assert_eq!(Timestamp(0).unix_ms(2_208_988_800), last + 500);
    }

    #[test]
    fn a_question_tells_nothing_but_a_number() {
        let octets = request(0x0102_0304_0506_0708);
        assert_eq!(octets[0], 0b00_100_011);
        assert_eq!(octets[1..40], [0; 39]);
        assert_eq!(octets[40..], [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    fn answer() -> [u8; OCTETS] {
        let mut octets = [0; OCTETS];
        octets[..4].copy_from_slice(&[0b00_100_100, 2, 6, 0xe8]);
        octets[4..8].copy_from_slice(&0x0000_8000_u32.to_be_bytes());
        octets[8..12].copy_from_slice(&0x0000_4000_u32.to_be_bytes());
        octets[24..32].copy_from_slice(&7_u64.to_be_bytes());
        octets[32..40].copy_from_slice(&1_u64.to_be_bytes());
        octets[40..].copy_from_slice(&2_u64.to_be_bytes());
        octets
    }

    fn saying(change: impl FnOnce(&mut [u8; OCTETS])) -> Option<Saying> {
        let mut octets = answer();
        change(&mut octets);
        Some(Response::decode(&octets)?.saying())
    }

    #[test]
    fn an_answer_is_read() {
        assert_eq!(Response::decode(&answer()).unwrap().nonce, 7);
        let expected = Saying::Time {
            receive: Timestamp(1),
            transmit: Timestamp(2),
            root_distance_ms: 500,
        };
        assert_eq!(saying(|_| ()), Some(expected));
        assert_eq!(saying(|octets| octets[0] = 0b01_011_100), Some(expected));
    }

    #[test]
    fn a_server_whose_clock_is_not_set_says_nothing() {
        assert_eq!(saying(|octets| octets[0] |= 0b11_000_000), Some(Saying::Nothing));
        for stratum in [0, 16, 255] {
            assert_eq!(saying(|octets| octets[1] = stratum), Some(Saying::Nothing));
        }
        assert_eq!(saying(|octets| octets[39] = 0), Some(Saying::Nothing));
        assert_eq!(saying(|octets| octets[47] = 0), Some(Saying::Nothing));
    }

    /// RFC 5905 §7.4.
    #[test]
    fn a_kiss_of_death_is_understood() {
        let kiss = |code: &[u8; 4]| {
            saying(|octets| {
                octets[1] = 0;
                octets[12..16].copy_from_slice(code);
            })
        };
        assert_eq!(kiss(b"RATE"), Some(Saying::AskedTooOften));
        assert_eq!(kiss(b"DENY"), Some(Saying::Denied));
        assert_eq!(kiss(b"RSTR"), Some(Saying::Denied));
        assert_eq!(kiss(b"XABC"), Some(Saying::Nothing));
    }

    #[test]
    fn what_is_no_message_of_a_server_is_refused() {
        // Client, broadcast, control, version 2, version 5.
        for first in [
            0b00_100_011,
            0b00_100_101,
            0b00_100_110,
            0b00_010_100,
            0b00_101_100,
        ] {
            assert_eq!(saying(|octets| octets[0] = first), None);
        }
        for length in 0..OCTETS {
            assert_eq!(Response::decode(&answer()[..length]), None);
        }
        let longer = [&answer()[..], &[0xff; 20]].concat();
        assert_eq!(Response::decode(&longer), Response::decode(&answer()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn random_octets_never_panic(mut octets in vec(any::<u8>(), 0..80), is_server in any::<bool>()) {
            if is_server && !octets.is_empty() {
                octets[0] = octets[0] & 0xc0 | 0b00_100_100;
            }
            let saying = Response::decode(&octets).map(|response| response.saying());
            if let Some(Saying::Time { receive, transmit, .. }) = saying {
                transmit.ms_since(receive);
                transmit.unix_ms(PIVOT);
            }
        }

        /// Any time of the box's life is found again, whatever the pivot within 60 years of it.
        #[test]
        fn any_time_near_the_pivot_comes_back(
            pivot in 1_700_000_000_u64..4_000_000_000,
            away in -1_900_000_000_i64..1_900_000_000,
        ) {
            let unix = pivot.cast_signed() + away;
            let ntp = (unix + UNIX_EPOCH_SECONDS).rem_euclid(ERA_SECONDS).cast_unsigned();
            prop_assert_eq!(Timestamp(ntp << 32).unix_ms(pivot), unix * 1000);
        }

        #[test]
        fn any_pivot_is_taken(pivot in any::<u64>(), timestamp in any::<u64>()) {
            Timestamp(timestamp).unix_ms(pivot);
        }
    }
}
