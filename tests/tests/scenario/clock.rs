//! The box's clock: wrong when it starts, lied to, and set while people are at work (D13, D14).

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use e2e::appliance::SENDER;
use e2e::mail::{field, own_prefix, short_message};
use e2e::peer::{FIRST, Peer, Seen, TIME_SERVERS, TimeServer};
use e2e::runner::Outcome;
use e2e::stage::{Booted, BootedImage};
use e2e::{Appliance, Office, Plan, Stage};

use crate::network::mail_comes_and_is_read;

e2e::scenarios![; own
    d13_d14_a_clock_at_1970_is_set_by_three_of_four_and_by_a_jump_only_twice_told,
    d13_a_clock_at_2038_is_set_back_and_its_certificate_with_it,
];

/// What the network has to do in this time.
const SOON: Duration = Duration::from_secs(90);
const DAY_MS: i64 = 86_400_000;
/// How far the time of this network is ahead of that of the tests, so that it cannot be met by chance.
const WORLD_MS: i64 = 3 * DAY_MS;
/// How far the jump goes.
const JUMP_MS: i64 = 30 * DAY_MS;
/// By how many seconds two clocks may differ: messages take a moment, on a busy computer a long one.
const SLACK_SECONDS: i64 = 20;
/// So far apart are two rounds of questions; what comes sooner the box takes for the same one.
const BETWEEN_ROUNDS: Duration = Duration::from_secs(11);

/// No battery, no time server at first, and then one that lies. Later a jump that all agree on.
fn d13_d14_a_clock_at_1970_is_set_by_three_of_four_and_by_a_jump_only_twice_told(
    _stage: &dyn Stage,
) -> Outcome {
    let peer = Peer::new(7)?;
    servers(&peer, [const { TimeServer::Silent }; 4]);
    let mut booted = with_clock("1970-01-01", &peer)?;
    booted.power_on()?;
    booted.says("LISTENING")?;
    booted.reached_at(&peer, FIRST.into())?;
    // The date of the firmware is not reached by this computer's clock going backwards.
    let floor = received_at(&booted, "unknown-time")?;
    assert!((1_760_000_000..=now()).contains(&floor), "mail of {floor}");

    let liar = TimeServer::Off(WORLD_MS + 3650 * DAY_MS);
    let honest = |offset_ms: i64| TimeServer::Off(WORLD_MS + offset_ms);
    servers(&peer, [honest(0), liar, honest(40), honest(-30)]);
    becomes(&booted, WORLD_MS / 1000, "set")?;
    mail_comes_and_is_read(&booted, "set-and-read")?;

    // Everybody says another month. Once is not enough.
    let mut idle = (&booted as &dyn Appliance).imap_of(&booted.office().accounts[0])?;
    idle.ok("SELECT INBOX")?;
    let later = |offset_ms: i64| TimeServer::Off(WORLD_MS + JUMP_MS + offset_ms);
    servers(&peer, [later(0), TimeServer::Short, later(10), later(20)]);
    asks_again(&peer, &booted)?;
    booted.says("The time servers say")?;
    let unmoved = received_at(&booted, "doubted")?;
    assert!(
        (unmoved - now() - WORLD_MS / 1000).abs() < SLACK_SECONDS,
        "moved to {unmoved}"
    );
    let console = booted.on()?.console();
    console.wait_for("A malformed NTP answer was ignored.", SOON)?;

    servers(&peer, [later(0), later(10), TimeServer::Stranger, later(20)]);
    asks_again(&peer, &booted)?;
    booted.says("have had the clock set")?;
    becomes(&booted, (WORLD_MS + JUMP_MS) / 1000, "jumped")?;
    // D14: who was logged in still is, and no mail is gone.
    idle.ok("NOOP")
        .map_err(|error| format!("{error}\nthe console:\n{}", booted.console()))?;
    let selected = idle.ok("SELECT INBOX")?;
    let count = selected.number_of("EXISTS").ok_or("SELECT tells no number")?;
    assert!(count >= 5, "{count} messages");
    Ok(())
}

