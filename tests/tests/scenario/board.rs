//! What somebody sees and does who stands beside the box: its LED and its button. QEMU's `virt` has neither; the drill
//! makes both inside the machine, by the names in the firmware's table of boards, and tells what the LED has shown.

use std::time::{Duration, Instant};

use e2e::appliance::SENDER;
use e2e::client::PATIENCE;
use e2e::mail::short_message;
use e2e::runner::Outcome;
use e2e::stage::{Booted, BootedImage};
use e2e::{Appliance, Office, Plan, Service, Smtp, Stage};
use serde_json::json;

e2e::scenarios![; alone
    the_led_says_how_the_box_is_until_it_is_dark,
    a_box_that_nobody_has_claimed_says_so,
    a_second_five_seconds_and_ten_are_three_gestures,
    d21_a_maild_that_does_not_stay_up_is_not_waited_for,
];

/// What the LED does: milliseconds on and off in turn, beginning with on, so many that nothing else looks like it. As people
/// are told in the README of the box.
type Pattern = &'static [u64];

const BOOTING: Pattern = &[500, 500, 500, 500];
const UNCLAIMED: Pattern = &[100, 1900, 100];
const ATTENTION: Pattern = &[120, 200, 120, 1060, 120, 200, 120];
const FAILING: Pattern = &[120, 120, 120, 120, 120, 120, 120, 120, 120, 700];
const STOPPING: Pattern = &[60, 120, 60, 120, 60, 120];
const NETWORK: Pattern = &[80, 320, 80];
const ACKNOWLEDGED: Pattern = &[1500, 500];
/// How the last three seconds before a factory reset begin.
const COUNTING: Pattern = &[250, 250, 250, 250, 200, 200];

/// What the LED has shown: at which time it changed, and whether it is on since.
#[derive(Clone, Debug, Default)]
struct Shown(Vec<(u64, bool)>);

impl Shown {
    /// A line each: the time in milliseconds, 1 or 0. Other lines are what a terminal says back.
    fn read(text: &str) -> Self {
        let change = |line: &str| {
            let (ms, is_on) = line.split_once(' ')?;
            Some((ms.parse().ok()?, is_on == "1"))
        };
        Self(text.lines().filter_map(change).collect())
    }

    /// So far.
    fn of(booted: &Booted) -> std::io::Result<Self> {
        Ok(Self::read(&booted.drill("l")?))
    }

    /// What was shown behind the first `count` changes.
    fn after(&self, count: usize) -> Self {
        Self(self.0[count..].to_vec())
    }

    /// Where a pattern was shown. An emulated machine is late now and then, by a third or by some hundredths of a second; a
    /// pattern is known by all of its parts.
    fn find(&self, pattern: Pattern) -> Option<usize> {
        let parts: Vec<(bool, u64)> = self
            .0
            .windows(2)
            .map(|two| (two[0].1, two[1].0 - two[0].0))
            .collect();
        parts.windows(pattern.len()).position(|window| {
            window[0].0
                && window
                    .iter()
                    .zip(pattern)
                    .all(|((_, ms), expected)| ms.abs_diff(*expected) <= (expected / 3).max(60))
        })
    }

    fn is_on(&self) -> Option<bool> {
        self.0.last().map(|(_, is_on)| *is_on)
    }
}

