#![allow(clippy::unwrap_used)]

use super::*;
use crate::command::{DayIs, FetchItem, Number, Partial, SearchKey, Section, SectionText, Set};
use proptest::prelude::*;
use wire::limits::IMAP_NESTING_MAX;

fn body_of(text: &str) -> Body {
    command(text.as_bytes()).unwrap().body
}

fn refused(text: &str) -> SyntaxError {
    command(text.as_bytes()).unwrap_err()
}

/// RFC 3501 §6.4.5, §6.4.4, §6.4.6, §6.3.10
#[test]
fn commands_of_the_standard_are_read() {
    let Body::Fetch { set, items, is_uid } =
        body_of("A654 FETCH 2:4 (FLAGS BODY[HEADER.FIELDS (DATE FROM)])")
    else {
        panic!();
    };
    assert_eq!(set, Set(vec![(Number::Value(2), Number::Value(4))]));
    assert!(!is_uid);
    let fields = SectionText::HeaderFields {
        names: vec![b"DATE".to_vec(), b"FROM".to_vec()],
        is_not: false,
    };
    let section = Section {
        part: vec![],
        text: fields,
    };
    assert_eq!(
        items,
        [
            FetchItem::Flags,
            FetchItem::Section {
                section,
                is_peek: false,
                partial: None
            }
        ]
    );
    let Body::Search { keys, .. } = body_of("A282 SEARCH FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"") else {
        panic!();
    };
    assert_eq!(
        keys[1..],
        [
            SearchKey::Internal(DayIs::Since, (1994, 2, 1)),
            SearchKey::Not(Box::new(SearchKey::Header("from".into(), "smith".into()))),
        ]
    );
    let Body::Store {
        change,
        flags,
        is_silent,
        ..
    } = body_of("A003 STORE 2:4 +FLAGS (\\Deleted)")
    else {
        panic!();
    };
    assert_eq!(
        (change, flags.to_string().as_str(), is_silent),
        (Change::Add, "\\Deleted", false)
    );
    let Body::Status { items, .. } = body_of("A042 STATUS blurdybloop (UIDNEXT MESSAGES)") else {
        panic!();
    };
    assert_eq!(items, [StatusItem::UidNext, StatusItem::Messages]);
}

#[test]
fn sections_and_partials_are_read() {
    let section = |text: &str| match body_of(&format!("a FETCH 1 {text}")) {
        Body::Fetch { mut items, .. } => items.remove(0),
        other => panic!("{other:?}"),
    };
    let expected = |part: &[u32], text, partial| FetchItem::Section {
        section: Section {
            part: part.to_vec(),
            text,
        },
        is_peek: true,
        partial,
    };
    assert_eq!(section("BODY.PEEK[]"), expected(&[], SectionText::All, None));
    assert_eq!(
        section("body.peek[1.2.mime]"),
        expected(&[1, 2], SectionText::Mime, None)
    );
    assert_eq!(
        section("BODY.PEEK[3.TEXT]<0.2048>"),
        expected(
            &[3],
            SectionText::Text,
            Some(Partial {
                offset: 0,
                count: 2048
            })
        )
    );
    assert_eq!(section("BODY"), FetchItem::Body);
    for text in [
        "BODY[MIME]",
        "BODY[0]",
        "BODY[1.]",
        "BODY[]<0.0>",
        "BODY[]<1>",
        "BODY[HEADER.FIELDS ()]",
        "RFC822.PEEK",
    ] {
        let parsed = command(format!("a FETCH 1 {text}").as_bytes());
        assert_eq!(
            parsed.unwrap_err(),
            SyntaxError::Arguments(Tag("a".into())),
            "{text}"
        );
    }
}

/// AI6
#[test]
fn ai6_the_edges_of_a_set() {
    let set = |text: &str| match body_of(&format!("a FETCH {text} UID")) {
        Body::Fetch { set, .. } => set,
        other => panic!("{other:?}"),
    };
    assert_eq!(set("*:4294967295").ranges(7).collect::<Vec<_>>(), [(7, u32::MAX)]);
    assert_eq!(set("4:2,*").ranges(3).collect::<Vec<_>>(), [(2, 4), (3, 3)]);
    for text in ["0", "1:0", "", "1,", "1:", "4294967296", "a", "1:2:3"] {
        let parsed = command(format!("a FETCH {text} UID").as_bytes());
        assert_eq!(
            parsed.unwrap_err(),
            SyntaxError::Arguments(Tag("a".into())),
            "{text}"
        );
    }
    let long = vec!["1"; 500_000].join(",");
    assert!(command(format!("a FETCH {long} UID").as_bytes()).is_err());
}

