//! The header fields that one copy of a message gets in front of it.
//!
//! ```text
//! Return-Path: <anna@example.test>
//! Delivered-To: bob@firma.test
//! Received: from client.example.test ([192.0.2.1])
//!     by box.firma.test with ESMTPS id 7zkq2m0d5v1h8xcb
//!     for <office@firma.test> tls TLS_AES_128_GCM_SHA256;
//!     Tue, 24 Nov 2026 06:47:15 +0000
//! ```

use crate::route::Target;
use mail::{Domain, ForwardPath, InternalDate, ReversePath, Structure, Timestamp, TraceId};
use std::fmt::Write;
use std::net::IpAddr;
use wire::TlsFacts;

/// Who gave us a message, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The address the connection came from.
    pub address: IpAddr,
    /// What it called itself, if that is a name or a literal (AS27).
    pub name: Option<Domain>,
    /// The protocol.
    pub protocol: Protocol,
    /// The TLS of the connection.
    pub tls: Option<TlsFacts>,
}

/// The protocol that a message came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// After `HELO`.
    Smtp,
    /// After `EHLO`.
    Esmtp,
}

impl Client {
    /// The `with` keyword (RFC 5321 §4.4, RFC 3848). There is none for `HELO` within TLS.
    fn with(&self) -> &'static str {
        match (self.protocol, &self.tls) {
            (Protocol::Smtp, _) => "SMTP",
            (Protocol::Esmtp, None) => "ESMTP",
            (Protocol::Esmtp, Some(_)) => "ESMTPS",
        }
    }
}

/// What all copies of a message share.
pub(crate) struct Trace<'a> {
    pub(crate) client: &'a Client,
    pub(crate) reverse_path: &'a ReversePath,
    pub(crate) host_name: &'a Domain,
    pub(crate) id: TraceId,
    pub(crate) received: Timestamp,
}

