//! What only the host stage can tell: memory by `/proc`, files in the data folder, a refused provisioning file.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::appliance::SENDER;
use e2e::client::http::Http;
use e2e::mail::{ATTACHMENT_OCTETS, MESSAGE_OCTETS_MAX, own_prefix, short_message, with_attachment};
use e2e::runner::Outcome;
use e2e::stage::{HostProcess, resident_octets};
use e2e::{Account, Appliance, Office, Plan, Service, Stage};

e2e::scenarios![; own
    s9_four_large_messages_at_once_take_little_memory,
    d6_the_index_is_disposable,
    a_wrong_provisioning_file_is_refused_with_its_line,
    a_taken_port_is_told,
    a_second_process_on_the_same_data_is_refused,
    sigterm_ends_it_cleanly_and_the_mail_is_there,
    d41_no_log_has_a_password_a_cookie_or_a_message,
];

/// S9
fn s9_four_large_messages_at_once_take_little_memory(_stage: &dyn Stage) -> Outcome {
    let names = ["one", "two", "three", "four"];
    let running = HostProcess::start(Plan::of(Office::for_names(names)))?;
    let pid = running.maild_pid().ok_or("it runs")?;
    let appliance: &dyn Appliance = &running;
    // What the first message brings into memory is not what four large ones cost.
    for account in &appliance.office().accounts {
        appliance.deliver(
            account,
            &short_message(SENDER, &account.address, "warm@client.example.org"),
        )?;
    }
    let messages: Vec<Vec<u8>> = (0..4)
        .map(|number| {
            let account = &appliance.office().accounts[number];
            with_attachment(SENDER, &account.address, ATTACHMENT_OCTETS, 76, number as u64).message
        })
        .collect();
    let (before, _) = resident_octets(pid)?;
    appliance.deliver_at_once(&messages)?;
    let (after, peak) = resident_octets(pid)?;
    let allowed = (16 << 20) + MESSAGE_OCTETS_MAX as u64;
    println!(
        "S9: {} KiB before, {} KiB at most, {} KiB after",
        before >> 10,
        peak >> 10,
        after >> 10
    );
    assert!(
        peak - before < allowed,
        "{} KiB more, {} KiB are allowed",
        (peak - before) >> 10,
        allowed >> 10
    );
    for (account, message) in appliance.office().accounts.iter().zip(&messages) {
        let mut imap = appliance.imap_of(account)?;
        imap.ok("SELECT INBOX")?;
        own_prefix(&imap.fetch("*")?[0].octets, message)?;
    }
    // Reading them back streams too.
    let (_, peak_of_reading) = resident_octets(pid)?;
    assert!(
        peak_of_reading - before < allowed,
        "reading took {} KiB more",
        (peak_of_reading - before) >> 10
    );
    Ok(())
}

/// D6: without the index file the log alone gives the same mailboxes.
fn d6_the_index_is_disposable(_stage: &dyn Stage) -> Outcome {
    let mut running = HostProcess::start(Plan::of(Office::for_names(["anna"])))?;
    let account = running.office().accounts[0].clone();
    let tell = |running: &dyn Appliance| -> Result<Vec<String>, Box<dyn std::error::Error>> {
        let mut imap = running.imap_of(&account)?;
        let mut told = Vec::new();
        for name in ["INBOX", "Sent", "Trash"] {
            let selected = imap.ok(&format!("SELECT {name}"))?;
            told.push(format!(
                "{name} {:?} {:?}",
                selected.code("UIDVALIDITY"),
                selected.code("UIDNEXT")
            ));
            if selected.number_of("EXISTS") != Some(0) {
                let fetched =
                    imap.ok("FETCH 1:* (UID FLAGS INTERNALDATE ENVELOPE RFC822.SIZE BODY.PEEK[])")?;
                told.extend(fetched.untagged.iter().map(|response| format!("{response:?}")));
            }
        }
        Ok(told)
    };
    for number in 0..20 {
        let message = short_message(
            SENDER,
            &account.address,
            &format!("d6-{number}@client.example.org"),
        );
        (&running as &dyn Appliance).deliver(&account, &message)?;
    }
    let mut imap = (&running as &dyn Appliance).imap_of(&account)?;
    assert!(
        imap.append("Sent", " (\\Seen)", b"Subject: sent\r\n\r\nx\r\n")?
            .is_ok()
    );
    imap.ok("SELECT INBOX")?;
    imap.ok("STORE 3:7 +FLAGS (\\Flagged $Label)")?;
    imap.ok("STORE 5,9,20 +FLAGS (\\Deleted)")?;
    imap.ok("EXPUNGE")?;
    let before = tell(&running)?;
    for is_clean in [true, false] {
        if is_clean {
            running.press_power_button()?;
        } else {
            running.cut_power()?;
        }
        let removed = remove_index(&running.data())?;
        assert_eq!(removed, 1, "index files in {}", running.data().display());
        running.start()?;
        assert_eq!(tell(&running)?, before, "stopped cleanly: {is_clean}");
    }
    Ok(())
}

