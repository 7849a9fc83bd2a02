//! Somebody has taken a program over, or a program has stopped to react: what is left of the box.

use std::time::{Duration, Instant};

use e2e::appliance::SENDER;
use e2e::mail::short_message;
use e2e::runner::Outcome;
use e2e::stage::{Booted, BootedImage};
use e2e::{Appliance, Imap, Office, Plan, Service, Stage};

e2e::scenarios![; own
    d43_the_sandbox_of_maild_holds,
    d43_the_sandbox_of_netd_holds,
    d20_an_init_that_hangs_is_reset_by_the_watchdog,
    ; alone
    d20_a_maild_that_hangs_is_ended_and_the_mail_is_there,
    d16_a_thousand_idle_connections_in_256_mib,
    an_idle_box_sleeps,
];

/// Of `cage::hostile`: files of others, and places where nothing of ours is to be.
const OTHERS_FILES: usize = 9;
const OTHERS_PLACES: usize = 4;

/// D43. Five ends of maild would close the mail ports, so there are four: its replacement, and three attempts.
fn d43_the_sandbox_of_maild_holds(_stage: &dyn Stage) -> Outcome {
    let mut booted = hostile("maild")?;
    let account = booted.office().accounts[0].clone();
    deliver(&booted, "before@client.example.org")?;
    booted.says("LISTENING")?;
    assert_eq!(booted.drill("h maild")?.trim(), "done");
    booted.says("LISTENING")?;
    assert_confined(&booted, "maild")?;

    // What the kernel only refuses, goes on serving.
    booted.drill("o open")?;
    booted.says("maild: hostile: create /dev/shm-hostile: ")?;
    let told = booted.console();
    let refused = |what: &str| told.matches(&format!("maild: hostile: {what} /")).count();
    assert_eq!(
        (refused("open"), refused("create")),
        (OTHERS_FILES, OTHERS_PLACES),
        "{told}"
    );
    booted.drill("o bind")?;
    booted.says("maild: hostile: bind: refused: Permission denied")?;
    booted.drill("o threads")?;
    booted.says("maild: hostile: threads: refused: Resource temporarily unavailable")?;

    // What is on no list ends it, and the console says what it was; what eats memory ends alone.
    for (attempt, end) in [
        (
            "execute",
            "maild was ended: it tried something it may not do (execve)",
        ),
        (
            "pass",
            "maild was ended: it tried something it may not do (sendmsg)",
        ),
        ("memory", "maild was ended by SIGKILL"),
    ] {
        booted.drill(&format!("o {attempt}"))?;
        booted.says(end)?;
        booted.says("LISTENING")?;
    }
    assert_confined(&booted, "maild")?;
    deliver(&booted, "after@client.example.org")?;
    let mut imap = (&booted as &dyn Appliance).imap_of(&account)?;
    assert_eq!(imap.ok("SELECT INBOX")?.number_of("EXISTS"), Some(2));
    let console = booted.console();
    assert!(!console.contains("DONE"), "{console}");
    // init is the same, and netd did not notice: five starts of maild, and nothing else.
    assert_eq!(console.matches("LISTENING").count(), 5, "{console}");
    assert!(
        !console.contains("netd: ") && !console.contains("The last reset"),
        "{console}"
    );
    Ok(())
}

/// D43, and mail is served afterwards by the ordinary netd.
fn d43_the_sandbox_of_netd_holds(_stage: &dyn Stage) -> Outcome {
    let mut booted = hostile("netd")?;
    booted.says("LISTENING")?;
    assert_eq!(booted.drill("h netd")?.trim(), "done");
    booted.says("hostile: inside")?;
    assert_confined(&booted, "netd")?;
    for (attempt, call) in [
        ("open", "(openat)"),
        ("execute", "(execve)"),
        ("bind", "(socket)"),
        ("raw", "(socket)"),
        ("signal", "(kill)"),
    ] {
        booted.drill(&format!("o {attempt}"))?;
        let said = booted.says("was ended: it tried something it may not do")?;
        assert!(said.contains(call), "{attempt}: {said}");
        booted.says("hostile: inside")?;
    }
    booted.drill("o memory")?;
    booted.says("was ended by SIGKILL")?;
    booted.says("hostile: inside")?;
    assert_eq!(booted.drill("g netd")?.trim(), "done");
    deliver(&booted, "after@client.example.org")?;
    let console = booted.console();
    assert!(
        !console.contains("DONE") && !console.contains("maild was ended"),
        "{console}"
    );
    assert_eq!(console.matches("LISTENING").count(), 1, "{console}");
    Ok(())
}