/// AI5
#[test]
fn ai5_nested_keys_end_somewhere() {
    let or = format!("a SEARCH {}ALL", "OR ALL ".repeat(1_000));
    assert_eq!(refused(&or), SyntaxError::Arguments(Tag("a".into())));
    let parens = format!("a SEARCH {}ALL{}", "(".repeat(1_000), ")".repeat(1_000));
    assert_eq!(refused(&parens), SyntaxError::Arguments(Tag("a".into())));
    let fine = format!("a SEARCH {}ALL", "NOT ".repeat(IMAP_NESTING_MAX));
    assert!(command(fine.as_bytes()).is_ok());
}

/// AI4
#[test]
fn ai4_a_name_that_is_none_is_no_syntax_error() {
    for text in ["\"a//b\"", "&Jjo!", "{3}\r\na\tb", "/"] {
        let Body::Select { mailbox, .. } = body_of(&format!("a SELECT {text}")) else {
            panic!();
        };
        assert!(mailbox.is_err(), "{text}");
    }
    let Body::Select { mailbox, .. } = body_of("a SELECT ../../x") else {
        panic!();
    };
    assert_eq!(mailbox.unwrap().as_str(), "../../x");
    let Body::Select { mailbox, .. } = body_of("a SELECT \"&AMgA4Q-\"") else {
        panic!();
    };
    assert_eq!(mailbox.unwrap().as_str(), "Èá");
    assert!(command(b"a SELECT {3}\r\na\0b").is_err());
}

#[test]
fn the_head_of_an_append_is_read() {
    let head = append(b"A003 APPEND saved-messages (\\Seen) {310}\r\n")
        .unwrap()
        .unwrap();
    assert_eq!(head.flags.to_string(), "\\Seen");
    let head = append(b"a append \"x y\" () \"17-Jul-1996 02:44:25 -0700\" {3+}\r\n")
        .unwrap()
        .unwrap();
    assert_eq!(
        head.internal_date.unwrap().to_string(),
        "17-Jul-1996 02:44:25 -0700"
    );
    let head = append(b"a APPEND {5}\r\nINBOX {3}\r\n").unwrap().unwrap();
    assert!(head.mailbox.unwrap().is_inbox());
    assert_eq!(append(b"a APPEND {5}\r\n"), None);
    assert_eq!(append(b"a LOGIN {5}\r\n"), None);
    for head in [
        &b"a APPEND INBOX(\\Seen) {3}\r\n"[..],
        b"a APPEND INBOX \"31-Feb-1996 02:44:25 -0700\" {3}\r\n",
        b"a APPEND INBOX (\\Nope) {3}\r\n",
        b"a APPEND INBOX ~{3}\r\n",
        b"a APPEND  {3}\r\n",
    ] {
        assert!(append(head).unwrap().is_err(), "{}", head.escape_ascii());
    }
}

#[test]
fn what_is_no_command_is_told_apart() {
    assert_eq!(refused(""), SyntaxError::NoTag);
    assert_eq!(refused("a"), SyntaxError::NoTag);
    assert_eq!(refused("* NOOP"), SyntaxError::NoTag);
    assert_eq!(refused("+ NOOP"), SyntaxError::NoTag);
    assert_eq!(refused("a XYZZY"), SyntaxError::UnknownCommand(Tag("a".into())));
    assert_eq!(
        refused("a UID XYZZY"),
        SyntaxError::UnknownCommand(Tag("a".into()))
    );
    assert_eq!(refused("a NOOP x"), SyntaxError::Arguments(Tag("a".into())));
    assert_eq!(refused("a NOOP\nb NOOP"), SyntaxError::Arguments(Tag("a".into())));
    assert_eq!(refused("a LOGIN anna"), SyntaxError::Arguments(Tag("a".into())));
    assert_eq!(
        refused("a LIST \"\" \"a\\b\""),
        SyntaxError::Arguments(Tag("a".into()))
    );
}

/// Words of which commands are made, so that random ones get far into the grammar.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "FETCH",
            "UID",
            "SEARCH",
            "STORE",
            "LIST",
            "STATUS",
            "SELECT",
            "COPY",
            "ID",
            "LOGIN",
            "APPEND",
            "AUTHENTICATE",
            "(",
            ")",
            " ",
            " ",
            " ",
            "1:*",
            "4,5",
            "FLAGS",
            "BODY[",
            "]",
            "HEADER.FIELDS",
            "OR",
            "NOT",
            "\\Seen",
            "+FLAGS.SILENT",
            "{3}\r\nabc",
            "{9}\r\n",
            "\"",
            "\"x\"",
            "<0.1>",
            "1-Feb-1994",
            "%",
            "INBOX",
            "NIL",
            "CHARSET UTF-8",
            "\\",
            "*",
            "0"
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
    ]
}