/// Removes the files that redb wrote, told by what redb puts at their beginning.
fn remove_index(folder: &Path) -> std::io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            removed += remove_index(&path)?;
        } else if fs::read(&path)?.starts_with(b"redb\x1a") {
            fs::remove_file(&path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn a_wrong_provisioning_file_is_refused_with_its_line(_stage: &dyn Stage) -> Outcome {
    let good = Office::for_names(["anna"]).provisioning();
    let line_count = good.lines().count();
    for (addition, line) in [
        ("colour = \"blue\"\n", Some(1)),
        ("[[domain]\n", Some(1)),
        ("[surprise]\nx = 1\n", Some(1)),
    ] {
        // In front, where the line is known whatever stands in a good file.
        let (status, said) = HostProcess::refused(&format!("{addition}{good}"))?;
        assert!(!status.success(), "{addition:?} was taken");
        let wanted = line.map_or_else(String::new, |line| format!("line {line}"));
        assert!(said.contains(&wanted), "{addition:?}: no {wanted:?} in {said:?}");
        assert!(
            !said.contains("LISTENING") && !said.contains("panicked"),
            "{said}"
        );
        assert!(said.lines().count() <= 6, "a plain sentence, not {said}");
    }
    // At the end, and with something that is written well and means nothing.
    let broken = format!("{good}\n[[mailbox]]\naddress = \"no address\"\npassword = \"x\"\n");
    let (status, said) = HostProcess::refused(&broken)?;
    assert!(!status.success(), "a mailbox without an address was taken");
    let lines: Vec<String> = (line_count + 1..=line_count + 4)
        .map(|line| format!("line {line}"))
        .collect();
    assert!(
        lines.iter().any(|line| said.contains(line)),
        "none of {lines:?} in {said:?}"
    );
    assert!(!said.contains(e2e::office::PASSWORD), "it prints a password");
    Ok(())
}

fn a_taken_port_is_told(_stage: &dyn Stage) -> Outcome {
    // Somebody listens where SMTP is to be: port base + 25.
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let port = taken.local_addr()?.port();
    let office = Office::for_names(["anna"]);
    let (status, said) = HostProcess::refused_on(port - Service::Smtp.port(), &office.provisioning())?;
    assert!(
        !status.success() && said.contains(&port.to_string()),
        "{status}: {said}"
    );
    assert!(
        !said.contains("LISTENING") && !said.contains("panicked"),
        "{said}"
    );
    Ok(())
}

fn a_second_process_on_the_same_data_is_refused(_stage: &dyn Stage) -> Outcome {
    let running = HostProcess::start(Plan::of(Office::for_names(["anna"])))?;
    let account = running.office().accounts[0].clone();
    let (status, said) = running.another()?;
    assert!(!status.success() && !said.contains("panicked"), "{said}");
    assert!(
        !said.contains("LISTENING"),
        "two processes serve one folder: {said}"
    );
    // The first is unharmed.
    (&running as &dyn Appliance).deliver(
        &account,
        &short_message(SENDER, &account.address, "first@client.example.org"),
    )?;
    Ok(())
}

/// Under load: what was acknowledged is there, and the process ends by itself with success.
fn sigterm_ends_it_cleanly_and_the_mail_is_there(_stage: &dyn Stage) -> Outcome {
    let mut running = HostProcess::start(Plan::of(Office::for_names(["anna"])))?;
    let account = running.office().accounts[0].clone();
    let stop = AtomicBool::new(false);
    let addr = running.addr(Service::Smtp);
    let acknowledged = std::thread::scope(|scope| -> Result<u64, Box<dyn std::error::Error>> {
        let client = scope.spawn(|| {
            let mut count = 0;
            let mut smtp = e2e::Smtp::ehlo(addr).ok();
            while let (Some(connection), false) = (smtp.as_mut(), stop.load(Ordering::Relaxed)) {
                let message = short_message(
                    SENDER,
                    &account.address,
                    &format!("term{count}@client.example.org"),
                );
                match connection.deliver(SENDER, &account.address, &message) {
                    Ok(reply) if reply.code == 250 => count += 1,
                    // 421 (RFC 5321 §3.8) or the end of the connection.
                    _ => smtp = None,
                }
            }
            count
        });
        std::thread::sleep(Duration::from_millis(300));
        let ended = running.press_power_button();
        stop.store(true, Ordering::Relaxed);
        let count = client.join().expect("the client does not panic");
        ended?;
        Ok(count)
    })?;
    assert!(acknowledged > 0, "nothing was delivered before the end");
    running.start()?;
    let mut imap = (&running as &dyn Appliance).imap_of(&account)?;
    let exists = imap.ok("SELECT INBOX")?.number_of("EXISTS").ok_or("no EXISTS")?;
    // One more may have been taken whose 250 was never read.
    assert!(
        exists == acknowledged || exists == acknowledged + 1,
        "{exists} of {acknowledged}"
    );
    Ok(())
}

/// D41: what must not be in a log, in every place where a client says it, with the most talkative log there is.
fn d41_no_log_has_a_password_a_cookie_or_a_message(_stage: &dyn Stage) -> Outcome {
    const CANARY: &str = "Kanarek-7f3a9c-zpiva";
    let mut running = HostProcess::start(Plan::of(Office::of_nobody()))?;
    let console = running.console();
    let code = console
        .split("enter the code ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let code = code.ok_or("no code")?.to_owned();
    let account = Account {
        password: CANARY.to_owned(),
        ..Account::of("anna@firma.test")
    };
    let appliance: &dyn Appliance = &running;
    let browser = Http::new(appliance.addr(Service::Https), appliance.tls()?, "localhost")
        .saying("Cookie", &format!("__Host-setup={CANARY}"))
        .saying("Authorization", CANARY);
    let form = |code, again| {
        let address = account.address.as_str();
        [
            ("code", code),
            ("address", address),
            ("password", CANARY),
            ("again", again),
        ]
    };
    assert_eq!(browser.post("/setup", &form(CANARY, CANARY))?.status, 403);
    assert_eq!(browser.post("/setup", &form(&code, "another"))?.status, 422);
    assert_eq!(
        browser
            .post_from("https://evil.test", "/setup", &form(&code, CANARY))?
            .status,
        403
    );
    assert_eq!(browser.post("/setup", &form(&code, CANARY))?.status, 303);
    running.wait_for_mail()?;
    let appliance: &dyn Appliance = &running;
    let message = short_message(SENDER, &account.address, &format!("{CANARY}@client.example.org"));
    appliance.deliver(&account, &message)?;
    appliance.imap_of(&account)?.ok("SELECT INBOX")?;
    let mut imap = appliance.imap()?;
    assert!(imap.login(&account.address, &format!("{CANARY}-wrong")).is_err());
    let token = format!("\0{}\0{CANARY}", account.address);
    let token = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, token);
    appliance.imap()?.ok(&format!("AUTHENTICATE PLAIN {token}"))?;
    let mut smtp = appliance.smtp()?;
    assert!(smtp.command(&format!("AUTH PLAIN {token}"))?.code >= 500);
    running.press_power_button()?;

    let mut logs = running.console();
    assert!(logs.contains("DEBUG"), "it is not as talkative as it can be");
    let folder = running.data().join("log");
    for entry in fs::read_dir(folder)? {
        logs += &String::from_utf8_lossy(&fs::read(entry?.path())?);
    }
    assert!(
        logs.contains(" INFO the box is claimed"),
        "the log on the disk was not found"
    );
    let form = code.replace('-', "");
    for secret in [CANARY, "Kanarek%2D7f3a9c", &token[4..]] {
        assert!(!logs.contains(secret), "{secret} is in a log");
    }
    // The code was on the console, as it must be, and nowhere else.
    let kept = logs.split("LISTENING").skip(1).collect::<String>();
    assert!(
        !kept.contains(&code) && !kept.contains(&form),
        "the code is in a log"
    );
    Ok(())
}
