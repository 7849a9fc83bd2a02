#![allow(clippy::unwrap_used)]

use super::super::Keeper;
use super::*;
use std::io::Read;
use std::net::TcpListener;

const TIME: &str = "2026-11-24T08:15:00.123456Z";
const QUIET: Duration = Duration::from_secs(20);

fn line(number: u64, text: &str) -> Line {
    Line {
        number,
        time: TIME.to_owned(),
        text: text.to_owned(),
    }
}

fn keep(keeper: &Keeper, text: &str) {
    keeper.keep(TIME.to_owned(), text.to_owned(), false);
}

/// `sequenceId` and text of a message, whose other fields are as they have to be.
fn parts(message: &str) -> (u64, String) {
    let start = format!(">1 {TIME} postolka maild - - [meta sequenceId=\"");
    let rest = message
        .strip_prefix("<22")
        .or(message.strip_prefix("<20"))
        .unwrap();
    let rest = rest.strip_prefix(&start).unwrap_or_else(|| panic!("{message}"));
    let (sequence, text) = rest.split_once("\"] \u{feff}").unwrap();
    (sequence.parse().unwrap(), text.to_owned())
}

/// One message of a stream, by its octet count.
fn framed(stream: &mut TcpStream) -> String {
    let mut count = String::new();
    let mut octet = [0];
    loop {
        stream.read_exact(&mut octet).unwrap();
        if octet[0] == b' ' {
            break;
        }
        count.push(char::from(octet[0]));
    }
    let mut message = vec![0; count.parse().unwrap()];
    stream.read_exact(&mut message).unwrap();
    String::from_utf8(message).unwrap()
}

#[test]
fn a_target_is_an_address_and_a_port() {
    for text in [
        "192.0.2.9:514",
        "[2001:db8::9]:514",
        "tcp:192.0.2.9:601",
        "tcp:[2001:db8::9]:601",
    ] {
        assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "192.0.2.9",
        "log.example.net:514",
        "192.0.2.9:0",
        "0.0.0.0:514",
        "224.0.0.1:514",
        "255.255.255.255:514",
        "[ff02::1]:514",
        "udp:192.0.2.9:514",
        "192.0.2.9:65536",
    ] {
        assert_eq!(text.parse::<Target>(), Err(()), "{text}");
    }
}

/// RFC 5424 §6.
#[test]
fn a_line_is_a_syslog_message() {
    let check = |text: &str, host_name: &str, expected: &str| {
        assert_eq!(message(&line(41, text), host_name), expected);
    };
    check(
        "INFO recipient refused client=192.0.2.7",
        "postolka",
        "<22>1 2026-11-24T08:15:00.123456Z postolka maild - - [meta sequenceId=\"42\"] \u{feff}recipient refused client=192.0.2.7",
    );
    check(
        "ERROR the disk is full",
        "mail.h\u{e1}\u{10d}ky.cz",
        "<19>1 2026-11-24T08:15:00.123456Z - maild - - [meta sequenceId=\"42\"] \u{feff}the disk is full",
    );
    for (level, priority) in [
        ("ERROR", "<19>"),
        ("WARN", "<20>"),
        ("INFO", "<22>"),
        ("DEBUG", "<23>"),
    ] {
        assert!(message(&line(0, &format!("{level} x")), "").starts_with(priority));
    }
    // A number that the standard has room for, and never 0.
    for number in [0, SEQUENCE_MAX - 1, SEQUENCE_MAX, u64::MAX] {
        let text = message(&line(number, "INFO x"), "postolka");
        let (sequence, _) = parts(&text);
        assert!((1..=SEQUENCE_MAX).contains(&sequence));
    }
}

#[test]
fn by_udp_each_line_is_a_datagram_and_those_of_before_come_too() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(QUIET)).unwrap();
    let keeper = Keeper::default();
    keep(&keeper, "INFO before");
    let target = receiver.local_addr().unwrap().to_string().parse().unwrap();
    let _sending = keeper.send_to(target, "postolka");
    keep(&keeper, "INFO behind");
    for (number, text) in [(1, "before"), (2, "behind")] {
        let mut datagram = [0; 2048];
        let length = receiver.recv(&mut datagram).unwrap();
        let message = std::str::from_utf8(&datagram[..length]).unwrap();
        assert_eq!(parts(message), (number, text.to_owned()));
    }
}

#[test]
fn by_tcp_each_line_is_counted() {
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let keeper = Keeper::default();
    let target = format!("tcp:{}", receiver.local_addr().unwrap());
    let _sending = keeper.send_to(target.parse().unwrap(), "postolka");
    keep(&keeper, "INFO p\u{159}ijato");
    keep(&keeper, "INFO second");
    let (mut stream, _) = receiver.accept().unwrap();
    stream.set_read_timeout(Some(QUIET)).unwrap();
    assert_eq!(parts(&framed(&mut stream)), (1, "p\u{159}ijato".to_owned()));
    assert_eq!(parts(&framed(&mut stream)), (2, "second".to_owned()));
}

/// Nobody is there, and then somebody is: lines wait, and what was lost is counted.
#[test]
fn a_receiver_that_is_down_holds_nobody_up_and_hears_what_it_missed() {
    let address = {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        taken.local_addr().unwrap()
    };
    let keeper = Keeper::default();
    let _sending = keeper.send_to(format!("tcp:{address}").parse().unwrap(), "postolka");
    let began = Instant::now();
    let lines = WAITING_MAX as u64 + 500;
    for number in 0..lines {
        keep(&keeper, &format!("INFO line {number}"));
    }
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    let receiver = TcpListener::bind(address).unwrap();
    let (mut stream, _) = receiver.accept().unwrap();
    stream.set_read_timeout(Some(QUIET)).unwrap();
    let (_, told) = parts(&framed(&mut stream));
    let (count, words) = told.split_once(' ').unwrap();
    assert_eq!(words, "lines before this one were not sent");
    let lost: u64 = count.parse().unwrap();
    // The first was under way when nobody answered; of the others as many are there as fit.
    let mut heard = 0;
    while heard + lost < lines {
        let (_, text) = parts(&framed(&mut stream));
        assert!(text.starts_with("line "), "{text}");
        heard += 1;
    }
    assert!(
        (WAITING_MAX as u64 - 1..=WAITING_MAX as u64 + 1).contains(&heard),
        "{heard} and {lost}"
    );
}

/// It takes a connection, and nothing from it.
#[test]
fn a_receiver_that_reads_nothing_holds_nobody_up() {
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let keeper = Keeper::default();
    let target = format!("tcp:{}", receiver.local_addr().unwrap());
    let sending = keeper.send_to(target.parse().unwrap(), "postolka");
    // It connects when there is something to send.
    keep(&keeper, "INFO first");
    let (_stream, _) = receiver.accept().unwrap();
    let began = Instant::now();
    // More than sockets and the outbox hold.
    for _ in 0..50_000 {
        keep(&keeper, &format!("INFO {}", "x".repeat(900)));
    }
    assert!(began.elapsed() < QUIET, "{:?}", began.elapsed());
    let waiting = lock(&sending.0.0.0);
    assert!(waiting.lines.len() <= WAITING_MAX && waiting.lost > 0);
}
