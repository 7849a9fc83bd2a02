//! ENVELOPE and BODYSTRUCTURE.

use crate::response::{write_nstring, write_string};
use mail::Structure;
use mail::structure::{AddressItem, Content, ContentType, Envelope, Part, PartIndex, Text};

/// ```text
/// envelope  =  "(" env-date SP env-subject SP env-from SP env-sender SP env-reply-to SP env-to SP env-cc SP
///              env-bcc SP env-in-reply-to SP env-message-id ")"
/// ```
///
/// Sender and Reply-To are those of From where they are absent (RFC 9051 §7.5.2).
pub(crate) fn write_envelope(envelope: &Envelope, out: &mut Vec<u8>) {
    let or_from = |items: &'_ Vec<AddressItem>| {
        if items.is_empty() {
            envelope.from.clone()
        } else {
            items.clone()
        }
    };
    out.push(b'(');
    write_nstring(envelope.date.as_ref(), out);
    out.push(b' ');
    write_nstring(envelope.subject.as_ref(), out);
    let lists = [
        &envelope.from,
        &or_from(&envelope.sender),
        &or_from(&envelope.reply_to),
        &envelope.to,
        &envelope.cc,
        &envelope.bcc,
    ];
    for list in lists {
        out.push(b' ');
        write_addresses(list, out);
    }
    out.push(b' ');
    write_nstring(envelope.in_reply_to.as_ref(), out);
    out.push(b' ');
    write_nstring(envelope.message_id.as_ref(), out);
    out.push(b')');
}

/// ```text
/// address  =  "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"
/// ```
///
/// A group starts with an address without a host, and ends with one without host and mailbox.
fn write_addresses(items: &[AddressItem], out: &mut Vec<u8>) {
    if items.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for item in items {
        let fields = match item {
            AddressItem::Mailbox {
                name,
                route,
                mailbox,
                host,
            } => [name.as_ref(), route.as_ref(), Some(mailbox), Some(host)],
            AddressItem::GroupStart(name) => [None, None, Some(name), None],
            AddressItem::GroupEnd => [None, None, None, None],
        };
        for (place, field) in fields.into_iter().enumerate() {
            out.push(if place == 0 { b'(' } else { b' ' });
            write_nstring(field, out);
        }
        out.push(b')');
    }
    out.push(b')');
}

/// ```text
/// body              =  "(" (body-type-1part / body-type-mpart) ")"
/// body-type-1part   =  (body-type-basic / body-type-msg / body-type-text) [SP body-ext-1part]
/// body-type-mpart   =  1*body SP media-subtype [SP body-ext-mpart]
/// body-type-basic   =  media-basic SP body-fields
/// body-type-msg     =  media-message SP body-fields SP envelope SP body SP body-fld-lines
/// body-type-text    =  media-text SP body-fields SP body-fld-lines
/// ```
///
/// Without the extensions it is BODY, with them BODYSTRUCTURE. Messages nest deep, so what is still to be
/// written is kept in a list and not on the stack (AS12).
pub(crate) fn write_body(structure: &Structure, has_extensions: bool, out: &mut Vec<u8>) {
    enum Todo {
        Part(PartIndex),
        EndOfMultipart(PartIndex),
        EndOfMessage(PartIndex),
    }
    let mut todo = vec![Todo::Part(PartIndex(0))];
    while let Some(next) = todo.pop() {
        match next {
            Todo::Part(index) => {
                let part = structure.part(index);
                out.push(b'(');
                match &part.content {
                    Content::Multipart(children) => {
                        todo.push(Todo::EndOfMultipart(index));
                        todo.extend(children.iter().rev().map(|child| Todo::Part(*child)));
                    }
                    Content::Message { envelope, content } => {
                        write_fields(part, out);
                        out.push(b' ');
                        write_envelope(envelope, out);
                        out.push(b' ');
                        todo.push(Todo::EndOfMessage(index));
                        todo.push(Todo::Part(*content));
                    }
                    Content::Leaf => {
                        write_fields(part, out);
                        if part.is_text() {
                            write_number(part.body_lines, out);
                        }
                        if has_extensions {
                            write_nstring_after_space(part.md5.as_ref(), out);
                            write_extensions(part, out);
                        }
                        out.push(b')');
                    }
                }
            }
            Todo::EndOfMultipart(index) => {
                let part = structure.part(index);
                out.push(b' ');
                write_string(&part.content_type.subtype.as_bytes().to_ascii_uppercase(), out);
                if has_extensions {
                    out.push(b' ');
                    write_params(&part.content_type, out);
                    write_extensions(part, out);
                }
                out.push(b')');
            }
            Todo::EndOfMessage(index) => {
                let part = structure.part(index);
                write_number(part.body_lines, out);
                if has_extensions {
                    write_nstring_after_space(part.md5.as_ref(), out);
                    write_extensions(part, out);
                }
                out.push(b')');
            }
        }
    }
}