/// Waits until the LED has shown a pattern behind the first `count` changes.
fn wait_for(booted: &Booted, count: usize, pattern: Pattern) -> Result<Shown, Box<dyn std::error::Error>> {
    let until = Instant::now() + PATIENCE;
    loop {
        let shown = Shown::of(booted)?;
        if shown.after(count).find(pattern).is_some() {
            return Ok(shown);
        }
        if Instant::now() > until {
            return Err(format!("the LED does not show {pattern:?}: {:?}", shown.after(count)).into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Waits until the LED is on and stays so; gives how often it has changed.
fn wait_until_steady(booted: &Booted) -> Result<usize, Box<dyn std::error::Error>> {
    let until = Instant::now() + PATIENCE;
    loop {
        let before = Shown::of(booted)?;
        // Longer than any pattern leaves it on.
        std::thread::sleep(Duration::from_secs(3));
        let after = Shown::of(booted)?;
        if after.0.len() == before.0.len() && after.is_on() == Some(true) {
            return Ok(after.0.len());
        }
        if Instant::now() > until {
            let console = booted.console();
            return Err(format!("the LED does not stay on: {after:?}; the console:\n{console}").into());
        }
    }
}

fn machine(names: &[&'static str]) -> Result<Booted, Box<dyn std::error::Error>> {
    Ok(BootedImage::new()?
        .with_drill()?
        .machine(Plan::of(Office::for_names(names.iter().copied())))?)
}

fn the_led_says_how_the_box_is_until_it_is_dark(_stage: &dyn Stage) -> Outcome {
    let mut booted = machine(&["anna"])?;
    booted.start()?;
    let count = wait_until_steady(&booted)?;
    let shown = Shown::of(&booted)?;
    assert!(shown.find(BOOTING).is_some(), "on the way up: {shown:?}");

    // The cable is pulled. The box goes on, and says that somebody should look.
    let link = |is_up: bool| json!({"name": "net", "up": is_up});
    booted.on()?.control("set_link", &link(false))?;
    let shown = wait_for(&booted, count, ATTENTION)?;
    booted.on()?.control("set_link", &link(true))?;
    wait_until_steady(&booted)?;

    // A mail service that does not stop when it is asked to is given ten seconds. A box that has nothing to do is down within
    // a quarter of a second, too fast to see.
    let last = shown.0.len();
    booted.drill("z")?;
    let shown = booted.drill_until_off("s", |booted| {
        // The answer begins with all that was before.
        std::thread::sleep(Duration::from_secs(1));
        booted.press_power_button()
    })?;
    let shown = Shown::read(&shown).after(last);
    assert!(shown.find(STOPPING).is_some(), "on the way down: {shown:?}");
    assert_eq!(shown.is_on(), Some(false), "at the end it is dark: {shown:?}");
    Ok(())
}

/// AX2: and no port of mail is open before.
fn a_box_that_nobody_has_claimed_says_so(_stage: &dyn Stage) -> Outcome {
    let mut booted = machine(&["anna"])?;
    booted.insert(&[])?;
    booted.power_on()?;
    booted.says("belongs to nobody yet")?;
    let line = booted.says("LISTENING")?;
    assert_eq!(line.trim(), "LISTENING 443");
    let shown = wait_for(&booted, 0, UNCLAIMED)?;
    assert!(shown.find(BOOTING).is_some(), "on the way up: {shown:?}");
    let console = booted.console();
    assert!(console.contains("https://10.0.2.15/ (eth0)"), "{console}");
    assert!(console.contains("and enter the code "), "{console}");
    // No page asks for a press, so it means what it always means.
    booted.drill_start("b 1000")?;
    booted.wait_until_off()?;
    Ok(())
}

/// Each time with contacts that bounce for five milliseconds. What lies between the three means nothing.
fn a_second_five_seconds_and_ten_are_three_gestures(_stage: &dyn Stage) -> Outcome {
    let mut booted = machine(&["anna"])?;
    booted.start()?;
    let hold = |booted: &mut Booted, ms: u64| -> Result<(String, Shown), Box<dyn std::error::Error>> {
        let (mark, count) = (booted.console().len(), Shown::of(booted)?.0.len());
        let answer = booted.drill(&format!("b {ms}"))?;
        assert!(answer.starts_with("held"), "{answer}");
        // A line of the console takes its time.
        std::thread::sleep(Duration::from_secs(1));
        Ok((
            booted.console()[mark..].to_owned(),
            Shown::of(booted)?.after(count),
        ))
    };
    wait_until_steady(&booted)?;

    let (console, shown) = hold(&mut booted, 5_000)?;
    assert!(console.contains("the network is reset"), "{console}");
    assert!(shown.find(NETWORK).is_some(), "letting go resets it: {shown:?}");
    let shown_before = Shown::of(&booted)?.0.len() - shown.0.len();
    wait_for(&booted, shown_before, ACKNOWLEDGED)?;
    wait_until_steady(&booted)?;

    let (console, _) = hold(&mut booted, 3_500)?;
    assert!(!console.contains("button"), "three and a half seconds: {console}");
    let (console, shown) = hold(&mut booted, 8_500)?;
    assert!(
        console.contains("nothing is reset"),
        "eight and a half: {console}"
    );
    assert!(!console.contains("the network is reset"), "{console}");
    assert!(shown.find(COUNTING).is_some(), "ten seconds come near: {shown:?}");
    wait_until_steady(&booted)?;

    // Ten seconds. They began within the first minute.
    booted.drill_start("b 10500")?;
    booted.says("Everything on its disk is discarded")?;
    booted.says("Making a new file system")?;
    booted.says("LISTENING")?;
    wait_until_steady(&booted)?;

    booted.drill_start("b 1000")?;
    booted.wait_until_off()?;
    Ok(())
}

/// D21: clients of a mail service that cannot stay up are refused at once, and may try elsewhere; the box says so, and tries
/// again by itself.
fn d21_a_maild_that_does_not_stay_up_is_not_waited_for(_stage: &dyn Stage) -> Outcome {
    const ENDS: usize = 5;
    let mut plan = Plan::of(Office::for_names(["anna"]));
    // Five minutes are too long for a test.
    plan.kernel_word = Some("postolka.rest_seconds=40");
    let mut booted = BootedImage::new()?.with_drill()?.machine(plan)?;
    booted.start()?;
    let count = wait_until_steady(&booted)?;
    let addr = booted.addr(Service::Smtp);
    let until = Instant::now() + PATIENCE;
    let mut kills = 0;
    while kills < ENDS {
        // Between two of them it is away for a moment.
        kills += usize::from(booted.kill_maild().is_ok());
        assert!(Instant::now() < until, "it was killed {kills} times only");
        std::thread::sleep(Duration::from_millis(100));
    }
    booted.says("Its ports are closed")?;
    wait_for(&booted, count, FAILING)?;
    let began = Instant::now();
    let greeted = Smtp::ehlo(addr);
    assert!(greeted.is_err(), "somebody answers on a port that is closed");
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "a client was kept waiting"
    );
    assert_eq!(booted.console().matches("LISTENING").count(), 1);

    // When it has rested.
    let back = booted.on()?.console().wait_for_nth(2, "LISTENING", PATIENCE);
    back.map_err(|error| format!("it was not tried again: {error}"))?;
    Smtp::ehlo(addr)?.quit()?;
    let account = booted.office().accounts[0].clone();
    let message = short_message(SENDER, &account.address, "again@client.example.org");
    (&booted as &dyn Appliance).deliver(&account, &message)?;
    // When it has run for a minute, nothing is wrong any more.
    wait_until_steady(&booted)?;
    Ok(())
}
