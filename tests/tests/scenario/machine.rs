//! What only a machine has: a power button, a supervisor, a disk that fills or grows, little memory.

use std::time::{Duration, Instant};

use e2e::appliance::SENDER;
use e2e::client::Reply;
use e2e::mail::{ATTACHMENT_OCTETS, own_prefix, random_message, short_message, with_attachment};
use e2e::oracle::{Fate, Oracle};
use e2e::runner::Outcome;
use e2e::stage::{Booted, BootedImage};
use e2e::{Account, Appliance, Office, Plan, Service, Smtp, Stage};

e2e::scenarios![; own
    the_power_button_stops_it_and_the_mail_is_there,
    d1_each_250_stands_behind_a_flush_of_the_disk,
    d21_a_killed_maild_is_a_pause_and_not_a_refusal,
    d13_a_box_without_a_clock_takes_mail,
    d43_the_programs_have_no_power,
    the_disk_grows_when_it_is_larger,
    d9_a_full_disk_refuses_mail_and_recovers,
    a_box_without_a_disk_says_so,
    a_wrong_provisioning_file_is_told_on_the_console,
    ; alone
    it_works_in_256_mib,
];

fn the_power_button_stops_it_and_the_mail_is_there(_stage: &dyn Stage) -> Outcome {
    let mut booted = BootedImage::new()?.machine(Plan::of(Office::for_names(["anna"])))?;
    booted.start()?;
    let account = booted.office().accounts[0].clone();
    let message = short_message(SENDER, &account.address, "button@client.example.org");
    (&booted as &dyn Appliance).deliver(&account, &message)?;
    // Somebody idles meanwhile, and somebody is in the middle of a message.
    let mut idling = (&booted as &dyn Appliance).imap_of(&account)?;
    idling.ok("SELECT INBOX")?;
    idling.start("IDLE")?;
    let mut sending = (&booted as &dyn Appliance).smtp()?;
    sending.begin(SENDER, &account.address)?;
    sending.conversation.send(b"Subject: never finished\r\n\r\n")?;
    booted.press_power_button()?;
    let goodbye = String::from_utf8_lossy(&idling.conversation.rest()?).into_owned();
    assert!(
        goodbye.contains("* BYE"),
        "the idling client was told {goodbye:?}"
    );
    booted.start()?;
    let mut imap = (&booted as &dyn Appliance).imap_of(&account)?;
    imap.ok("SELECT INBOX")?;
    let fetched = imap.fetch_all()?;
    assert_eq!(fetched.len(), 1, "and nothing half-made");
    own_prefix(&fetched[0].octets, &message)?;
    Ok(())
}

/// D1: the disk itself was told to make it durable, before each reply. No cut of the power would show a missing sync here,
/// for this computer's cache outlives the machine; QEMU counts what the machine asked of its disk.
fn d1_each_250_stands_behind_a_flush_of_the_disk(_stage: &dyn Stage) -> Outcome {
    const MESSAGES: u64 = 60;
    let mut booted = BootedImage::new()?.machine(Plan::of(Office::for_names(["anna"])))?;
    booted.start()?;
    let account = booted.office().accounts[0].clone();
    let mut smtp = (&booted as &dyn Appliance).smtp()?;
    let before = flushes(&booted)?;
    for number in 0..MESSAGES {
        let message = short_message(
            SENDER,
            &account.address,
            &format!("flush{number}@client.example.org"),
        );
        let flushed = flushes(&booted)?;
        assert_eq!(smtp.deliver(SENDER, &account.address, &message)?.code, 250);
        assert!(
            flushes(&booted)? > flushed,
            "message {number} was acknowledged without a flush"
        );
    }
    println!("{MESSAGES} messages took {} flushes", flushes(&booted)? - before);
    Ok(())
}

/// How often the machine has flushed its data disk.
fn flushes(booted: &Booted) -> Result<u64, Box<dyn std::error::Error>> {
    let devices = booted.on()?.control("query-blockstats", &serde_json::json!({}))?;
    let devices = devices.as_array().ok_or("QEMU tells no disks")?;
    let data = devices
        .iter()
        .find(|device| device["device"] == "data")
        .ok_or("QEMU tells no disk 'data'")?;
    Ok(data["stats"]["flush_operations"]
        .as_u64()
        .ok_or("QEMU counts no flushes")?)
}

