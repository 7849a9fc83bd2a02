//! Conversations made at random: nothing panics, and whoever listens sees what is there.

use super::*;
use proptest::prelude::*;

/// What a client knows who hears nothing but the responses: the flags by sequence number, as far as told.
#[derive(Default)]
struct Listener(Vec<Option<String>>);

impl Listener {
    fn hear(&mut self, said: &str) {
        for line in said.lines().filter(|line| line.starts_with("* ")) {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            let Ok(number) = words[1].parse::<usize>() else {
                continue;
            };
            match words[2] {
                "EXPUNGE" => drop(self.0.remove(number - 1)),
                "EXISTS" => {
                    assert!(number >= self.0.len(), "{said}");
                    self.0.resize(number, None);
                }
                "FETCH" => {
                    let flags = words[3].split("FLAGS ").nth(1);
                    self.0[number - 1] = flags.map(|flags| flags.replace("))", ")"));
                }
                _ => {}
            }
        }
    }
}

fn command() -> impl Strategy<Value = String> {
    let number = 1..5_u32;
    let flag = prop::sample::select(vec!["\\Seen", "\\Deleted", "\\Flagged", "kw"]);
    let sign = prop::sample::select(vec!["", "+", "-", "+"]);
    prop_oneof![
        Just("APPEND INBOX {3+}\r\nx:y".to_owned()),
        (number.clone(), sign.clone(), flag.clone())
            .prop_map(|(n, sign, flag)| format!("STORE {n} {sign}FLAGS ({flag})")),
        (number.clone(), sign, flag)
            .prop_map(|(n, sign, flag)| format!("UID STORE {n}:* {sign}FLAGS ({flag})")),
        number.clone().prop_map(|n| format!("FETCH {n} BODY[]")),
        number.clone().prop_map(|n| format!("UID MOVE {n} Trash")),
        number.prop_map(|n| format!("SEARCH {n}")),
        Just("EXPUNGE".to_owned()),
        Just("NOOP".to_owned()),
    ]
}

/// Pieces of which hostile conversations are made.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "a ",
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        " ",
        "{3}\r\n",
        "{3+}\r\nabc",
        "{0+}\r\n",
        "{99999+}\r\n",
        "(",
        ")",
        "1:*",
        "*",
        "FETCH 1:* (UID BODY[])\r\n",
        "a UID FETCH 1:* ",
        "a SEARCH OR ",
        "a STORE 1 +FLAGS (\\Deleted)\r\n",
        "a EXPUNGE\r\n",
        "a SELECT INBOX\r\n",
        "a IDLE\r\n",
        "DONE\r\n",
        "a CLOSE\r\n",
        "a APPEND INBOX {5+}\r\nx:\r\n",
        "a LIST \"\" ",
        "a LOGOUT\r\n",
        "a AUTHENTICATE PLAIN\r\n",
        "a COPY 1:* Sent\r\n",
        "BODY[HEADER.FIELDS (",
        "\"",
        "NOT ",
    ]);
    prop_oneof![
        6 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..9),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// AI1, AI2: whatever is said, the session goes on or ends, and says the same however the octets were cut.
    #[test]
    fn no_conversation_panics(pieces in prop::collection::vec(piece(), 0..30), cut in 0..200_usize) {
        let octets = pieces.concat();
        let mut said = [cut.min(octets.len()), 0].map(|cut| {
            let store = store();
            let mut anna = Client::anna(&store);
            anna.append("Subject: x\r\n\r\n");
            anna.say("s SELECT INBOX\r\n");
            let (first, rest) = octets.split_at(cut);
            anna.say_octets(first) + &anna.say_octets(rest)
        });
        for said in &mut said {
            // What differs from store to store.
            *said = said.lines().filter(|line| !line.contains("UIDVALIDITY") && !line.contains("UID ")).collect();
        }
        prop_assert_eq!(&said[0], &said[1]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Two sessions on one mailbox: each, replaying what it was told, ends up with what is there.
    #[test]
    fn two_clients_that_listen_see_the_same_mailbox(
        commands in prop::collection::vec((any::<bool>(), command()), 1..40),
    ) {
        let store = store();
        let mut clients = [Client::anna(&store), Client::anna(&store)];
        let mut listeners = [Listener::default(), Listener::default()];
        for (client, listener) in clients.iter_mut().zip(&mut listeners) {
            client.say("s SELECT INBOX\r\n");
            listener.0.clear();
        }
        for (which, command) in commands {
            let said = clients[usize::from(which)].say(&format!("c {command}\r\n"));
            prop_assert!(said.contains("\r\nc ") || said.starts_with("c "), "{}", said);
            listeners[usize::from(which)].hear(&said);
        }
        for (client, listener) in clients.iter_mut().zip(&mut listeners) {
            let said = client.say("n NOOP\r\ns STATUS INBOX (MESSAGES)\r\n");
            listener.hear(&said);
            prop_assert!(said.contains(&format!("MESSAGES {})", listener.0.len())), "{} {:?}", said, listener.0);
            let mut truth = Listener(vec![None; listener.0.len()]);
            truth.hear(&client.say("f FETCH 1:* FLAGS\r\n"));
            for (known, is) in listener.0.iter().zip(&truth.0) {
                prop_assert!(known.is_none() || known == is, "{:?} {:?}", listener.0, truth.0);
            }
        }
        let views: Vec<String> = clients.iter_mut().map(|client| client.say("u UID FETCH 1:* FLAGS\r\n")).collect();
        prop_assert_eq!(&views[0], &views[1]);
    }
}
