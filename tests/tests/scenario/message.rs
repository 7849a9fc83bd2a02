//! A message goes in on port 25 and comes out over IMAP, octet for octet, also with the programs people use.

use e2e::appliance::SENDER;
use e2e::mail::{self, own_prefix, short_message};
use e2e::runner::Outcome;
use e2e::{Account, Appliance, Service, tool};

e2e::scenarios![shared
    a_message_comes_back_octet_for_octet,
    swaks_to_curl_and_mbsync_octet_for_octet,
    d37_the_reply_names_the_trace_that_stands_in_the_message,
    s8_one_message_reaches_several_people,
    as27_the_name_of_a_client_is_not_copied_blindly,
];

fn a_message_comes_back_octet_for_octet(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let message = short_message(SENDER, &account.address, "whole@client.example.org");
    appliance.deliver(account, &message)?;
    let mut imap = appliance.imap_of(account)?;
    imap.ok("SELECT INBOX")?;
    let fetched = imap.fetch_all()?;
    let [fetched] = fetched.as_slice() else {
        return Err(format!("{} messages came of one", fetched.len()).into());
    };
    let prefix = own_prefix(&fetched.octets, &message)?;
    assert_eq!(fetched.size, fetched.octets.len() as u64, "RFC822.SIZE");
    // RFC 5321 §4.4: the reverse path as it was given, and a Received field with the protocol of RFC 3848.
    assert!(
        prefix.starts_with(&format!("Return-Path: <{SENDER}>\r\n")),
        "{prefix}"
    );
    let received = mail::field(prefix.as_bytes(), "Received").ok_or("no Received field")?;
    assert!(
        received.contains("client.example.org") && received.contains(" with ESMTP "),
        "{received}"
    );
    Ok(())
}

fn swaks_to_curl_and_mbsync_octet_for_octet(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let message = short_message(SENDER, &account.address, "tools@client.example.org");
    tool::swaks(appliance.addr(Service::Smtp), SENDER, &account.address, &message)?;

    let fetched = tool::curl(appliance, account, "INBOX;MAILINDEX=1")?;
    own_prefix(&fetched, &message)?;

    let copied = tool::mbsync(appliance, account)?;
    let [copied] = copied.as_slice() else {
        return Err(format!("mbsync copied {} messages of one", copied.len()).into());
    };
    // mbsync keeps mail with LF and marks it with a field of its own; nothing else may differ from what curl got.
    let lines = std::str::from_utf8(copied)?.split_inclusive('\n');
    let copied: String = lines.filter(|line| !line.starts_with("X-TUID: ")).collect();
    assert_eq!(copied, String::from_utf8(fetched)?.replace("\r\n", "\n"));
    Ok(())
}

/// D37
fn d37_the_reply_names_the_trace_that_stands_in_the_message(
    appliance: &dyn Appliance,
    account: &Account,
) -> Outcome {
    let message = short_message(SENDER, &account.address, "trace@client.example.org");
    let mut smtp = appliance.smtp()?;
    let reply = smtp.deliver(SENDER, &account.address, &message)?;
    assert_eq!(reply.code, 250, "{reply:?}");
    let mut imap = appliance.imap_of(account)?;
    imap.ok("SELECT INBOX")?;
    let fetched = imap.fetch("1:*")?;
    let received = mail::field(&fetched[0].octets, "Received").ok_or("no Received field")?;
    let (_, id) = received
        .split_once(" id ")
        .ok_or("the Received field has no id")?;
    let id = id.split([' ', ';']).next().unwrap_or_default();
    assert!(
        id.len() >= 8,
        "an id of {} characters is not unique: {received}",
        id.len()
    );
    assert!(
        reply.lines.iter().any(|line| line.contains(id)),
        "{id} is not in {reply:?}"
    );
    Ok(())
}

/// S8: what several people get is one message; each has it, each can remove it alone.
fn s8_one_message_reaches_several_people(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let office = appliance.office();
    let mut people = vec![office.account("colleague"), office.account("deputy")];
    people.push(account);
    let message = short_message(SENDER, &account.address, "several@client.example.org");
    let mut smtp = appliance.smtp()?;
    assert!(smtp.command(&format!("MAIL FROM:<{SENDER}>"))?.is_positive());
    for person in &people {
        assert_eq!(smtp.command(&format!("RCPT TO:<{}>", person.address))?.code, 250);
    }
    // Named twice is still one copy.
    assert_eq!(smtp.command(&format!("RCPT TO:<{}>", account.address))?.code, 250);
    assert_eq!(smtp.command("DATA")?.code, 354);
    assert_eq!(smtp.data(&message)?.code, 250);
    for person in people {
        let mut imap = appliance.imap_of(person)?;
        imap.ok("SELECT INBOX")?;
        let found = imap.ok("UID SEARCH HEADER Message-ID several@client.example.org")?;
        let uids = found
            .untagged
            .iter()
            .find_map(|response| response.line.strip_prefix("* SEARCH "))
            .unwrap_or("");
        assert_eq!(
            uids.split(' ').filter(|uid| !uid.is_empty()).count(),
            1,
            "{}: {uids:?}",
            person.address
        );
        let fetched = imap.fetch(uids)?;
        own_prefix(&fetched[0].octets, &message)?;
        imap.ok(&format!("UID STORE {uids} +FLAGS.SILENT (\\Deleted)"))?;
        imap.ok("EXPUNGE")?;
    }
    Ok(())
}

/// AS27
fn as27_the_name_of_a_client_is_not_copied_blindly(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let long = "x".repeat(500);
    for name in ["a) (b", "p\u{159}\u{ed}klad", &long, "<script>", "a;b"] {
        let mut smtp = e2e::Smtp::connect(appliance.addr(Service::Smtp))?;
        let reply = smtp.command(&format!("EHLO {name}"))?;
        if reply.code != 250 {
            assert!((500..600).contains(&reply.code), "{name}: {reply:?}");
            continue;
        }
        let message = short_message(SENDER, &account.address, "as27@client.example.org");
        assert_eq!(smtp.deliver(SENDER, &account.address, &message)?.code, 250);
        let mut imap = appliance.imap_of(account)?;
        imap.ok("SELECT INBOX")?;
        let fetched = imap.fetch("*")?;
        let prefix = own_prefix(&fetched[0].octets, &message)?;
        assert!(!prefix.contains(name), "{name} stands in the trace:\n{prefix}");
    }
    Ok(())
}
