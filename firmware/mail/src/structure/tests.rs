#![allow(clippy::unwrap_used, clippy::format_push_string)]

use super::*;
use proptest::prelude::*;

/// The parts as a tree in one line: `mixed(plain[5] digest(message(plain[2])))`, sizes in octets.
fn outline(structure: &Structure) -> String {
    enum Todo {
        Part(PartIndex),
        Text(&'static str),
    }
    let mut shown = String::new();
    let mut todo = vec![Todo::Part(PartIndex(0))];
    while let Some(next) = todo.pop() {
        let part = match next {
            Todo::Text(text) => {
                shown += text;
                continue;
            }
            Todo::Part(index) => structure.part(index),
        };
        if !shown.is_empty() && !shown.ends_with('(') {
            shown.push(' ');
        }
        shown += &String::from_utf8_lossy(part.content_type.subtype.as_bytes());
        match &part.content {
            Content::Leaf => shown += &format!("[{}]", part.body_octets()),
            Content::Multipart(children) => {
                shown.push('(');
                todo.push(Todo::Text(")"));
                todo.extend(children.iter().rev().map(|child| Todo::Part(*child)));
            }
            Content::Message { content, .. } => {
                shown.push('(');
                todo.push(Todo::Text(")"));
                todo.push(Todo::Part(*content));
            }
        }
    }
    shown
}

fn check(message: &str, expected: &str) -> Structure {
    let message = message.replace('\n', "\r\n");
    let structure = Structure::parse(message.as_bytes());
    assert_eq!(outline(&structure), expected);
    assert_sound(&structure, message.len());
    structure
}

/// What holds for the structure of any octets.
fn assert_sound(structure: &Structure, octets: usize) {
    assert_eq!(structure.octets as usize, octets);
    assert!((1..=PARTS_MAX).contains(&structure.parts.len()));
    let mut parents = vec![0; structure.parts.len()];
    for (place, part) in structure.parts.iter().enumerate() {
        assert!(part.header_start <= part.body_start && part.body_start <= part.body_end);
        assert!(part.body_end as usize <= octets);
        assert!(part.body_lines <= part.body_octets());
        let children = match &part.content {
            Content::Leaf => Vec::new(),
            Content::Multipart(children) => children.clone(),
            Content::Message { content, .. } => vec![*content],
        };
        assert!(!children.is_empty() || part.content == Content::Leaf);
        let mut from = part.body_start;
        for child in children {
            assert!(usize::from(child.0) > place);
            parents[usize::from(child.0)] += 1;
            let child = structure.part(child);
            assert!(from <= child.header_start && child.body_end <= part.body_end);
            from = child.body_end;
        }
    }
    assert_eq!(parents[0], 0);
    assert!(parents[1..].iter().all(|parents| *parents == 1));
    let encoded = structure.encode();
    assert!(
        encoded.len() <= TEXT_OCTETS_MAX + PARTS_MAX * 80,
        "{}",
        encoded.len()
    );
    assert_eq!(Structure::decode(&encoded).as_ref(), Some(structure));
}

/// RFC 2046 §5.1.1
#[test]
fn the_example_of_the_standard_has_two_parts() {
    let structure = check(
        "From: Nathaniel Borenstein <nsb@bellcore.com>
To: Ned Freed <ned@innosoft.com>
Date: Sun, 21 Mar 1993 23:56:48 -0800 (PST)
Subject: Sample message
MIME-Version: 1.0
Content-type: multipart/mixed; boundary=\"simple boundary\"

This is the preamble.  It is to be ignored, though it
is a handy place for composition agents to include an
explanatory note to non-MIME conformant readers.

--simple boundary

This is implicitly typed plain US-ASCII text.
It does NOT end with a linebreak.
--simple boundary
Content-type: text/plain; charset=us-ascii

This is explicitly typed plain US-ASCII text.
It DOES end with a linebreak.

--simple boundary--

This is the epilogue.  It is also to be ignored.
",
        "mixed(plain[80] plain[78])",
    );
    assert_eq!(structure.parts[1].body_lines, 1);
    assert_eq!(structure.parts[2].body_lines, 2);
    assert_eq!(structure.parts[1].content_type, ContentType::plain_text());
    assert_eq!(structure.envelope.subject, Some("Sample message".into()));
    assert_eq!(structure.root().body_end, structure.octets);
}

/// RFC 2046 §5.1.5
#[test]
fn the_parts_of_a_digest_are_messages() {
    let structure = check(
        "Content-Type: multipart/digest; boundary=d

--d

From: someone-else
Subject: my opinion

abc
--d
Content-Type: text/html

ab
--d--
",
        "digest(rfc822(plain[3]) html[2])",
    );
    let Content::Message { envelope, .. } = &structure.parts[1].content else {
        panic!("not a message");
    };
    assert_eq!(envelope.subject, Some("my opinion".into()));
    assert_eq!(structure.envelope.subject, None);
}

#[test]
fn a_boundary_further_out_ends_everything_inside() {
    check(
        "Content-Type: multipart/mixed; boundary=a

--a
Content-Type: message/rfc822

Content-Type: multipart/alternative; boundary=b

--b

one
--a

two
--b
three
--a--
",
        "mixed(rfc822(alternative(plain[3])) plain[15])",
    );
}

/// AS12
#[test]
fn as12_boundaries_that_begin_alike_are_different() {
    check(
        "Content-Type: multipart/mixed; boundary=a

--a
Content-Type: multipart/mixed; boundary=aa

--aa

x
--aa--
--aaa
--a \t

y
--a--
",
        "mixed(mixed(plain[1]) plain[1])",
    );
}

/// AS12
#[test]
fn as12_a_multipart_without_parts_is_opaque() {
    check(
        "Content-Type: multipart/mixed; boundary=a\n\n--b\n",
        "octet-stream[5]",
    );
    check(
        "Content-Type: multipart/mixed\n\n--a\n\n--a--\n",
        "octet-stream[14]",
    );
    check(
        "Content-Type: multipart/mixed; boundary=a\n\n--a--\nx",
        "octet-stream[8]",
    );
}

/// AS12
#[test]
fn as12_a_missing_last_boundary_ends_with_the_message() {
    check(
        "Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n--a\n\ny\n",
        "mixed(plain[1] plain[3])",
    );
    check(
        "Content-Type: multipart/mixed; boundary=a\n\n--a",
        "mixed(plain[0])",
    );
    check(
        "Content-Type: multipart/mixed; boundary=a\n\n--a\nX: y\n--a--",
        "mixed(plain[0])",
    );
}

/// AS12
#[test]
fn as12_ten_thousand_nested_multiparts_end_in_an_opaque_leaf() {
    let mut message = String::new();
    for depth in 0..10_000 {
        message += &format!("Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n");
    }
    let structure = Structure::parse(message.as_bytes());
    assert_sound(&structure, message.len());
    assert_eq!(structure.parts.len(), DEPTH_MAX + 1);
    assert!(structure.is_cut);
    let deepest = structure.parts.last().unwrap();
    assert_eq!(deepest.content_type, ContentType::opaque());
    assert_eq!(deepest.body_end, structure.octets);
}

/// AS12
#[test]
fn as12_five_thousand_messages_in_messages_end_in_an_opaque_leaf() {
    let message = "Content-Type: message/rfc822\r\n\r\n".repeat(5_000);
    let structure = Structure::parse(message.as_bytes());
    assert_sound(&structure, message.len());
    assert_eq!(structure.parts.len(), DEPTH_MAX + 1);
    assert_eq!(
        structure.parts.last().unwrap().content_type,
        ContentType::opaque()
    );
}

/// AS12
#[test]
fn as12_a_hundred_thousand_parts_are_cut() {
    let mut message = "Content-Type: multipart/mixed; boundary=a\r\n\r\n".to_owned();
    message += &"--a\r\n\r\n".repeat(100_000);
    let structure = Structure::parse(message.as_bytes());
    assert_sound(&structure, message.len());
    assert_eq!(structure.parts.len(), PARTS_MAX);
    assert!(structure.is_cut);
    // An index past the limit is never made for the content of a message, either.
    let messages = message.replace("mixed", "digest");
    let structure = Structure::parse(messages.as_bytes());
    assert_sound(&structure, messages.len());
}

/// AS12
#[test]
fn as12_a_boundary_of_ten_megabytes_is_no_boundary() {
    let boundary = "b".repeat(10 << 20);
    let message = format!("Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n--{boundary}\r\n\r\nx");
    assert_eq!(
        outline(&Structure::parse(message.as_bytes())),
        "octet-stream[10485767]"
    );
}

/// AS11
#[test]
fn as11_header_bombs_are_cut() {
    let to = format!("To: {}\r\n\r\nbody", "anna@firma.cz,".repeat(100_000));
    let subject = format!("Subject: {}\r\n\r\nbody", "x".repeat(20 << 20));
    let many = format!("{}\r\nbody", "a:b\r\n".repeat(1_000_000));
    let folded = format!("Subject: a{}\r\n\r\nbody", "\r\n b".repeat(100_000));
    let inside = format!(
        "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n{}\r\nbody",
        "a:\n".repeat(1_000_000)
    );
    for message in [&to, &subject, &many, &folded, &inside] {
        let structure = Structure::parse(message.as_bytes());
        assert_sound(&structure, message.len());
        assert_eq!(structure.parts.last().unwrap().body_octets(), 4);
        let subject = structure.envelope.subject.unwrap_or_default();
        assert!(subject.len() <= FIELD_OCTETS_MAX);
    }
}

/// AS11, D19: a field that is compared with the first of its name costs what it is long, not what the first is.
/// Such a message took hours of the one check buffer.
#[test]
fn as11_a_field_of_white_space_is_not_trimmed_again_for_each_of_its_name() {
    for name in ["Content-Type", "Content-Transfer-Encoding"] {
        let blank = " \r\n".repeat(1_000_000);
        let again = format!("{name}:\r\n").repeat(100_000);
        let message = format!("{name}:{blank}{again}\r\nbody");
        let start = std::time::Instant::now();
        let structure = Structure::parse(message.as_bytes());
        assert!(start.elapsed() < std::time::Duration::from_secs(20));
        assert_sound(&structure, message.len());
        assert!(!structure.root().is_ambiguous);
    }
}

/// AS11
#[test]
fn as11_a_message_without_a_header_section_is_all_body() {
    check("hello\nworld\n", "plain[14]");
    check("", "plain[0]");
    check("\n", "plain[0]");
    // A field, and no empty line.
    check("Subject: x\nhello\n", "plain[0]");
}

/// AS14
#[test]
fn as14_of_two_content_types_the_first_counts_and_the_part_is_ambiguous() {
    let structure = check(
        "Content-Type: text/plain
Content-Type: multipart/mixed; boundary=a
Content-Transfer-Encoding: base64
Content-Transfer-Encoding: quoted-printable

--a

x
--a--
",
        "plain[17]",
    );
    assert!(structure.root().is_ambiguous);
    assert_eq!(structure.root().encoding, Some("base64".into()));
    let twice = check(
        "Content-Type: multipart/mixed; boundary=a; boundary=b\n\n--a\n\nx\n",
        "mixed(plain[3])",
    );
    assert!(twice.root().is_ambiguous);
    let same = check(
        "Content-Type: text/plain\nContent-Type: text/plain\n\nx",
        "plain[1]",
    );
    assert!(!same.root().is_ambiguous);
}

#[test]
fn an_encoded_message_is_opaque() {
    check(
        "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQQ==",
        "octet-stream[4]",
    );
    check(
        "Content-Type: message/rfc822\nContent-Transfer-Encoding: 8BIT\n\n\nQQ",
        "rfc822(plain[2])",
    );
}

/// A multipart with `depth` levels, and the outline it has.
fn well_formed(depth: u32) -> impl Strategy<Value = (String, String)> {
    let leaf = "[a-z \r\n-]{0,40}".prop_map(|text| {
        // The line end before a boundary belongs to the boundary; bare line ends are not well-formed.
        let text = text.replace(['\r', '\n'], "\r\n");
        let outline = format!("html[{}]", text.len());
        (format!("Content-Type: text/html\r\n\r\n{text}"), outline)
    });
    leaf.prop_recursive(depth, 64, 4, |inner| {
        let level = any::<u32>();
        (level, proptest::collection::vec(inner, 1..4)).prop_map(|(level, parts)| {
            let mut message =
                format!("Content-Type: multipart/mixed; boundary=\"=_{level}\"\r\n\r\npreamble");
            let mut outlines = Vec::new();
            for (part, outline) in parts {
                message += &format!("\r\n--=_{level}\r\n{part}");
                outlines.push(outline);
            }
            message += &format!("\r\n--=_{level}--\r\n");
            (message, format!("mixed({})", outlines.join(" ")))
        })
    })
}

/// The same tree as [`outline`], by mail-parser.
fn outline_of_mail_parser(message: &str) -> String {
    fn outline(part: mail_parser::MessagePart<'_>) -> String {
        if part.is_multipart() {
            let children: Vec<String> = part.children().map(outline).collect();
            format!("mixed({})", children.join(" "))
        } else {
            format!("html[{}]", part.raw_body().len())
        }
    }
    let parsed = mail_parser::MessageParser::new()
        .parse(message.as_bytes())
        .unwrap();
    let root = parsed.parts().next().unwrap();
    outline(root)
}

/// Pieces of which hostile messages are made.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"--a".to_vec()),
        Just(b"--a--\r\n".to_vec()),
        Just(b"\r\n--aa\r\n".to_vec()),
        Just(b"Content-Type: multipart/mixed; boundary=a\r\n\r\n".to_vec()),
        Just(b"Content-Type: multipart/digest; boundary=\"aa\"\r\n\r\n".to_vec()),
        Just(b"Content-Type: message/rfc822\r\n\r\n".to_vec()),
        Just(b"Content-Disposition: attachment; filename*0*=a; filename=\"b".to_vec()),
        Just(b"From: g: <@a,@b:c@d> (x), \"e\" ;\r\n".to_vec()),
        Just(b"Subject: =?utf-8?B?\r\n ?=".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
        proptest::collection::vec(
            prop_oneof![
                Just(b'('),
                Just(b'"'),
                Just(b'\\'),
                Just(b'<'),
                Just(b'@'),
                Just(b':')
            ],
            0..9
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_octets_are_a_message(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
        assert_sound(&Structure::parse(&octets), octets.len());
    }

    #[test]
    fn hostile_pieces_are_a_message(pieces in proptest::collection::vec(piece(), 0..60)) {
        let octets = pieces.concat();
        assert_sound(&Structure::parse(&octets), octets.len());
    }

    #[test]
    fn a_well_formed_message_has_the_tree_that_mail_parser_sees((message, expected) in well_formed(4)) {
        let found = outline(&Structure::parse(message.as_bytes()));
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(found, outline_of_mail_parser(&message));
    }
}
