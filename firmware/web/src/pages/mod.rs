//! The pages. Each has its template in `templates/` and its words in `i18n/`.

pub(crate) mod button;
pub(crate) mod front;
pub(crate) mod setup;

use crate::language::Texts;
use askama::Template;
use axum::Extension;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// A page of a heading and a sentence.
#[derive(Template)]
#[template(path = "notice.html")]
struct Notice<'a> {
    t: &'a Texts,
    heading: String,
    sentence: String,
    has_way_home: bool,
}

/// A template as an answer.
fn page(texts: &Texts, status: StatusCode, template: &impl Template) -> Response {
    let text = match template.render() {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_LANGUAGE, texts.tag()),
        (header::VARY, "Accept-Language"),
    ];
    (status, headers, text).into_response()
}

/// A page that says no: `NAME-heading` and `NAME-sentence` of the texts.
pub(crate) fn refusal(texts: &Texts, status: StatusCode, name: &str) -> Response {
    let sentence = texts.get(&format!("{name}-sentence"));
    notice(texts, status, name, sentence)
}

fn notice(texts: &Texts, status: StatusCode, name: &str, sentence: String) -> Response {
    // From another host's name a link home would lead there.
    let has_way_home = matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::GONE | StatusCode::REQUEST_TIMEOUT
    );
    let notice = Notice {
        t: texts,
        heading: texts.get(&format!("{name}-heading")),
        sentence,
        has_way_home,
    };
    page(texts, status, &notice)
}

/// 303: what the browser is to get next.
fn see(path: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response()
}

pub(crate) async fn not_found(Extension(texts): Extension<&'static Texts>) -> Response {
    refusal(texts, StatusCode::NOT_FOUND, "not-found")
}

pub(crate) async fn wrong_method(Extension(texts): Extension<&'static Texts>) -> Response {
    refusal(texts, StatusCode::METHOD_NOT_ALLOWED, "wrong-method")
}

/// Nothing here is for search engines (RFC 9309).
pub(crate) async fn robots() -> &'static str {
    "User-agent: *\nDisallow: /\n"
}