/// ```text
/// media-… SP body-fld-param SP body-fld-id SP body-fld-desc SP body-fld-enc SP body-fld-octets
/// ```
///
/// Type, subtype and encoding are written in upper case, as RFC 9051 does in its examples: some clients
/// compare them so.
fn write_fields(part: &Part, out: &mut Vec<u8>) {
    let content_type = &part.content_type;
    write_string(&content_type.media_type.as_bytes().to_ascii_uppercase(), out);
    out.push(b' ');
    write_string(&content_type.subtype.as_bytes().to_ascii_uppercase(), out);
    out.push(b' ');
    // RFC 2046 §4.1.2: the charset of text/plain is US-ASCII where none is named.
    let has_default = content_type.is("text", "plain") && content_type.param("charset").is_none();
    if has_default {
        let mut content_type = content_type.clone();
        let default = ContentType::plain_text().params;
        content_type.params.splice(0..0, default);
        write_params(&content_type, out);
    } else {
        write_params(content_type, out);
    }
    write_nstring_after_space(part.id.as_ref(), out);
    write_nstring_after_space(part.description.as_ref(), out);
    out.push(b' ');
    let encoding = part.encoding.as_ref().map_or(&b"7BIT"[..], Text::as_bytes);
    write_string(&encoding.to_ascii_uppercase(), out);
    write_number(part.body_octets(), out);
}

/// ```text
/// body-fld-param  =  "(" string SP string *(SP string SP string) ")" / nil
/// ```
fn write_params(content_type: &ContentType, out: &mut Vec<u8>) {
    if content_type.params.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    for (place, param) in content_type.params.iter().enumerate() {
        out.push(if place == 0 { b'(' } else { b' ' });
        write_string(&param.name.as_bytes().to_ascii_uppercase(), out);
        out.push(b' ');
        write_string(param.value.as_bytes(), out);
    }
    out.push(b')');
}

/// ```text
/// SP body-fld-dsp SP body-fld-lang SP body-fld-loc
/// body-fld-dsp    =  "(" string SP body-fld-param ")" / nil
/// body-fld-lang   =  nstring / "(" string *(SP string) ")"
/// ```
fn write_extensions(part: &Part, out: &mut Vec<u8>) {
    out.push(b' ');
    match &part.disposition {
        None => out.extend_from_slice(b"NIL"),
        Some(disposition) => {
            out.push(b'(');
            write_string(&disposition.media_type.as_bytes().to_ascii_uppercase(), out);
            out.push(b' ');
            write_params(disposition, out);
            out.push(b')');
        }
    }
    out.push(b' ');
    if part.languages.is_empty() {
        out.extend_from_slice(b"NIL");
    } else {
        for (place, language) in part.languages.iter().enumerate() {
            out.push(if place == 0 { b'(' } else { b' ' });
            write_string(language.as_bytes(), out);
        }
        out.push(b')');
    }
    write_nstring_after_space(part.location.as_ref(), out);
}

fn write_nstring_after_space(text: Option<&Text>, out: &mut Vec<u8>) {
    out.push(b' ');
    write_nstring(text, out);
}

