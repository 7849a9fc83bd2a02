//! Mailboxes as a mail program uses them.

use std::time::{Duration, Instant};

use e2e::appliance::SENDER;
use e2e::client::PATIENCE;
use e2e::client::imap::Completed;
use e2e::mail::short_message;
use e2e::runner::Outcome;
use e2e::{Account, Appliance, Imap};

e2e::scenarios![shared
    a_new_account_has_its_mailboxes,
    idle_tells_of_new_mail,
    b6_a_change_shows_in_the_other_session,
    expunge_keeps_the_uids_of_the_rest,
    search_finds_by_flag_and_header,
    envelope_and_structure_are_told,
    examine_changes_nothing,
    ai7_one_person_does_not_see_the_mail_of_another,
];

fn idle(imap: &mut Imap) -> std::io::Result<String> {
    let tag = imap.start("IDLE")?;
    let answer = imap.response()?;
    assert!(answer.line.starts_with("+ "), "{answer:?}");
    Ok(tag)
}

/// Waits for an untagged response that contains `wanted`.
fn wait_for(imap: &mut Imap, wanted: &str) -> std::io::Result<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let response = imap.response()?;
        if response.line.contains(wanted) {
            return Ok(response.line);
        }
        assert!(Instant::now() < until, "{wanted} does not come");
    }
}

fn searched(completed: &Completed) -> Vec<u64> {
    let line = completed
        .untagged
        .iter()
        .find_map(|response| response.line.strip_prefix("* SEARCH"));
    line.unwrap_or_default()
        .split(' ')
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// RFC 6154
fn a_new_account_has_its_mailboxes(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let mut imap = appliance.imap_of(account)?;
    let listed = imap.ok("LIST \"\" \"*\"")?;
    let lines: Vec<&str> = listed
        .untagged
        .iter()
        .map(|response| response.line.as_str())
        .collect();
    for (name, attribute) in [
        ("INBOX", ""),
        ("Drafts", "\\Drafts"),
        ("Sent", "\\Sent"),
        ("Junk", "\\Junk"),
        ("Trash", "\\Trash"),
        ("Archive", "\\Archive"),
    ] {
        let found = lines
            .iter()
            .find(|line| line.trim_end_matches('"').ends_with(name));
        assert!(
            found.is_some_and(|line| line.contains(attribute)),
            "{name} in {lines:?}"
        );
    }
    let mut validities = Vec::new();
    for name in ["INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"] {
        let status = imap.ok(&format!("STATUS {name} (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)"))?;
        let line = &status.untagged.first().ok_or("no STATUS")?.line;
        assert!(line.contains("MESSAGES 0") && line.contains("UNSEEN 0"), "{line}");
        let (_, validity) = line.split_once("UIDVALIDITY ").ok_or("no UIDVALIDITY")?;
        validities.push(
            validity
                .split([' ', ')'])
                .next()
                .unwrap_or_default()
                .parse::<u32>()?,
        );
    }
    let count = validities.len();
    validities.sort_unstable();
    validities.dedup();
    assert_eq!(validities.len(), count, "D7: one UIDVALIDITY for two mailboxes");
    Ok(())
}

/// RFC 2177, B6
fn idle_tells_of_new_mail(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let mut imap = appliance.imap_of(account)?;
    imap.ok("SELECT INBOX")?;
    let tag = idle(&mut imap)?;
    for number in 1..=3 {
        let id = format!("idle{number}@client.example.org");
        appliance.deliver(account, &short_message(SENDER, &account.address, &id))?;
        let line = wait_for(&mut imap, "EXISTS")?;
        assert_eq!(line, format!("* {number} EXISTS"));
    }
    imap.conversation.send_line("DONE")?;
    assert!(imap.finish(&tag)?.is_ok());
    assert_eq!(imap.fetch_all()?.len(), 3);
    Ok(())
}

/// B6
fn b6_a_change_shows_in_the_other_session(appliance: &dyn Appliance, account: &Account) -> Outcome {
    for number in 1..=3 {
        let id = format!("b6-{number}@client.example.org");
        appliance.deliver(account, &short_message(SENDER, &account.address, &id))?;
    }
    let mut one = appliance.imap_of(account)?;
    let mut other = appliance.imap_of(account)?;
    one.ok("SELECT INBOX")?;
    other.ok("SELECT INBOX")?;
    let tag = idle(&mut other)?;
    one.ok("STORE 2 +FLAGS (\\Flagged)")?;
    let line = wait_for(&mut other, "FETCH")?;
    assert!(
        line.starts_with("* 2 FETCH") && line.contains("\\Flagged"),
        "{line}"
    );
    one.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")?;
    one.ok("EXPUNGE")?;
    assert_eq!(wait_for(&mut other, "EXPUNGE")?, "* 1 EXPUNGE");
    other.conversation.send_line("DONE")?;
    assert!(other.finish(&tag)?.is_ok());
    // Both see the same mailbox now.
    let told = [one.fetch_all()?, other.fetch_all()?];
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0].len(), 2);
    Ok(())
}

