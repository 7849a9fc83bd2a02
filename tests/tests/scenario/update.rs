//! A box that is updated, from a stick: what is taken, what is refused, and that the plug may be pulled at any moment.

use std::path::Path;
use std::time::{Duration, Instant};

use e2e::appliance::SENDER;
use e2e::mail::{own_prefix, short_message};
use e2e::random::{self, Random};
use e2e::runner::Outcome;
use e2e::slot::Version;
use e2e::stage::{Booted, BootedImage, Card, QemuRun};
use e2e::{Account, Appliance, Office, Plan, Stage};
use format::Slot;
use format::bootstate::Fault;
use format::layout::SLOT_B;
use qemu::{Disk, Firmware};

e2e::scenarios![; own
    d24_updates_are_taken_found_good_and_kept_in_both_directions,
    d24_a_version_that_never_finds_itself_good_goes_back_by_itself,
    d24_qemu_run_brings_its_box_to_another_version,
    d26_an_update_that_is_not_right_is_refused_in_a_sentence_and_nothing_is_written,
    d24_the_plug_is_pulled_at_any_moment_of_an_update_and_the_mail_is_there,
];

/// The name an update has on a stick.
const UPDATE: &str = "postolka.update";

/// A flashed box that has started once and has one message.
fn with_mail() -> Result<(Booted, Account, Vec<u8>), Box<dyn std::error::Error>> {
    let mut plan = Plan::of(Office::for_names(["anna"]));
    plan.disk_mib = Some(512);
    let mut booted = BootedImage::new()?.flashed(Firmware::UBoot).machine(plan)?;
    booted.start()?;
    let account = booted.office().accounts[0].clone();
    let message = short_message(SENDER, &account.address, "update@client.example.org");
    (&booted as &dyn Appliance).deliver(&account, &message)?;
    booted.press_power_button()?;
    Ok((booted, account, message))
}

/// The slot that the loader started last.
fn last_started(booted: &Booted) -> Option<Slot> {
    let console = booted.console();
    let last = console
        .lines()
        .rfind(|line| line.contains("slot A, ") || line.contains("slot B, "))?;
    Slot::ALL
        .into_iter()
        .find(|slot| last.contains(&format!("slot {slot}, ")))
}

/// The message is there, as often as it was delivered.
fn has_mail(booted: &Booted, account: &Account, message: &[u8]) -> Outcome {
    let mut imap = (booted as &dyn Appliance).imap_of(account)?;
    imap.ok("SELECT INBOX")?;
    let fetched = imap.fetch_all()?;
    assert_eq!(fetched.len(), 1);
    own_prefix(&fetched[0].octets, message)?;
    Ok(())
}

fn becomes_good(booted: &Booted, slot: Slot) -> Outcome {
    wait_until_good(booted.card(), slot, || booted.console())
}