fn write_number(number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(format!(" {number}").as_bytes());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shown(message: &str, write: impl Fn(&Structure, &mut Vec<u8>)) -> String {
        let structure = Structure::parse(message.replace('\n', "\r\n").as_bytes());
        let mut out = Vec::new();
        write(&structure, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn body(message: &str) -> String {
        shown(message, |structure, out| write_body(structure, true, out))
    }

    fn envelope(message: &str) -> String {
        shown(message, |structure, out| write_envelope(&structure.envelope, out))
    }

    /// RFC 3501 §7.4.2, RFC 9051 §7.5.2
    #[test]
    fn the_envelope_of_the_standard_word_for_word() {
        let message = "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)
From: Terry Gray <gray@cac.washington.edu>
Subject: IMAP4rev1 WG mtg summary and minutes
To: imap@cac.washington.edu
cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>
Message-Id: <B27397-0100000@cac.washington.edu>
MIME-Version: 1.0
Content-Type: TEXT/PLAIN; CHARSET=US-ASCII

x
";
        assert_eq!(
            envelope(message),
            concat!(
                "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" ",
                "\"IMAP4rev1 WG mtg summary and minutes\" ",
                "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ",
                "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ",
                "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ",
                "((NIL NIL \"imap\" \"cac.washington.edu\")) ",
                "((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")",
                "(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL ",
                "\"<B27397-0100000@cac.washington.edu>\")"
            )
        );
        assert_eq!(
            body(message),
            "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 1 NIL NIL NIL NIL)"
        );
    }

    /// RFC 3501 §7.4.2: the second example of BODYSTRUCTURE, with the parts it describes.
    #[test]
    fn a_multipart_lists_its_parts_and_then_itself() {
        let message = "Content-Type: multipart/mixed; boundary=b

--b
Content-Type: TEXT/PLAIN; CHARSET=\"US-ASCII\"

one
--b
Content-Type: TEXT/PLAIN; CHARSET=\"US-ASCII\"; NAME=\"cc.diff\"
Content-ID: <960723163407.20117h@cac.washington.edu>
Content-Description: Compiler diff
Content-Transfer-Encoding: BASE64
Content-Disposition: attachment; filename*=utf-8''a
Content-Language: cs, en
Content-Location: http://x.test/

b25l
--b--
";
        assert_eq!(
            body(message),
            concat!(
                "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 0 NIL NIL NIL NIL)",
                "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\" \"NAME\" \"cc.diff\") ",
                "\"<960723163407.20117h@cac.washington.edu>\" \"Compiler diff\" \"BASE64\" 4 0 NIL ",
                "(\"ATTACHMENT\" (\"FILENAME*\" \"utf-8''a\")) (\"cs\" \"en\") \"http://x.test/\") ",
                "\"MIXED\" (\"BOUNDARY\" \"b\") NIL NIL NIL)"
            )
        );
    }

    #[test]
    fn a_message_in_a_message_has_its_envelope_and_its_body() {
        assert_eq!(
            body("Content-Type: message/rfc822\n\nSubject: in\n\nx\n"),
            concat!(
                "(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 18 ",
                "(NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) ",
                "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"us-ascii\") NIL NIL \"7BIT\" 3 1 NIL NIL NIL NIL) ",
                "3 NIL NIL NIL NIL)"
            )
        );
    }

    #[test]
    fn a_group_starts_and_ends() {
        assert!(
            envelope("To: A Group:Ed <c@a.test>;\n\n")
                .contains("((NIL NIL \"A Group\" NIL)(\"Ed\" NIL \"c\" \"a.test\")(NIL NIL NIL NIL))")
        );
    }

    /// AS12
    #[test]
    fn as12_fifty_messages_in_messages_are_written() {
        let message = format!("{}\n", "Content-Type: message/rfc822\n\n".repeat(60));
        let text = body(&message);
        assert_eq!(text.matches("\"MESSAGE\"").count(), 50);
        assert_eq!(text.matches('(').count(), text.matches(')').count());
    }

    /// AS15
    #[test]
    fn as15_octets_above_127_are_literals() {
        let structure = Structure::parse(b"Subject: \xe8\xe1\r\n\r\n");
        let mut out = Vec::new();
        write_envelope(&structure.envelope, &mut out);
        assert!(out.starts_with(b"(NIL {2}\r\n\xe8\xe1 NIL"));
    }
}