/// RFC 9051 §2.3.1.1
fn expunge_keeps_the_uids_of_the_rest(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let mut imap = appliance.imap_of(account)?;
    for number in 1..=5 {
        let message = short_message(
            SENDER,
            &account.address,
            &format!("expunge{number}@client.example.org"),
        );
        assert!(imap.append("INBOX", "", &message)?.is_ok());
    }
    let selected = imap.ok("SELECT INBOX")?;
    let uid_next = selected.code("UIDNEXT").ok_or("no UIDNEXT")?;
    let before: Vec<u32> = imap.fetch_all()?.iter().map(|message| message.uid).collect();
    imap.ok("STORE 2,4 +FLAGS (\\Deleted)")?;
    let expunged = imap.ok("EXPUNGE")?;
    let lines: Vec<&str> = expunged
        .untagged
        .iter()
        .map(|response| response.line.as_str())
        .collect();
    // The second number is counted after the first is gone (RFC 9051 §7.5.1), in whichever order they are told.
    assert!(
        lines == ["* 2 EXPUNGE", "* 3 EXPUNGE"] || lines == ["* 4 EXPUNGE", "* 2 EXPUNGE"],
        "{lines:?}"
    );
    let after: Vec<u32> = imap.fetch_all()?.iter().map(|message| message.uid).collect();
    assert_eq!(after, [before[0], before[2], before[4]]);
    // A UID is not given again.
    let message = short_message(SENDER, &account.address, "expunge6@client.example.org");
    assert!(imap.append("INBOX", "", &message)?.is_ok());
    imap.ok("NOOP")?;
    let last = imap.fetch_all()?.last().map(|message| u64::from(message.uid));
    assert_eq!(last, Some(uid_next));
    Ok(())
}

fn search_finds_by_flag_and_header(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let mut imap = appliance.imap_of(account)?;
    for (flags, subject) in [
        ("(\\Seen)", "first"),
        ("(\\Flagged)", "second"),
        ("()", "third one"),
    ] {
        let message = format!("From: <{SENDER}>\r\nSubject: {subject}\r\n\r\nbody of {subject}\r\n");
        assert!(
            imap.append("INBOX", &format!(" {flags}"), message.as_bytes())?
                .is_ok()
        );
    }
    imap.ok("SELECT INBOX")?;
    for (keys, expected) in [
        ("ALL", vec![1, 2, 3]),
        ("SEEN", vec![1]),
        ("UNSEEN", vec![2, 3]),
        ("FLAGGED", vec![2]),
        ("NOT FLAGGED", vec![1, 3]),
        ("SUBJECT \"third\"", vec![3]),
        ("SUBJECT \"FIRST\"", vec![1]),
        ("OR SEEN FLAGGED", vec![1, 2]),
        ("2:3 UNFLAGGED", vec![3]),
        ("DELETED", vec![]),
        ("SMALLER 20", vec![]),
        ("LARGER 20", vec![1, 2, 3]),
    ] {
        assert_eq!(
            searched(&imap.ok(&format!("SEARCH {keys}"))?),
            expected,
            "SEARCH {keys}"
        );
    }
    Ok(())
}

