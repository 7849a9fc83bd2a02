//! LOGIN and AUTHENTICATE.

use super::{Need, Question, Session, State};
use crate::command::Tag;
use crate::framer::Problem;
use crate::op::BodySource;
use crate::response::Completion;
use auth::LoginError;
use auth::sasl::{Exchange, Mechanism, Progress, SaslError};
use mail::{AccountId, Secret};
use wire::{Moment, Output, Step};

impl Session {
    /// RFC 3501 §6.2.2, RFC 4959.
    pub(super) fn authenticate(
        &mut self,
        tag: Tag,
        mechanism: &[u8],
        initial: Option<&Secret<Vec<u8>>>,
        output: &mut Output,
    ) -> Option<Step<Need, BodySource>> {
        // N1: no `+` for what is not offered, so that a client with SPA goes on to PLAIN.
        let Some(mechanism) = Mechanism::named(mechanism) else {
            self.finish(&tag, &Completion::no("", "This mechanism is not offered"), output);
            return None;
        };
        match Exchange::start(mechanism, initial.map(|line| line.reveal().as_slice())) {
            Ok((exchange, progress)) => self.exchange(tag, exchange, progress, output),
            Err(error) => self.sasl_error(&tag, error, output),
        }
    }

    pub(super) fn sasl_line(
        &mut self,
        line: Result<Vec<u8>, Problem>,
        output: &mut Output,
    ) -> Option<Step<Need, BodySource>> {
        let State::Sasl { tag, mut exchange } = std::mem::replace(&mut self.state, State::Commands) else {
            return None;
        };
        let Ok(line) = line else {
            self.mistake(Some(&tag), "The line is too long", output);
            return None;
        };
        match exchange.line(Secret::new(line).reveal()) {
            Ok(progress) => self.exchange(tag, exchange, progress, output),
            Err(error) => self.sasl_error(&tag, error, output),
        }
    }

    fn exchange(
        &mut self,
        tag: Tag,
        exchange: Exchange,
        progress: Progress,
        output: &mut Output,
    ) -> Option<Step<Need, BodySource>> {
        match progress {
            Progress::Challenge(challenge) => {
                output.push(format!("+ {challenge}\r\n").as_bytes());
                self.state = State::Sasl { tag, exchange };
                None
            }
            Progress::Credentials(credentials) => {
                self.state = State::LoggingIn { tag };
                Some(Step::Need(Need(Question::LogIn(credentials))))
            }
        }
    }

    fn sasl_error(
        &mut self,
        tag: &Tag,
        error: SaslError,
        output: &mut Output,
    ) -> Option<Step<Need, BodySource>> {
        self.state = State::Commands;
        match error {
            SaslError::Cancelled => self.mistake(Some(tag), "Cancelled", output),
            SaslError::NotBase64 => self.mistake(Some(tag), "This is no base64", output),
            SaslError::Malformed => {
                self.mistake(Some(tag), "This is not what the mechanism asks for", output);
            }
        }
        None
    }

    /// L2: whoever is refused learns nothing but that.
    pub(super) fn logged_in(
        &mut self,
        result: Result<AccountId, LoginError>,
        output: &mut Output,
        now: Moment,
    ) {
        let State::LoggingIn { tag } = std::mem::replace(&mut self.state, State::Commands) else {
            return;
        };
        let completion = match result {
            Ok(account) => {
                self.account = Some(account);
                self.framer.logged_in();
                self.heard_from(now);
                Completion::ok_with(self.capabilities(), "Logged in")
            }
            Err(LoginError::Refused) => {
                Completion::no("AUTHENTICATIONFAILED", "The login or the password is wrong")
            }
            // L5
            Err(LoginError::Throttled) => {
                output.push(b"* BYE Too many failed logins, try again later\r\n");
                self.state = State::Closing;
                return;
            }
            Err(LoginError::Busy) => Completion::no("UNAVAILABLE", "Too many log in at once, try again"),
            Err(LoginError::Unavailable) => {
                Completion::no("UNAVAILABLE", "Logins are not possible at the moment")
            }
        };
        self.finish(&tag, &completion, output);
    }
}
