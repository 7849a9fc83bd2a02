//! `/`: what this box is and what it does.

use super::{page, see};
use crate::language::Texts;
use crate::web::Knowledge;
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

#[derive(Template)]
#[template(path = "front.html")]
struct Front<'a> {
    t: &'a Texts,
}

/// Of a box that belongs to nobody there is only the set-up.
pub(crate) async fn show(
    State(web): State<Knowledge>,
    Extension(texts): Extension<&'static Texts>,
) -> Response {
    if web.claiming.is_claimed() {
        page(texts, StatusCode::OK, &Front { t: texts })
    } else {
        see("/setup")
    }
}
