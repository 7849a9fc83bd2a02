use super::*;
use crate::fold;
use proptest::prelude::*;
use std::convert::Infallible;

fn text_of(message: &[u8]) -> String {
    let mut text = String::new();
    let mut reader = SearchText::new(Structure::parse(message));
    let read = |range: Range<u32>, into: &mut Vec<u8>| {
        into.extend_from_slice(&message[range.start as usize..range.end as usize]);
        Ok::<(), Infallible>(())
    };
    while reader
        .next(&mut text, read)
        .unwrap_or_else(|never| match never {})
    {}
    text
}

fn check(message: &[u8], expected: &str) {
    assert_eq!(text_of(message), expected, "{}", message.escape_ascii());
}

#[test]
fn texts_names_and_inner_messages_are_read() {
    let message = "Content-Type: multipart/mixed; boundary=b\r\nSubject: not of the body\r\n\r\n--b\r\n\r\nPříliš\r\nžluťoučký\r\n--b\r\n\
        Content-Type: image/png; name=\"KŮŇ.png\"\r\n\r\nnoise\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n\
        From: Anna <a@b.test>\r\nSubject: Úpěl\r\n\r\nďábelské\r\n--b--\r\n";
    check(
        message.as_bytes(),
        "prilis zlutoucky\nkun.png\nupel\nanna <a@b.test>\ndabelske\n",
    );
}

#[test]
fn each_charset_and_encoding_is_decoded() {
    let message = |fields: &str, body: &[u8]| [fields.as_bytes(), b"\r\n\r\n", body].concat();
    for (charset, octets) in [
        ("windows-1250", &b"\x8elu\x9do\xfa\xe8k\xfd k\xf9\xf2"[..]),
        ("iso-8859-2", b"\xaelu\xbbo\xfa\xe8k\xfd k\xf9\xf2"),
        ("utf-8", "Žluťoúčký kůň".as_bytes()),
        ("us-ascii", "Žluťoúčký kůň".as_bytes()),
        ("no-such-charset", "Žluťoúčký kůň".as_bytes()),
    ] {
        let field = format!("Content-Type: text/plain; charset={charset}");
        check(&message(&field, octets), "zlutoucky kun\n");
        let base64: String = octets
            .chunks(3)
            .map(encode_group)
            .collect::<Vec<_>>()
            .join("\r\n");
        let field = format!("{field}\r\nContent-Transfer-Encoding: ");
        check(
            &message(&format!("{field}base64"), base64.as_bytes()),
            "zlutoucky kun\n",
        );
        let quoted: Vec<String> = octets.iter().map(|octet| format!("={octet:02X}=\r\n")).collect();
        let quoted = quoted.concat();
        check(
            &message(&format!("{field}quoted-printable"), quoted.as_bytes()),
            "zlutoucky kun\n",
        );
    }
    let utf16: Vec<u8> = "\u{feff}Žluť".encode_utf16().flat_map(u16::to_le_bytes).collect();
    check(
        &message("Content-Type: text/plain; charset=utf-16", &utf16),
        "zlut\n",
    );
    check(
        &message(
            "Content-Type: text/plain; charset=iso-2022-jp",
            b"\x1b$B4A;z\x1b(B ok",
        ),
        "漢字 ok\n",
    );
    check(
        &message(
            "Content-Type: text/plain; charset=koi8-r",
            b"\xf0\xf2\xe9\xf7\xe5\xf4",
        ),
        "привет\n",
    );
    // AS14
    check(
        &message("Content-Type: text/plain; charset=utf-7", b"+ADw-"),
        "+adw-\n",
    );
}

fn encode_group(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let number = (0..3).fold(0_usize, |number, place| {
        number << 8 | usize::from(*octets.get(place).unwrap_or(&0))
    });
    (0..4)
        .map(|place| {
            if place <= octets.len() {
                char::from(DIGITS[number >> (18 - 6 * place) & 63])
            } else {
                '='
            }
        })
        .collect()
}

