//! The other proof: a press of the box's button while a page waits for it.
//!
//! ```text
//!            ask (one at a time)             press within two minutes
//!  nobody ─────────────────────► waiting ─────────────────────────────► pressed: ten minutes for the form
//!    ▲                              │ two minutes                            │ ten minutes, or claimed
//!    └──────────────────────────────┴────────────────────────────────────────┘
//! ```
//!
//! Who waits is known by a random token in a cookie. While somebody waits nobody else can, so that a press never serves
//! whoever asked in the shadow of another; and the page says the address of the one who waits.

use std::io;
use std::net::IpAddr;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

/// How long a press is waited for.
const WAIT: Duration = Duration::from_mins(2);
/// How long the form may take after it.
const GOOD_FOR: Duration = Duration::from_mins(10);
const TOKEN_OCTETS: usize = 16;

/// What the browser that asked is known by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token([u8; TOKEN_OCTETS]);

/// What a browser is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The button was not pressed yet; so long it is waited for.
    Waiting(Duration),
    /// It was: the form needs no code.
    Pressed,
    /// It was not, in time; or this browser never asked.
    Over,
}

/// Somebody else waits, from this address, for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy {
    pub(crate) from: IpAddr,
    pub(crate) wait: Duration,
}

#[derive(Default)]
pub(super) struct Button {
    asked: Option<Asked>,
}

struct Asked {
    token: Token,
    from: IpAddr,
    is_pressed: bool,
    until: Instant,
}

impl Token {
    fn random() -> io::Result<Token> {
        let mut octets = [0; TOKEN_OCTETS];
        getrandom::fill(&mut octets).map_err(io::Error::other)?;
        Ok(Token(octets))
    }

    /// As hexadecimal digits.
    pub(crate) fn to_hex(self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }

    pub(crate) fn from_hex(text: &str) -> Option<Token> {
        let is_hex = text.len() == 2 * TOKEN_OCTETS && text.bytes().all(|octet| octet.is_ascii_hexdigit());
        let number = is_hex.then(|| u128::from_str_radix(text, 16).ok())??;
        Some(Token(number.to_be_bytes()))
    }

    fn is(&self, other: &Token) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Button {
    /// Somebody wants to press it. Whoever waits already and asks again waits anew.
    pub(super) fn ask(
        &mut self,
        token: Option<Token>,
        from: IpAddr,
        now: Instant,
    ) -> io::Result<Result<(Token, Duration), Busy>> {
        if let Some(asked) = &self.asked
            && asked.until > now
            && !token.is_some_and(|token| token.is(&asked.token))
        {
            let wait = asked.until - now;
            return Ok(Err(Busy {
                from: asked.from,
                wait,
            }));
        }
        let token = Token::random()?;
        self.asked = Some(Asked {
            token,
            from,
            is_pressed: false,
            until: now + WAIT,
        });
        Ok(Ok((token, WAIT)))
    }

    /// It was pressed. Gives from where it was waited for, if it was.
    pub(super) fn press(&mut self, now: Instant) -> Option<IpAddr> {
        let asked = self
            .asked
            .as_mut()
            .filter(|asked| asked.until > now && !asked.is_pressed)?;
        asked.is_pressed = true;
        asked.until = now + GOOD_FOR;
        Some(asked.from)
    }

    pub(super) fn progress(&self, token: Token, now: Instant) -> Progress {
        match &self.asked {
            Some(asked) if asked.token.is(&token) && asked.until > now => {
                if asked.is_pressed {
                    Progress::Pressed
                } else {
                    Progress::Waiting(asked.until - now)
                }
            }
            _ => Progress::Over,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ANNA: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 20));
    const EVE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 66));

    /// D39
    #[tokio::test(start_paused = true)]
    async fn d39_a_press_serves_the_one_who_waits_and_nobody_else() {
        let now = Instant::now();
        let mut button = Button::default();
        assert_eq!(button.press(now), None, "nobody asked");
        let (token, wait) = button.ask(None, ANNA, now).unwrap().unwrap();
        assert_eq!(wait, WAIT);
        let busy = button.ask(None, EVE, now).unwrap().err().unwrap();
        assert_eq!((busy.from, busy.wait), (ANNA, WAIT));
        let guess = Token([7; TOKEN_OCTETS]);
        assert!(button.ask(Some(guess), EVE, now).unwrap().is_err());
        assert_eq!(button.progress(token, now), Progress::Waiting(WAIT));
        assert_eq!(button.progress(guess, now), Progress::Over);
        assert_eq!(button.press(now + WAIT / 2), Some(ANNA));
        assert_eq!(button.press(now + WAIT / 2), None, "once");
        assert_eq!(button.progress(token, now + WAIT), Progress::Pressed);
        assert_eq!(button.progress(guess, now + WAIT), Progress::Over);
        assert_eq!(button.progress(token, now + WAIT / 2 + GOOD_FOR), Progress::Over);
    }

    #[tokio::test(start_paused = true)]
    async fn a_press_that_comes_too_late_is_none_and_the_next_may_ask() {
        let now = Instant::now();
        let mut button = Button::default();
        let (token, _) = button.ask(None, ANNA, now).unwrap().unwrap();
        let (again, _) = button.ask(Some(token), ANNA, now + WAIT / 2).unwrap().unwrap();
        assert_eq!(button.progress(token, now + WAIT / 2), Progress::Over);
        let late = now + WAIT / 2 + WAIT;
        assert_eq!(button.progress(again, late), Progress::Over);
        assert_eq!(button.press(late), None);
        assert!(button.ask(None, EVE, late).unwrap().is_ok());
    }

    #[test]
    fn a_token_is_read_as_it_is_written() {
        let token = Token::random().unwrap();
        assert!(Token::from_hex(&token.to_hex()).unwrap() == token);
        for text in [
            "",
            "00",
            "+0000000000000000000000000000001",
            &"g".repeat(32),
            &"0".repeat(33),
        ] {
            assert!(Token::from_hex(text).is_none(), "{text}");
        }
    }
}