/// D21, D2: the listening sockets are init's, so clients wait in the backlog while maild is started again.
fn d21_a_killed_maild_is_a_pause_and_not_a_refusal(_stage: &dyn Stage) -> Outcome {
    let mut booted = BootedImage::new()?
        .with_drill()?
        .machine(Plan::of(Office::for_names(["anna"])))?;
    booted.start()?;
    let account = booted.office().accounts[0].clone();
    let oracle = Oracle::default();
    let addr = booted.addr(Service::Smtp);
    for kill in 0..3_u64 {
        let mut smtp = Smtp::ehlo(addr)?;
        for number in 0..5 {
            let id = format!("kill{kill}-{number}@client.example.org");
            let message = random_message(SENDER, &account.address, &id, 20_000, kill * 5 + number);
            let reply = smtp.deliver(SENDER, &account.address, &message);
            oracle.write_down(&id, &message, Fate::of(&reply));
            reply?;
        }
        booted.kill_maild()?;
        // At once, and many: each is greeted in the end, none refused.
        let started = Instant::now();
        let greeted: Vec<_> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..6).map(|_| scope.spawn(|| Smtp::ehlo(addr))).collect();
            clients
                .into_iter()
                .map(|client| client.join().expect("a client gives an error, no panic"))
                .collect()
        });
        for smtp in greeted {
            smtp.map_err(|error| format!("kill {kill}: a client was refused: {error}"))?
                .quit()?;
        }
        println!("kill {kill}: a pause of {:.1} s", started.elapsed().as_secs_f32());
        let mut imap = (&booted as &dyn Appliance).imap_of(&account)?;
        let found = oracle
            .judge(&mut imap)
            .map_err(|error| format!("after kill {kill}: {error}"))?;
        assert_eq!(found.acknowledged as u64, (kill + 1) * 5);
    }
    println!("{}", booted.drill("m")?);
    Ok(())
}

/// D13: the clock is never before the date of the firmware, whatever the hardware says.
fn d13_a_box_without_a_clock_takes_mail(_stage: &dyn Stage) -> Outcome {
    let mut plan = Plan::of(Office::for_names(["anna"]));
    plan.clock = Some("1970-01-01");
    let mut booted = BootedImage::new()?.machine(plan)?;
    booted.start()?;
    let account = booted.office().accounts[0].clone();
    let appliance: &dyn Appliance = &booted;
    let message = short_message(SENDER, &account.address, "clock@client.example.org");
    appliance.deliver(&account, &message)?;
    // The certificate was made by that clock, and is checked by ours.
    let mut imap = appliance.imap_of(&account)?;
    imap.ok("SELECT INBOX")?;
    let fetched = imap.fetch_all()?;
    let prefix = own_prefix(&fetched[0].octets, &message)?;
    let received = e2e::mail::field(prefix.as_bytes(), "Received").ok_or("no Received field")?;
    let year = received
        .split(' ')
        .rev()
        .nth(2)
        .and_then(|year| year.parse::<u32>().ok());
    assert!(year.is_some_and(|year| year >= 2026), "{received}");
    Ok(())
}

/// D43: own users, no capability, no way to get one, a list of calls, and nothing on /data runs. What happens to somebody who
/// tries is in `sandbox`.
fn d43_the_programs_have_no_power(_stage: &dyn Stage) -> Outcome {
    let mut booted = BootedImage::new()?
        .with_drill()?
        .machine(Plan::of(Office::for_names(["anna"])))?;
    booted.start()?;
    let told = booted.drill("p")?;
    let mut users = Vec::new();
    for program in ["maild", "netd"] {
        let value = |name: &str| {
            let start = format!("{program} {name}: ");
            told.lines()
                .find_map(|line| line.strip_prefix(&start))
                .map(str::to_owned)
        };
        for capabilities in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(
                value(capabilities).as_deref(),
                Some("0000000000000000"),
                "{program} {capabilities}:\n{told}"
            );
        }
        assert_eq!(value("NoNewPrivs").as_deref(), Some("1"), "{program}:\n{told}");
        assert_eq!(value("Seccomp").as_deref(), Some("2"), "{program}:\n{told}");
        let user = value("Uid").ok_or("the drill tells no user")?;
        assert!(user.split(' ').all(|id| id != "0"), "{program} is root:\n{told}");
        users.push(user);
    }
    assert_ne!(users[0], users[1], "one user for two programs");
    let mount = told
        .lines()
        .find(|line| line.starts_with("mount "))
        .ok_or("/data is not mounted")?;
    let options: Vec<&str> = mount.split([' ', ',']).collect();
    for option in ["nosuid", "nodev", "noexec"] {
        assert!(options.contains(&option), "{option}: {mount}");
    }
    Ok(())
}

