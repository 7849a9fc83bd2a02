//! The outbound queue.

use super::*;
use crate::queue::QUEUE_RECIPIENTS_MAX;
use mail::ReversePath;

const NOW: Timestamp = Timestamp(1_790_000_000);

fn later(seconds: i64) -> Timestamp {
    Timestamp(NOW.0 + seconds)
}

fn entry(recipients: &[(&str, Timestamp)]) -> NewEntry {
    NewEntry {
        reverse_path: ReversePath::Address(address("u1@example.org")),
        account: Some(U1),
        trace: "trace".to_owned(),
        header: b"Received: here\r\n".to_vec(),
        parameters: b"RET=HDRS".to_vec(),
        hold: None,
        recipients: recipients
            .iter()
            .map(|(text, not_before)| NewRecipient {
                address: address(text),
                destination: address(text).domain.to_string(),
                parameters: Vec::new(),
                not_before: *not_before,
            })
            .collect(),
    }
}

fn enqueue(
    store: &Store,
    copies: &[AccountId],
    octets: &[u8],
    entries: Vec<NewEntry>,
) -> Result<Enqueued, StoreError> {
    wait(
        store.enqueue(Enqueue {
            deliver: Deliver {
                body: body(store, octets),
                structure: b"structure".to_vec(),
                received: NOW,
                copies: copies
                    .iter()
                    .map(|account| DeliveredCopy {
                        account: *account,
                        header: Vec::new(),
                        flags: Flags::default(),
                    })
                    .collect(),
            },
            entries,
            settles: Vec::new(),
            tokens: Vec::new(),
        }),
    )
}

fn tried(recipient: &Recipient, status: RecipientStatus, words: &str) -> (u32, RecipientState) {
    let mut state = recipient.state.clone();
    state.status = status;
    state.attempts += 1;
    state.waited_seconds += 300;
    state.next_attempt = later(300);
    state.latest.push(Attempt {
        at: later(10),
        remote: "mx.example.com".to_owned(),
        words: words.to_owned(),
    });
    (recipient.place, state)
}

