//! The whole web without a socket: requests as values, through every layer that a browser's go through.
#![allow(clippy::unwrap_used)]

use crate::claim::Claiming;
use crate::guard::From;
use crate::place::Place;
use crate::web::Web;
use auth::Cost;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, Request, StatusCode, header};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;
use store::Store;
use tempfile::TempDir;
use tokio::time::{advance, timeout};
use wire::limits::{CLAIM_LOCK_TIME, FORM_OCTETS_MAX};

const NEIGHBOUR: &str = "192.0.2.20";
const OUTSIDE: &str = "198.51.100.7";
const HOST: &str = "postolka.local";
const ORIGIN: &str = "https://postolka.local";
const WHO: &str =
    "&address=anna%40firma.cz&password=k%C5%AF%C5%88+ve+st%C3%A1ji&again=k%C5%AF%C5%88+ve+st%C3%A1ji";

struct Box {
    folder: TempDir,
    store: Store,
    claiming: Claiming,
    web: Web,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Box {
    fn new() -> Box {
        let folder = tempfile::tempdir().unwrap();
        Box::in_folder(folder)
    }

    fn in_folder(folder: TempDir) -> Box {
        let (store, _) = Store::open(&folder.path().join("store"), store::Options::default()).unwrap();
        let claiming = Claiming::open(store.clone(), folder.path(), Cost::Small, true).unwrap();
        let place = Place::new(["postolka".to_owned()], vec![("192.0.2.5".parse().unwrap(), 24)]);
        let web = Web::new(claiming.clone(), place);
        Box {
            folder,
            store,
            claiming,
            web,
        }
    }

    fn code(&self) -> String {
        self.claiming.code().unwrap()
    }

    fn wrong_code(&self) -> String {
        let code = self.code();
        let last = if code.ends_with('C') { "D" } else { "C" };
        format!("{}{last}", &code[..code.len() - 1])
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(request("GET", path).body(Body::empty()).unwrap(), NEIGHBOUR)
            .await
    }

    async fn post(&self, path: &str, form: String) -> Answer {
        let request = request("POST", path)
            .header(header::ORIGIN, ORIGIN)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form));
        self.ask(request.unwrap(), NEIGHBOUR).await
    }

    async fn ask(&self, mut request: Request<Body>, from: &str) -> Answer {
        request
            .extensions_mut()
            .insert(From(from.parse::<IpAddr>().unwrap()));
        let response = TowerToHyperService::new(self.web.router())
            .call(request)
            .await
            .unwrap();
        let (parts, mut body) = response.into_parts();
        let mut text = Vec::new();
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            text.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(text).unwrap(),
        }
    }
}

fn form(code: &str) -> String {
    format!("code={code}{WHO}")
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, HOST)
}

/// D39, AX2: the way from a new box to somebody's.
#[tokio::test]
async fn d39_the_code_claims_the_box_once_and_setup_is_gone_for_ever() {
    let new = Box::new();
    let first = new.get("/").await;
    assert_eq!(
        (first.status, &first.headers[header::LOCATION]),
        (StatusCode::SEE_OTHER, &"/setup".parse().unwrap())
    );
    assert_eq!(new.get("/setup").await.status, StatusCode::OK);
    let code = new.code();
    let claim = form(&code);
    let claimed = new.post("/setup", claim.clone()).await;
    assert_eq!(claimed.status, StatusCode::SEE_OTHER, "{}", claimed.text);
    assert!(new.claiming.is_claimed() && new.claiming.code().is_none());
    assert!(!new.folder.path().join("claim-code").exists());
    let accounts = new.store.view().unwrap().accounts().unwrap();
    assert_eq!(accounts.len(), 1);
    assert_eq!(accounts[0].address.to_string(), "anna@firma.cz");
    for _ in 0..2 {
        assert_eq!(new.get("/setup").await.status, StatusCode::GONE);
        assert_eq!(new.get("/setup/button").await.status, StatusCode::GONE);
        assert_eq!(new.post("/setup", claim.clone()).await.status, StatusCode::GONE);
        assert_eq!(
            new.post("/setup/button", String::new()).await.status,
            StatusCode::GONE
        );
    }
    let front = new.get("/").await;
    assert_eq!(front.status, StatusCode::OK);
    assert!(front.text.contains("This box serves mail"), "{}", front.text);
    // Once it is somebody's, everybody may see that.
    let outside = new
        .ask(request("GET", "/").body(Body::empty()).unwrap(), OUTSIDE)
        .await;
    assert_eq!(outside.status, StatusCode::OK);

    // The same after a start, also when the power went before the code was removed.
    let Box {
        folder,
        store,
        claiming,
        web,
    } = new;
    store.close();
    drop((web, claiming, store));
    std::fs::write(folder.path().join("claim-code"), format!("{code}\n")).unwrap();
    let again = Box::in_folder(folder);
    assert_eq!(again.get("/setup").await.status, StatusCode::GONE);
    assert!(!again.folder.path().join("claim-code").exists());
}

