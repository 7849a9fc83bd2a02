//! HTTP/1.1 written out: one request on a connection, and the answer as it came.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;

use super::Conversation;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The fields, names in lower case.
    pub fields: Vec<(String, String)>,
    /// The body, as text.
    pub text: String,
}

impl Answer {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A browser, as far as the box can tell: it knows where the box is, and trusts its CA.
#[derive(Clone, Debug)]
pub struct Http {
    addr: SocketAddr,
    config: Arc<ClientConfig>,
    /// The name in its address line.
    host: String,
    /// What it says with each request, besides what every request needs.
    fields: Vec<(String, String)>,
}

impl Http {
    /// A browser that has `https://HOST/` open. `host` is also the name that the certificate must have.
    pub fn new(addr: SocketAddr, config: Arc<ClientConfig>, host: &str) -> Http {
        Http {
            addr,
            config,
            host: host.to_owned(),
            fields: Vec::new(),
        }
    }

    /// The same, which says this with each request.
    #[must_use]
    pub fn saying(mut self, name: &str, value: &str) -> Http {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gets a page.
    ///
    /// # Errors
    /// There is no answer, or it is none.
    pub fn get(&self, path: &str) -> io::Result<Answer> {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n", self.host), "")
    }

    /// Sends a form, as a page of the box does it.
    ///
    /// # Errors
    /// There is no answer, or it is none.
    pub fn post(&self, path: &str, form: &[(&str, &str)]) -> io::Result<Answer> {
        let origin = format!("https://{}", self.host);
        self.post_from(&origin, path, form)
    }

    /// Sends a form, as a page of `origin` does it.
    ///
    /// # Errors
    /// There is no answer, or it is none.
    pub fn post_from(&self, origin: &str, path: &str, form: &[(&str, &str)]) -> io::Result<Answer> {
        let fields: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        let body = fields.join("&");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            self.host,
            body.len()
        );
        self.ask(&head, &body)
    }

    fn ask(&self, head: &str, body: &str) -> io::Result<Answer> {
        let mut request = head.to_owned();
        for (name, value) in &self.fields {
            // Writing to a String cannot fail.
            let _ = write!(request, "{name}: {value}\r\n");
        }
        request += "Connection: close\r\n\r\n";
        request += body;
        let mut conversation = Conversation::connect_tls(self.addr, Arc::clone(&self.config), &self.host)?;
        conversation.send(request.as_bytes())?;
        answer(&conversation.rest()?)
    }
}

/// Reads an answer that ends with its connection.
///
/// # Errors
/// It is none.
pub fn answer(octets: &[u8]) -> io::Result<Answer> {
    let text = String::from_utf8_lossy(octets);
    let wrong = || io::Error::other(format!("this is no answer of HTTP/1.1: {text:?}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(wrong)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
    let status = status
        .and_then(|line| line.get(..3)?.parse().ok())
        .ok_or_else(wrong)?;
    let fields: Option<Vec<(String, String)>> = lines
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect();
    let answer = Answer {
        status,
        fields: fields.ok_or_else(wrong)?,
        text: body.to_owned(),
    };
    let length = answer
        .field("content-length")
        .and_then(|length| length.parse::<usize>().ok());
    match length {
        Some(length) if body.len() != length => Err(wrong()),
        _ => Ok(answer),
    }
}

/// As forms have it (the URL standard, application/x-www-form-urlencoded).
fn encoded(value: &str) -> String {
    let mut text = String::new();
    for octet in value.bytes() {
        if octet.is_ascii_alphanumeric() {
            text.push(char::from(octet));
        } else {
            // As above.
            let _ = write!(text, "%{octet:02X}");
        }
    }
    text
}