/// Waits until the disk says that a slot is good: the box itself does not print it.
fn wait_until_good(card: Card<'_>, slot: Slot, console: impl Fn() -> String) -> Outcome {
    let until = Instant::now() + Duration::from_secs(120);
    while !card.bootstate().is_ok_and(|state| state.slot(slot).is_good) {
        if Instant::now() > until {
            return Err(format!("slot {slot} has not become good:\n{}", console()).into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn d24_updates_are_taken_found_good_and_kept_in_both_directions(_stage: &dyn Stage) -> Outcome {
    let (mut booted, account, message) = with_mail()?;
    let first = Version::built()?;
    for (by, slot) in [(1, Slot::B), (2, Slot::A)] {
        let version = first.clone().later(by);
        booted.insert(&[(UPDATE, &version.pack()?)])?;
        booted.power_on()?;
        booted.starts(slot.other(), None)?;
        // It writes the other slot and starts again by itself.
        booted.starts(slot, Some(1))?;
        booted.says("LISTENING")?;
        becomes_good(&booted, slot)?;
        booted.press_power_button()?;
        // The stick is still in, and does nothing any more.
        booted.start()?;
        has_mail(&booted, &account, &message)?;
        assert_eq!(last_started(&booted), Some(slot), "{}", booted.console());
        booted.press_power_button()?;
        let state = booted.card().bootstate()?;
        assert!(
            state.slot(slot.other()).is_good,
            "the fallback was given away: {state:?}"
        );
        assert!(state.min_version < first.number + by, "{state:?}");
    }
    Ok(())
}

fn d24_a_version_that_never_finds_itself_good_goes_back_by_itself(_stage: &dyn Stage) -> Outcome {
    let (mut booted, account, message) = with_mail()?;
    let version = Version::built()?
        .later(1)
        .with_words("postolka.trial_seconds=4")
        .with_mute_maild()?;
    booted.insert(&[(UPDATE, &version.pack()?)])?;
    booted.power_on()?;
    booted.starts(Slot::A, None)?;
    for number in 1..=3 {
        booted.starts(Slot::B, Some(number))?;
    }
    booted.says(&format!("slot B {}", Fault::TriesSpent))?;
    booted.starts(Slot::A, None)?;
    booted.says("did not come up")?;
    booted.says("LISTENING")?;
    booted.cut_power()?;
    // The same update is still on the stick. It had its tries: the box does not go round for ever.
    booted.start()?;
    has_mail(&booted, &account, &message)?;
    assert_eq!(last_started(&booted), Some(Slot::A), "{}", booted.console());
    Ok(())
}

fn d26_an_update_that_is_not_right_is_refused_in_a_sentence_and_nothing_is_written(
    _stage: &dyn Stage,
) -> Outcome {
    let (mut booted, ..) = with_mail()?;
    let version = Version::built()?.later(5);
    let whole = version.pack()?;
    let mut damaged = whole.clone();
    let middle = whole.len() / 2;
    damaged[middle] ^= 1;
    let forbidden = Version {
        min_from: version.number,
        ..version.clone()
    };
    let cases = [
        ("not as it was signed", damaged),
        ("cut short", whole[..whole.len() - 5000].to_vec()),
        ("no version of Postolka", b"something else\n".repeat(1000)),
        ("signature", version.forged()?),
        ("another board", version.clone().for_another_board().pack()?),
        ("too old", forbidden.pack()?),
    ];
    let before = other_slot(&booted)?;
    for (word, octets) in cases {
        booted.insert(&[(UPDATE, &octets)])?;
        booted.power_on()?;
        let line = booted
            .says("The update was not taken")
            .map_err(|error| format!("{word}: {error}"))?;
        println!("{word}: {line}");
        booted.says("LISTENING")?;
        booted.press_power_button()?;
        let console = booted.console();
        assert!(console.contains(word), "'{word}' is not said:\n{console}");
        let state = booted.card().bootstate()?;
        assert_eq!(state.order()[0], Slot::A, "{word}: {state:?}");
        assert!(state.slot(Slot::A).is_good, "{word}: {state:?}");
        assert!(other_slot(&booted)? == before, "{word}: the slot was written to");
    }
    Ok(())
}

/// D24, as somebody tries it at a desk: `qemu/run --update FILE`, and once more without.
fn d24_qemu_run_brings_its_box_to_another_version(_stage: &dyn Stage) -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (disk, update) = (file("disk.img"), file("new.update"));
    let built = Version::built()?;
    let next = built.clone().later(1);
    std::fs::write(&update, next.pack()?)?;
    let name = next.name();

    let mut run = QemuRun::start(folder.path(), &["--disk", &disk, "--update", &update])?;
    run.says(&format!("The box gets {name} on its stick."))?;
    run.says("slot A, ")?;
    run.says(&format!("slot B, {name}, try 1 of 3"))?;
    run.says("The box is up. On this computer:")?;
    // It is kept once the box has found that it works. The disk is read while the box runs, as somebody may who looks.
    let card = Disk::open(Path::new(&disk))?;
    wait_until_good(Card(&card), Slot::B, || run.text())?;
    let (status, said) = run.interrupt()?;
    assert!(
        status.success() && said.contains("The box is off."),
        "{status}:\n{said}"
    );

    let mut run = QemuRun::start(folder.path(), &["--disk", &disk])?;
    run.says(&format!("The disk starts {name}, and the last build is "))?;
    let line = run.says("slot B, ")?;
    assert!(line.contains(&name) && !line.contains("try"), "{line}");
    run.says("The box is up. On this computer:")?;
    let (status, said) = run.interrupt()?;
    assert!(
        status.success() && said.contains("The box is off."),
        "{status}:\n{said}"
    );
    Ok(())
}

/// What lies in the slot that does not run.
fn other_slot(booted: &Booted) -> std::io::Result<Vec<u8>> {
    let mut octets = vec![0; 16 << 20];
    booted.card().read(SLOT_B.start, &mut octets)?;
    Ok(octets)
}

fn d24_the_plug_is_pulled_at_any_moment_of_an_update_and_the_mail_is_there(_stage: &dyn Stage) -> Outcome {
    let first = Version::built()?;
    let (mut booted, account, message) = with_mail()?;
    let mut by = 0;
    for seed in random::seeds(&[1, 2, 3, 4]) {
        by += 1;
        let version = first.clone().later(by);
        booted.insert(&[(UPDATE, &version.pack()?)])?;
        booted.power_on()?;
        booted.says("Postolka loader")?;
        // Reading the stick, writing, the switch, the first start and the self-test take about fifteen seconds.
        let wait = 500 + Random::new(seed).next_u64() % 15_000;
        std::thread::sleep(Duration::from_millis(wait));
        booted.cut_power()?;
        let state = booted.card().bootstate()?;
        booted.power_on()?;
        booted
            .says("LISTENING")
            .map_err(|error| format!("seed {seed}, cut after {wait} ms, {state:?}: {error}"))?;
        booted.cut_power()?;
    }
    booted.start()?;
    has_mail(&booted, &account, &message)
}
