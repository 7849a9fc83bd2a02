//! The machine's control socket: one JSON object a line, asked and answered in turn.
//!
//! ```text
//! S: {"QMP": {…}}
//! C: {"execute": "qmp_capabilities"}     S: {"return": {}}
//! C: {"execute": "system_powerdown"}     S: {"event": "POWERDOWN", …}  S: {"return": {}}
//! ```
//!
//! Source: QEMU, docs/interop/qmp-spec.rst.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::Error;

/// QEMU answers within microseconds; on a busy machine it may be a while before it runs at all.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// A control connection that is ready for commands.
#[derive(Debug)]
pub(crate) struct Qmp<S = UnixStream> {
    lines: BufReader<S>,
}

impl Qmp {
    pub(crate) fn over(stream: UnixStream) -> Result<Self, Error> {
        stream
            .set_read_timeout(Some(ANSWER_WITHIN))
            .map_err(|error| Error::Control(error.to_string()))?;
        Self::greet(stream)
    }
}

impl<S: std::io::Read + Write> Qmp<S> {
    /// Reads the greeting and leaves the mode in which only capabilities may be agreed on.
    fn greet(stream: S) -> Result<Self, Error> {
        let mut qmp = Self {
            lines: BufReader::new(stream),
        };
        let greeting = qmp.line()?;
        if greeting.get("QMP").is_none() {
            return Err(Error::Control(format!("unexpected greeting {greeting}")));
        }
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs one command and gives what it returns. Events that come in between are passed over.
    pub(crate) fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, Error> {
        let failed = |error: std::io::Error| Error::Control(format!("{command}: {error}"));
        let request = json!({"execute": command, "arguments": arguments});
        let stream = self.lines.get_mut();
        stream
            .write_all(format!("{request}\n").as_bytes())
            .map_err(failed)?;
        stream.flush().map_err(failed)?;
        loop {
            let mut line = self.line()?;
            if let Some(value) = line.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = line.get("error") {
                let words = error.get("desc").and_then(Value::as_str).unwrap_or("refused");
                return Err(Error::Control(format!("{command}: {words}")));
            }
        }
    }

    fn line(&mut self) -> Result<Value, Error> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => Err(Error::Control("the machine has ended".to_owned())),
            Ok(_) => serde_json::from_str(&line).map_err(|error| Error::Control(error.to_string())),
            Err(error) => Err(Error::Control(error.to_string())),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Cursor, Read};

    use super::*;

    /// What the machine says, and what it heard.
    #[derive(Debug)]
    struct Script {
        says: Cursor<&'static [u8]>,
        heard: Vec<u8>,
    }

    impl Read for Script {
        fn read(&mut self, octets: &mut [u8]) -> std::io::Result<usize> {
            self.says.read(octets)
        }
    }

    impl Write for Script {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.heard.extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn script(says: &'static str) -> Script {
        Script {
            says: Cursor::new(says.as_bytes()),
            heard: Vec::new(),
        }
    }

    #[test]
    fn a_command_is_answered_although_events_come_in_between() {
        let says = "{\"QMP\": {}}\n{\"return\": {}}\n{\"event\": \"POWERDOWN\"}\n{\"return\": {\"status\": \"running\"}}\n";
        let mut qmp = Qmp::greet(script(says)).unwrap();
        let answer = qmp.execute("query-status", &json!({})).unwrap();
        assert_eq!(answer["status"], "running");
        let heard = String::from_utf8(qmp.lines.into_inner().heard).unwrap();
        let commands: Vec<Value> = heard
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(commands[0]["execute"], "qmp_capabilities");
        assert_eq!(commands[1]["execute"], "query-status");
    }

    #[test]
    fn a_refusal_is_an_error_with_qemus_words() {
        let says = "{\"QMP\": {}}\n{\"return\": {}}\n{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such disk\"}}\n";
        let mut qmp = Qmp::greet(script(says)).unwrap();
        let refused = qmp.execute("block_resize", &json!({})).unwrap_err();
        assert!(refused.to_string().ends_with("block_resize: no such disk"));
    }

    #[test]
    fn a_machine_that_ended_and_something_else_on_the_socket_are_errors() {
        assert!(
            Qmp::greet(script(""))
                .unwrap_err()
                .to_string()
                .contains("has ended")
        );
        assert!(
            Qmp::greet(script("{\"hello\": 1}\n"))
                .unwrap_err()
                .to_string()
                .contains("unexpected greeting")
        );
        assert!(Qmp::greet(script("220 mail\n")).is_err());
    }
}
