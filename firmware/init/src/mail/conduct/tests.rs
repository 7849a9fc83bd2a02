use handoff::{HostName, Ipv4Settings};

use super::*;
use crate::supervise::{ALIVE_MS_MAX, ENDS_MAX, STEADY_MS};

const REST_MS: u64 = 300_000;
const READY: FromMaild = FromMaild::Ready {
    fingerprint: [7; FINGERPRINT_OCTETS],
};
const UNCLAIMED: FromMaild = FromMaild::Opened { is_claimed: false };
const CLAIMED: FromMaild = FromMaild::Opened { is_claimed: true };

fn started(now_ms: u64) -> Conduct {
    let mut conduct = Conduct::default();
    conduct.begin(now_ms);
    assert!(conduct.is_due(now_ms) && !conduct.is_due(now_ms));
    conduct.started(now_ms);
    conduct
}

/// One that serves a box with an owner, and was announced.
fn serving(now_ms: u64) -> Conduct {
    let mut conduct = started(now_ms);
    assert_eq!(conduct.follow(CLAIMED, now_ms), Step::Serve { is_claimed: true });
    assert!(!conduct.is_to_announce());
    assert_eq!(conduct.follow(READY, now_ms), Step::Nothing);
    assert!(conduct.is_to_announce() && !conduct.is_to_announce());
    conduct
}

fn end(conduct: &mut Conduct, now_ms: u64) -> Ended {
    conduct.ended("ended with error 1".to_owned(), false, REST_MS, now_ms)
}

fn is_breach(step: Step) -> bool {
    matches!(step, Step::End(_))
}

#[test]
fn ax2_mail_is_served_once_the_box_has_an_owner() {
    let mut conduct = started(0);
    assert_eq!(conduct.is_claimed(), None);
    assert_eq!(conduct.follow(UNCLAIMED, 1), Step::Serve { is_claimed: false });
    assert_eq!((conduct.is_claimed(), conduct.is_ready()), (Some(false), false));
    conduct.follow(READY, 2);
    assert!(conduct.is_ready() && conduct.is_to_announce());
    // It is claimed while it runs: the second half again, and announced again.
    assert_eq!(conduct.follow(CLAIMED, 3), Step::Serve { is_claimed: true });
    assert!(conduct.is_ready() && !conduct.is_to_announce());
    conduct.follow(READY, 4);
    assert!(conduct.is_to_announce());
    assert_eq!(conduct.fingerprint(), Some([7; FINGERPRINT_OCTETS]));
}

#[test]
fn a_ready_that_nobody_asked_for_is_the_end_and_announces_nothing() {
    assert!(is_breach(started(0).follow(READY, 0)));
    let mut conduct = serving(0);
    for _ in 0..1000 {
        assert!(is_breach(conduct.follow(READY, 1)));
        assert!(!conduct.is_to_announce());
    }
}

#[test]
fn a_box_that_has_an_owner_keeps_it_however_often_it_is_opened() {
    let mut conduct = serving(0);
    for message in [UNCLAIMED, CLAIMED] {
        assert!(is_breach(conduct.follow(message, 1)));
        assert_eq!(conduct.is_claimed(), Some(true));
    }
    let mut conduct = started(0);
    conduct.follow(UNCLAIMED, 1);
    assert!(is_breach(conduct.follow(UNCLAIMED, 2)));
    // Another start may find another box.
    end(&mut conduct, 3);
    conduct.started(4);
    assert_eq!(conduct.follow(CLAIMED, 5), Step::Serve { is_claimed: true });
}

#[test]
fn d20_it_is_judged_from_its_start_on() {
    let mut conduct = started(0);
    assert_eq!(conduct.deadline_ms(), Some(ALIVE_MS_MAX));
    // It opens for ten minutes, and says so.
    for now_ms in (5_000..600_000).step_by(5_000) {
        conduct.follow(FromMaild::Alive, now_ms);
        assert_eq!(conduct.judge(now_ms), Verdict::Fine);
    }
    assert!(matches!(conduct.judge(595_000 + ALIVE_MS_MAX), Verdict::Abort(_)));

    let mut conduct = serving(0);
    assert!(matches!(conduct.judge(ALIVE_MS_MAX), Verdict::Abort(_)));
    assert_eq!(conduct.judge(ALIVE_MS_MAX + 1), Verdict::Fine);
    assert_eq!(conduct.judge(ALIVE_MS_MAX + 5000), Verdict::Kill);
    end(&mut conduct, ALIVE_MS_MAX + 5001);
    assert_eq!(conduct.judge(ALIVE_MS_MAX + 5001), Verdict::Fine);
    // The next one has a minute of its own.
    conduct.started(100_000);
    assert_eq!(conduct.deadline_ms(), Some(100_000 + ALIVE_MS_MAX));
}

