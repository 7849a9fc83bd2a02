//! Values that must not be seen.

use std::fmt;
use zeroize::Zeroize;

/// A password, a key, a token. It prints as `[redacted]` in every build and is wiped when it goes
/// out of scope (D41).
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Wraps a value that must not be seen.
    pub const fn new(value: T) -> Secret<T> {
        Secret(value)
    }

    /// The value. Each caller is a place to look at.
    pub const fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T: Zeroize> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D41
    #[test]
    fn d41_a_secret_does_not_print() {
        let secret = Secret::new("correct horse".to_owned());
        assert_eq!(format!("{secret} {secret:?}"), "[redacted] [redacted]");
        assert_eq!(secret.reveal(), "correct horse");
    }
}
