//! The services, one a line (P1). What is not here does not listen (P2).

use net::listener::Service;

/// A port and what is served there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// In the box; on a computer the base is added.
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    pub(crate) service: Service,
}

/// Who speaks there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Smtp,
    Imap,
    Web,
}

/// All services that exist today.
pub(crate) const SERVICES: [Entry; 3] = [
    Entry {
        port: 25,
        protocol: Protocol::Smtp,
        service: Service {
            name: "smtp",
            is_tls_first: false,
            // RFC 5321 §3.8: 421 and nothing else before closing.
            refusal: "421 4.7.0 Too many connections, try again later\r\n",
        },
    },
    Entry {
        port: 993,
        protocol: Protocol::Imap,
        service: Service {
            name: "imaps",
            is_tls_first: true,
            // RFC 9051 §7.1.5: a greeting may be BYE.
            refusal: "* BYE Too many connections, try again later\r\n",
        },
    },
    Entry {
        port: 443,
        protocol: Protocol::Web,
        service: Service {
            name: "https",
            is_tls_first: true,
            // RFC 9110 §15.6.4. In the words of HTTP/1.1: `net` agrees on no other protocol for saying no.
            refusal: "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        },
    },
];

/// Those that a box serves: mail only once somebody has claimed it (AX2).
pub(crate) fn expected(is_claimed: bool) -> impl Iterator<Item = Entry> {
    SERVICES.into_iter().filter(move |entry| match entry.protocol {
        Protocol::Smtp | Protocol::Imap => is_claimed,
        Protocol::Web => true,
    })
}

/// The service of a port.
pub(crate) fn of_port(port: u16) -> Option<Entry> {
    SERVICES.into_iter().find(|entry| entry.port == port)
}