/// The battery is of another opinion, which a certificate is made by. Then the time is known.
fn d13_a_clock_at_2038_is_set_back_and_its_certificate_with_it(_stage: &dyn Stage) -> Outcome {
    let peer = Peer::new(8)?;
    servers(&peer, [const { TimeServer::Silent }; 4]);
    let mut booted = with_clock("2038-01-20", &peer)?;
    booted.power_on()?;
    booted.says("LISTENING")?;
    booted.reached_at(&peer, FIRST.into())?;
    let account = booted.office().accounts[0].clone();
    let message = short_message(SENDER, &account.address, "2038@client.example.org");
    (&booted as &dyn Appliance).deliver(&account, &message)?;

    servers(&peer, [const { TimeServer::Off(0) }; 4]);
    // One of the four is not even there.
    peer.script(|script| {
        script.time.remove(&IpAddr::from(TIME_SERVERS[3]));
    });
    let end = Instant::now() + SOON;
    // Its certificate is of 2038 until then, and no client of today takes it.
    while let Err(error) = (&booted as &dyn Appliance).imap_of(&account) {
        if Instant::now() > end {
            return Err(format!("no client of today can log in: {error}").into());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    becomes(&booted, 0, "set-back")?;
    let mut imap = (&booted as &dyn Appliance).imap_of(&account)?;
    imap.ok("SELECT INBOX")?;
    let first = &imap.fetch("1")?[0].octets;
    let date = date_of(first, &message)?;
    assert!(date > 2_147_000_000, "the mail of 2038 is of {date}");
    Ok(())
}

/// A box with this clock on the peer's cable, whose DHCP server names four time servers.
fn with_clock(clock: &'static str, peer: &Peer) -> Result<Booted, Box<dyn std::error::Error>> {
    peer.script(|script| script.dhcp.ntp = TIME_SERVERS.to_vec());
    let mut plan = Plan::of(Office::for_names(["anna"]));
    plan.clock = Some(clock);
    let mut booted = BootedImage::new()?.machine(plan)?;
    booted.on_cables(&[peer]);
    Ok(booted)
}

/// What the four time servers say from now on.
fn servers(peer: &Peer, servers: [TimeServer; 4]) {
    let named = TIME_SERVERS.map(IpAddr::from).into_iter().zip(servers);
    peer.script(|script| script.time = named.collect());
}

/// Has the box ask for the time once more: whoever is plugged in anew does. Not at once, for what comes soon after a round
/// is taken for the same.
fn asks_again(peer: &Peer, booted: &Booted) -> Outcome {
    std::thread::sleep(BETWEEN_ROUNDS);
    let machine = booted.on()?;
    let mut mark = peer.mark();
    machine.pull(peer.cable())?;
    std::thread::sleep(Duration::from_millis(500));
    machine.put_back(peer.cable())?;
    peer.next(&mut mark, "a question for the time", SOON, |seen| {
        matches!(seen, Seen::Time(_)).then_some(())
    })?;
    Ok(())
}

/// Waits until the box has the time of this computer and so many seconds.
fn becomes(booted: &Booted, ahead_seconds: i64, id: &str) -> Outcome {
    let end = Instant::now() + SOON;
    for number in 0.. {
        let off = received_at(booted, &format!("{id}-{number}"))? - now() - ahead_seconds;
        if off.abs() < SLACK_SECONDS {
            println!("{id}: the clock is {off} s off");
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("{id}: the clock is {off} s off").into());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// The time at which the box says that it received a message that is sent now, in seconds since 1970.
fn received_at(booted: &Booted, id: &str) -> Result<i64, Box<dyn std::error::Error>> {
    let account = booted.office().accounts[0].clone();
    let appliance: &dyn Appliance = booted;
    let message = short_message(SENDER, &account.address, &format!("{id}@client.example.org"));
    appliance.deliver(&account, &message)?;
    let mut imap = appliance.imap_of(&account)?;
    imap.ok("SELECT INBOX")?;
    date_of(&imap.fetch("*")?[0].octets, &message)
}

/// The date of the box's own trace field.
fn date_of(stored: &[u8], message: &[u8]) -> Result<i64, Box<dyn std::error::Error>> {
    let prefix = own_prefix(stored, message)?;
    let received = field(prefix.as_bytes(), "Received").ok_or("no Received field")?;
    let (_, date) = received
        .rsplit_once(';')
        .ok_or("a Received field without a date")?;
    unix_seconds(date).ok_or_else(|| format!("no date: {date}").into())
}

const DAYS_TO_1970: i64 = 719_468;

/// Reads `Tue, 24 Nov 2026 14:22:58 +0000` (RFC 5322 §3.3), as the box writes it.
fn unix_seconds(date: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = date.split_whitespace().skip(1);
    let day: i64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()?;
    let year: i64 = words.next()?.parse().ok()?;
    let mut time = words.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hours, minutes, seconds) = (time.next()??, time.next()??, time.next()??);
    if words.next()? != "+0000" {
        return None;
    }
    // Days since 1 March of the year 0, whose months have 31 30 31 30 31 31 30 31 30 31 31 days and then February.
    let (year, month) = if month < 2 {
        (year - 1, month + 10)
    } else {
        (year, month - 2)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    Some(((days - DAYS_TO_1970) * 24 + hours) * 3600 + minutes * 60 + seconds)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
