//! Searches over a store, with blocks and without.

use super::index::{check, index_next_of};
use super::*;
use crate::check::Checked;
use crate::tests::{finish, mailbox, noise, options, provision, wait};
use crate::{Append, Expunge, NewMessage, Store};
use mail::{AccountId, Flags, InternalDate, SystemFlags, Timestamp};
use proptest::prelude::*;

const U1: AccountId = AccountId(1);

fn new_store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), options()).unwrap();
    provision(&store, 2);
    (folder, store)
}

fn inbox(store: &Store) -> MailboxId {
    mailbox(&store.view().unwrap(), U1, "INBOX")
}

/// Adds messages; `has_structure`: as delivery does, with what is known of them.
fn add(store: &Store, messages: &[Vec<u8>], has_structure: bool) -> Vec<Uid> {
    let mailbox = inbox(store);
    let mut uids = Vec::new();
    for some in messages.chunks(100) {
        let some = some.iter().zip(1_790_000_000..).map(|(octets, seconds)| {
            let mut body = store.body();
            body.write(octets).unwrap();
            NewMessage {
                body: body.seal().unwrap(),
                structure: if has_structure {
                    Structure::parse(octets).encode()
                } else {
                    Vec::new()
                },
                // So that each can be expunged.
                flags: Flags::system(SystemFlags::DELETED),
                internal_date: InternalDate::utc(Timestamp(seconds)),
            }
        });
        let append = Append {
            account: U1,
            mailbox,
            messages: some.collect(),
        };
        uids.extend(wait(store.append(append)).unwrap().uids);
    }
    uids
}

fn expunge(store: &Store, uids: &[Uid]) {
    let expunge = Expunge {
        mailbox: inbox(store),
        uids: Some(uids.to_vec()),
    };
    assert_eq!(wait(store.expunge(expunge)).unwrap(), uids);
}

fn all(store: &Store) -> Vec<Uid> {
    let entries = store.view().unwrap().entries(inbox(store)).unwrap();
    entries.into_iter().map(|entry| entry.uid).collect()
}

fn search(store: &Store, criterion: &Criterion) -> Vec<Uid> {
    run(store, criterion).found().to_vec()
}

fn run(store: &Store, criterion: &Criterion) -> Search {
    let mut search = Search::new(inbox(store), all(store), criterion);
    while !search.step(&store.view().unwrap()).unwrap() {}
    search
}

fn index(store: &Store, bodies_max: usize) {
    while index_next_of(&store.handle.shared, bodies_max).unwrap() {}
    let mut checked = Checked::default();
    check(&store.handle.shared.read().unwrap(), &mut checked).unwrap();
    assert_eq!(checked.flaws, []);
}

fn blocks(store: &Store) -> usize {
    use redb::ReadableTableMetadata;
    usize::try_from(store.handle.shared.read().unwrap().search.len().unwrap()).unwrap()
}

fn body(text: &str) -> Criterion {
    Criterion::Body(text.to_owned())
}

fn text(text: &str) -> Criterion {
    Criterion::Text(text.to_owned())
}

