//! The server name of a hosted domain.

use crate::Domain;

/// The first label of the server name of `domain`: the domain with each `.` as `--` (H1), so that
/// `vasedomena.cz` is served as `vasedomena--cz.mx.example.net`.
///
/// Two domains may have one label (`a.b.cz` and `a--b.cz`); only one of them can be hosted (H4). It is
/// never decoded (H3), and may be longer than the 63 octets of a label (H5).
pub fn server_label(domain: &Domain) -> String {
    domain.as_str().replace('.', "--")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn label(text: &str) -> String {
        server_label(&Domain::parse(text).unwrap())
    }

    /// H1, H2
    #[test]
    fn h1_dots_become_two_hyphens_after_normalising() {
        assert_eq!(label("vasedomena.cz"), "vasedomena--cz");
        assert_eq!(label("Pošta.Firma.CZ."), "xn--pota-h6a--firma--cz");
    }

    /// H4
    #[test]
    fn h4_different_domains_can_collide() {
        assert_eq!(label("a.b.cz"), label("a--b.cz"));
        assert_ne!(label("a.b.cz"), label("a-b.cz"));
    }
}