#[test]
fn d21_it_is_started_again_later_each_time_and_rests_after_the_fifth_end() {
    let mut conduct = started(0);
    let mut now_ms = 0;
    for (number, wait) in ["0.2", "0.4", "0.8", "1.6"].into_iter().enumerate() {
        now_ms += 10;
        let ended = end(&mut conduct, now_ms);
        let line = format!("maild ended with error 1; it is started again in {wait} s.");
        assert_eq!((ended.line, ended.is_to_rest), (Some(line), false));
        assert!(conduct.is_restarting() && !conduct.is_due(now_ms));
        assert_eq!(conduct.troubled_end().is_some(), number >= 2);
        now_ms = conduct.deadline_ms().unwrap_or_default();
        assert!(conduct.is_due(now_ms));
        conduct.started(now_ms);
    }
    assert!(end(&mut conduct, now_ms).is_to_rest);
    assert!(conduct.is_resting());
    assert_eq!(conduct.deadline_ms(), Some(now_ms + REST_MS));
    let ends: Vec<Event> = conduct.events();
    assert!(matches!(ends.last(), Some(Event::Ended(ENDS_MAX))) && ends.len() == ENDS_MAX);
    // Tried again, it stays up.
    now_ms += REST_MS;
    assert!(conduct.is_due(now_ms));
    conduct.started(now_ms);
    conduct.judge(now_ms + STEADY_MS - 1);
    assert!(conduct.is_resting() && conduct.troubled_end().is_some());
    conduct.judge(now_ms + STEADY_MS);
    assert_eq!((conduct.is_resting(), conduct.troubled_end()), (false, None));
}

#[test]
fn one_that_cannot_be_started_counts_like_one_that_ends() {
    let mut conduct = Conduct::default();
    conduct.begin(0);
    let mut now_ms = 0;
    let mut rests = Vec::new();
    for _ in 0..ENDS_MAX {
        assert!(conduct.is_due(now_ms));
        rests.push(conduct.could_not_start(REST_MS, now_ms));
        now_ms = conduct.deadline_ms().unwrap_or_default();
    }
    assert_eq!(rests, [false, false, false, false, true]);
    assert_eq!(conduct.troubled_end(), Some("could not be started"));
}

#[test]
fn on_the_way_down_only_an_end_that_was_not_clean_is_told() {
    for (is_success, line) in [
        (true, None),
        (false, Some("maild was ended by SIGKILL.".to_owned())),
    ] {
        let mut conduct = serving(0);
        conduct.stop();
        let ended = conduct.ended("was ended by SIGKILL".to_owned(), is_success, REST_MS, 1);
        assert_eq!((ended.line, ended.is_to_rest), (line, false));
        assert_eq!(conduct.deadline_ms(), None);
    }
    let mut conduct = started(0);
    conduct.stop();
    conduct.follow(CLAIMED, 1);
    conduct.follow(READY, 1);
    assert!(!conduct.is_to_announce());
}

#[test]
fn what_it_says_of_other_things_is_handed_on_once() {
    let mut conduct = serving(0);
    conduct.follow(FromMaild::ApplyUpdate { octets: 5 }, 1);
    conduct.follow(FromMaild::SetNetwork(Ipv4Settings::Dynamic), 1);
    if let Ok(name) = HostName::new("posta") {
        conduct.follow(FromMaild::SetName(name), 1);
    }
    let told = conduct.events();
    assert!(
        matches!(
            told[..],
            [Event::Update { octets: 5 }, Event::Network(_), Event::Name(_)]
        ),
        "{told:?}"
    );
    assert!(conduct.events().is_empty());
    conduct.follow(
        FromMaild::Status(Status {
            needs_attention: true,
            ..Status::default()
        }),
        2,
    );
    assert!(conduct.needs_attention());
}

#[test]
fn a_maild_that_has_ended_asks_for_no_button_and_its_press_switches_nothing_off() {
    let mut conduct = serving(0);
    conduct.follow(FromMaild::AwaitButton { seconds: 120 }, 1000);
    assert!(conduct.awaits_button(2000));
    end(&mut conduct, 3000);
    assert!(!conduct.awaits_button(3000));
    assert_eq!(conduct.press(4000), Press::Late);
    // What a maild that is gone has left in the socket is nobody's.
    assert_eq!(conduct.follow(READY, 5000), Step::Nothing);
}
