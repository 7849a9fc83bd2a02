//! Who may log in, and what the others are told (L1, L2, L5, N1, P4).

use e2e::client::imap::quoted;
use e2e::office::DOMAIN;
use e2e::runner::Outcome;
use e2e::{Account, Appliance, Office, Plan, Stage};

e2e::scenarios![shared
    l1_the_login_is_compared_without_case,
    l2_every_refusal_reads_the_same,
    n1_ntlm_is_refused_without_a_challenge,
    authenticate_plain_takes_an_initial_response,
    no_mailbox_opens_without_login,
    ai1_nothing_large_is_kept_before_login;
    own l3_imported_hashes_are_verified,
    l5_ten_failures_shut_an_address_out,
];

const REFUSED: &str = "NO [AUTHENTICATIONFAILED]";

/// L1
fn l1_the_login_is_compared_without_case(appliance: &dyn Appliance, account: &Account) -> Outcome {
    for login in [
        account.address.to_uppercase(),
        account.address.replace("office", "OffICE"),
    ] {
        let mut imap = appliance.imap()?;
        imap.login(&login, &account.password)?;
        imap.ok("SELECT INBOX")?;
    }
    // The password is not.
    let refused = appliance
        .imap()?
        .command(&login_command(&account.address, &account.password.to_uppercase()))?;
    assert!(refused.tagged.starts_with(REFUSED), "{refused:?}");
    Ok(())
}

/// L2
fn l2_every_refusal_reads_the_same(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let (local_part, _) = account.address.split_once('@').ok_or("an address has an @")?;
    let mut texts = Vec::new();
    for (login, password) in [
        (account.address.clone(), "wrong"),
        (format!("nobody@{DOMAIN}"), account.password.as_str()),
        (local_part.to_owned(), account.password.as_str()),
        (
            format!("{local_part}@elsewhere.example"),
            account.password.as_str(),
        ),
        (account.address.clone(), ""),
    ] {
        let mut imap = appliance.imap()?;
        let refused = imap.command(&login_command(&login, password))?;
        assert!(refused.tagged.starts_with(REFUSED), "{login}: {refused:?}");
        texts.push(refused.tagged);
        // The session goes on.
        imap.ok("NOOP")?;
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    Ok(())
}

/// L3: a password that came as plain text, and one that came as the hash of an older server.
fn l3_imported_hashes_are_verified(stage: &dyn Stage) -> Outcome {
    let mut office = Office::for_names(["plain", "imported"]);
    office.accounts[0].password_hash = None;
    let mut appliance = stage.appliance(Plan::of(office))?;
    for _ in 0..2 {
        for account in &appliance.office().accounts {
            appliance.imap_of(account)?.ok("SELECT INBOX")?;
            let refused = appliance
                .imap()?
                .command(&login_command(&account.address, "another"))?;
            assert!(refused.tagged.starts_with(REFUSED), "{refused:?}");
        }
        // Replaced by a hash of our own, it is still the same password.
        appliance.cut_power()?;
        appliance.start()?;
    }
    Ok(())
}

/// N1
fn n1_ntlm_is_refused_without_a_challenge(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let mut imap = appliance.imap()?;
    for mechanism in ["NTLM", "GSSAPI", "SCRAM-SHA-256", "CRAM-MD5", "NONE"] {
        let refused = imap.command(&format!("AUTHENTICATE {mechanism}"))?;
        assert!(refused.tagged.starts_with("NO "), "{mechanism}: {refused:?}");
    }
    imap.login(&account.address, &account.password)?;
    imap.ok("SELECT INBOX")?;
    Ok(())
}

/// RFC 4959, RFC 4616
fn authenticate_plain_takes_an_initial_response(appliance: &dyn Appliance, account: &Account) -> Outcome {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let response = STANDARD.encode(format!("\0{}\0{}", account.address, account.password));
    let mut imap = appliance.imap()?;
    assert!(imap.ok("CAPABILITY")?.untagged[0].line.contains(" SASL-IR"));
    imap.ok(&format!("AUTHENTICATE PLAIN {response}"))?;
    imap.ok("SELECT INBOX")?;
    // And without one: a challenge, which a client may also decline.
    let mut imap = appliance.imap()?;
    for (answer, expected) in [("*", "BAD "), ("!!!!", "BAD "), (response.as_str(), "OK ")] {
        let tag = imap.start("AUTHENTICATE PLAIN")?;
        assert!(imap.response()?.line.starts_with("+ "), "no challenge");
        imap.conversation.send_line(answer)?;
        let completed = imap.finish(&tag)?;
        assert!(completed.tagged.starts_with(expected), "{answer}: {completed:?}");
    }
    Ok(())
}

fn no_mailbox_opens_without_login(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    let mut imap = appliance.imap()?;
    for command in [
        "SELECT INBOX",
        "LIST \"\" *",
        "STATUS INBOX (MESSAGES)",
        "FETCH 1 FLAGS",
        "IDLE",
    ] {
        let refused = imap.command(command)?;
        assert!(
            !refused.is_ok() && refused.untagged.is_empty(),
            "{command}: {refused:?}"
        );
    }
    Ok(())
}

/// AI1
fn ai1_nothing_large_is_kept_before_login(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let mut other = appliance.imap_of(account)?;
    for literal in ["{2147483647}", "{18446744073709551616}", "{-1}", "{5000}"] {
        let mut imap = appliance.imap()?;
        let refused = imap.command(&format!("LOGIN {literal}"));
        // Refused before a single octet of it, or the connection ends.
        let is_refused = refused.map_or(true, |refused| !refused.is_ok());
        assert!(is_refused, "{literal} was taken");
        other.ok("NOOP")?;
    }
    let mut imap = appliance.imap()?;
    let flood = [b"a LOGIN ".as_slice(), &vec![b'('; 10 << 20], b"\r\n"].concat();
    // The box may hang up in the middle of it.
    let _ = imap.conversation.send(&flood);
    let said = imap.conversation.line().unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let is_refused = said.is_empty()
        || ["a BAD", "* BAD", "* BYE"]
            .iter()
            .any(|start| said.starts_with(start));
    assert!(is_refused, "{said}");
    other.ok("NOOP")?;
    Ok(())
}

/// L5: the same wrong password counts once, so that an old telephone does not lock out the office.
fn l5_ten_failures_shut_an_address_out(stage: &dyn Stage) -> Outcome {
    let mut office = Office::for_names(["patient"]);
    office.login_failures_max = None;
    let appliance = stage.appliance(Plan::of(office))?;
    let account = &appliance.office().accounts[0];
    // Thirty times the same old password is one failure.
    for _ in 0..30 {
        let refused = appliance
            .imap()?
            .command(&login_command(&account.address, "the old one"))?;
        assert!(refused.tagged.starts_with(REFUSED), "{refused:?}");
    }
    let mut guesses = 0;
    let goodbye = loop {
        guesses += 1;
        assert!(guesses <= 20, "twenty guesses were answered");
        let mut imap = match appliance.imap() {
            Ok(imap) => imap,
            Err(error) => break error.to_string(),
        };
        match imap.command(&login_command(&format!("guess{guesses}@{DOMAIN}"), "secret")) {
            Ok(refused) if refused.tagged.starts_with(REFUSED) => {}
            Ok(other) => break other.tagged,
            Err(error) => break error.to_string(),
        }
    };
    assert!(guesses >= 9, "shut out after {guesses} failures: {goodbye}");
    assert!(goodbye.contains("BYE"), "{goodbye}");
    Ok(())
}

fn login_command(login: &str, password: &str) -> String {
    format!("LOGIN {} {}", quoted(login), quoted(password))
}
