//! `/setup`: the form that makes a box somebody's. Afterwards it is gone for ever (410).

use super::{notice, page, refusal, see};
use crate::claim::{Claim, Mistake, Progress, Proof, Refused};
use crate::guard::From;
use crate::language::Texts;
use crate::pages::button;
use crate::web::Knowledge;
use askama::Template;
use auth::PasswordFlaw;
use axum::Extension;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use mail::{AddressError, Secret};
use serde::Deserialize;
use std::time::Duration;

#[derive(Template)]
#[template(path = "setup.html")]
struct Setup<'a> {
    t: &'a Texts,
    problems: Vec<Problem>,
    /// What was typed before, so that nobody types it twice. Never a password.
    code: &'a str,
    address: &'a str,
    is_button_pressed: bool,
    has_button: bool,
}

/// Something that is wrong with a field of the form.
struct Problem {
    /// Its id.
    field: &'static str,
    text: String,
}

impl Setup<'_> {
    fn has_problem(&self, field: &str) -> bool {
        self.problems.iter().any(|problem| problem.field == field)
    }
}

/// What is sent. Whatever is missing is empty, and is told like that.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Fields {
    code: String,
    address: String,
    password: String,
    again: String,
}

/// `GET /setup`
pub(crate) async fn show(
    State(web): State<Knowledge>,
    Extension(texts): Extension<&'static Texts>,
    headers: HeaderMap,
) -> Response {
    if web.claiming.is_claimed() {
        return gone(texts);
    }
    let problems = match web.claiming.locked_for() {
        Some(left) => vec![locked(texts, left)],
        None => Vec::new(),
    };
    form(
        &web,
        texts,
        &headers,
        StatusCode::OK,
        problems,
        &Fields::default(),
    )
}

/// `POST /setup`
pub(crate) async fn submit(
    State(web): State<Knowledge>,
    Extension(texts): Extension<&'static Texts>,
    Extension(From(peer)): Extension<From>,
    headers: HeaderMap,
    fields: Result<Form<Fields>, FormRejection>,
) -> Response {
    if web.claiming.is_claimed() {
        return gone(texts);
    }
    let fields = match fields {
        Ok(Form(fields)) => fields,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return refusal(texts, StatusCode::PAYLOAD_TOO_LARGE, "too-large");
        }
        Err(_) => return refusal(texts, StatusCode::BAD_REQUEST, "no-form"),
    };
    let Fields {
        code,
        address,
        password,
        again,
    } = fields;
    let proof = match button::token(&headers) {
        Some(token) if code.trim().is_empty() => Proof::Button(token),
        _ => Proof::Code(code.clone()),
    };
    let claim = Claim {
        proof,
        address: address.clone(),
        password: Secret::new(password),
        again: Secret::new(again),
    };
    let refused = match web.claiming.claim(claim, peer).await {
        Ok(()) => return see("/"),
        Err(refused) => refused,
    };
    let typed = Fields {
        code,
        address,
        ..Fields::default()
    };
    let one = |field, text| vec![Problem { field, text }];
    let (status, problems) = match refused {
        Refused::AlreadyClaimed => return gone(texts),
        Refused::SomebodyElse => return refusal(texts, StatusCode::CONFLICT, "somebody-else"),
        Refused::Fault(error) => {
            tracing::error!(%error, "the box could not be claimed");
            return refusal(texts, StatusCode::INTERNAL_SERVER_ERROR, "fault");
        }
        Refused::Locked(left) => (StatusCode::TOO_MANY_REQUESTS, vec![locked(texts, left)]),
        Refused::NoCode => (StatusCode::FORBIDDEN, one("code", texts.get("no-code"))),
        Refused::ButtonOver => (StatusCode::FORBIDDEN, one("code", texts.get("button-over"))),
        Refused::WrongCode { left: 0 } => {
            let left = web.claiming.locked_for().unwrap_or_default();
            (StatusCode::FORBIDDEN, vec![locked(texts, left)])
        }
        Refused::WrongCode { left } => {
            let text = texts.with("tries-left", left.into());
            (StatusCode::FORBIDDEN, one("code", text))
        }
        Refused::Mistakes(mistakes) => {
            let problems = mistakes.iter().map(|mistake| problem(texts, mistake));
            (StatusCode::UNPROCESSABLE_ENTITY, problems.collect())
        }
    };
    let mut response = form(&web, texts, &headers, status, problems, &typed);
    if let Some(left) = web.claiming.locked_for() {
        let seconds = HeaderValue::from(left.as_secs() + 1);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

pub(super) fn gone(texts: &Texts) -> Response {
    refusal(texts, StatusCode::GONE, "claimed")
}

fn form(
    web: &Knowledge,
    texts: &Texts,
    headers: &HeaderMap,
    status: StatusCode,
    problems: Vec<Problem>,
    typed: &Fields,
) -> Response {
    let progress = button::token(headers).map(|token| web.claiming.button_progress(token));
    let setup = Setup {
        t: texts,
        problems,
        code: &typed.code,
        address: &typed.address,
        is_button_pressed: progress == Some(Progress::Pressed),
        has_button: web.claiming.has_button(),
    };
    page(texts, status, &setup)
}

/// In minutes, the last one that has begun counted in.
fn locked(texts: &Texts, left: Duration) -> Problem {
    Problem {
        field: "code",
        text: texts.with("locked", left.as_secs().div_ceil(60).max(1)),
    }
}

fn problem(texts: &Texts, mistake: &Mistake) -> Problem {
    let (field, name) = match mistake {
        Mistake::NoAddress => ("address", "address-missing"),
        Mistake::CatchAll => ("address", "address-catch-all"),
        Mistake::Address(AddressError::NoAt) => ("address", "address-no-at"),
        Mistake::Address(AddressError::LocalPart) => ("address", "address-local-part"),
        Mistake::Address(AddressError::Domain) => ("address", "address-domain"),
        Mistake::Password(PasswordFlaw::Empty) => ("password", "password-empty"),
        Mistake::Password(PasswordFlaw::Short) => ("password", "password-short"),
        Mistake::Password(PasswordFlaw::Long) => ("password", "password-long"),
        Mistake::Password(PasswordFlaw::Nul) => ("password", "password-nul"),
        Mistake::Password(PasswordFlaw::OneCharacter) => ("password", "password-one-character"),
        Mistake::Password(PasswordFlaw::Common) => ("password", "password-common"),
        Mistake::Password(PasswordFlaw::InAddress) => ("password", "password-in-address"),
        Mistake::Again => ("again", "password-again"),
    };
    Problem {
        field,
        text: texts.get(name),
    }
}

/// Somebody else waits for the button.
pub(super) fn busy(texts: &Texts, from: std::net::IpAddr) -> Response {
    let sentence = texts.with_text("busy-sentence", &from.to_string());
    notice(texts, StatusCode::CONFLICT, "busy", sentence)
}