/// D20: every worker of the executor is held, so that nothing goes on and nothing has ended.
fn d20_a_maild_that_hangs_is_ended_and_the_mail_is_there(_stage: &dyn Stage) -> Outcome {
    const WITHIN: Duration = Duration::from_secs(75);
    let mut booted = hostile("maild")?;
    let account = booted.office().accounts[0].clone();
    booted.says("LISTENING")?;
    booted.drill("h maild")?;
    booted.says("LISTENING")?;
    deliver(&booted, "hang@client.example.org")?;
    booted.drill("o block")?;
    let began = Instant::now();
    booted.says("maild shows no sign of life and is ended.")?;
    booted.says("maild was ended by SIGABRT")?;
    let ended = began.elapsed();
    booted.says("LISTENING")?;
    println!(
        "D20: ended after {:.1} s, back after {:.1} s",
        ended.as_secs_f32(),
        began.elapsed().as_secs_f32()
    );
    assert!(ended < WITHIN, "{ended:?}");
    let mut imap = (&booted as &dyn Appliance).imap_of(&account)?;
    assert_eq!(imap.ok("SELECT INBOX")?.number_of("EXISTS"), Some(1));
    Ok(())
}

/// D20: only init's loop feeds the watchdog.
fn d20_an_init_that_hangs_is_reset_by_the_watchdog(_stage: &dyn Stage) -> Outcome {
    let mut booted = BootedImage::new()?
        .with_drill()?
        .machine(Plan::of(Office::for_names(["anna"])))?;
    booted.start()?;
    deliver(&booted, "watchdog@client.example.org")?;
    booted.says("LISTENING")?;
    let began = Instant::now();
    assert_eq!(booted.drill("f")?.trim(), "done");
    booted.says("The last reset was by the watchdog")?;
    println!(
        "D20: up again {:.1} s after init stopped",
        began.elapsed().as_secs_f32()
    );
    booted.says("LISTENING")?;
    let account = booted.office().accounts[0].clone();
    let mut imap = (&booted as &dyn Appliance).imap_of(&account)?;
    assert_eq!(imap.ok("SELECT INBOX")?.number_of("EXISTS"), Some(1));
    Ok(())
}

