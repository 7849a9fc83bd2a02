//! Whether a request that changes something comes from a page of the box (AW6).

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};

/// Every browser of today says `Origin` with such a request, and most say `Sec-Fetch-Site`. Whoever says neither is
/// none, and what is not for browsers does not live here.
pub(crate) fn is_ours(headers: &HeaderMap, host: &Authority) -> bool {
    if let Some(site) = headers.get("sec-fetch-site")
        && site != "same-origin"
    {
        return false;
    }
    match headers.get(header::ORIGIN) {
        Some(origin) => origin.to_str().is_ok_and(|origin| is_origin_of(origin, host)),
        None => headers.contains_key("sec-fetch-site"),
    }
}

/// RFC 6454 §4: scheme, host and port; 443 is what https has when it is not said.
fn is_origin_of(origin: &str, host: &Authority) -> bool {
    const HTTPS: u16 = 443;
    let Ok(origin) = origin.parse::<Uri>() else {
        return false;
    };
    let Some(from) = origin.authority() else {
        return false;
    };
    origin.scheme_str() == Some("https")
        && from.host().eq_ignore_ascii_case(host.host())
        && from.port_u16().unwrap_or(HTTPS) == host.port_u16().unwrap_or(HTTPS)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn check(site: Option<&'static str>, origin: Option<&'static str>, is_taken: bool) {
        let mut headers = HeaderMap::new();
        if let Some(site) = site {
            headers.insert("sec-fetch-site", HeaderValue::from_static(site));
        }
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        let host = "postolka.local:8443".parse().unwrap();
        assert_eq!(is_ours(&headers, &host), is_taken, "{site:?} {origin:?}");
    }

    /// AW6
    #[test]
    fn aw6_only_a_page_of_the_box_may_post() {
        let own = Some("https://postolka.local:8443");
        check(Some("same-origin"), own, true);
        check(Some("same-origin"), None, true);
        check(None, own, true);
        check(None, Some("https://POSTOLKA.local:8443"), true);
        check(None, None, false);
        check(Some("cross-site"), own, false);
        check(Some("same-site"), own, false);
        check(Some("none"), own, false);
        check(Some("same-origin"), Some("null"), false);
        for foreign in [
            "null",
            "",
            "https://evil.test",
            "http://postolka.local:8443",
            "https://postolka.local",
            "https://postolka.local:8444",
            "https://postolka.local.evil.test:8443",
            "https://mail.postolka.local:8443",
        ] {
            check(None, Some(foreign), false);
        }
    }
}
