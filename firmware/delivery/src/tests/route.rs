//! Where mail goes.

use super::*;

/// C1, C2, R3, L1
#[tokio::test]
async fn c1_mail_goes_to_accounts_and_redirects_and_nowhere_else() {
    let house = house(&[
        (
            "office@firma.test",
            &["anna@firma.test", "bob@firma.test", "ANNA@firma.test"],
        ),
        ("bob@firma.test", &["bob@firma.test", "anna@firma.test"]),
        ("info@dilna.test", &["office@firma.test", "cyril@dilna.test"]),
        ("old@firma.test", &["nobody@firma.test", "anna@firma.test"]),
    ])
    .await;
    let (anna, bob, cyril) = ("anna@firma.test", "bob@firma.test", "cyril@dilna.test");
    assert_eq!(house.route("Anna@FIRMA.test").unwrap(), [anna]);
    assert_eq!(
        house.route("bob@firma.test").unwrap(),
        [bob, anna],
        "keeps a copy"
    );
    assert_eq!(house.route("office@firma.test").unwrap(), [anna, bob]);
    assert_eq!(house.route("info@dilna.test").unwrap(), [cyril, anna, bob]);
    assert_eq!(
        house.route("old@firma.test").unwrap(),
        [anna],
        "one target is unknown"
    );
    for unknown in [
        "nobody@firma.test",
        "anna@dilna.test",
        "anna+x@firma.test",
        "\"*\"@firma.test",
    ] {
        assert!(
            matches!(house.route(unknown), Err(RouteError::UnknownUser)),
            "{unknown}"
        );
    }
    for foreign in [
        "anna@example.test",
        "anna@sub.firma.test",
        "anna@test",
        "anna@box.firma.test",
    ] {
        assert!(
            matches!(house.route(foreign), Err(RouteError::NotHosted)),
            "{foreign}"
        );
    }
    let literal = Address {
        domain: Domain::literal("127.0.0.1".parse().unwrap()),
        ..address("anna@firma.test")
    };
    let routed = house.delivery.route(ForwardPath::Address(literal), None);
    assert!(matches!(routed, Err(RouteError::NotHosted)));
}

/// AS17, AS18, R4
#[tokio::test]
async fn as18_circles_and_crowds_of_redirects_end() {
    let names: Vec<String> = (0..=12)
        .map(|number| format!("step{number}@firma.test"))
        .collect();
    let steps: Vec<[&str; 1]> = names.iter().skip(1).map(|name| [name.as_str()]).collect();
    let mut redirects: Vec<(&str, &[&str])> = names
        .iter()
        .zip(&steps)
        .map(|(name, next)| (name.as_str(), &next[..]))
        .collect();
    redirects.extend([
        ("step12@firma.test", &["anna@firma.test"][..]),
        ("one@firma.test", &["two@firma.test"]),
        ("two@firma.test", &["one@firma.test"]),
        (
            "three@firma.test",
            &["one@firma.test", "three@firma.test", "anna@firma.test"],
        ),
        ("itself@firma.test", &["itself@firma.test"]),
        ("far@firma.test", &["anna@example.test"]),
        ("near@firma.test", &["anna@firma.test", "far@firma.test"]),
    ]);
    let house = house(&redirects).await;
    for circle in ["one@firma.test", "two@firma.test", "itself@firma.test"] {
        assert!(matches!(house.route(circle), Err(RouteError::Loop)), "{circle}");
    }
    assert_eq!(house.route("three@firma.test").unwrap(), ["anna@firma.test"]);
    assert_eq!(
        house.route("step3@firma.test").unwrap(),
        ["anna@firma.test"],
        "ten expansions"
    );
    assert!(
        matches!(house.route("step2@firma.test"), Err(RouteError::Loop)),
        "eleven"
    );
    for outside in ["far@firma.test", "near@firma.test"] {
        assert!(
            matches!(house.route(outside), Err(RouteError::Outside)),
            "{outside}"
        );
    }
}

/// AS18: a tree of redirects with a million leaves is not walked.
#[tokio::test]
async fn as18_a_tree_of_redirects_is_cut_down() {
    let names: Vec<Vec<String>> = (0..=9)
        .map(|level| {
            (0..1 << level)
                .map(|place| format!("n{level}-{place}@firma.test"))
                .collect()
        })
        .collect();
    let mut redirects = Vec::new();
    for level in names.windows(2) {
        for (place, name) in level[0].iter().enumerate() {
            redirects.push((
                name.as_str(),
                vec![level[1][2 * place].as_str(), level[1][2 * place + 1].as_str()],
            ));
        }
    }
    // Each of the 512 leaves leads to five unknown users.
    let unknown: Vec<String> = (0..5 * 512).map(|place| format!("u{place}@firma.test")).collect();
    for (leaf, targets) in names[9].iter().zip(unknown.chunks(5)) {
        redirects.push((leaf.as_str(), targets.iter().map(String::as_str).collect()));
    }
    let redirects: Vec<(&str, &[&str])> = redirects
        .iter()
        .map(|(name, targets)| (*name, &targets[..]))
        .collect();
    let house = house(&redirects).await;
    assert!(matches!(
        house.route("n0-0@firma.test"),
        Err(RouteError::TooManyTargets)
    ));
    assert!(matches!(
        house.route("n9-0@firma.test"),
        Err(RouteError::UnknownUser)
    ));
}

/// C6: somebody always reads what is written to postmaster and abuse.
#[tokio::test]
async fn c6_duties_always_have_a_reader() {
    let house = house(&[
        ("abuse@firma.test", &["bob@firma.test"]),
        ("postmaster@dilna.test", &["postmaster@dilna.test"]),
        ("abuse@dilna.test", &["far@example.test"]),
    ])
    .await;
    assert_eq!(house.route("Postmaster@firma.test").unwrap(), ["anna@firma.test"]);
    assert_eq!(house.route("ABUSE@firma.test").unwrap(), ["bob@firma.test"]);
    assert_eq!(
        house.route("postmaster@dilna.test").unwrap(),
        ["cyril@dilna.test"]
    );
    assert_eq!(house.route("abuse@dilna.test").unwrap(), ["cyril@dilna.test"]);
    let bare = house.delivery.route(ForwardPath::Postmaster, None).unwrap();
    assert_eq!(bare.targets[0].address, address("anna@firma.test"));
    let foreign = house.route("postmaster@example.test");
    assert!(matches!(foreign, Err(RouteError::NotHosted)));
    // No quota stands before a duty.
    let large = house
        .delivery
        .route(path("postmaster@dilna.test"), Some(1_000_000));
    assert_eq!(large.unwrap().targets[0].address, address("cyril@dilna.test"));
}
