//! The kernel fragment: what was asked of the kernel, and whether the finished configuration has it.
//!
//! Kconfig drops a wish without a word when a dependency is missing, and turns things on by itself. Both are
//! found here, before half an hour is spent on compiling.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

/// One line of the fragment: `CONFIG_X=y`, `CONFIG_X=n`, `CONFIG_X="text"`, `CONFIG_X=10`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    symbol: String,
    value: String,
}

/// A parsed fragment, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fragment {
    wishes: Vec<Wish>,
}

/// What is wrong with the fragment itself.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum FragmentError {
    #[error("line {line}: '{text}' is neither a comment nor CONFIG_NAME=value")]
    NotAWish { line: usize, text: String },
    #[error("line {line}: {symbol} was asked for before, on line {first}")]
    Twice {
        line: usize,
        first: usize,
        symbol: String,
    },
    #[error("line {line}: {symbol}=m, but the box has no modules")]
    Module { line: usize, symbol: String },
}

/// One wish that the finished configuration does not fulfil.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Difference {
    /// A `y` or a value was asked for; `found` is what stands there instead.
    Missing { wish: Wish, found: Option<String> },
    /// An `n` was asked for, and the symbol is set.
    Present { symbol: String, found: String },
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { wish, found: None } => {
                write!(
                    out,
                    "{}={} was asked for and is missing (a dependency of it is not met, or the symbol is gone)",
                    wish.symbol, wish.value
                )
            }
            Self::Missing {
                wish,
                found: Some(found),
            } => {
                write!(out, "{}={} was asked for and is {found}", wish.symbol, wish.value)
            }
            Self::Present { symbol, found } => {
                write!(
                    out,
                    "{symbol}=n was asked for and is {found} (something selects it)"
                )
            }
        }
    }
}

impl Fragment {
    /// Reads the text of a fragment.
    pub(crate) fn parse(text: &str) -> Result<Self, FragmentError> {
        let mut wishes = Vec::new();
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, whole) in text.lines().enumerate() {
            let (line, text) = (index + 1, whole.trim());
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let Some((symbol, value)) = split(text) else {
                return Err(FragmentError::NotAWish {
                    line,
                    text: text.to_owned(),
                });
            };
            if value == "m" {
                return Err(FragmentError::Module {
                    line,
                    symbol: symbol.to_owned(),
                });
            }
            if let Some(first) = seen.insert(symbol, line) {
                return Err(FragmentError::Twice {
                    line,
                    first,
                    symbol: symbol.to_owned(),
                });
            }
            wishes.push(Wish {
                symbol: symbol.to_owned(),
                value: value.to_owned(),
            });
        }
        Ok(Self { wishes })
    }

    /// Compares with a finished `.config`, in which an `n` is a symbol that is not set.
    pub(crate) fn differences(&self, config: &str) -> Vec<Difference> {
        let set: BTreeMap<&str, &str> = config.lines().filter_map(split).collect();
        self.wishes
            .iter()
            .filter_map(|wish| {
                let found = set.get(wish.symbol.as_str()).copied();
                match (wish.value.as_str(), found) {
                    ("n", None) => None,
                    ("n", Some(found)) => Some(Difference::Present {
                        symbol: wish.symbol.clone(),
                        found: found.to_owned(),
                    }),
                    (wanted, Some(found)) if wanted == found => None,
                    (_, found) => Some(Difference::Missing {
                        wish: wish.clone(),
                        found: found.map(str::to_owned),
                    }),
                }
            })
            .collect()
    }
}

/// `CONFIG_NAME=value` in two; comments (`# CONFIG_X is not set` among them) give `None`.
fn split(line: &str) -> Option<(&str, &str)> {
    let (symbol, value) = line.split_once('=')?;
    let name = symbol.strip_prefix("CONFIG_")?;
    let well_formed = !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
    (well_formed && !value.is_empty()).then_some((symbol, value))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn differences(fragment: &str, config: &str) -> Vec<String> {
        Fragment::parse(fragment)
            .unwrap()
            .differences(config)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn what_was_asked_for_and_is_there_is_no_difference() {
        let fragment =
            "# why\nCONFIG_NET=y\nCONFIG_PANIC_TIMEOUT=10\nCONFIG_LSM=\"landlock\"\nCONFIG_MODULES=n\n";
        let config =
            "CONFIG_NET=y\nCONFIG_LSM=\"landlock\"\n# CONFIG_MODULES is not set\nCONFIG_PANIC_TIMEOUT=10\n";
        assert_eq!(differences(fragment, config), Vec::<String>::new());
    }

    #[test]
    fn a_wish_without_its_dependency_is_named() {
        let found = differences("CONFIG_NET=y\nCONFIG_BCMGENET=y\n", "CONFIG_NET=y\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("CONFIG_BCMGENET=y was asked for and is missing"));
    }

    #[test]
    fn an_n_that_something_selects_is_named() {
        let found = differences("CONFIG_MAGIC_SYSRQ=n\n", "CONFIG_MAGIC_SYSRQ=y\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("CONFIG_MAGIC_SYSRQ=n was asked for and is y"));
    }

    #[test]
    fn another_value_is_named_with_both() {
        let found = differences("CONFIG_PANIC_TIMEOUT=10\n", "CONFIG_PANIC_TIMEOUT=0\n");
        assert_eq!(found, ["CONFIG_PANIC_TIMEOUT=10 was asked for and is 0"]);
    }

    #[test]
    fn a_symbol_that_begins_like_another_does_not_stand_for_it() {
        assert_eq!(differences("CONFIG_USB=y\n", "CONFIG_USB_PCI=y\n").len(), 1);
        assert_eq!(
            differences("CONFIG_USB=n\n", "CONFIG_USB_PCI=y\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_fragment_with_a_slip_is_refused_with_its_line() {
        let slip = |text: &str| Fragment::parse(text).unwrap_err().to_string();
        assert!(slip("CONFIG_A=y\nCONFIG_B\n").starts_with("line 2: 'CONFIG_B' is neither"));
        assert!(
            slip("CONFIG_A=y\n\nCONFIG_A=n\n").contains("line 3: CONFIG_A was asked for before, on line 1")
        );
        assert!(slip("CONFIG_A=m\n").contains("no modules"));
        assert!(slip("config_a=y\n").starts_with("line 1"));
    }

    #[test]
    fn the_fragment_of_the_house_is_well_formed() {
        let fragment = Fragment::parse(include_str!("../../../kernel.config")).unwrap();
        assert!(
            fragment.wishes.len() > 150,
            "only {} wishes",
            fragment.wishes.len()
        );
    }
}
