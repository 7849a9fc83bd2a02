//! The last partition of a flashed disk: it grows, it is not overwritten, it is reset when somebody wants that.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use e2e::appliance::SENDER;
use e2e::client::{Conversation, PATIENCE, tls};
use e2e::mail::{own_prefix, short_message};
use e2e::peer::{Peer, ROUTER, Seen};
use e2e::runner::Outcome;
use e2e::stage::{Booted, BootedImage};
use e2e::{Appliance, Office, Plan, Service, Stage};
use format::Slot;
use format::layout::DATA;
use qemu::{Firmware, Image, Machine};

e2e::scenarios![; own
    a_larger_card_is_used_to_its_end,
    an_unreadable_data_partition_is_never_written_over,
    d42_a_reset_that_is_cut_half_way_finishes_at_the_next_start,
    a_button_let_go_too_early_resets_nothing,
    the_boot_partition_brings_a_name_and_a_network,
    ax2_the_boot_partition_brings_nothing_else,
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

/// The name of the file, on a stick and here.
const PROVISIONING: &str = "postolka.toml";

/// DESIGN §7: whoever flashed the card has put the box's name and its address beside the loader.
fn the_boot_partition_brings_a_name_and_a_network(_stage: &dyn Stage) -> Outcome {
    const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 71);
    let peer = Peer::new(9)?;
    let mut booted = flashed_without_stick()?;
    booted.on_cables(&[&peer]);
    let text = format!("[box]\nname = \"posta\"\naddress = \"{OURS}/24\"\ngateway = \"{ROUTER}\"\n");
    booted.card().put_on_esp(PROVISIONING, text.as_bytes())?;
    booted.power_on()?;
    booted.starts(Slot::A, None)?;
    booted.says("postolka.toml was found on")?;
    booted.says("  Name        posta")?;
    // It is reached there, and still belongs to nobody.
    let page = format!("https://{OURS}/ (eth0)");
    booted.on()?.console().wait_for(&page, PATIENCE)?;
    let door = peer.open_door(OURS, Service::Https.port())?;
    let at = (Ipv4Addr::LOCALHOST, door).into();
    tls::chain(&mut Conversation::connect(at)?, "posta.local")?;
    booted
        .on()?
        .console()
        .wait_for("belongs to nobody yet", PATIENCE)?;

    // It is the box's own from then on: the file may go.
    booted.cut_power()?;
    booted.card().put_on_esp(PROVISIONING, b"# nothing any more\n")?;
    let mark = peer.mark();
    booted.power_on()?;
    booted.says("  Name        posta")?;
    booted.says(&page)?;
    let asked = peer.all(mark, |seen| matches!(seen, Seen::Dhcp(_)).then(|| seen.clone()));
    assert_eq!(
        asked,
        [],
        "it has its address, and a server is asked all the same"
    );
    Ok(())
}

/// What is no use of the file there is told, and the box starts as one that has none.
fn ax2_the_boot_partition_brings_nothing_else(_stage: &dyn Stage) -> Outcome {
    let named = "[box]\nname = \"posta\"\n";
    let account = Office::for_names(["anna"]).provisioning();
    let mut booted = flashed_without_stick()?;
    for (octets, told) in [
        (
            vec![b'#'; (64 << 10) + 1],
            "was not used: it is larger than 64 KiB.",
        ),
        (Vec::new(), "was not used: it is empty."),
        (
            format!("{named}{account}").into_bytes(),
            "there may be only [box]",
        ),
        (
            format!("{named}colour = \"blue\"\n").into_bytes(),
            "`colour` is not known here",
        ),
    ] {
        booted.card().put_on_esp(PROVISIONING, &octets)?;
        booted.power_on()?;
        booted.starts(Slot::A, None)?;
        let line = booted
            .says("LISTENING")
            .map_err(|error| format!("{told}: {error}"))?;
        assert_eq!(line.trim(), "LISTENING 443", "{told}");
        // On the page, which breaks its lines.
        let until = Instant::now() + PATIENCE;
        while !words(&booted.on()?.console().text()).contains(told) {
            assert!(
                Instant::now() < until,
                "'{told}' is not said:\n{}",
                booted.console()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        let console = booted.on()?.console().text();
        assert!(console.contains("boot partition") && console.contains("belongs to nobody yet"));
        assert!(
            !console.contains("posta\r") && !console.contains("posta\n"),
            "{console}"
        );
        booted.cut_power()?;
    }
    Ok(())
}

/// Nobody's box, with a stick on which there is nothing.
fn flashed_without_stick() -> std::io::Result<Booted> {
    let mut plan = Plan::of(Office::of_nobody());
    plan.disk_mib = Some(384);
    let mut booted = BootedImage::new()?.flashed(Firmware::UBoot).machine(plan)?;
    booted.insert(&[])?;
    Ok(booted)
}

/// The text with one space between any two words.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One kernel and one file system for all boards. Under emulation a Pi has no network card and no firmware, so QEMU
/// starts the kernel, and the page on the console is as far as it goes.
fn the_same_kernel_and_file_system_start_on_a_raspberry_pi_3(_stage: &dyn Stage) -> Outcome {
    let image = Image::built("ci")?;
    let machine = Machine::raspi3b(&image)?.start()?;
    let line = machine.console().wait_for("Raspberry Pi 3", PATIENCE)?;
    println!("{line}");
    Ok(())
}
