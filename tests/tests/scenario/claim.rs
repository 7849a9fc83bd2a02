//! A new box and how it becomes somebody's (D39, AX1, AX2, P2).

use std::time::{Duration, Instant};

use e2e::appliance::SENDER;
use e2e::client::http::{Answer, Http, answer};
use e2e::client::{Conversation, PATIENCE};
use e2e::mail::short_message;
use e2e::office::{Account, Office};
use e2e::runner::Outcome;
use e2e::{Appliance, Plan, Service, Stage, tool};

e2e::scenarios![shared
    d39_a_claimed_box_has_no_setup_page,
    aw14_the_web_answers_to_the_names_of_the_box_only,
    the_web_speaks_http_2_and_1_1,
    d17_a_head_that_drips_ends_and_one_that_is_too_large_is_refused,
    the_pages_of_the_web_have_their_headers;
    own d39_the_code_of_the_console_claims_a_box_which_then_serves_mail,
    ax2_five_wrong_codes_lock_the_set_up_page,
    ax2_of_two_claims_at_once_one_wins,
    ax1_two_new_boxes_have_different_codes_and_keys,
];

/// A box that belongs to nobody.
fn new_box(stage: &dyn Stage) -> std::io::Result<Box<dyn Appliance>> {
    stage.appliance(Plan::of(Office::of_nobody()))
}

fn anna() -> Account {
    Account::of("anna@firma.test")
}

fn browser_of(appliance: &dyn Appliance) -> std::io::Result<Http> {
    Ok(Http::new(
        appliance.addr(Service::Https),
        appliance.tls()?,
        "postolka.local",
    ))
}

