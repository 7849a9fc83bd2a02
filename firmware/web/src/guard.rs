//! What every request passes, and what every answer carries.
//!
//! ```text
//! request ─► known host? ─► may this peer see anything? ─► from our own page? ─► the page, in time ─► headers ─► answer
//!             421 (AW14)      403 (AX2)                     403 (AW6)             408
//! ```

use crate::language::{Language, Texts};
use crate::pages;
use crate::same_origin;
use crate::web::Knowledge;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use std::net::IpAddr;
use tokio::time::timeout;
use wire::limits::HTTP_REQUEST_TIMEOUT;

/// Who asks: the other end of the connection. Fields such as `X-Forwarded-For` are not looked at (D40).
#[derive(Clone, Copy, Debug)]
pub(crate) struct From(pub(crate) IpAddr);

/// The headers of every answer.
///
/// `Strict-Transport-Security` is not among them: with a certificate that a person accepted once it would turn the next
/// change of the certificate into an error that cannot be passed (RFC 6797 §12.1). It comes with certificates of a
/// public authority. Nor is `Server`: whoever wants to attack the box may find out by himself what it is.
const HEADERS: [(HeaderName, HeaderValue); 8] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
             connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'",
        ),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    // Not no-referrer: with that a browser says `Origin: null` for our own forms.
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static(
            "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), \
             microphone=(), midi=(), payment=(), screen-wake-lock=(), usb=()",
        ),
    ),
    (
        HeaderName::from_static("x-robots-tag"),
        HeaderValue::from_static("noindex, nofollow"),
    ),
    // A page says what is so now, and nobody else who uses the computer is to find it. Files that never change say
    // so themselves.
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// See the picture above.
pub(crate) async fn guard(State(web): State<Knowledge>, mut request: Request, next: Next) -> Response {
    let texts = Texts::of(Language::wanted(request.headers()));
    request.extensions_mut().insert(texts);
    let mut response = match admit(&web, &request) {
        Ok(()) => match timeout(HTTP_REQUEST_TIMEOUT, next.run(request)).await {
            Ok(response) => response,
            Err(_) => pages::refusal(texts, StatusCode::REQUEST_TIMEOUT, "too-slow"),
        },
        Err((status, why)) => pages::refusal(texts, status, why),
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// Whether a request gets as far as its page; else the status and the reason's name among the texts.
fn admit(web: &Knowledge, request: &Request) -> Result<(), (StatusCode, &'static str)> {
    let host = host(request.version(), request.uri(), request.headers())
        .ok_or((StatusCode::BAD_REQUEST, "no-host"))?;
    let place = web.place();
    if !place.is_called(&host) {
        return Err((StatusCode::MISDIRECTED_REQUEST, "other-host"));
    }
    let From(peer) = request
        .extensions()
        .get()
        .copied()
        .ok_or((StatusCode::INTERNAL_SERVER_ERROR, "fault"))?;
    if !web.claiming.is_claimed() && !place.has_neighbour(peer) {
        // Whoever does this does it often: the log on the card is not for that.
        tracing::debug!(%peer, "turned away from the set-up page: not on a network of the box");
        return Err((StatusCode::FORBIDDEN, "not-a-neighbour"));
    }
    // RFC 9110 §9.2.1: what is not safe changes something.
    if !request.method().is_safe() && !same_origin::is_ours(request.headers(), &host) {
        tracing::debug!(%peer, "a form was refused that did not come from a page of the box");
        return Err((StatusCode::FORBIDDEN, "cross-site"));
    }
    Ok(())
}

/// Which host is meant. RFC 9112 §3.2: in the target if it is there, as always in HTTP/2, else in exactly one Host field.
fn host(version: Version, uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let mut fields = headers.get_all(header::HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return None;
    }
    let field: Option<Authority> = match field {
        Some(field) => Some(field.to_str().ok()?.parse().ok()?),
        None if version >= Version::HTTP_2 => None,
        None => return None,
    };
    let authority = uri.authority().cloned().or(field)?;
    // User information in it is no host (RFC 9110 §4.2.4), and somebody's trick.
    (!authority.as_str().contains('@')).then_some(authority)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(version: Version, uri: &str, hosts: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_str(host).unwrap());
        }
        host(version, &uri.parse().unwrap(), &headers).map(|host| host.to_string())
    }

    /// RFC 9112 §3.2
    #[test]
    fn a_request_names_one_host() {
        assert_eq!(of(Version::HTTP_11, "/", &["a.test"]).unwrap(), "a.test");
        assert_eq!(
            of(Version::HTTP_11, "https://b.test/", &["a.test"]).unwrap(),
            "b.test"
        );
        assert_eq!(
            of(Version::HTTP_2, "https://b.test:8443/", &[]).unwrap(),
            "b.test:8443"
        );
        for hosts in [&[][..], &["a.test", "b.test"], &["a b"], &[""], &["user@a.test"]] {
            assert_eq!(of(Version::HTTP_11, "/", hosts), None, "{hosts:?}");
        }
    }
}
