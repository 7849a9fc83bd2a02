//! Looking for a text in 10 000 messages that are in no block yet: each is read. The baseline reads files and looks for the
//! octets, which knows nothing of encodings, case and marks.

use crate::deliveries::float;
use crate::table::Table;
use crate::wait::wait;
use crate::{Failure, ROUNDS, median, with_folder};
use mail::{AccountId, Flags, InternalDate, MailboxName, Structure, Timestamp};
use std::fs;
use std::path::Path;
use std::time::Instant;
use store::{Append, Criterion, NewMessage, Options, Search, Store};

const MESSAGES: u32 = 10_000;
const AT_ONCE: u32 = 100;
/// In one of a thousand messages.
const SOUGHT: &str = "dendrochronology";

/// Some 4 KB of text.
fn text(number: u32) -> String {
    let mut text = format!(
        "From: sender{number}@example.com\r\nTo: u1@example.org\r\nSubject: Message {number}\r\n\
         Date: Tue, 24 Nov 2026 08:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    );
    let words = [
        "river",
        "window",
        "Größe",
        "seldom",
        "carpenter",
        "yellow",
        "between",
        "ein",
        "la",
        "of",
    ];
    let mut state = u64::from(number) + 1;
    while text.len() < 4_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text += words[usize::from((state >> 56).to_le_bytes()[0]) % words.len()];
        text += if (state >> 40).is_multiple_of(16) {
            "\r\n"
        } else {
            " "
        };
    }
    if number.is_multiple_of(1_000) {
        text += SOUGHT;
    }
    text + "\r\n"
}

pub(crate) fn of_10_000(folder: &Path, table: &mut Table) -> Result<(), Failure> {
    let (mut store_figures, mut file_figures) = (Vec::new(), Vec::new());
    with_folder(folder, "search", |folder| {
        let (store, _) = Store::open(folder, Options::default())?;
        crate::message::provision(&store)?;
        let account = AccountId(1);
        let inbox = store.view()?.mailbox_by_name(account, &MailboxName::inbox())?;
        let mailbox = inbox.ok_or("no INBOX")?.id;
        let files = folder.join("cur");
        fs::create_dir(&files)?;
        for first in (0..MESSAGES).step_by(usize::try_from(AT_ONCE)?) {
            let message = |number: u32| {
                let text = text(number);
                fs::write(files.join(number.to_string()), &text)?;
                let mut body = store.body();
                body.write(text.as_bytes())?;
                Ok(NewMessage {
                    body: body.seal()?,
                    structure: Structure::parse(text.as_bytes()).encode(),
                    flags: Flags::default(),
                    internal_date: InternalDate::utc(Timestamp(0)),
                })
            };
            let messages: Result<Vec<_>, Failure> = (first..first + AT_ONCE).map(message).collect();
            wait(store.append(Append {
                account,
                mailbox,
                messages: messages?,
            }))?;
        }
        let expected = (0..MESSAGES)
            .filter(|number| number.is_multiple_of(1_000))
            .count();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let uids = store.view()?.entries(mailbox)?;
            let uids = uids.into_iter().map(|entry| entry.uid).collect();
            let mut search = Search::new(mailbox, uids, &Criterion::Text(SOUGHT.to_owned()));
            while !search.step(&store.view()?)? {}
            store_figures.push(start.elapsed().as_secs_f64());
            let found = search.found().len();
            let start = Instant::now();
            let mut matches = 0;
            for entry in fs::read_dir(&files)? {
                let text = fs::read_to_string(entry?.path())?;
                matches += usize::from(text.contains(SOUGHT));
            }
            file_figures.push(start.elapsed().as_secs_f64());
            if (found, matches) != (expected, expected) {
                return Err(format!("{found} and {matches} of {expected} were found").into());
            }
        }
        store.close();
        Ok(())
    })?;
    let millis = |figures: Vec<f64>| median(figures) * 1_000.0;
    let baseline = Some(("files read and looked through", millis(file_figures)));
    table.line("a text in all", millis(store_figures), "ms", baseline)?;
    table.line("messages", float(u64::from(MESSAGES)), "", None)
}