fn header(name: &str, text: &str) -> Criterion {
    Criterion::Header {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

fn among(from: u32, to: u32) -> Criterion {
    Criterion::Among(std::iter::once(from..=to).collect())
}

const CZECH: &str = "From: =?utf-8?Q?Anna_Nov=C3=A1?= <anna@firma.test>\r\nTo: b@b.test\r\nSubject: =?iso-8859-2?Q?=AElu=BBou=E8k=FD?=\r\n\
    Date: Wed, 31 Dec 2025 23:30:00 -0500\r\nX-Mark: Yes\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
    --b\r\nContent-Type: text/plain; charset=windows-1250\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
    P=F8=EDli=9A\r\n\
    --b\r\nContent-Type: application/pdf; name=\"Smlouva.pdf\"\r\n\r\nnoise\r\n--b--\r\n";

/// The keys of RFC 9051 §6.4.4, on one message with everything, in each way that it may be known.
#[test]
fn each_key_finds_what_it_says() {
    for (has_structure, has_blocks) in [(true, false), (false, false), (true, true), (false, true)] {
        let (_folder, store) = new_store();
        let uid = add(
            &store,
            &[
                CZECH.as_bytes().to_vec(),
                b"Subject: other\r\n\r\nnothing".to_vec(),
            ],
            has_structure,
        )[0];
        if has_blocks {
            index(&store, 2);
            assert_eq!(blocks(&store), 1);
        }
        let not = |criterion| Criterion::Not(Box::new(criterion));
        for criterion in [
            header("Subject", "ZLUTOU"),
            header("FROM", "nova <anna"),
            header("x-mark", "yes"),
            header("X-Mark", ""),
            body("prilis"),
            body("PŘÍLIŠ"),
            body("smlouva.pdf"),
            text("zlutoucky"),
            text("subject: zlut"),
            text("x-mark: yes"),
            Criterion::Sent(DayIs::On, (2025, 12, 31)),
            Criterion::Larger(300),
            Criterion::And(vec![body("ilis"), header("to", "b@b")]),
            Criterion::Or(vec![body("not there"), header("to", "b@b")]),
            not(header("subject", "other")),
            not(body("nothing")),
            among(1, 1),
        ] {
            assert_eq!(search(&store, &criterion), [uid]);
        }
        for criterion in [
            header("Cc", ""),
            header("subject", "prilis"),
            body("zlutoucky"),
            body("anna"),
            text("noise nowhere"),
            Criterion::Sent(DayIs::Before, (2025, 12, 31)),
            Criterion::Flags {
                flags: Flags::system(SystemFlags::SEEN),
                is_not: false,
            },
            Criterion::And(vec![body("prilis"), body("nothing")]),
        ] {
            assert_eq!(search(&store, &criterion), []);
        }
        for everything in [
            body(""),
            text(""),
            Criterion::And(Vec::new()),
            text("subject:"),
            header("SUBJECT", ""),
        ] {
            assert_eq!(search(&store, &everything).len(), 2);
        }
        finish(&store);
    }
}

/// The fields that a delivery puts before the shared body are the message's own, and in no block.
#[test]
fn the_fields_of_a_delivery_are_found_in_each_copy() {
    let (_folder, store) = new_store();
    crate::tests::deliver(&store, &[U1, AccountId(2)], b"Subject: a\r\n\r\nhello");
    index(&store, 1);
    assert_eq!(search(&store, &header("Delivered-To", "1")).len(), 1);
    assert_eq!(search(&store, &text("delivered-to: 1")).len(), 1);
    assert_eq!(search(&store, &text("delivered-to: 2")).len(), 0);
    assert_eq!(search(&store, &body("delivered-to")).len(), 0);
    assert_eq!(search(&store, &body("hello")).len(), 1);
}

/// Copies and moves cost no block anything; what is expunged takes its words along (D45).
#[test]
fn d45_blocks_with_words_of_expunged_mail_are_made_anew() {
    let (_folder, store) = new_store();
    let messages: Vec<Vec<u8>> = (0..20)
        .map(|number| format!("Subject: {number}\r\n\r\nsecret{number}").into_bytes())
        .collect();
    let uids = add(&store, &messages, true);
    index(&store, 10);
    assert_eq!(blocks(&store), 2);
    expunge(&store, &uids[..9]);
    index(&store, 10);
    assert_eq!(blocks(&store), 2);
    let view = store.view().unwrap();
    let block = Block::read(
        &view
            .block(
                view.block_of(view.message(inbox(&store), uids[9]).unwrap().unwrap().body)
                    .unwrap()
                    .unwrap(),
            )
            .unwrap()
            .unwrap(),
    )
    .unwrap();
    assert_eq!(block.bodies().len(), 1);
    assert_eq!(
        block.candidates(&[pieces("secret3")]).unwrap(),
        [Places::default()]
    );
    assert_eq!(search(&store, &body("secret9")), [uids[9]]);
    finish(&store);
}

/// A message of 20 MB: in slices, and never much of it in memory.
#[test]
fn a_long_message_is_read_in_slices() {
    let (_folder, store) = new_store();
    let mut message =
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n".to_vec();
    message.extend(b"c29tZSBsaW5lIG9mIHRleHQg\r\n".repeat(750_000));
    message.extend(b"xaVsdcWlb3XEjWvDvQ==\r\n");
    add(
        &store,
        &[message, b"Subject: after\r\n\r\ntlutoucky".to_vec()],
        true,
    );
    let mut search = Search::new(inbox(&store), all(&store), &body("line of text ťluťoučký"));
    let mut slices = 1;
    while !search.step(&store.view().unwrap()).unwrap() {
        slices += 1;
        assert!(
            search
                .reading
                .as_ref()
                .is_none_or(|reading| reading.window.len() < 256 * 1024)
        );
    }
    assert!(slices >= 4, "{slices}");
    assert_eq!(search.found().len(), 1);
    finish(&store);
}

#[test]
fn a_message_that_goes_while_it_is_looked_at_is_not_found_and_harms_nobody() {
    let (folder, store) = new_store();
    let large = [&b"Subject: a\r\n\r\n"[..], &b"words and words ".repeat(600_000)].concat();
    let uids = add(&store, &[large, b"Subject: b\r\n\r\nneedle".to_vec()], true);
    let mut search = Search::new(inbox(&store), all(&store), &body("needle"));
    assert!(!search.step(&store.view().unwrap()).unwrap());
    expunge(&store, &uids[..1]);
    while !search.step(&store.view().unwrap()).unwrap() {}
    assert_eq!(search.found(), &uids[1..]);
    // A damaged one is told.
    let large = noise(1, 300_000);
    add(&store, &[large], false);
    for file in std::fs::read_dir(folder.path().join("bodies")).unwrap() {
        std::fs::write(file.unwrap().path(), b"x").unwrap();
    }
    let search = run(&store, &body("needle"));
    assert_eq!(search.found(), &uids[1..]);
    assert_eq!(search.damaged().len(), 1);
}

/// What blocks are for, and what they cost. The messages have words as rare as those of a language are, and fields with
/// octets that nobody has twice.
#[test]
fn blocks_spare_nearly_all_of_the_reading() {
    let (_folder, store) = new_store();
    let count = 1_000;
    let messages: Vec<Vec<u8>> = (0..count).map(prose).collect();
    let octets: usize = messages.iter().map(Vec::len).sum();
    add(&store, &messages, true);
    let plain = run(&store, &body("needle77 in"));
    assert_eq!(plain.found().len(), 1);
    assert!(plain.octets_read() > octets as u64 / 2);
    index(&store, 250);
    assert_eq!(blocks(&store), 4);
    let with_blocks = run(&store, &body("needle77 in"));
    assert_eq!(with_blocks.found(), plain.found());
    let of_blocks: usize = (0..4)
        .map(|number| {
            store
                .view()
                .unwrap()
                .block(number * 250 + 1)
                .unwrap()
                .unwrap()
                .len()
        })
        .sum();
    assert!(
        with_blocks.octets_read() < of_blocks as u64 + 64 * 1024,
        "the blocks and a few messages"
    );
    assert!(of_blocks < octets / 4, "{} octets a message", of_blocks / count);
    finish(&store);
}

/// A message of 10 KB, by its number.
fn prose(number: usize) -> Vec<u8> {
    let random = noise(number as u64, 8_000);
    let (chosen, _) = random.as_chunks::<4>();
    let mut words = chosen.iter().map(|octets| {
        let [one, two, three, four] = octets.map(usize::from);
        // A word of rank r comes up about as often as 1/r.
        let rank = (one << 8 | two) % (1 + (three << 8 | four) % 20_000);
        format!("{}{}", ["ka", "lo", "mi", "ne", "pu", "ř", "st"][rank % 7], rank)
    });
    let text: Vec<String> = words.by_ref().take(1_200).collect();
    let name: Vec<String> = words.take(3).collect();
    format!(
        "Message-ID: <{}@mail.test>\r\nDKIM-Signature: v=1; b={}\r\nFrom: {} <a@b.test>\r\nSubject: {}\r\n\r\n{}\r\nneedle{number} in it\r\n",
        base64(&random[..24]), base64(&random[24..280]), name[0], name.join(" "), text.join(" "),
    )
    .into_bytes()
}

/// B6: 50 000 messages are sorted and threaded, and the fields of the envelope searched, without a read of a segment or a body.
#[test]
fn b6_sort_thread_and_search_of_fields_read_no_body() {
    use mail::sort::{SortBy, SortCriterion};
    use mail::thread::ThreadBy;
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), options()).unwrap();
    provision(&store, 1);
    let count = 50_000;
    let messages: Vec<Vec<u8>> = (0..count)
        .map(|number| {
            let fields = format!(
                "Message-ID: <{number}@a>\r\nReferences: <{}@a>\r\nSubject: Re: {}\r\nFrom: user{} <u@a>\r\nDate: Thu, 1 Jan 2026 00:00:{:02} +0000\r\n\r\nx",
                number / 2, number % 100, number % 7, number % 60,
            );
            fields.into_bytes()
        })
        .collect();
    add(&store, &messages, true);
    let uids = all(&store);
    // Whoever tries to open a segment or a body now fails.
    let away =
        |from: &str, to: &str| std::fs::rename(folder.path().join(from), folder.path().join(to)).unwrap();
    away("log", "log.away");
    away("bodies", "bodies.away");

    let criteria = [SortBy::Subject, SortBy::DisplayFrom, SortBy::Date].map(|by| SortCriterion {
        by,
        is_reverse: by == SortBy::DisplayFrom,
    });
    let mut sorting = crate::Sorting::new(inbox(&store), uids.clone(), &criteria);
    let mut slices = 1;
    while !sorting.step(&store.view().unwrap(), 1_000).unwrap() {
        slices += 1;
    }
    assert_eq!(slices, count / 1_000);
    let sorted = sorting.finish();
    // Subject 0, of those from user6 the ones of second 0 first.
    let key = |uid: &Uid| {
        let number = usize::try_from(uid.get() - 1).unwrap();
        (
            format!("{}", number % 100),
            std::cmp::Reverse(number % 7),
            number % 60,
            number,
        )
    };
    let mut expected = uids.clone();
    expected.sort_by_key(key);
    assert_eq!(sorted, expected);

    let mut threading = crate::Threading::new(inbox(&store), uids.clone(), ThreadBy::References);
    while !threading.step(&store.view().unwrap(), 1_000).unwrap() {}
    let threads = threading.finish();
    assert_eq!(threads.iter().filter(|item| item.uid.is_some()).count(), count);
    // Each has one half its number above it, and 1 has 0.
    assert_eq!(
        threads[0],
        crate::Threaded {
            depth: 0,
            uid: Uid::new(1)
        }
    );
    assert_eq!(threads.iter().map(|item| item.depth).max(), Some(16));

    assert_eq!(search(&store, &header("subject", "re: 42")).len(), count / 100);
    assert_eq!(
        search(
            &store,
            &Criterion::Or(vec![header("from", "USER3"), header("cc", "x")])
        )
        .len(),
        (0..count).filter(|number| number % 7 == 3).count()
    );
    assert_eq!(
        search(&store, &Criterion::Sent(DayIs::Since, (2026, 1, 1))).len(),
        count
    );
    let body_of_three = Criterion::And(vec![among(1, 3), body("x")]);
    assert_eq!(
        run(&store, &body_of_three).damaged().len(),
        3,
        "nobody reads a body without its file"
    );
    away("log.away", "log");
    away("bodies.away", "bodies");
    assert_eq!(search(&store, &body_of_three).len(), 3);
}

