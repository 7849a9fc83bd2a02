//! `/setup/button`: instead of a code, somebody presses the button of the box while this page waits.

use super::{page, refusal, see, setup};
use crate::claim::{Progress, Token};
use crate::guard::From;
use crate::language::Texts;
use crate::web::Knowledge;
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

/// RFC 6265bis §4.1.3.2: with this prefix only this host can have set it, over TLS.
const COOKIE: &str = "__Host-setup";

#[derive(Template)]
#[template(path = "button.html")]
struct Waiting<'a> {
    t: &'a Texts,
    seconds: u64,
}

/// `POST /setup/button`
pub(crate) async fn ask(
    State(web): State<Knowledge>,
    Extension(texts): Extension<&'static Texts>,
    Extension(From(peer)): Extension<From>,
    headers: HeaderMap,
) -> Response {
    if web.claiming.is_claimed() {
        return setup::gone(texts);
    }
    if !web.claiming.has_button() {
        return refusal(texts, StatusCode::NOT_FOUND, "not-found");
    }
    match web.claiming.ask_for_button(token(&headers), peer) {
        Ok(Ok(token)) => {
            let cookie = format!(
                "{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Strict",
                token.to_hex()
            );
            let mut response = see("/setup/button");
            let cookie = HeaderValue::try_from(cookie).expect("hexadecimal digits are text");
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            response
        }
        Ok(Err(busy)) => setup::busy(texts, busy.from),
        Err(error) => {
            tracing::error!(%error, "the button cannot be waited for");
            refusal(texts, StatusCode::INTERNAL_SERVER_ERROR, "fault")
        }
    }
}

/// `GET /setup/button`: loads itself again every few seconds until the button was pressed.
pub(crate) async fn wait(
    State(web): State<Knowledge>,
    Extension(texts): Extension<&'static Texts>,
    headers: HeaderMap,
) -> Response {
    if web.claiming.is_claimed() {
        return setup::gone(texts);
    }
    let progress = token(&headers).map_or(Progress::Over, |token| web.claiming.button_progress(token));
    match progress {
        Progress::Waiting(left) => {
            let seconds = left.as_secs() + 1;
            page(texts, StatusCode::OK, &Waiting { t: texts, seconds })
        }
        Progress::Pressed | Progress::Over => see("/setup"),
    }
}

/// Whether this browser asked for the button, as its cookie has it.
pub(super) fn token(headers: &HeaderMap) -> Option<Token> {
    let fields = headers.get_all(header::COOKIE).iter();
    let cookies = fields.filter_map(|field| field.to_str().ok());
    cookies
        .flat_map(|field| field.split(';'))
        .find_map(|cookie| Token::from_hex(cookie.trim().strip_prefix(COOKIE)?.strip_prefix('=')?))
}