/// The smallest board: everything works, with an attachment of 35 MiB on four connections, and nobody is killed.
fn it_works_in_256_mib(_stage: &dyn Stage) -> Outcome {
    let mut plan = Plan::of(Office::for_names(["one", "two", "three", "four"]));
    plan.memory_mib = Some(256);
    let mut booted = BootedImage::new()?.with_drill()?.machine(plan)?;
    let started = Instant::now();
    booted.start()?;
    println!(
        "256 MiB: serves {:.1} s after power-on",
        started.elapsed().as_secs_f32()
    );
    println!("idle:\n{}", booted.drill("m")?);
    let appliance: &dyn Appliance = &booted;
    let messages: Vec<Vec<u8>> = (0..4)
        .map(|number| {
            let account = &appliance.office().accounts[number];
            with_attachment(SENDER, &account.address, ATTACHMENT_OCTETS, 76, number as u64).message
        })
        .collect();
    appliance.deliver_at_once(&messages)?;
    println!("after four messages of 50 MB:\n{}", booted.drill("m")?);
    for (account, message) in booted.office().accounts.iter().zip(&messages) {
        let mut imap = (&booted as &dyn Appliance).imap_of(account)?;
        imap.ok("SELECT INBOX")?;
        own_prefix(&imap.fetch("*")?[0].octets, message)?;
    }
    let console = booted.console();
    assert_eq!(
        console.matches("LISTENING").count(),
        1,
        "maild was started again:\n{console}"
    );
    assert!(
        !console.contains("Out of memory") && !console.contains("oom"),
        "{console}"
    );
    Ok(())
}

fn the_disk_grows_when_it_is_larger(_stage: &dyn Stage) -> Outcome {
    let mut plan = Plan::of(Office::for_names(["anna"]));
    plan.disk_mib = Some(256);
    let mut booted = BootedImage::new()?.with_drill()?.machine(plan)?;
    booted.start()?;
    let account = booted.office().accounts[0].clone();
    let message = random_message(SENDER, &account.address, "grow@client.example.org", 500_000, 1);
    (&booted as &dyn Appliance).deliver(&account, &message)?;
    let small = data_mib(&booted)?;
    assert!((150..=256).contains(&small), "a disk of 256 MiB has {small} MiB");
    booted.press_power_button()?;
    booted.disk.grow(1024 << 20)?;
    booted.start()?;
    let large = data_mib(&booted)?;
    assert!(
        (900..=1024).contains(&large),
        "a disk of 1024 MiB has {large} MiB, it had {small}"
    );
    let mut imap = (&booted as &dyn Appliance).imap_of(&account)?;
    imap.ok("SELECT INBOX")?;
    own_prefix(&imap.fetch_all()?[0].octets, &message)?;
    Ok(())
}

/// The size of /data in MiB, told by the kernel of the box.
fn data_mib(booted: &Booted) -> Result<u64, Box<dyn std::error::Error>> {
    let answer = booted.drill("d")?;
    let line = answer
        .lines()
        .find_map(|line| line.strip_prefix("data "))
        .ok_or("the drill tells no size")?;
    Ok(line.trim().parse::<u64>()? >> 20)
}