/// RFC 9051 §7.5.2
fn envelope_and_structure_are_told(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let made = e2e::mail::with_attachment(SENDER, &account.address, 1000, 76, 3);
    appliance.deliver(account, &made.message)?;
    let mut imap = appliance.imap_of(account)?;
    imap.ok("SELECT INBOX")?;
    let told = imap.ok("FETCH 1 (ENVELOPE BODYSTRUCTURE FLAGS INTERNALDATE)")?;
    let line = &told
        .untagged
        .iter()
        .find(|response| response.line.contains("FETCH"))
        .ok_or("no FETCH")?
        .line;
    for part in [
        "\"An attachment\"",
        "NIL NIL \"sender\" \"example.org\"",
        "\"<attachment-76-3@client.example.org>\"",
        "INTERNALDATE \"",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let upper = line.to_uppercase();
    for part in [
        "\"MIXED\"",
        "\"OCTET-STREAM\"",
        "\"BASE64\"",
        "\"ATTACHMENT\"",
        "\"RANDOM.BIN\"",
    ] {
        assert!(upper.contains(part), "{part} in {line}");
    }
    let part = imap.ok("FETCH 1 (BODY[2.MIME] BODY[HEADER.FIELDS (Subject)])")?;
    let literals: Vec<&Vec<u8>> = part
        .untagged
        .iter()
        .flat_map(|response| &response.literals)
        .collect();
    let said = literals
        .iter()
        .map(|octets| String::from_utf8_lossy(octets))
        .collect::<String>();
    assert!(
        said.contains("Content-Disposition: attachment") && said.contains("Subject: An attachment\r\n"),
        "{said}"
    );
    Ok(())
}

/// RFC 9051 §6.3.3
fn examine_changes_nothing(appliance: &dyn Appliance, account: &Account) -> Outcome {
    appliance.deliver(
        account,
        &short_message(SENDER, &account.address, "examine@client.example.org"),
    )?;
    let mut imap = appliance.imap_of(account)?;
    let opened = imap.ok("EXAMINE INBOX")?;
    assert!(opened.tagged.contains("[READ-ONLY]"), "{opened:?}");
    imap.ok("FETCH 1 BODY[]")?;
    assert!(!imap.command("STORE 1 +FLAGS (\\Deleted)")?.is_ok());
    assert!(!imap.command("EXPUNGE")?.is_ok());
    let opened = imap.ok("SELECT INBOX")?;
    assert!(opened.tagged.contains("[READ-WRITE]"), "{opened:?}");
    assert_eq!(searched(&imap.ok("SEARCH UNSEEN UNDELETED")?), [1]);
    // Reading without PEEK does change it.
    imap.ok("FETCH 1 BODY[]")?;
    assert_eq!(searched(&imap.ok("SEARCH UNSEEN")?), [0_u64; 0]);
    Ok(())
}

/// AI7
fn ai7_one_person_does_not_see_the_mail_of_another(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let other = appliance.office().account("a_new_account_has_its_mailboxes");
    let mut theirs = appliance.imap_of(other)?;
    theirs.ok("SELECT INBOX")?;
    let tag = idle(&mut theirs)?;
    appliance.deliver(
        account,
        &short_message(SENDER, &account.address, "ai7@client.example.org"),
    )?;
    let heard = theirs.conversation.within(Duration::from_millis(500))?;
    assert!(heard.is_empty(), "{}", heard.escape_ascii());
    theirs.conversation.send_line("DONE")?;
    theirs.finish(&tag)?;
    let mut mine = appliance.imap_of(account)?;
    assert_eq!(mine.ok("SELECT INBOX")?.number_of("EXISTS"), Some(1));
    // A fresh login on a connection that was another's is not possible.
    let again = theirs.command(&format!("LOGIN {} \"x\"", account.address))?;
    assert!(!again.is_ok(), "{again:?}");
    Ok(())
}