/// Random mails in all charsets and encodings.
fn a_mail() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "čaj", "káva", "Straße", "e-mail", "a", "bb", "漢字", "x1", "ÚPĚL", "ab.cd",
    ]);
    let line = proptest::collection::vec(words, 0..6).prop_map(|words| words.join(" "));
    let field = (
        prop::sample::select(vec!["Subject", "X-A", "From", "To"]),
        line.clone(),
    )
        .prop_map(|(name, value)| format!("{name}: {value}\r\n"));
    let kind = prop::sample::select(vec![
        ("text/plain", "8bit"),
        ("text/html", "8bit"),
        ("text/plain", "quoted-printable"),
        ("text/plain", "base64"),
        ("image/png", "8bit"),
    ]);
    (proptest::collection::vec(field, 0..4), kind, proptest::collection::vec(line, 0..5), any::<bool>()).prop_map(|(fields, (kind, encoding), lines, is_html)| {
        let mut text = lines.join(if is_html { "<br>" } else { "\r\n" });
        if encoding == "base64" {
            text = base64(text.as_bytes());
        }
        let fields = fields.concat();
        format!("{fields}Content-Type: {kind}; charset=utf-8; name=\"bb a.txt\"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{text}").into_bytes()
    })
}

fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |octets: &[u8]| -> String {
        let number = (0..3).fold(0_usize, |number, place| {
            number << 8 | usize::from(*octets.get(place).unwrap_or(&0))
        });
        let digit = |place: usize| {
            if place <= octets.len() {
                char::from(DIGITS[number >> (18 - 6 * place) & 63])
            } else {
                '='
            }
        };
        (0..4).map(digit).collect()
    };
    octets.chunks(3).map(group).collect()
}

