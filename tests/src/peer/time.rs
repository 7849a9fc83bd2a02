//! Time servers (RFC 5905), each as honest as the test wants it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where they listen.
pub(super) const PORT: u16 = 123;
const OCTETS: usize = 48;
/// From 1900, where NTP begins, to 1970.
const UNIX_IN_NTP_SECONDS: u64 = 2_208_988_800;

/// One time server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeServer {
    /// It is right, but for so many milliseconds.
    Off(i64),
    /// It says nothing.
    Silent,
    /// It says that it does not know the time itself (leap indicator 3).
    Unsynchronised,
    /// It asks to be left alone (stratum 0, `RATE`).
    KissOfDeath,
    /// It answers a question that was not asked: the origin timestamp is another.
    Stranger,
    /// It answers with fewer octets than there are.
    Short,
}

/// The answer of one server to a request, when it is `now` where the tests are.
pub(super) fn answer(server: &TimeServer, request: &[u8], now: SystemTime) -> Option<Vec<u8>> {
    let request: &[u8; OCTETS] = request.get(..OCTETS)?.try_into().ok()?;
    let offset_ms = match server {
        TimeServer::Off(offset_ms) => *offset_ms,
        TimeServer::Silent => return None,
        _ => 0,
    };
    let now = timestamp(now, offset_ms);
    let mut reply = [0; OCTETS];
    // Leap indicator, the version that was asked for, mode 4.
    reply[0] = (request[0] & 0b0011_1000) | 4;
    reply[1] = 2;
    reply[2] = 6;
    reply[3] = 0xec;
    reply[12..16].copy_from_slice(&[192, 0, 2, 250]);
    reply[16..24].copy_from_slice(&now);
    reply[24..32].copy_from_slice(&request[40..48]);
    reply[32..40].copy_from_slice(&now);
    reply[40..48].copy_from_slice(&now);
    match server {
        TimeServer::Unsynchronised => reply[0] |= 0b1100_0000,
        TimeServer::KissOfDeath => {
            reply[1] = 0;
            reply[12..16].copy_from_slice(b"RATE");
        }
        TimeServer::Stranger => reply[31] ^= 1,
        TimeServer::Short => return Some(reply[..OCTETS - 1].to_vec()),
        TimeServer::Off(_) | TimeServer::Silent => {}
    }
    Some(reply.to_vec())
}

/// RFC 5905 §6: seconds since 1900, of which the upper bits are lost in 2036, and their fraction.
fn timestamp(now: SystemTime, offset_ms: i64) -> [u8; 8] {
    let unix = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let shift = Duration::from_millis(offset_ms.unsigned_abs());
    let unix = if offset_ms < 0 {
        unix.saturating_sub(shift)
    } else {
        unix + shift
    };
    let seconds = (unix.as_secs() + UNIX_IN_NTP_SECONDS) & u64::from(u32::MAX);
    let fraction = (u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000;
    ((seconds << 32) | fraction).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(unix_seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(unix_seconds)
    }

    #[test]
    fn the_day_of_ntp_and_the_day_it_begins_anew() {
        // RFC 5905, figure 4: 1 January 1972, and the first day of era 1 (with one second: 2036-02-07 06:28:16).
        assert_eq!(timestamp(at(63_072_000), 0)[..4], 2_272_060_800_u32.to_be_bytes());
        assert_eq!(timestamp(at(2_085_978_496), 0)[..4], [0; 4]);
        assert_eq!(timestamp(at(0), 500)[4..], [0x80, 0, 0, 0]);
        assert_eq!(timestamp(at(10), -1500), timestamp(at(8), 500));
    }

    #[test]
    fn the_question_is_answered_and_each_server_errs_in_its_way() {
        let mut request = [0; OCTETS];
        request[0] = 0b0010_0011;
        request[40..].copy_from_slice(b"question");
        let of = |server: TimeServer| answer(&server, &request, at(63_072_000));
        let good = of(TimeServer::Off(0)).expect("an answer");
        assert_eq!(good[0], 0b0010_0100);
        assert_eq!(&good[24..32], b"question");
        assert_eq!(of(TimeServer::Silent), None);
        assert_eq!(of(TimeServer::Short).map(|octets| octets.len()), Some(47));
        for wrong in [
            TimeServer::Unsynchronised,
            TimeServer::KissOfDeath,
            TimeServer::Stranger,
            TimeServer::Off(1),
        ] {
            assert_ne!(of(wrong.clone()), Some(good.clone()), "{wrong:?}");
        }
        assert_eq!(answer(&TimeServer::Off(0), &request[..47], at(0)), None);
    }
}