/// AX2
#[tokio::test]
async fn ax2_without_the_code_nothing_is_claimed() {
    let new = Box::new();
    let without = new.post("/setup", WHO[1..].to_owned()).await;
    assert_eq!(without.status, StatusCode::FORBIDDEN);
    assert!(
        without.text.contains("The claim code is missing"),
        "{}",
        without.text
    );
    for form in ["code=", "", "code=%20-"] {
        assert_eq!(
            new.post("/setup", form.to_owned()).await.status,
            StatusCode::FORBIDDEN,
            "{form}"
        );
    }
    assert!(!new.claiming.is_claimed());
}

/// AX2
#[tokio::test(start_paused = true)]
async fn ax2_after_five_wrong_codes_even_the_right_one_waits_ten_minutes() {
    let new = Box::new();
    for left in (0..5).rev() {
        let wrong = new.post("/setup", form(&new.wrong_code())).await;
        assert_eq!(wrong.status, StatusCode::FORBIDDEN);
        let says = match left {
            0 => "Try again in 10 minutes".to_owned(),
            1 => "one more try".to_owned(),
            left => format!("{left} more tries"),
        };
        assert!(wrong.text.contains(&says), "{says}: {}", wrong.text);
        assert!(!wrong.text.contains("ve stáji"), "a password comes back");
    }
    let right = form(&new.code());
    let locked = new.post("/setup", right.clone()).await;
    assert_eq!(locked.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(locked.headers.contains_key(header::RETRY_AFTER));
    // Reading the page again changes nothing.
    assert!(new.get("/setup").await.text.contains("too many wrong codes"));
    assert!(!new.claiming.is_claimed());
    advance(CLAIM_LOCK_TIME.saturating_sub(Duration::from_secs(1))).await;
    assert_eq!(
        new.post("/setup", right.clone()).await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
    advance(Duration::from_secs(2)).await;
    // The store answers from a thread of its own, which a clock that stands still does not wait for.
    tokio::time::resume();
    assert_eq!(new.post("/setup", right).await.status, StatusCode::SEE_OTHER);
}

/// AX2
#[tokio::test(flavor = "multi_thread")]
async fn ax2_of_two_claims_at_once_one_wins_and_the_other_is_told() {
    let new = std::sync::Arc::new(Box::new());
    let claim = form(&new.code());
    let claims: Vec<_> = (0..4)
        .map(|number| {
            let (new, claim) = (
                std::sync::Arc::clone(&new),
                claim.replace("anna", &format!("anna{number}")),
            );
            tokio::spawn(async move { new.post("/setup", claim).await })
        })
        .collect();
    let mut won = 0;
    for claim in claims {
        let answer = claim.await.unwrap();
        match answer.status {
            StatusCode::SEE_OTHER => won += 1,
            StatusCode::CONFLICT => assert!(answer.text.contains("Somebody was faster"), "{}", answer.text),
            // It came when the other was through.
            StatusCode::GONE => {}
            status => panic!("{status}: {}", answer.text),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(new.store.view().unwrap().accounts().unwrap().len(), 1);
}

/// The one who was right and goes before the answer has a claimed box all the same.
#[tokio::test]
async fn a_claim_is_told_to_the_house_also_when_its_browser_has_gone() {
    let new = Box::new();
    let claim = form(&new.code());
    {
        let posted = new.post("/setup", claim);
        let mut posted = std::pin::pin!(posted);
        let gone = timeout(Duration::from_millis(1), posted.as_mut()).await;
        assert!(gone.is_err(), "the hash takes longer than that");
    }
    timeout(Duration::from_mins(2), new.claiming.claimed())
        .await
        .unwrap();
    assert!(!new.folder.path().join("claim-code").exists());
}

/// AX2
#[tokio::test]
async fn ax2_an_unclaimed_box_shows_nothing_to_strangers() {
    let new = Box::new();
    for path in ["/", "/setup", "/setup/button", "/robots.txt", "/nothing"] {
        let asked = request("GET", path)
            .header("x-forwarded-for", NEIGHBOUR)
            .body(Body::empty());
        assert_eq!(
            new.ask(asked.unwrap(), OUTSIDE).await.status,
            StatusCode::FORBIDDEN,
            "{path}"
        );
    }
    let posted = request("POST", "/setup")
        .header(header::ORIGIN, ORIGIN)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form(&new.code())));
    assert_eq!(
        new.ask(posted.unwrap(), OUTSIDE).await.status,
        StatusCode::FORBIDDEN
    );
    assert!(!new.claiming.is_claimed());
}

/// AW6
#[tokio::test]
async fn aw6_a_form_of_somebody_else_changes_nothing() {
    let new = Box::new();
    let cases: [&[(&str, &str)]; 5] = [
        &[],
        &[("origin", "https://evil.test")],
        &[("origin", "null")],
        &[("origin", ORIGIN), ("sec-fetch-site", "cross-site")],
        &[("origin", "http://postolka.local")],
    ];
    for path in ["/setup", "/setup/button"] {
        for headers in cases {
            let mut posted =
                request("POST", path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            for (name, value) in headers {
                posted = posted.header(*name, *value);
            }
            let posted = posted.body(Body::from(form(&new.code()))).unwrap();
            let answer = new.ask(posted, NEIGHBOUR).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {headers:?}");
        }
    }
    assert!(!new.claiming.is_claimed());
    assert!(new.claiming.button_waits().borrow().is_zero());
}

/// AW14
#[tokio::test]
async fn aw14_another_host_is_another_box() {
    let new = Box::new();
    for (host, status) in [
        ("evil.test", StatusCode::MISDIRECTED_REQUEST),
        ("postolka.local.evil.test", StatusCode::MISDIRECTED_REQUEST),
        ("192.0.2.5:8443", StatusCode::OK),
        ("POSTOLKA.local.", StatusCode::OK),
        ("a@postolka.local", StatusCode::BAD_REQUEST),
    ] {
        let asked = Request::builder()
            .uri("/setup")
            .header(header::HOST, host)
            .body(Body::empty());
        let answer = new.ask(asked.unwrap(), NEIGHBOUR).await;
        assert_eq!(answer.status, status, "{host}");
        assert_eq!(answer.text.contains("<form"), status == StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn what_cannot_be_is_told_at_its_field_and_costs_no_try() {
    let new = Box::new();
    let code = new.code();
    for (fields, says) in [
        (
            "address=&password=dobr%C3%A9+heslo&again=dobr%C3%A9+heslo",
            "The e-mail address is missing.",
        ),
        (
            "address=anna&password=dobr%C3%A9+heslo&again=dobr%C3%A9+heslo",
            "name@domain",
        ),
        (
            "address=anna@firma&password=dobr%C3%A9+heslo&again=dobr%C3%A9+heslo",
            "not a domain name",
        ),
        (
            "address=*@firma.cz&password=dobr%C3%A9+heslo&again=dobr%C3%A9+heslo",
            "all names of a domain",
        ),
        (
            "address=anna@firma.cz&password=kr%C3%A1tk%C3%A9&again=kr%C3%A1tk%C3%A9",
            "shorter than 8",
        ),
        (
            "address=anna@firma.cz&password=password1&again=password1",
            "everybody tries first",
        ),
        (
            "address=anna@firma.cz&password=dobr%C3%A9+heslo&again=jin%C3%A9+heslo",
            "differ",
        ),
        ("address=anna@firma.cz", "The password is missing."),
    ] {
        let answer = new.post("/setup", format!("code={code}&{fields}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{fields}");
        assert!(answer.text.contains(says), "{fields}: {}", answer.text);
        assert!(
            answer.text.contains(&format!("value=\"{code}\"")),
            "what was typed is kept"
        );
    }
    assert_eq!(
        new.post("/setup", form(&code)).await.status,
        StatusCode::SEE_OTHER
    );
}

/// AW2
#[tokio::test]
async fn aw2_what_somebody_types_is_text() {
    let new = Box::new();
    let attack = "%22%3E%3Cimg+src%3Dx+onerror%3Dalert(1)%3E";
    let answer = new
        .post("/setup", format!("code={attack}&address={attack}"))
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(
        !answer.text.contains("<img") && answer.text.contains("&#60;img"),
        "{}",
        answer.text
    );
}

/// D39: the button instead of the code.
#[tokio::test(start_paused = true)]
async fn d39_a_press_of_the_button_claims_for_the_browser_that_waits() {
    let new = Box::new();
    let asked = new.post("/setup/button", String::new()).await;
    assert_eq!(asked.status, StatusCode::SEE_OTHER);
    let cookie = asked.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
    for attribute in ["__Host-setup=", "Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert_eq!(*new.claiming.button_waits().borrow(), Duration::from_mins(2));
    // Another browser cannot wait at the same time, and is told who does.
    let busy = new.post("/setup/button", String::new()).await;
    assert_eq!(busy.status, StatusCode::CONFLICT);
    assert!(busy.text.contains(NEIGHBOUR), "{}", busy.text);
    let with_cookie = |method: &str, path: &str, form: String| {
        request(method, path)
            .header(header::COOKIE, format!("other=1; {cookie}"))
            .header(header::ORIGIN, ORIGIN)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form))
            .unwrap()
    };
    let waiting = new
        .ask(with_cookie("GET", "/setup/button", String::new()), NEIGHBOUR)
        .await;
    assert!(waiting.text.contains("Press the button"), "{}", waiting.text);
    let early = new.ask(with_cookie("POST", "/setup", form("")), NEIGHBOUR).await;
    assert_eq!(early.status, StatusCode::FORBIDDEN, "it was not pressed yet");
    new.claiming.press_button();
    assert!(new.claiming.button_waits().borrow().is_zero());
    let seen = new
        .ask(with_cookie("GET", "/setup/button", String::new()), NEIGHBOUR)
        .await;
    assert_eq!(seen.status, StatusCode::SEE_OTHER);
    let seen = new
        .ask(with_cookie("GET", "/setup", String::new()), NEIGHBOUR)
        .await;
    assert!(seen.text.contains("No code is needed"), "{}", seen.text);
    // The press is good for that browser only.
    assert_eq!(new.post("/setup", form("")).await.status, StatusCode::FORBIDDEN);
    tokio::time::resume();
    let claimed = new.ask(with_cookie("POST", "/setup", form("")), NEIGHBOUR).await;
    assert_eq!(claimed.status, StatusCode::SEE_OTHER, "{}", claimed.text);
    assert!(new.claiming.is_claimed());
}

/// DESIGN §6
#[tokio::test]
async fn every_answer_has_its_headers_and_none_says_what_serves_it() {
    let new = Box::new();
    for path in ["/", "/setup", "/nothing", "/static/0/style.css", "/robots.txt"] {
        let answer = new.get(path).await;
        let policy = answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        for directive in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(directive), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(answer.headers[header::REFERRER_POLICY], "same-origin");
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
        assert!(!answer.headers.contains_key(header::SERVER));
        assert!(!answer.headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
    }
    let page = new.get("/setup").await;
    for inline in ["<script", "<style", " style=", " onclick", "javascript:"] {
        assert!(!page.text.contains(inline), "{inline}");
    }
    let sheet = page.text.split("rel=\"stylesheet\" href=\"").nth(1).unwrap();
    let sheet = new.get(sheet.split('"').next().unwrap()).await;
    assert_eq!(sheet.status, StatusCode::OK);
    assert_eq!(sheet.headers[header::CONTENT_TYPE], "text/css; charset=utf-8");
    assert!(
        sheet.headers[header::CACHE_CONTROL]
            .to_str()
            .unwrap()
            .contains("immutable")
    );
}

#[tokio::test]
async fn a_page_is_in_the_language_of_its_reader() {
    let new = Box::new();
    for (wanted, lang, says) in [
        ("cs-CZ,cs;q=0.9", "cs", "Zprovoznění"),
        ("en", "en", "Set up this box"),
    ] {
        let asked = request("GET", "/setup")
            .header(header::ACCEPT_LANGUAGE, wanted)
            .body(Body::empty());
        let answer = new.ask(asked.unwrap(), NEIGHBOUR).await;
        assert!(
            answer.text.contains(&format!("<html lang=\"{lang}\">")),
            "{}",
            answer.text
        );
        assert!(answer.text.contains(says), "{}", answer.text);
        assert_eq!(answer.headers[header::CONTENT_LANGUAGE], lang);
    }
}

/// AW15
#[tokio::test]
async fn aw15_a_form_has_a_limit_and_must_be_one() {
    let new = Box::new();
    let long = format!("code={}", "x".repeat(FORM_OCTETS_MAX));
    assert_eq!(
        new.post("/setup", long).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    for (kind, body) in [
        ("text/plain", "code=a"),
        ("application/json", "{}"),
        ("application/x-www-form-urlencoded", "code=%ff%fe&code=a"),
    ] {
        let posted = request("POST", "/setup")
            .header(header::ORIGIN, ORIGIN)
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from(body));
        let answer = new.ask(posted.unwrap(), NEIGHBOUR).await;
        assert!(answer.status.is_client_error(), "{kind}: {}", answer.status);
    }
    let other = request("DELETE", "/setup")
        .header(header::ORIGIN, ORIGIN)
        .body(Body::empty());
    assert_eq!(
        new.ask(other.unwrap(), NEIGHBOUR).await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(new.get("/nothing").await.status, StatusCode::NOT_FOUND);
}