/// S8, D2, D4: a message for people here and elsewhere is one record and one body; where each recipient stands survives.
#[test]
#[allow(clippy::too_many_lines)]
fn d4_the_queue_keeps_where_each_recipient_stands() {
    let (folder, store) = new_store(2);
    let octets = noise(1, 300_000);
    let new = entry(&[
        ("a@example.com", NOW),
        ("b@example.net", NOW),
        ("c@example.com", later(60)),
    ]);
    let queued = enqueue(&store, &[U1, U2], &octets, vec![new]).unwrap();
    let id = queued.entries[0];
    assert_eq!(queued.delivered.len(), 2);
    assert_eq!(store.check().unwrap().body_octets, 300_000, "S8: one body");
    let view = store.view().unwrap();
    let found = view.queue_entry(id).unwrap().unwrap();
    assert_eq!(
        (found.recipients, found.size_octets, found.queued),
        (3, 300_016, NOW)
    );
    let read = view.queue_body(&found).unwrap().read_to_vec().unwrap();
    assert!(read.starts_with(b"Received: here\r\n") && read.ends_with(&octets));
    assert_eq!(view.queue_structure(&found).unwrap(), b"structure");
    assert_eq!(view.queue_due(NOW, 10).unwrap().len(), 2);
    assert_eq!(view.queue_due(later(60), 10).unwrap().len(), 3);
    assert_eq!(view.queue_due(later(60), 1).unwrap().len(), 1);
    assert_eq!(view.queue_due(later(-1), 10).unwrap(), []);
    assert_eq!(view.queue_next_due().unwrap(), Some(NOW));
    let of = |destination, by| view.queue_of_destination(destination, by, 10).unwrap().len();
    assert_eq!(
        (
            of("example.com", Some(NOW)),
            of("example.com", None),
            of("example", None)
        ),
        (1, 2, 0)
    );
    assert_eq!(
        view.queue_destinations(None, 10).unwrap(),
        [
            ("example.com".to_owned(), Some(NOW)),
            ("example.net".to_owned(), Some(NOW))
        ]
    );
    assert_eq!(view.queue_destinations(Some("example.com"), 10).unwrap().len(), 1);
    let recipients = view.queue_recipients(id).unwrap();
    drop(view);

    let long = "ž".repeat(600);
    let settle = Settle {
        entry: id,
        recipients: vec![
            tried(&recipients[0], RecipientStatus::Waiting, &long),
            tried(&recipients[1], RecipientStatus::Delivered, "250 OK"),
        ],
        is_done: false,
    };
    wait(store.settle_queue(SettleQueue {
        settles: vec![settle.clone()],
    }))
    .unwrap();
    let view = store.view().unwrap();
    let a = view.queue_recipient(id, 0).unwrap().unwrap();
    assert_eq!(
        (a.state.attempts, a.state.waited_seconds, a.state.next_attempt),
        (1, 300, later(300))
    );
    assert_eq!(
        a.state.latest[0].words.len(),
        512,
        "another server's words are cut, at a character"
    );
    assert_eq!(view.queue_due(NOW, 10).unwrap(), []);
    assert_eq!(view.queue_of_destination("example.net", None, 10).unwrap(), []);
    drop(view);
    let missing = Settle {
        recipients: vec![(3, a.state.clone())],
        ..settle.clone()
    };
    let settles = vec![settle.clone(), missing];
    assert!(matches!(
        wait(store.settle_queue(SettleQueue { settles })),
        Err(StoreError::NoQueueEntry)
    ));

    // Its copies go, and the queue still has the body.
    for account in [U1, U2] {
        let inbox = mailbox(&store.view().unwrap(), account, "INBOX");
        wait(store.rename_mailbox(RenameMailbox {
            account,
            from: MailboxName::inbox(),
            to: MailboxName::parse("gone").unwrap(),
        }))
        .unwrap();
        let gone = mailbox(&store.view().unwrap(), account, "gone");
        wait(store.delete_mailbox(DeleteMailbox { mailbox: gone })).unwrap();
        assert_ne!(gone, inbox);
    }
    finish(&store);
    let done = Settle {
        recipients: Vec::new(),
        is_done: true,
        ..settle
    };
    wait(store.settle_queue(SettleQueue { settles: vec![done] })).unwrap();
    assert_eq!(store.view().unwrap().queue_len().unwrap(), 0);
    assert_eq!(
        std::fs::read_dir(folder.path().join("bodies")).unwrap().count(),
        0
    );
    let next = enqueue(&store, &[], b"x", vec![entry(&[("a@example.com", NOW)])])
        .unwrap()
        .entries[0];
    assert!(next > id, "no number is given twice");
    finish_anew(&folder, store);
}

/// D2, D33: a report, and that what it reports is settled, are one record.
#[test]
fn a_report_leaves_as_what_it_reports_is_settled() {
    let (folder, store) = new_store(1);
    let id = enqueue(&store, &[], b"sent", vec![entry(&[("a@example.com", NOW)])])
        .unwrap()
        .entries[0];
    let report = |entry| Enqueue {
        deliver: Deliver {
            body: body(&store, b"report"),
            structure: Vec::new(),
            received: later(5),
            copies: vec![DeliveredCopy {
                account: U1,
                header: Vec::new(),
                flags: Flags::default(),
            }],
        },
        entries: Vec::new(),
        settles: vec![Settle {
            entry,
            recipients: Vec::new(),
            is_done: true,
        }],
        tokens: Vec::new(),
    };
    assert!(matches!(
        wait(store.enqueue(report(EntryId(id.0 + 1)))),
        Err(StoreError::NoQueueEntry)
    ));
    let inbox = mailbox(&store.view().unwrap(), U1, "INBOX");
    assert_eq!(
        store.view().unwrap().status(inbox).unwrap().messages,
        0,
        "neither without the other"
    );
    wait(store.enqueue(report(id))).unwrap();
    let view = store.view().unwrap();
    assert_eq!(
        (view.status(inbox).unwrap().messages, view.queue_len().unwrap()),
        (1, 0)
    );
    drop(view);
    finish_anew(&folder, store);
}

