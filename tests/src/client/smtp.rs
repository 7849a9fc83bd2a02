//! An SMTP client that says exactly what the scenario tells it to.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;

use super::Conversation;

/// A reply (RFC 5321 §4.2): its code, and the text of each line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// What stands behind the digits and the hyphen or space.
    pub lines: Vec<String>,
}

impl Reply {
    /// The enhanced status code (RFC 3463) of the first line, if it has one.
    pub fn enhanced(&self) -> Option<&str> {
        let word = self.lines.first()?.split(' ').next()?;
        let is_code = word.split('.').count() == 3
            && word
                .split('.')
                .all(|part| !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_digit()));
        is_code.then_some(word)
    }

    /// `550 5.1.1`, for comparing.
    pub fn class(&self) -> String {
        match self.enhanced() {
            Some(enhanced) => format!("{} {enhanced}", self.code),
            None => self.code.to_string(),
        }
    }

    /// Whether it is 2xx or 3xx.
    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// Whether a line of an EHLO reply names this extension, with exactly these parameters.
    pub fn offers(&self, extension: &str) -> bool {
        self.lines
            .iter()
            .skip(1)
            .any(|line| line.eq_ignore_ascii_case(extension))
    }

    /// Whether a line of an EHLO reply begins with this keyword.
    pub fn offers_keyword(&self, keyword: &str) -> bool {
        let mut words = self
            .lines
            .iter()
            .skip(1)
            .filter_map(|line| line.split(' ').next());
        words.any(|word| word.eq_ignore_ascii_case(keyword))
    }
}

/// One SMTP connection.
pub struct Smtp {
    /// The connection, for what no method says.
    pub conversation: Conversation,
    /// The first reply, before any command.
    pub greeting: Reply,
}

impl Smtp {
    /// Connects in plain text and reads the greeting.
    ///
    /// # Errors
    /// Nobody listens, or what comes is no reply.
    pub fn connect(addr: SocketAddr) -> io::Result<Smtp> {
        Smtp::greet(Conversation::connect(addr)?)
    }

    /// Reads the greeting of a connection.
    ///
    /// # Errors
    /// What comes is no reply.
    pub fn greet(mut conversation: Conversation) -> io::Result<Smtp> {
        let greeting = read_reply(&mut conversation)?;
        Ok(Smtp {
            conversation,
            greeting,
        })
    }

    /// Connects, takes the greeting, says EHLO.
    ///
    /// # Errors
    /// Any of the three fails.
    pub fn ehlo(addr: SocketAddr) -> io::Result<Smtp> {
        let mut smtp = Smtp::connect(addr)?;
        let reply = smtp.command("EHLO client.example.org")?;
        smtp.expect(&reply, 250)?;
        Ok(smtp)
    }

    /// STARTTLS and the handshake.
    ///
    /// # Errors
    /// The box refuses, or the handshake fails.
    pub fn start_tls(&mut self, config: Arc<ClientConfig>, name: &str) -> io::Result<()> {
        let reply = self.command("STARTTLS")?;
        self.expect(&reply, 220)?;
        self.conversation.start_tls(config, name)
    }

    /// Sends a command line and reads its reply.
    ///
    /// # Errors
    /// The connection is gone, or what comes is no reply.
    pub fn command(&mut self, line: &str) -> io::Result<Reply> {
        self.conversation.send_line(line)?;
        self.reply()
    }

    /// Reads a reply.
    ///
    /// # Errors
    /// The connection is gone, or what comes is no reply.
    pub fn reply(&mut self) -> io::Result<Reply> {
        read_reply(&mut self.conversation)
    }

    /// MAIL, RCPT and DATA for one recipient, up to the 354.
    ///
    /// # Errors
    /// The box refuses one of them.
    pub fn begin(&mut self, from: &str, to: &str) -> io::Result<()> {
        for (line, code) in [
            (format!("MAIL FROM:<{from}>"), 250),
            (format!("RCPT TO:<{to}>"), 250),
            ("DATA".to_owned(), 354),
        ] {
            let reply = self.command(&line)?;
            self.expect(&reply, code)?;
        }
        Ok(())
    }