fn a_criterion() -> impl Strategy<Value = Criterion> {
    let sought = "(čaj|kava|STRASSE|e-m|a|b|bb|漢|x1|upel|ab.c|cd)? ?(caj|a|b|\\.|bb)?";
    let leaf = prop_oneof![
        sought.prop_map(Criterion::Body),
        sought.prop_map(Criterion::Text),
        (prop::sample::select(vec!["subject", "from", "x-a", "cc"]), sought)
            .prop_map(|(name, text)| header(name, &text)),
        (0_u64..300).prop_map(Criterion::Larger),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            inner
                .clone()
                .prop_map(|criterion| Criterion::Not(Box::new(criterion))),
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Criterion::Or),
            proptest::collection::vec(inner, 0..3).prop_map(Criterion::And),
        ]
    })
}

/// A plain look at a whole message, without slices, structures, windows or blocks.
fn is_found(criterion: &Criterion, message: &[u8]) -> bool {
    let header_end = Structure::parse(message).root().body_start as usize;
    let body_text = || {
        let mut text = String::new();
        let mut texts = SearchText::new(Structure::parse(message));
        while texts
            .next(&mut text, |range, into| {
                into.extend_from_slice(&message[range.start as usize..range.end as usize]);
                Ok::<(), StoreError>(())
            })
            .unwrap()
        {}
        text
    };
    match criterion {
        Criterion::Body(sought) => body_text().contains(&fold(sought)),
        Criterion::Text(sought) => {
            let mut header = String::new();
            header_text(&message[..header_end], &mut header);
            header.contains(&fold(sought)) || body_text().contains(&fold(sought))
        }
        Criterion::Header { name, text } => fields(&message[..header_end]).any(|field| {
            field.name.eq_ignore_ascii_case(name.as_bytes())
                && fold(&field_text(field.name, field.value)).contains(&fold(text))
        }),
        Criterion::Larger(octets) => message.len() as u64 > *octets,
        Criterion::Not(criterion) => !is_found(criterion, message),
        Criterion::Or(criteria) => criteria.iter().any(|criterion| is_found(criterion, message)),
        Criterion::And(criteria) => criteria.iter().all(|criterion| is_found(criterion, message)),
        _ => unreachable!("not made above"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// With blocks or without, with structures or without, what is found is what a plain look at every message finds.
    #[test]
    fn what_is_found_is_what_a_plain_scan_finds(
        mails in proptest::collection::vec(a_mail(), 1..30),
        later in proptest::collection::vec(a_mail(), 0..5),
        criteria in proptest::collection::vec(a_criterion(), 20..40),
        block_bodies in 1_usize..12,
        has_structure in any::<bool>(),
    ) {
        let (_folder, store) = new_store();
        add(&store, &mails, has_structure);
        let look = |mails: &[Vec<u8>], blocks: &str| {
            for criterion in &criteria {
                let expected: Vec<u32> = (1..).zip(mails).filter(|(_, mail)| is_found(criterion, mail)).map(|(uid, _)| uid).collect();
                let found: Vec<u32> = search(&store, criterion).into_iter().map(Uid::get).collect();
                assert_eq!(found, expected, "{blocks}");
            }
        };
        look(&mails, "without blocks");
        index(&store, block_bodies);
        add(&store, &later, true);
        look(&[mails.clone(), later.clone()].concat(), "with blocks");
        finish(&store);
    }
}