/// D9, S8
fn d9_a_full_disk_refuses_mail_and_recovers(_stage: &dyn Stage) -> Outcome {
    let mut plan = Plan::of(Office::for_names(["anna"]));
    // The smaller, the sooner it is full.
    plan.disk_mib = Some(160);
    let mut booted = BootedImage::new()?.machine(plan)?;
    booted.start()?;
    let account = booted.office().accounts[0].clone();
    let oracle = Oracle::default();
    // Large ones until one does not fit, then ever smaller ones: what fits is taken.
    let mut smtp = (&booted as &dyn Appliance).smtp()?;
    let mut number = 0;
    for octets in [4_000_000, 400_000, 40_000, 4_000, 400] {
        // A refused message leaves the room it had taken; the box looks at its disk once a second.
        let mut is_refused = false;
        loop {
            number += 1;
            assert!(
                number < 400,
                "the disk does not fill: {} messages",
                oracle.acknowledged()
            );
            let id = format!("full{number}@client.example.org");
            let message = random_message(SENDER, &account.address, &id, octets, number);
            let reply = try_to_deliver(&mut smtp, &account, &message);
            oracle.write_down(&id, &message, Fate::of(&reply));
            let reply = reply?;
            if reply.code != 250 {
                assert_eq!(reply.class(), "452 4.3.1", "{octets} octets");
                if is_refused {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1500));
            }
            is_refused = reply.code != 250;
        }
    }
    assert!(
        oracle.acknowledged() >= 10,
        "refused after {} messages",
        oracle.acknowledged()
    );

    // Reading works, and APPEND is refused as well.
    let mut imap = (&booted as &dyn Appliance).imap_of(&account)?;
    let found = oracle.judge(&mut imap)?;
    let mut appended = 0;
    loop {
        let answer = imap.append("INBOX", "", b"Subject: one more\r\n\r\nx\r\n")?;
        if !answer.is_ok() {
            assert!(answer.tagged.starts_with("NO "), "{answer:?}");
            break;
        }
        appended += 1;
        assert!(appended < 200, "a full disk takes {appended} messages by APPEND");
    }

    // Deleting works, and makes room again without a restart.
    imap.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")?;
    let expunged = imap.ok("EXPUNGE")?;
    let count = expunged
        .untagged
        .iter()
        .filter(|response| response.line.ends_with(" EXPUNGE"))
        .count();
    assert_eq!(count, found.present + appended);
    let until = Instant::now() + Duration::from_secs(120);
    let mut smtp = (&booted as &dyn Appliance).smtp()?;
    let message = short_message(SENDER, &account.address, "recovered@client.example.org");
    loop {
        let reply = try_to_deliver(&mut smtp, &account, &message)?;
        if reply.code == 250 {
            break;
        }
        assert!(
            Instant::now() < until,
            "two minutes after everything was removed: {reply:?}"
        );
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(imap.ok("SELECT INBOX")?.number_of("EXISTS"), Some(1));
    Ok(())
}

/// Delivers a message, or gives the first reply that says no.
fn try_to_deliver(smtp: &mut Smtp, account: &Account, message: &[u8]) -> std::io::Result<Reply> {
    let commands = [
        format!("MAIL FROM:<{SENDER}>"),
        format!("RCPT TO:<{}>", account.address),
        "DATA".to_owned(),
    ];
    for command in commands {
        let reply = smtp.command(&command)?;
        if !reply.is_positive() {
            return Ok(reply);
        }
    }
    smtp.data(message)
}

fn a_box_without_a_disk_says_so(_stage: &dyn Stage) -> Outcome {
    let console = BootedImage::new()?.boot_without_disk("No mail is served")?;
    assert!(console.to_lowercase().contains("disk"), "{console}");
    assert!(!console.contains("LISTENING"), "{console}");
    Ok(())
}

fn a_wrong_provisioning_file_is_told_on_the_console(_stage: &dyn Stage) -> Outcome {
    let mut office = Office::for_names(["anna"]);
    "colour = \"blue\"".clone_into(&mut office.first_line);
    let console = BootedImage::new()?
        .machine(Plan::of(office))?
        .boot_until("line 1")?;
    assert!(
        console.contains("colour") || console.contains("postolka.toml"),
        "{console}"
    );
    assert!(!console.contains("LISTENING"), "{console}");
    Ok(())
}