    /// A whole transaction; the reply is the one to the final dot.
    ///
    /// # Errors
    /// The box refuses before that, or the connection is gone.
    pub fn deliver(&mut self, from: &str, to: &str, message: &[u8]) -> io::Result<Reply> {
        self.begin(from, to)?;
        self.data(message)
    }

    /// Sends a message, dots doubled, with the final dot, and reads the reply.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn data(&mut self, message: &[u8]) -> io::Result<Reply> {
        self.conversation.send(&dot_stuffed(message))?;
        self.reply()
    }

    /// Says QUIT and waits for the end.
    ///
    /// # Errors
    /// The box does not answer 221 and close.
    pub fn quit(mut self) -> io::Result<()> {
        let reply = self.command("QUIT")?;
        self.expect(&reply, 221)?;
        let rest = self.conversation.rest()?;
        if rest.is_empty() {
            Ok(())
        } else {
            Err(self
                .conversation
                .failure(io::ErrorKind::InvalidData, "octets behind the reply to QUIT"))
        }
    }

    fn expect(&self, reply: &Reply, code: u16) -> io::Result<()> {
        if reply.code == code {
            return Ok(());
        }
        Err(self.conversation.failure(
            io::ErrorKind::InvalidData,
            &format!("expected {code}, got {} {}", reply.code, reply.lines.join(" / ")),
        ))
    }
}

/// The message as it goes over the wire: RFC 5321 §4.5.2, then the final dot. The message ends in CRLF.
pub fn dot_stuffed(message: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(message.len() + message.len() / 64 + 3);
    let mut is_line_start = true;
    for &octet in message {
        if is_line_start && octet == b'.' {
            octets.push(b'.');
        }
        is_line_start = octet == b'\n';
        octets.push(octet);
    }
    if !message.ends_with(b"\r\n") {
        octets.extend_from_slice(b"\r\n");
    }
    octets.extend_from_slice(b".\r\n");
    octets
}

fn read_reply(conversation: &mut Conversation) -> io::Result<Reply> {
    let mut reply: Option<Reply> = None;
    loop {
        let line = conversation.line()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let code = line.get(..3).and_then(|digits| digits.parse().ok());
        let separator = line.as_bytes().get(3).copied();
        let (Some(code), Some(b' ' | b'-') | None) = (code, separator) else {
            return Err(conversation.failure(io::ErrorKind::InvalidData, "not a reply of SMTP"));
        };
        let reply = reply.get_or_insert(Reply {
            code,
            lines: Vec::new(),
        });
        if reply.code != code {
            return Err(conversation.failure(io::ErrorKind::InvalidData, "a reply of two codes"));
        }
        reply.lines.push(line.get(4..).unwrap_or_default().to_owned());
        if separator != Some(b'-') {
            return Ok(reply.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stuffed(message: &str, expected: &str) {
        assert_eq!(
            String::from_utf8_lossy(&dot_stuffed(message.as_bytes())),
            expected
        );
    }

    #[test]
    fn dots_at_line_starts_are_doubled() {
        stuffed(".a\r\nb.\r\n..\r\n", "..a\r\nb.\r\n...\r\n.\r\n");
    }

    #[test]
    fn a_message_without_line_end_gets_one() {
        stuffed("a", "a\r\n.\r\n");
    }

    #[test]
    fn an_enhanced_code_is_read_from_the_first_line() {
        let reply = Reply {
            code: 550,
            lines: vec!["5.1.1 no such mailbox".to_owned()],
        };
        assert_eq!(reply.class(), "550 5.1.1");
        let reply = Reply {
            code: 250,
            lines: vec!["box.test greets 1.2.3".to_owned()],
        };
        assert_eq!(reply.class(), "250");
    }
}