#[test]
fn entries_are_held_let_go_tried_again_and_dropped() {
    let (folder, store) = new_store(1);
    let stopped = NewEntry {
        hold: Some("too many today".to_owned()),
        ..entry(&[("a@example.com", NOW)])
    };
    let new = vec![
        stopped,
        entry(&[("b@example.com", later(10))]),
        entry(&[("c@example.com", later(20))]),
    ];
    let ids = enqueue(&store, &[], b"x", new).unwrap().entries;
    let due = |by| store.view().unwrap().queue_due(by, 10).unwrap();
    assert_eq!(due(later(1_000_000)).len(), 2, "one that is held is never due");
    let listed = store
        .view()
        .unwrap()
        .queue_of_destination("example.com", None, 10)
        .unwrap();
    assert_eq!((listed.len(), listed[2].at), (3, None));
    let hold = |entries: Vec<EntryId>, hold: Option<&str>| {
        let hold = hold.map(str::to_owned);
        wait(store.hold_queue(HoldQueue { entries, hold })).unwrap()
    };
    assert_eq!(hold(vec![ids[0], EntryId(99)], None), [ids[0]]);
    assert_eq!(due(NOW)[0].entry, ids[0], "due when it was");
    hold(vec![ids[1]], Some("stop"));
    let retry = RetryQueue {
        entries: ids.clone(),
        at: NOW,
    };
    assert_eq!(wait(store.retry_queue(retry)).unwrap(), ids);
    assert_eq!(due(NOW).len(), 2);
    hold(vec![ids[1]], None);
    assert_eq!(due(NOW).len(), 3);

    // Undone is what nobody has tried yet.
    let recipient = store.view().unwrap().queue_recipient(ids[0], 0).unwrap().unwrap();
    let settle = Settle {
        entry: ids[0],
        recipients: vec![tried(&recipient, RecipientStatus::Waiting, "451 later")],
        is_done: false,
    };
    wait(store.settle_queue(SettleQueue {
        settles: vec![settle],
    }))
    .unwrap();
    let drop_queue = |untried_only| {
        let entries = ids.clone();
        wait(store.drop_queue(DropQueue {
            entries,
            untried_only,
        }))
        .unwrap()
    };
    assert_eq!(drop_queue(true), ids[1..]);
    assert_eq!(drop_queue(false), ids[..1]);
    assert_eq!(store.view().unwrap().queue(None, 10).unwrap(), []);
    assert_eq!(store.check().unwrap().body_octets, 0);
    finish_anew(&folder, store);
}

#[test]
fn what_is_too_large_for_the_queue_changes_nothing() {
    let (_folder, store) = new_store(1);
    let nobody = entry(&[]);
    let many = vec![("a@example.com", NOW); QUEUE_RECIPIENTS_MAX + 1];
    let talkative = NewEntry {
        parameters: vec![0; 5000],
        ..entry(&[("a@example.com", NOW)])
    };
    for new in [nobody, entry(&many), talkative] {
        let refused = enqueue(&store, &[U1], b"x", vec![new]);
        assert!(matches!(
            refused,
            Err(StoreError::TooMany { .. } | StoreError::TooLarge { .. })
        ));
    }
    let inbox = mailbox(&store.view().unwrap(), U1, "INBOX");
    assert_eq!(store.view().unwrap().status(inbox).unwrap().messages, 0);
    finish(&store);
}

/// R5
#[test]
fn r5_a_token_stands_for_its_sender_until_it_expires() {
    let (folder, store) = new_store(1);
    let tokens = |token: &str, expires| {
        vec![Token {
            token: token.to_owned(),
            sender: address("a@example.com"),
            expires,
        }]
    };
    for (token, expires) in [("srsabc", later(10)), ("srsdef", later(20))] {
        wait(store.enqueue(Enqueue {
            deliver: Deliver {
                body: body(&store, b"passed on"),
                structure: Vec::new(),
                received: NOW,
                copies: Vec::new(),
            },
            entries: vec![entry(&[("b@example.net", NOW)])],
            settles: Vec::new(),
            tokens: tokens(token, expires),
        }))
        .unwrap();
    }
    let found = |token: &str| store.view().unwrap().token(token).unwrap();
    assert_eq!(found("srsabc").unwrap().sender, address("a@example.com"));
    assert_eq!(found("srsxyz"), None);
    wait(store.prune_tokens(later(20))).unwrap();
    assert_eq!((found("srsabc"), found("srsdef").is_some()), (None, true));
    finish_anew(&folder, store);
}
