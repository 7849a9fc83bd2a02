//! What must hold after a cut: the load client writes down every reply, and the mailbox is judged by it.
//!
//! - What got a 250 is there once, octet for octet apart from the box's own prefix.
//! - What got no reply or a temporary failure may be there, whole, once for each time it was sent.
//! - What got 5xx is not there. Nothing else is there.
//! - UIDVALIDITY stays, UIDs ascend, and a UID never names another message than before.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::client::{Imap, Reply};
use crate::mail;

/// What became of one sending of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// 2xx: the box has it.
    Acknowledged,
    /// 4xx, or the connection went before the reply.
    Unknown,
    /// 5xx.
    Refused,
}

impl Fate {
    /// The fate that a reply (or the lack of one) to the final dot means.
    pub fn of(reply: &std::io::Result<Reply>) -> Fate {
        match reply {
            Ok(reply) if reply.code < 300 => Fate::Acknowledged,
            Ok(reply) if reply.code >= 500 => Fate::Refused,
            _ => Fate::Unknown,
        }
    }
}

/// The book kept about one mailbox.
#[derive(Debug, Default)]
pub struct Oracle {
    sent: Mutex<BTreeMap<String, Sent>>,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Sent {
    message: Vec<u8>,
    acknowledged: usize,
    unknown: usize,
}

#[derive(Debug, Default)]
struct Seen {
    uid_validity: Option<u64>,
    ids: BTreeMap<u32, String>,
}

/// What a look into the mailbox found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Messages that were acknowledged.
    pub acknowledged: usize,
    /// Messages in the mailbox.
    pub present: usize,
}

impl Oracle {
    /// Writes down what became of a message; `id` stands in its Message-ID.
    ///
    /// # Panics
    /// The same id was used for another message.
    pub fn write_down(&self, id: &str, message: &[u8], fate: Fate) {
        let mut book = self.sent.lock().expect("no holder of the book panics");
        let sent = book.entry(id.to_owned()).or_insert_with(|| Sent {
            message: message.to_vec(),
            acknowledged: 0,
            unknown: 0,
        });
        assert_eq!(sent.message, message, "the id {id} stands for two messages");
        match fate {
            Fate::Acknowledged => sent.acknowledged += 1,
            Fate::Unknown => sent.unknown += 1,
            Fate::Refused => {}
        }
    }

    /// How many messages were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        let book = self.sent.lock().expect("no holder of the book panics");
        book.values().filter(|sent| sent.acknowledged > 0).count()
    }

    /// Selects INBOX and judges it.
    ///
    /// # Errors
    /// A sentence for the first thing that does not hold.
    pub fn judge(&self, imap: &mut Imap) -> Result<Found, Box<dyn std::error::Error>> {
        let selected = imap.ok("SELECT INBOX")?;
        let uid_validity = selected
            .code("UIDVALIDITY")
            .ok_or("SELECT tells no UIDVALIDITY")?;
        let exists = selected.number_of("EXISTS").ok_or("SELECT tells no EXISTS")?;
        let uid_next = selected.code("UIDNEXT").ok_or("SELECT tells no UIDNEXT")?;
        let messages = if exists == 0 {
            Vec::new()
        } else {
            imap.fetch_all()?
        };
        if messages.len() as u64 != exists {
            return Err(format!("{exists} messages exist, {} were told", messages.len()).into());
        }

        let book = self.sent.lock().expect("no holder of the book panics");
        let mut seen = self.seen.lock().expect("no holder of the book panics");
        if *seen.uid_validity.get_or_insert(uid_validity) != uid_validity {
            return Err(format!("UIDVALIDITY was {:?} and is {uid_validity}", seen.uid_validity).into());
        }
        let mut copies: BTreeMap<&str, usize> = BTreeMap::new();
        let mut last_uid = 0;
        for message in &messages {
            if message.uid <= last_uid || u64::from(message.uid) >= uid_next {
                return Err(format!("UID {} behind {last_uid}, UIDNEXT {uid_next}", message.uid).into());
            }
            last_uid = message.uid;
            if message.size != message.octets.len() as u64 {
                return Err(format!("UID {}: RFC822.SIZE is not the length of BODY[]", message.uid).into());
            }
            let id = mail::field(&message.octets, "Message-ID").unwrap_or_default();
            let id = id.trim_start_matches('<').trim_end_matches('>');
            let Some((id, sent)) = book.get_key_value(id) else {
                return Err(format!("UID {} was never sent: {id:?}", message.uid).into());
            };
            mail::own_prefix(&message.octets, &sent.message)
                .map_err(|error| format!("UID {} ({id}) is not what was sent: {error}", message.uid))?;
            *copies.entry(id).or_default() += 1;
            if seen.ids.entry(message.uid).or_insert_with(|| id.clone()) != id {
                return Err(format!("UID {} named another message before", message.uid).into());
            }
        }
        let mut found = Found {
            acknowledged: 0,
            present: messages.len(),
        };
        for (id, sent) in book.iter() {
            let count = copies.get(id.as_str()).copied().unwrap_or_default();
            if count < sent.acknowledged || count > sent.acknowledged + sent.unknown {
                return Err(format!(
                    "{id} was acknowledged {} times and {} times without reply, and is there {count} times",
                    sent.acknowledged, sent.unknown
                )
                .into());
            }
            found.acknowledged += usize::from(sent.acknowledged > 0);
        }
        if let Some(lost) = seen
            .ids
            .iter()
            .find(|(uid, _)| !messages.iter().any(|message| message.uid == **uid))
        {
            return Err(format!("UID {} ({}) was there before", lost.0, lost.1).into());
        }
        Ok(found)
    }
}
