//! The text in HTML, found in pieces.
//!
//! Deviation: mail-parser makes text of a whole document; this walks over pieces of one, and keeps a few octets between them.
//! Entities are mail-parser's. It follows the tokenizer of HTML as far as it decides what is text (HTML §13.2.5).

use mail_parser::decoders::html::add_html_token;

/// The longest name of a tag or an entity that means anything here.
const NAME_OCTETS_MAX: usize = 32;

#[derive(Debug, Default)]
pub(super) struct HtmlText {
    state: State,
    /// The name of the tag or the entity that is being read, in lower case for a tag.
    name: String,
    /// The element whose content is no text.
    hidden: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// Behind a `<`.
    TagOpen,
    TagName,
    /// Behind the name of a tag.
    InTag {
        is_behind_equals: bool,
    },
    /// In the value of an attribute.
    Quoted(char),
    /// Behind `<!--`, with the dashes just before.
    Comment {
        dashes: u8,
    },
    /// Behind an `&`.
    Entity,
}

impl HtmlText {
    pub(super) fn feed(&mut self, html: &str, into: &mut String) {
        for char in html.chars() {
            self.take(char, into);
        }
    }

    /// What was begun and not ended is text, as browsers have it.
    pub(super) fn finish(&mut self, into: &mut String) {
        match self.state {
            State::TagOpen => self.text('<', into),
            State::Entity => self.entity(None, into),
            _ => {}
        }
        self.state = State::Text;
    }

    fn take(&mut self, char: char, into: &mut String) {
        match self.state {
            State::Text => match char {
                '<' => {
                    self.name.clear();
                    self.state = State::TagOpen;
                }
                '&' if self.hidden.is_none() => {
                    self.name.clear();
                    self.state = State::Entity;
                }
                char => self.text(char, into),
            },
            State::TagOpen => {
                let is_tag = match self.hidden {
                    // Nothing but its own end tag ends such an element.
                    Some(_) => char == '/',
                    None => char.is_ascii_alphabetic() || matches!(char, '/' | '!' | '?'),
                };
                if is_tag {
                    self.name.push(char.to_ascii_lowercase());
                    self.state = State::TagName;
                } else {
                    self.text('<', into);
                    self.state = State::Text;
                    self.take(char, into);
                }
            }
            State::TagName if !self.may_end_hidden(char) => {
                self.state = State::Text;
                self.take(char, into);
            }
            State::TagName => match char {
                '>' => self.end_tag(into),
                ' ' | '\t' | '\r' | '\n' | '\u{c}' => {
                    self.state = State::InTag {
                        is_behind_equals: false,
                    }
                }
                '/' if self.name.len() > 1 => {
                    self.state = State::InTag {
                        is_behind_equals: false,
                    }
                }
                char => {
                    if self.name.len() < NAME_OCTETS_MAX {
                        self.name.push(char.to_ascii_lowercase());
                    }
                    if self.name == "!--" {
                        // `<!-->` is a whole comment.
                        self.state = State::Comment { dashes: 2 };
                    }
                }
            },
            State::InTag { is_behind_equals } => match char {
                '>' => self.end_tag(into),
                '=' => {
                    self.state = State::InTag {
                        is_behind_equals: true,
                    }
                }
                '"' | '\'' if is_behind_equals => self.state = State::Quoted(char),
                ' ' | '\t' | '\r' | '\n' | '\u{c}' => {}
                _ => {
                    self.state = State::InTag {
                        is_behind_equals: false,
                    }
                }
            },
            State::Quoted(quote) => {
                if char == quote {
                    self.state = State::InTag {
                        is_behind_equals: false,
                    };
                }
            }
            State::Comment { dashes } => {
                self.state = match char {
                    '-' => State::Comment {
                        dashes: dashes.saturating_add(1),
                    },
                    '>' if dashes >= 2 => State::Text,
                    _ => State::Comment { dashes: 0 },
                }
            }
            State::Entity => match char {
                ';' => self.entity(Some(';'), into),
                '#' | '0'..='9' | 'a'..='z' | 'A'..='Z' if self.name.len() < NAME_OCTETS_MAX => {
                    self.name.push(char);
                }
                char => {
                    self.entity(None, into);
                    self.take(char, into);
                }
            },
        }
    }

    /// Whether the tag that is read, with `char` behind it, may be the end tag of a hidden element; true outside of one.
    fn may_end_hidden(&self, char: char) -> bool {
        let Some(hidden) = self.hidden else {
            return true;
        };
        let read = self.name.strip_prefix('/').unwrap_or_default();
        let is_end = matches!(char, '>' | '/' | ' ' | '\t' | '\r' | '\n' | '\u{c}');
        match hidden.strip_prefix(read) {
            Some("") => is_end,
            Some(rest) => rest.starts_with(char.to_ascii_lowercase()),
            None => false,
        }
    }

    fn text(&self, char: char, into: &mut String) {
        if self.hidden.is_none() {
            into.push(char);
        }
    }

    fn end_tag(&mut self, into: &mut String) {
        self.state = State::Text;
        let (is_end, name) = match self.name.strip_prefix('/') {
            Some(name) => (true, name),
            None => (false, self.name.as_str()),
        };
        if let Some(hidden) = self.hidden {
            if is_end && name == hidden {
                self.hidden = None;
            }
            return;
        }
        if is_end || !HIDDEN.contains(&name) {
            // Elements that begin a line, or a cell of a table, part words; those inside of lines do not.
            if !INLINE.contains(&name) {
                into.push('\n');
            }
            return;
        }
        self.hidden = HIDDEN.iter().find(|hidden| **hidden == name).copied();
    }

    fn entity(&mut self, end: Option<char>, into: &mut String) {
        self.state = State::Text;
        let entity = format!("&{};", self.name);
        let mut decoded = String::new();
        add_html_token(&mut decoded, entity.as_bytes(), false);
        if decoded == entity {
            // Nobody knows it: it is text.
            into.push('&');
            into.push_str(&self.name);
            into.extend(end);
        } else {
            into.push_str(&decoded);
        }
    }
}

/// Elements whose content nobody reads.
const HIDDEN: [&str; 5] = ["style", "script", "template", "noframes", "xml"];

/// Elements inside of lines. An unknown one is taken for one that begins a line.
const INLINE: [&str; 36] = [
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font",
    "i", "ins", "kbd", "mark", "nobr", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup",
    "time", "tt", "u", "var", "wbr", "label", "o:p", "blink",
];
