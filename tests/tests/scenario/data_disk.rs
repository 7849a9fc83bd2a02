//! The last partition of a flashed disk: it grows, it is not overwritten, it is reset when somebody wants that.

use std::time::Duration;

use e2e::appliance::SENDER;
use e2e::mail::{own_prefix, short_message};
use e2e::runner::Outcome;
use e2e::stage::{Booted, BootedImage};
use e2e::{Appliance, Office, Plan, Stage};
use format::Slot;
use format::layout::DATA;
use qemu::{Firmware, Image, Machine};

e2e::scenarios![; own
    a_larger_card_is_used_to_its_end,
    an_unreadable_data_partition_is_never_written_over,
    d42_a_reset_that_is_cut_half_way_finishes_at_the_next_start,
    a_button_let_go_too_early_resets_nothing,
    the_same_kernel_and_file_system_start_on_a_raspberry_pi_3,
];

/// Who gets mail here, and what is searched for on the raw disk.
const CANARY: &str = "canary-8c1f2e7a-of-the-factory-reset";

fn flashed() -> std::io::Result<Booted> {
    let mut plan = Plan::of(Office::for_names(["anna"]));
    plan.disk_mib = Some(384);
    BootedImage::new()?.flashed(Firmware::UBoot).machine(plan)
}

fn a_larger_card_is_used_to_its_end(_stage: &dyn Stage) -> Outcome {
    let mut booted = flashed()?;
    booted.start()?;
    let account = booted.office().accounts[0].clone();
    let message = short_message(SENDER, &account.address, "grow@client.example.org");
    (&booted as &dyn Appliance).deliver(&account, &message)?;
    booted.press_power_button()?;
    let before = booted.card().file_system_octets()?;
    booted.disk.grow(1 << 30)?;
    booted.start()?;
    let mut imap = (&booted as &dyn Appliance).imap_of(&account)?;
    imap.ok("SELECT INBOX")?;
    own_prefix(&imap.fetch_all()?[0].octets, &message)?;
    booted.press_power_button()?;
    let after = booted.card().file_system_octets()?;
    assert!(before < 300 << 20 && after > 900 << 20, "{before} → {after}");
    Ok(())
}

fn an_unreadable_data_partition_is_never_written_over(_stage: &dyn Stage) -> Outcome {
    let mut booted = flashed()?;
    booted.start()?;
    booted.press_power_button()?;
    // What a card does that loses an erase block: the beginning is gone.
    booted.card().write(DATA.start, &vec![0x5a; 4 << 20])?;
    let mut before = vec![0; 16 << 20];
    booted.card().read(DATA.start, &mut before)?;
    booted.power_on()?;
    booted.says("No mail is served")?;
    std::thread::sleep(Duration::from_secs(2));
    booted.cut_power()?;
    let mut after = vec![0; 16 << 20];
    booted.card().read(DATA.start, &mut after)?;
    assert!(before == after, "it was written to");
    // Once: at the first start.
    let console = booted.console();
    assert_eq!(
        console.matches("Making a new file system").count(),
        1,
        "{console}"
    );
    Ok(())
}

/// D42: ten seconds on the button in the first minute, and the plug pulled while the disk is overwritten.
fn d42_a_reset_that_is_cut_half_way_finishes_at_the_next_start(_stage: &dyn Stage) -> Outcome {
    let mut booted = flashed()?;
    booted.start()?;
    let account = booted.office().accounts[0].clone();
    let message = short_message(SENDER, &account.address, CANARY);
    (&booted as &dyn Appliance).deliver(&account, &message)?;
    booted.press_power_button()?;
    assert!(
        booted.card().holds(CANARY.as_bytes())?,
        "the search finds nothing"
    );
    let state = booted.card().bootstate()?;

    booted.insert(&[])?;
    booted.power_on()?;
    booted.starts(Slot::A, None)?;
    booted.says("Addresses")?;
    booted.on()?.hold_key(Duration::from_secs(11))?;
    booted.says("reset")?;
    booted.says("overwritten")?;
    booted.cut_power()?;
    booted.power_on()?;
    booted.starts(Slot::A, None)?;
    booted.says("Making a new file system")?;
    booted.says("Addresses")?;
    booted.press_power_button()?;
    assert!(
        !booted.card().holds(CANARY.as_bytes())?,
        "the mail is still on the disk"
    );
    let after = booted.card().bootstate()?;
    assert!(after.min_version >= state.min_version && after.min_epoch >= state.min_epoch);
    Ok(())
}

fn a_button_let_go_too_early_resets_nothing(_stage: &dyn Stage) -> Outcome {
    let mut booted = flashed()?;
    booted.start()?;
    let account = booted.office().accounts[0].clone();
    let message = short_message(SENDER, &account.address, "kept@client.example.org");
    (&booted as &dyn Appliance).deliver(&account, &message)?;
    booted.cut_power()?;
    booted.power_on()?;
    booted.says("Addresses")?;
    booted.on()?.hold_key(Duration::from_secs(7))?;
    std::thread::sleep(Duration::from_secs(2));
    booted.cut_power()?;
    booted.start()?;
    let mut imap = (&booted as &dyn Appliance).imap_of(&account)?;
    imap.ok("SELECT INBOX")?;
    own_prefix(&imap.fetch_all()?[0].octets, &message)?;
    Ok(())
}

/// One kernel and one file system for all boards. Under emulation a Pi has no network card and no firmware, so QEMU
/// starts the kernel, and the page on the console is as far as it goes.
fn the_same_kernel_and_file_system_start_on_a_raspberry_pi_3(_stage: &dyn Stage) -> Outcome {
    let image = Image::built("ci")?;
    let machine = Machine::raspi3b(&image)?.start()?;
    let line = machine
        .console()
        .wait_for("Raspberry Pi 3", e2e::client::PATIENCE)?;
    println!("{line}");
    Ok(())
}