#[test]
fn html_is_what_people_read() {
    let check = |html: &str, expected: &str| {
        check(
            format!("Content-Type: text/html; charset=utf-8\r\n\r\n{html}").as_bytes(),
            expected,
        );
    };
    check("<p>Jedna</p><p>dv&ecaron;</p>", " jedna dve \n");
    check("<b>h</b>ello<br>w<span title='a>b'>or</span>ld", "hello world\n");
    check(
        "a<style>b{}</style>c<SCRIPT>if (a<b) d</SCRIPT >e<!-- f > --- -->g<!-->h",
        "acegh\n",
    );
    check(
        "1 < 2 &amp; 3 &lt; 4 &#268;aj &#x10c;aj &nosuch; AT&T",
        "1 < 2 & 3 < 4 caj caj &nosuch; at&t\n",
    );
    check("x&nbsp;y &", "x y &\n");
    check("<td>a</td><td>b</td>", " a b \n");
    check("<a href=\"http://x.test/?a=1&b='\">link</a>", "link\n");
}

/// AS15
#[test]
fn as15_html_without_an_end_is_still_text() {
    for html in [
        "<",
        "<a",
        "<a b='",
        "<!--",
        "&",
        "&#",
        "&#99999999999999999999;",
        "<style>",
        "</",
        "<!",
        &"<".repeat(100_000),
        &"&a".repeat(100_000),
    ] {
        let _ = text_of(format!("Content-Type: text/html\r\n\r\n{html}").as_bytes());
    }
}

/// 50 MB of one line are read in windows.
#[test]
fn a_long_line_is_read_in_windows() {
    let message = [&b"Content-Type: text/html\r\n\r\n"[..], &b"word ".repeat(400_000)].concat();
    let mut reader = SearchText::new(Structure::parse(&message));
    let mut octets = 0;
    loop {
        let mut text = String::new();
        let read = |range: Range<u32>, into: &mut Vec<u8>| {
            assert!(range.len() <= WINDOW_OCTETS as usize);
            into.extend_from_slice(&message[range.start as usize..range.end as usize]);
            Ok::<(), Infallible>(())
        };
        if !reader
            .next(&mut text, read)
            .unwrap_or_else(|never| match never {})
        {
            break;
        }
        assert!(text.len() <= WINDOW_OCTETS as usize + 1);
        octets += text.len();
    }
    assert_eq!(octets, 2_000_001);
}

#[test]
fn a_header_section_is_a_text_for_each_field() {
    let mut text = String::new();
    header_text(
        b"SUBJECT:  =?utf-8?Q?=C4=8Caj?=\r\nX-A: b\r\n c\r\n\r\n",
        &mut text,
    );
    assert_eq!(text, "subject: caj\nx-a: b c\n");
}

fn part(charset: &str, encoding: &str, subtype: &str) -> Part {
    let fields = format!(
        "Content-Type: text/{subtype}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    );
    Structure::parse(fields.as_bytes()).root().clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// AS15: whatever it is, and wherever it is cut, the text is the same.
    #[test]
    fn as15_pieces_decode_like_the_whole(
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..80),
            "([a-z =<>&;#'\"!/-]|\\r\\n|=C4=8C|=\\r\\n|&eacute;|<b>|<style>|</style>|<!--|-->|QUJD|QQ==){0,20}".prop_map(String::into_bytes),
        ],
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        charset in prop::sample::select(vec!["utf-8", "windows-1250", "utf-16", "iso-2022-jp", "gb18030", "big5", "shift_jis"]),
        encoding in prop::sample::select(vec!["7bit", "base64", "quoted-printable"]),
        subtype in prop::sample::select(vec!["plain", "html"]),
    ) {
        let part = part(charset, encoding, subtype);
        let mut whole = String::new();
        PartText::new(&part).feed(&body, true, &mut whole);
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        places.sort_unstable();
        let mut reader = PartText::new(&part);
        let (mut pieces, mut from) = (String::new(), 0);
        for place in places {
            // White space before a cut may be at the end of a line; and of `==` nobody knows where the escape begins. In such a
            // place quoted-printable may be seen in two ways.
            let before = &body[place.saturating_sub(4)..place];
            let is_twofold = before.ends_with(b" ") || before.ends_with(b"\t") || before.ends_with(b"\r")
                || memchr::memchr_iter(b'=', before).count() > 1;
            if encoding == "quoted-printable" && is_twofold {
                continue;
            }
            reader.feed(&body[from..place], false, &mut pieces);
            from = place;
        }
        reader.feed(&body[from..], true, &mut pieces);
        prop_assert_eq!(fold(&pieces), fold(&whole));
    }
}