/// D16, D17: as many as there may be, all logged in; one more is told so, and those who are there can go on.
fn d16_a_thousand_idle_connections_in_256_mib(_stage: &dyn Stage) -> Outcome {
    const CONNECTIONS: usize = 1000;
    let mut plan = Plan::of(Office::for_names(["anna"]));
    plan.memory_mib = Some(256);
    plan.office.connections_per_address_max = Some(2 * CONNECTIONS);
    let mut booted = BootedImage::new()?.with_drill()?.machine(plan)?;
    booted.start()?;
    let appliance: &dyn Appliance = &booted;
    let account = appliance.office().accounts[0].clone();
    appliance.deliver(
        &account,
        &short_message(SENDER, &account.address, "first@client.example.org"),
    )?;
    let before = resident_kib(&booted, "maild")?;
    let (tls, addr) = (appliance.tls()?, appliance.addr(Service::Imaps));
    let began = Instant::now();
    let mut idle: Vec<Imap> = Vec::new();
    let refusal = loop {
        // As the box does it: what is over the number is told so inside TLS.
        match Imap::connect(addr, tls.clone(), appliance.host_name()) {
            Ok(mut imap) => match imap.login(&account.address, &account.password) {
                Ok(()) => idle.push(imap),
                Err(error) => break error.to_string(),
            },
            Err(error) => break error.to_string(),
        }
        assert!(idle.len() <= CONNECTIONS, "more than {CONNECTIONS} are served");
    };
    let after = resident_kib(&booted, "maild")?;
    println!(
        "D16: {} idle connections in {:.0} s; maild {before} KiB before, {after} KiB with them: {} octets each; then: {refusal}",
        idle.len(),
        began.elapsed().as_secs_f32(),
        (after.saturating_sub(before) << 10) / u64::try_from(idle.len())?
    );
    assert_eq!(idle.len(), CONNECTIONS, "{refusal}");
    assert!(after < 160 << 10, "maild has {after} KiB");
    for imap in idle.iter_mut().step_by(100) {
        imap.ok("NOOP")?;
    }
    idle.truncate(CONNECTIONS - 2);
    // The box learns of it when the last octets of the two have come.
    let gone = Instant::now();
    while let Err(error) = deliver(&booted, "second@client.example.org") {
        let is_early = error.to_string().contains("421 4.7.0") && gone.elapsed() < Duration::from_secs(10);
        assert!(is_early, "{error}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let console = booted.console();
    assert_eq!(console.matches("LISTENING").count(), 1, "{console}");
    assert!(!console.contains("Out of memory"), "{console}");
    Ok(())
}

/// Goals: the three programs together wake up less than five times a second, and init and netd are small.
fn an_idle_box_sleeps(_stage: &dyn Stage) -> Outcome {
    const WAKINGS_MAX: u64 = 50;
    const SMALL_KIB: u64 = 1536;
    let mut booted = BootedImage::new()?
        .with_drill()?
        .machine(Plan::of(Office::for_names(["anna"])))?;
    booted.start()?;
    // The start, the self-test and what the network has to say are over by then.
    std::thread::sleep(Duration::from_secs(20));
    let told = booted.drill("w")?;
    let memory = booted.drill("m")?;
    println!("in ten seconds:\n{told}{memory}");
    let wakings: u64 = told
        .lines()
        .filter_map(|line| line.split(' ').nth(1)?.parse::<u64>().ok())
        .sum();
    assert!(told.lines().count() >= 3 && wakings < WAKINGS_MAX, "{told}");
    for program in ["init", "netd"] {
        let kib = resident_kib(&booted, program)?;
        assert!(kib <= SMALL_KIB, "{program} has {kib} KiB");
    }
    Ok(())
}

/// A box with a hostile program beside the ordinary one, which runs.
fn hostile(program: &str) -> Result<Booted, Box<dyn std::error::Error>> {
    let mut booted = BootedImage::new()?
        .with_drill()?
        .with_hostile(program)?
        .machine(Plan::of(Office::for_names(["anna"])))?;
    booted.start()?;
    Ok(booted)
}

fn deliver(booted: &Booted, id: &str) -> Outcome {
    let account = &booted.office().accounts[0];
    (booted as &dyn Appliance).deliver(account, &short_message(SENDER, &account.address, id))
}

/// NoNewPrivs, no capability, a filter.
fn assert_confined(booted: &Booted, program: &str) -> Outcome {
    let told = booted.drill("p")?;
    for line in ["NoNewPrivs: 1", "CapEff: 0000000000000000", "Seccomp: 2"] {
        assert!(
            told.lines().any(|said| said == format!("{program} {line}")),
            "{line}:\n{told}"
        );
    }
    Ok(())
}

/// What one process of this name keeps in memory; the largest, if there are several.
fn resident_kib(booted: &Booted, program: &str) -> Result<u64, Box<dyn std::error::Error>> {
    let told = booted.drill("m")?;
    let sizes = told.lines().filter_map(|line| {
        let rest = line.strip_prefix(program)?.trim_start().strip_prefix("VmRSS:")?;
        rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    Ok(sizes.max().ok_or("there is no such process")?)
}