/// The code that its console shows.
fn code(appliance: &dyn Appliance) -> Result<String, String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let console = appliance.console();
        // A long line of the page goes on in the next.
        let words: Vec<&str> = console.split_whitespace().collect();
        let mut behind = words.rsplit(|word| *word == "code");
        let found = behind.next().and_then(|rest| rest.first()).copied();
        let is_code = |word: &&str| word.trim_end_matches('.').len() == 11 && word.contains('-');
        if console.contains("belongs to nobody")
            && let Some(code) = found.filter(is_code)
        {
            return Ok(code.trim_end_matches('.').to_owned());
        }
        if Instant::now() > until {
            return Err(format!("the console shows no code:\n{console}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Another one of the same shape.
fn wrong(code: &str) -> String {
    let last = if code.ends_with('C') { "D" } else { "C" };
    format!("{}{last}", &code[..code.len() - 1])
}

fn claim(browser: &Http, code: &str, account: &Account) -> std::io::Result<Answer> {
    browser.post(
        "/setup",
        &[
            ("code", code),
            ("address", &account.address),
            ("password", &account.password),
            ("again", &account.password),
        ],
    )
}

/// D39, AX2, P2: the whole way.
fn d39_the_code_of_the_console_claims_a_box_which_then_serves_mail(stage: &dyn Stage) -> Outcome {
    let mut appliance = new_box(stage)?;
    let (anna, browser) = (anna(), browser_of(appliance.as_ref())?);
    let code = code(appliance.as_ref())?;
    assert_eq!(
        appliance.listening()?,
        [443],
        "an unclaimed box has no port of mail"
    );

    let front = browser.get("/")?;
    assert_eq!((front.status, front.field("location")), (303, Some("/setup")));
    let form = browser.clone().saying("Accept-Language", "cs").get("/setup")?;
    assert_eq!(form.status, 200);
    assert!(form.text.contains("Kód zařízení"), "{}", form.text);
    // AX2: a wrong code, none, and a page of somebody else.
    assert_eq!(claim(&browser, &wrong(&code), &anna)?.status, 403);
    assert_eq!(claim(&browser, "", &anna)?.status, 403);
    let foreign = browser.post_from("https://evil.test", "/setup", &[("code", &code)])?;
    assert_eq!(foreign.status, 403);
    assert_eq!(appliance.listening()?, [443]);

    let claimed = claim(&browser, &code.to_lowercase(), &anna)?;
    assert_eq!(
        (claimed.status, claimed.field("location")),
        (303, Some("/")),
        "{}",
        claimed.text
    );
    appliance.wait_for_mail()?;
    let mut listening = appliance.listening()?;
    listening.sort_unstable();
    assert_eq!(listening, [25, 443, 993]);
    let message = short_message(SENDER, &anna.address, "d39@client.example.org");
    appliance.deliver(&anna, &message)?;
    appliance.imap_of(&anna)?.ok("SELECT INBOX")?;

    // For ever: also behind a power cut.
    for _ in 0..2 {
        let browser = browser_of(appliance.as_ref())?;
        assert_eq!(browser.get("/setup")?.status, 410);
        assert_eq!(claim(&browser, &code, &anna)?.status, 410);
        let front = browser.get("/")?;
        assert_eq!(front.status, 200);
        assert!(front.text.contains("This box serves mail"), "{}", front.text);
        appliance.cut_power()?;
        appliance.start()?;
        appliance.imap_of(&anna)?.ok("SELECT INBOX")?;
    }
    Ok(())
}

/// AX2: five tries for the whole box; then the right code has to wait as well.
fn ax2_five_wrong_codes_lock_the_set_up_page(stage: &dyn Stage) -> Outcome {
    let appliance = new_box(stage)?;
    let (anna, browser) = (anna(), browser_of(appliance.as_ref())?);
    let code = code(appliance.as_ref())?;
    for number in 1..=5 {
        let refused = claim(&browser, &wrong(&code), &anna)?;
        assert_eq!(refused.status, 403, "{number}");
    }
    for _ in 0..2 {
        let locked = claim(&browser, &code, &anna)?;
        assert_eq!(locked.status, 429, "{}", locked.text);
        let seconds: u64 = locked
            .field("retry-after")
            .ok_or("it does not say how long")?
            .parse()?;
        assert!((1..=601).contains(&seconds), "{seconds}");
        assert!(browser.get("/setup")?.text.contains("too many wrong codes"));
    }
    assert_eq!(appliance.listening()?, [443]);
    Ok(())
}

/// AX2
fn ax2_of_two_claims_at_once_one_wins(stage: &dyn Stage) -> Outcome {
    let mut appliance = new_box(stage)?;
    let browser = browser_of(appliance.as_ref())?;
    let code = code(appliance.as_ref())?;
    let accounts = [Account::of("anna@firma.test"), Account::of("bob@jinde.test")];
    let answers: Vec<_> = std::thread::scope(|scope| {
        let claims: Vec<_> = accounts
            .iter()
            .map(|account| scope.spawn(|| claim(&browser, &code, account)))
            .collect();
        claims
            .into_iter()
            .map(|claim| claim.join().expect("it gives an error"))
            .collect()
    });
    let mut winner = None;
    for (answer, account) in answers.into_iter().zip(&accounts) {
        let answer = answer?;
        match answer.status {
            303 => assert!(winner.replace(account).is_none(), "two have won"),
            409 => assert!(answer.text.contains("Somebody was faster"), "{}", answer.text),
            410 => assert!(answer.text.contains("set up already"), "{}", answer.text),
            status => return Err(format!("{status}: {}", answer.text).into()),
        }
    }
    appliance.wait_for_mail()?;
    for account in &accounts {
        let login = appliance.imap_of(account);
        assert_eq!(login.is_ok(), Some(account) == winner, "{}", account.address);
    }
    Ok(())
}

/// AX1, AX9, D39
fn ax1_two_new_boxes_have_different_codes_and_keys(stage: &dyn Stage) -> Outcome {
    let (one, other) = (new_box(stage)?, new_box(stage)?);
    assert_ne!(code(one.as_ref())?, code(other.as_ref())?);
    assert_ne!(one.ca_pem(), other.ca_pem());
    Ok(())
}

/// D39: a box that a file has claimed behaves like one that a form has.
fn d39_a_claimed_box_has_no_setup_page(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    let browser = browser_of(appliance)?;
    assert_eq!(browser.get("/setup")?.status, 410);
    assert_eq!(claim(&browser, "CDF8J-6M2QV", &anna())?.status, 410);
    assert_eq!(browser.get("/")?.status, 200);
    assert!(!appliance.console().contains("belongs to nobody"));
    Ok(())
}

/// H6, AW14
fn aw14_the_web_answers_to_the_names_of_the_box_only(
    appliance: &dyn Appliance,
    _account: &Account,
) -> Outcome {
    let addr = appliance.addr(Service::Https);
    for (host, status) in [
        ("postolka.local", 200),
        ("localhost:8443", 200),
        ("evil.test", 421),
        ("postolka.local.evil.test", 421),
        ("", 400),
    ] {
        let mut conversation = Conversation::connect_tls(addr, appliance.tls()?, "localhost")?;
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        conversation.send(request.as_bytes())?;
        let answer = answer(&conversation.rest()?)?;
        assert_eq!(answer.status, status, "{host}: {}", answer.text);
    }
    Ok(())
}

/// RFC 9113 §3.2, RFC 7301: with a client that is not ours.
fn the_web_speaks_http_2_and_1_1(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    for (option, said) in [("--http2", "2 200"), ("--http1.1", "1.1 200")] {
        assert_eq!(tool::curl_web(appliance, option)?, said, "{option}");
    }
    Ok(())
}

/// D17, AW15
fn d17_a_head_that_drips_ends_and_one_that_is_too_large_is_refused(
    appliance: &dyn Appliance,
    _account: &Account,
) -> Outcome {
    let connect = || Conversation::connect_tls(appliance.addr(Service::Https), appliance.tls()?, "localhost");
    let mut large = connect()?;
    let field = format!("X-Large: {}\r\n", "x".repeat(4000));
    large.send(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", field.repeat(5)).as_bytes())?;
    assert_eq!(answer(&large.rest()?)?.status, 431);

    let mut dripping = connect()?;
    let begun = Instant::now();
    dripping.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n")?;
    while !dripping.closes_within(Duration::from_secs(1))? {
        assert!(begun.elapsed() < PATIENCE, "it waits for ever");
        // Somebody may have closed it since.
        let _ = dripping.send(b"X");
    }
    assert!(
        begun.elapsed() > Duration::from_secs(5),
        "a slow line is no attack"
    );
    Ok(())
}

fn the_pages_of_the_web_have_their_headers(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    let page = browser_of(appliance)?.get("/")?;
    let policy = page.field("content-security-policy").ok_or("no policy")?;
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.field("cache-control"), Some("no-store"));
    for absent in ["server", "x-powered-by", "strict-transport-security"] {
        assert_eq!(page.field(absent), None, "{absent}");
    }
    Ok(())
}
