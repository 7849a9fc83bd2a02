//! What SELECT and `FETCH 1:* FLAGS` read, of a mailbox with 50 000 messages.

use crate::deliveries::float;
use crate::table::Table;
use crate::wait::wait;
use crate::{Failure, ROUNDS, median, with_folder};
use mail::{AccountId, Flags, InternalDate, MailboxName, SystemFlags, Timestamp};
use std::fs;
use std::path::Path;
use std::time::Instant;
use store::{Append, NewMessage, Options, Store};

const MESSAGES: usize = 50_000;
const AT_ONCE: usize = 500;

pub(crate) fn of_50_000(folder: &Path, table: &mut Table) -> Result<(), Failure> {
    let (mut store_figures, mut file_figures) = (Vec::new(), Vec::new());
    with_folder(folder, "flags", |folder| {
        let (store, _) = Store::open(folder, Options::default())?;
        crate::message::provision(&store)?;
        let account = AccountId(1);
        let inbox = store.view()?.mailbox_by_name(account, &MailboxName::inbox())?;
        let mailbox = inbox.ok_or("no INBOX")?.id;
        let files = folder.join("cur");
        fs::create_dir(&files)?;
        for first in (0..MESSAGES).step_by(AT_ONCE) {
            let message = |number: usize| {
                // A Maildir has its flags in the name.
                fs::write(files.join(format!("1790000000.M{number:06}P1.host:2,S")), "")?;
                let mut body = store.body();
                body.write(format!("Subject: {number}\r\n\r\n").as_bytes())?;
                Ok(NewMessage {
                    body: body.seal()?,
                    structure: Vec::new(),
                    flags: Flags::system(SystemFlags(u8::try_from(number % 32)?)),
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
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let entries = store.view()?.entries(mailbox)?;
            store_figures.push(float(entries.len() as u64) / start.elapsed().as_secs_f64());
            if entries.len() != MESSAGES {
                return Err("messages are missing".into());
            }
            let start = Instant::now();
            let mut names = Vec::new();
            for entry in fs::read_dir(&files)? {
                names.push(entry?.file_name());
            }
            names.sort_unstable();
            file_figures.push(float(names.len() as u64) / start.elapsed().as_secs_f64());
        }
        store.close();
        Ok(())
    })?;
    let millis = |figures: &[f64]| float(MESSAGES as u64) / median(figures.to_vec()) * 1_000.0;
    let baseline = Some(("names of a Maildir, sorted", millis(&file_figures)));
    table.line("flags of all", millis(&store_figures), "ms", baseline)
}