/// The commands both know must be told apart alike: what we take, imap-codec takes, and the other way round.
fn is_command_of_imap_codec(text: &[u8]) -> bool {
    use imap_codec::CommandCodec;
    use imap_codec::decode::Decoder;
    let line = [text, b"\r\n"].concat();
    matches!(CommandCodec::default().decode(&line), Ok((rest, _)) if rest.is_empty())
}

/// Commands of the shapes that both understand. What we take on purpose and imap-codec does not, or the other
/// way round, is left out: spaces at the end, UTF-8 in quoted strings, more than one space.
fn common_command() -> impl Strategy<Value = String> {
    let mailbox = prop::sample::select(vec![
        "INBOX",
        "x",
        "\"a b\"",
        "\"\"",
        "a(b",
        "{2}\r\nab",
        "a]",
        "%",
    ]);
    let set = prop::sample::select(vec![
        "1",
        "1:*",
        "*:1",
        "2,4:7,9",
        "0",
        "1:0",
        "",
        "*",
        "4294967295",
        "4294967296",
        "01",
    ]);
    let item = prop::sample::select(vec![
        "FLAGS",
        "(FLAGS UID)",
        "ALL",
        "(ALL)",
        "BODY",
        "BODY[]",
        "BODY.PEEK[1.2.HEADER]",
        "BODY[MIME]",
        "BODY[1.MIME]",
        "BODY[HEADER.FIELDS (a b)]",
        "BODY[HEADER.FIELDS]",
        "BODY[]<0.1>",
        "BODY[]<0.0>",
        "RFC822.SIZE",
        "BODY[1..2]",
        "envelope",
        "(BODYSTRUCTURE  UID)",
    ]);
    let key = prop::sample::select(vec![
        "ALL",
        "1:3",
        "NOT SEEN",
        "OR SEEN",
        "OR SEEN DELETED",
        "(SEEN",
        "(SEEN DELETED)",
        "FROM x",
        "FROM \"\"",
        "HEADER a",
        "HEADER a b",
        "SINCE 1-Feb-1994",
        "SINCE 31-Feb-1994",
        "LARGER 5",
        "LARGER x",
        "UID 1:2",
        "KEYWORD a",
        "TEXT {1}\r\nx",
        "SENTBEFORE \"01-Jan-2020\"",
    ]);
    let flags = prop::sample::select(vec![
        "(\\Seen)",
        "\\Seen",
        "(\\Seen kw)",
        "()",
        "(",
        "\\Seen \\Deleted",
        "",
    ]);
    let store = prop::sample::select(vec!["FLAGS", "+FLAGS", "-FLAGS.SILENT", "+ FLAGS", "FLAGS.LOUD"]);
    prop_oneof![
        mailbox.clone().prop_map(|mailbox| format!("a SELECT {mailbox}")),
        mailbox
            .clone()
            .prop_map(|mailbox| format!("a STATUS {mailbox} (MESSAGES UIDNEXT)")),
        (mailbox.clone(), mailbox.clone()).prop_map(|(from, to)| format!("a RENAME {from} {to}")),
        (mailbox.clone(), mailbox.clone()).prop_map(|(name, word)| format!("a LOGIN {name} {word}")),
        (mailbox.clone(), mailbox.clone()).prop_map(|(reference, name)| format!("a LIST {reference} {name}")),
        (set.clone(), item).prop_map(|(set, item)| format!("a UID FETCH {set} {item}")),
        (set.clone(), mailbox).prop_map(|(set, mailbox)| format!("a COPY {set} {mailbox}")),
        (set, store, flags).prop_map(|(set, store, flags)| format!("a STORE {set} {store} {flags}")),
        prop::collection::vec(key, 1..3).prop_map(|keys| format!("a SEARCH {}", keys.join(" "))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn no_octets_panic(octets in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = command(&octets);
        let _ = append(&octets);
    }

    #[test]
    fn no_words_panic(words in prop::collection::vec(word(), 0..12)) {
        let text = format!("a {}", words.concat());
        let _ = command(text.as_bytes());
        let _ = append(text.as_bytes());
    }

    #[test]
    fn what_is_a_command_is_one_for_imap_codec_too(text in common_command()) {
        prop_assert_eq!(command(text.as_bytes()).is_ok(), is_command_of_imap_codec(text.as_bytes()), "{}", text);
    }
}