impl Trace<'_> {
    /// The fields for the copy of `target`, which `forward_path` led to. At most
    /// [`DELIVERY_HEADER_OCTETS_MAX`](wire::limits::DELIVERY_HEADER_OCTETS_MAX) octets.
    ///
    /// A message without a header section gets the empty line that ends ours. Else its first lines would
    /// stand among our fields, or go on with the last of them in our name (AS26), and other programs would see
    /// another message than [`Structure`] does (AS14). Postfix puts one there, too.
    ///
    /// ```text
    /// Return-path-line  = "Return-Path:" FWS Reverse-path <CRLF>
    /// Time-stamp-line   = "Received:" FWS Stamp <CRLF>
    /// Stamp             = From-domain By-domain Opt-info [CFWS] ";" FWS date-time
    /// From-domain       = "FROM" FWS Extended-Domain
    /// By-domain         = CFWS "BY" FWS Extended-Domain
    /// Extended-Domain   = Domain / ( Domain FWS "(" TCP-info ")" ) / ...
    /// Opt-info          = [Via] [With] [ID] [For] [Additional-Registered-Clauses]
    /// tls-cipher-clause = CFWS "tls" FWS tls-cipher
    /// ```
    ///
    /// Source: RFC 5321 §4.4, RFC 8314 §4.3. Delivered-To is what Postfix, Dovecot and qmail write to
    /// notice that a message goes in a circle (RFC 9228 §4).
    pub(crate) fn fields(
        &self,
        forward_path: &ForwardPath,
        target: &Target,
        structure: &Structure,
    ) -> Vec<u8> {
        // `invalid` is reserved for what is surely no name (RFC 6761 §6.4).
        let name = self.client.name.as_ref().map_or("invalid", Domain::as_str);
        let address = Domain::literal(self.client.address);
        let mut text = String::new();
        let write = &mut text;
        // One path at most: that of this copy, so that nobody learns of the others (RFC 5321 §7.6).
        let path = match forward_path {
            ForwardPath::Address(address) => format!("\r\n\tfor <{address}>"),
            ForwardPath::Postmaster => String::new(),
        };
        let tls = match &self.client.tls {
            Some(tls) => format!(" tls {}", tls.cipher_suite),
            None => String::new(),
        };
        write!(
            write,
            "Return-Path: {}\r\n\
             Delivered-To: {}\r\n\
             Received: from {name} ({address})\r\n\
             \tby {} with {} id {}{path}{tls};\r\n\
             \t{}\r\n",
            self.reverse_path,
            target.address,
            self.host_name,
            self.client.with(),
            self.id,
            InternalDate::utc(self.received).rfc5322(),
        )
        .expect("a String takes all text");
        if structure.root().header().is_empty() {
            text.push_str("\r\n");
        }
        text.into_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use mail::{AccountId, Address};
    use wire::limits::DELIVERY_HEADER_OCTETS_MAX;

    fn tls() -> TlsFacts {
        TlsFacts {
            version: "TLSv1.3",
            cipher_suite: "TLS_AES_128_GCM_SHA256",
            server_name: None,
        }
    }

    fn client(name: Option<&str>, protocol: Protocol, tls: Option<TlsFacts>) -> Client {
        Client {
            address: "192.0.2.1".parse().unwrap(),
            name: name.map(|name| Domain::parse(name).unwrap()),
            protocol,
            tls,
        }
    }

    fn fields(client: &Client, reverse_path: &ReversePath, forward_path: &ForwardPath, to: &str) -> String {
        let trace = Trace {
            client,
            reverse_path,
            host_name: &Domain::parse("box.firma.test").unwrap(),
            id: TraceId::from_random([0; 10]),
            received: Timestamp(1_795_503_635),
        };
        let target = Target {
            account: AccountId(1),
            address: Address::parse(to).unwrap(),
        };
        String::from_utf8(trace.fields(forward_path, &target, &Structure::parse(b"Subject: a\r\n\r\n")))
            .unwrap()
    }

    #[test]
    fn a_copy_says_where_it_came_from_and_whose_it_is() {
        let client = client(Some("Client.Example.test"), Protocol::Esmtp, Some(tls()));
        let from = ReversePath::Address(Address::parse("anna@example.test").unwrap());
        let to = ForwardPath::Address(Address::parse("Office@firma.test").unwrap());
        assert_eq!(
            fields(&client, &from, &to, "bob@firma.test"),
            "Return-Path: <anna@example.test>\r\n\
             Delivered-To: bob@firma.test\r\n\
             Received: from client.example.test ([192.0.2.1])\r\n\
             \tby box.firma.test with ESMTPS id 0000000000000000\r\n\
             \tfor <Office@firma.test> tls TLS_AES_128_GCM_SHA256;\r\n\
             \tTue, 24 Nov 2026 07:00:35 +0000\r\n"
        );
    }

    /// AS27
    #[test]
    fn as27_a_client_without_a_name_is_invalid() {
        let client = client(None, Protocol::Smtp, None);
        let text = fields(
            &client,
            &ReversePath::Null,
            &ForwardPath::Postmaster,
            "bob@firma.test",
        );
        assert_eq!(
            text,
            "Return-Path: <>\r\n\
             Delivered-To: bob@firma.test\r\n\
             Received: from invalid ([192.0.2.1])\r\n\
             \tby box.firma.test with SMTP id 0000000000000000;\r\n\
             \tTue, 24 Nov 2026 07:00:35 +0000\r\n"
        );
    }

    #[test]
    fn the_protocol_keyword_is_the_registered_one() {
        for (protocol, tls, expected) in [
            (Protocol::Smtp, None, "SMTP"),
            (Protocol::Smtp, Some(tls()), "SMTP"),
            (Protocol::Esmtp, None, "ESMTP"),
            (Protocol::Esmtp, Some(tls()), "ESMTPS"),
        ] {
            assert_eq!(client(None, protocol, tls).with(), expected);
        }
    }

    #[test]
    fn the_longest_fields_fit_the_store() {
        let label = "a".repeat(63);
        let domain = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        let address = format!("\"{}\"@{domain}", "\"".repeat(64).replace('"', "\\\""));
        let mut client = client(Some(&domain), Protocol::Esmtp, Some(tls()));
        client.address = "2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap();
        let from = ReversePath::Address(Address::parse(&address).unwrap());
        let to = ForwardPath::Address(Address::parse(&address).unwrap());
        let text = fields(&client, &from, &to, &address);
        assert!(text.len() <= DELIVERY_HEADER_OCTETS_MAX, "{} octets", text.len());
        // RFC 5322 §2.1.1.
        assert!(text.lines().all(|line| line.len() <= 998));
    }
}
