//! What the file may say, and the words for what is wrong.
#![allow(clippy::unwrap_used)]

use super::{LimitsTable, Password, Plan, parse};
use std::fmt::Write;

const GOOD: &str = r#"
host_name = "Mail.Firma.cz"

[[domain]]
name = "firma.cz"

[[domain]]
name = "háčky.cz"

[[mailbox]]
address = "anna@firma.cz"
password = "kněž \"na\\ koni\""

[[mailbox]]
address = "Bob@Háčky.cz"
password_hash = "{SSHA}iL74DoQHptXJJSGJBLJUK+t/MhoBAv7/"
quota = "2 GiB"

[[mailbox]]
address = "eva@firma.cz"
password = "dlouhé heslo"
quota = 1048576

[[redirect]]
address = "info@firma.cz"
targets = ["anna@firma.cz", "prodej@firma.cz"]

[[redirect]]
address = "prodej@firma.cz"
targets = ["bob@xn--hky-ela4t.cz"]

[[redirect]]
address = "anna@firma.cz"
targets = ["anna@firma.cz", "eva@firma.cz"]

[limits]
connections_per_address = 2000
login_failures = 0
"#;

fn good(text: &str) -> Plan {
    parse(text.as_bytes()).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// What is said to a file with `addition` behind one domain and one mailbox, whose lines are 1 to 5.
fn said(addition: &str) -> String {
    let text = format!(
        "[[domain]]\nname = \"firma.cz\"\n[[mailbox]]\naddress = \"anna@firma.cz\"\npassword = \"dlouhé heslo\"\n{addition}"
    );
    match parse(text.as_bytes()) {
        Ok(plan) => panic!("it was taken: {plan:?}"),
        Err(mistakes) => mistakes.to_string(),
    }
}

fn check(addition: &str, expected: &str) {
    assert_eq!(said(addition), expected, "{addition}");
}

#[test]
fn a_good_file_means_what_it_says() {
    let plan = good(GOOD);
    assert_eq!(plan.host_name.unwrap().as_str(), "mail.firma.cz");
    let domains: Vec<&str> = plan.domains.iter().map(mail::Domain::as_str).collect();
    assert_eq!(domains, ["firma.cz", "xn--hky-ela4t.cz"]);
    let mailboxes: Vec<_> = plan
        .mailboxes
        .iter()
        .map(|mailbox| (mailbox.address.to_string(), mailbox.quota_octets))
        .collect();
    assert_eq!(
        mailboxes,
        [
            ("anna@firma.cz".to_owned(), None),
            ("Bob@xn--hky-ela4t.cz".to_owned(), Some(2 << 30)),
            ("eva@firma.cz".to_owned(), Some(1 << 20)),
        ]
    );
    let Password::Plain(password) = &plan.mailboxes[0].password else {
        panic!("a plain password was given")
    };
    assert_eq!(password.reveal(), "kněž \"na\\ koni\"");
    assert!(matches!(&plan.mailboxes[1].password, Password::Hash(hash) if hash.starts_with("{SSHA}")));
    assert_eq!(plan.redirects.len(), 3);
    assert_eq!(
        plan.limits,
        LimitsTable {
            connections: None,
            connections_per_address: Some(2000),
            login_failures: Some(0),
        }
    );
}

/// Limits alone are a file too: for a box that has its accounts.
#[test]
fn everything_may_be_left_out() {
    let plan = good("");
    assert!(plan.mailboxes.is_empty() && plan.host_name.is_none());
    good("[limits]\nconnections = 5000\n");
}

#[test]
fn the_log_goes_to_an_address_and_a_port() {
    let target = good("[log]\nsyslog = \"tcp:192.0.2.9:601\"\n").syslog;
    assert_eq!(target.unwrap().to_string(), "tcp:192.0.2.9:601");
    assert_eq!(good("[log]\n").syslog, None);
    for wrong in ["log.example.net:514", "192.0.2.9"] {
        check(
            &format!("[log]\nsyslog = \"{wrong}\"\n"),
            &format!(
                "line 7: \"{wrong}\" is not the address and port of a syslog receiver, such as \"192.0.2.9:514\", or \"tcp:192.0.2.9:601\""
            ),
        );
    }
    check(
        "[log]\nfile = \"x\"\n",
        "line 7: the key `file` is not known here; known are `syslog`",
    );
}

#[test]
fn keys_that_are_not_known_are_told_with_their_line() {
    check(
        "colour = \"blue\"\n",
        "line 6: the key `colour` is not known here; known are `address`, `password`, `password_hash`, `quota`",
    );
    check(
        "[surprise]\nx = 1\n",
        "line 6: the key `surprise` is not known here; known are `host_name`, `domain`, `mailbox`, `redirect`, `box`, `limits`, `log`",
    );
    check(
        "[limits]\nconnections = 10\nconnection = 5\n",
        "line 8: the key `connection` is not known here; known are `connections`, `connections_per_address`, `login_failures`",
    );
    check("[[domain]]\n", "line 6: here the key `name` is missing");
}

/// A value of the wrong type is not printed: it may be a password.
#[test]
fn wrong_types_are_told_without_the_value() {
    check(
        "[[mailbox]]\naddress = \"bob@firma.cz\"\npassword = 1234567890\n",
        "line 8: this is not a string",
    );
    check(
        "[[redirect]]\naddress = \"info@firma.cz\"\ntargets = \"anna@firma.cz\"\n",
        "line 8: this is not a sequence",
    );
    check("[limits]\nconnections = \"many\"\n", "line 7: this is not u32");
    check("[limits]\nconnections = -1\n", "line 7: this is not u32");
    check(
        "quota = \"much\"\n",
        "line 6: a quota is a number of octets, or a text such as \"500 MiB\" or \"2 GiB\"",
    );
    check(
        "quota = true\n",
        "line 6: a quota is a number of octets, or a text such as \"500 MiB\" or \"2 GiB\"",
    );
    check(
        "quota = 0\n",
        "line 6: a quota is a number of octets, or a text such as \"500 MiB\" or \"2 GiB\"",
    );
    check(
        "quota = \"99999999999 GiB\"\n",
        "line 6: a quota is a number of octets, or a text such as \"500 MiB\" or \"2 GiB\"",
    );
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    let said = said("\n[[domain]\nname = \"x.cz\"\n");
    assert!(said.starts_with("line 7: ") && !said.contains('\n'), "{said}");
    let mistakes = parse(b"host_name = \"\xff\"\n").unwrap_err().to_string();
    assert_eq!(mistakes, "line 1: the file is not in UTF-8");
    let mistakes = parse(&vec![b'\n'; 70_000]).unwrap_err().to_string();
    assert_eq!(mistakes, "line 1: the file is larger than 64 KiB");
    // Behind a string that is not closed, nothing of it is printed.
    let broken = parse(b"[[mailbox]]\npassword = \"secret words\naddress = 1\n")
        .unwrap_err()
        .to_string();
    assert!(
        broken.starts_with("line 2: ") && !broken.contains("secret"),
        "{broken}"
    );
}

/// C3
#[test]
fn c3_a_catch_all_is_refused() {
    for address in ["*@firma.cz", "@firma.cz", "a*@firma.cz"] {
        check(
            &format!("[[redirect]]\naddress = \"{address}\"\ntargets = [\"anna@firma.cz\"]\n"),
            &format!(
                "line 7: \"{address}\" would be a catch-all, which there is none: name each address in a [[redirect]]"
            ),
        );
    }
    assert!(
        said("[[mailbox]]\naddress = \"*@firma.cz\"\npassword = \"dlouhé heslo\"\n").contains("catch-all")
    );
}

/// H4
#[test]
fn h4_domains_whose_server_names_collide_are_refused() {
    check(
        "[[domain]]\nname = \"a.b.cz\"\n[[domain]]\nname = \"a--b.cz\"\n",
        "line 9: the domain a--b.cz cannot be beside a.b.cz: both would have the server name a--b--cz",
    );
}

#[test]
fn what_stands_twice_is_refused_in_any_spelling() {
    check(
        "[[domain]]\nname = \"FIRMA.cz.\"\n",
        "line 7: the domain firma.cz stands in line 2 already",
    );
    check(
        "[[mailbox]]\naddress = \"ANNA@firma.cz\"\npassword = \"jiné heslo\"\n",
        "line 7: the mailbox ANNA@firma.cz stands in line 4 already",
    );
    check(
        "[[redirect]]\naddress = \"a@firma.cz\"\ntargets = [\"anna@firma.cz\"]\n[[redirect]]\naddress = \"A@firma.cz\"\ntargets = [\"anna@firma.cz\"]\n",
        "line 10: the redirect A@firma.cz stands in line 7 already",
    );
    check(
        "[[redirect]]\naddress = \"a@firma.cz\"\ntargets = [\"anna@firma.cz\", \"Anna@firma.cz\"]\n",
        "line 8: Anna@firma.cz is a target of this redirect already",
    );
}

#[test]
fn addresses_belong_to_a_domain_of_the_file() {
    check(
        "[[mailbox]]\naddress = \"bob@elsewhere.cz\"\npassword = \"jiné heslo\"\n",
        "line 7: there is no [[domain]] with the name elsewhere.cz",
    );
    check(
        "[[redirect]]\naddress = \"info@elsewhere.cz\"\ntargets = [\"anna@firma.cz\"]\n",
        "line 7: there is no [[domain]] with the name elsewhere.cz",
    );
    check(
        "[[mailbox]]\naddress = \"no address\"\npassword = \"jiné heslo\"\n",
        "line 7: \"no address\" is not an address: an address has the form name@domain",
    );
    check(
        "[[domain]]\nname = \"a b.cz\"\n",
        "line 7: \"a b.cz\" is not a domain name",
    );
    let mistakes = parse(b"[[mailbox]]\naddress = \"a@b.cz\"\npassword = \"dlouhe heslo\"\n").unwrap_err();
    assert_eq!(
        mistakes.to_string(),
        "line 2: there is no [[domain]], so no mailbox can be in one"
    );
}

#[test]
fn a_password_is_one_and_is_not_printed() {
    let bob = |rest: &str| said(&format!("[[mailbox]]\naddress = \"bob.novak@firma.cz\"\n{rest}"));
    for (password, expected) in [
        ("", "is empty"),
        ("x", "is shorter than 8 characters"),
        ("žížala7", "is shorter than 8 characters"),
        ("aaaaaaaaaaaa", "is one character over and over"),
        ("Heslo1234", "is one that everybody tries first"),
        ("Bob.Novak", "is in the address"),
    ] {
        let said = bob(&format!("password = \"{password}\"\n"));
        assert_eq!(said, format!("line 8: the password {expected}"));
    }
    assert_eq!(
        bob("password = \"dlouhé heslo\"\npassword_hash = \"{SHA}x\"\n"),
        "line 8: password and password_hash exclude each other"
    );
    assert_eq!(
        bob(""),
        "line 7: this mailbox has neither password nor password_hash"
    );
    assert_eq!(
        bob("password_hash = \"$6$salt$short\"\n"),
        "line 8: this password hash is incomplete or damaged"
    );
    assert!(
        bob("password_hash = \"secret words\"\n")
            .starts_with("line 8: this kind of password hash is not known")
    );
    assert_eq!(
        bob(
            "password_hash = \"$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"\n"
        ),
        "line 8: this password hash costs more than the box can afford at each login"
    );
}

/// R3, R4
#[test]
fn r4_a_redirect_leads_to_mailboxes() {
    let redirect = |address: &str, target: &str| {
        format!("[[redirect]]\naddress = \"{address}@firma.cz\"\ntargets = [\"{target}\"]\n")
    };
    check(
        &redirect("info", "anna@gmail.com"),
        "line 8: anna@gmail.com is in none of the domains here, and mail cannot be sent on to other servers yet",
    );
    check(
        &redirect("info", "nobody@firma.cz"),
        "line 8: there is no mailbox nobody@firma.cz and no other redirect of that address",
    );
    check(
        &redirect("info", "info@firma.cz"),
        "line 8: there is no mailbox info@firma.cz and no other redirect of that address",
    );
    check(
        &(redirect("a", "b@firma.cz") + &redirect("b", "a@firma.cz")),
        "line 8: this redirect leads in a circle\nline 11: this redirect leads in a circle",
    );
    check(
        "[[redirect]]\naddress = \"info@firma.cz\"\ntargets = []\n",
        "line 8: a redirect has 1 to 100 targets",
    );
    let chain = |length: usize| {
        let mut text = String::new();
        for number in 1..length {
            text += &redirect(&format!("r{number}"), &format!("r{}@firma.cz", number + 1));
        }
        text + &redirect(&format!("r{length}"), "anna@firma.cz")
    };
    let with_anna = |addition: &str| {
        format!(
            "[[domain]]\nname = \"firma.cz\"\n[[mailbox]]\naddress = \"anna@firma.cz\"\npassword = \"dlouhé heslo\"\n{addition}"
        )
    };
    good(&with_anna(&chain(10)));
    check(
        &chain(11),
        "line 8: this redirect leads through more than 10 others",
    );
    // Itself and others: its mailbox keeps a copy.
    good(&with_anna(
        "[[redirect]]\naddress = \"anna@firma.cz\"\ntargets = [\"anna@firma.cz\"]\n",
    ));
}

/// A tree of redirects with very many ways through it is checked in no time.
#[test]
fn as18_many_ways_to_one_address_are_walked_once() {
    let mut text = String::new();
    for level in 1..10 {
        for side in 0..12 {
            let targets: Vec<String> = (0..20)
                .map(|side| format!("\"l{}s{side}@firma.cz\"", level + 1))
                .collect();
            let _ = write!(
                text,
                "[[redirect]]\naddress = \"l{level}s{side}@firma.cz\"\ntargets = [{}]\n",
                targets.join(", ")
            );
        }
    }
    for side in 0..12 {
        let _ = write!(
            text,
            "[[redirect]]\naddress = \"l10s{side}@firma.cz\"\ntargets = [\"nobody@firma.cz\"]\n"
        );
    }
    let said = said(&text);
    assert!(said.contains("more mistakes"), "{said}");
}

#[test]
fn all_mistakes_are_told_in_the_order_of_their_lines() {
    check(
        "quota = \"?\"\n[[redirect]]\naddress = \"x\"\ntargets = []\n[[domain]]\nname = \"?\"\n[[domain]]\nname = \"!\"\n[[domain]]\nname = \"-\"\n",
        "line 6: a quota is a number of octets, or a text such as \"500 MiB\" or \"2 GiB\"\n\
         line 8: \"x\" is not an address: an address has the form name@domain\n\
         line 11: \"?\" is not a domain name\n\
         line 13: \"!\" is not a domain name\n\
         and one more mistake",
    );
}

/// The example of the README is a good file, but for its hash of dots.
#[test]
fn the_example_of_the_readme_is_good() {
    let readme = include_str!("../../README.md");
    let example = readme
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let example = example.replace("{SHA512-CRYPT}$6$...", "{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=");
    let plan = good(&example);
    assert_eq!((plan.mailboxes.len(), plan.redirects.len()), (2, 1));
}

const BOX: &str = "[box]\nname = \"Schranka\"\naddress = \"192.0.2.5/24\"\ngateway = \"192.0.2.1\"\ndns = [\"192.0.2.1\", \"198.51.100.53\"]\n";

#[test]
fn a_box_gets_its_name_and_its_fixed_address() {
    for plan in [good(BOX).this_box, super::parse_box(BOX.as_bytes()).unwrap()] {
        assert_eq!(plan.name.unwrap().as_str(), "schranka");
        let Some(handoff::Ipv4Settings::Static(network)) = plan.network else {
            panic!("it has a fixed address")
        };
        assert_eq!(
            (network.address.to_string().as_str(), network.prefix),
            ("192.0.2.5", 24)
        );
        assert_eq!(network.gateway.unwrap().to_string(), "192.0.2.1");
        assert_eq!(network.dns.len(), 2);
    }
    assert_eq!(good("[limits]\n").this_box, super::BoxPlan::default());
    assert_eq!(
        super::parse_box(b"# nothing\n").unwrap(),
        super::BoxPlan::default()
    );
}

#[test]
fn what_no_network_can_be_is_told_with_its_line() {
    let not = |value: &str| {
        format!("line 7: {value:?} is not an address with its prefix, such as \"192.0.2.5/24\"")
    };
    for (table, expected) in [
        ("name = \"a b\"", "line 7: \"a b\" is not a name for a box: letters, digits and inner hyphens, such as \"postolka-2\"".to_owned()),
        ("address = \"192.0.2.5\"", not("192.0.2.5")),
        ("address = \"192.0.2.5/+24\"", not("192.0.2.5/+24")),
        ("address = \"192.0.2.5/024\"", not("192.0.2.5/024")),
        ("address = \"192.0.2.5/240\"", "line 7: the prefix /240 is not between /8 and /32".to_owned()),
        ("address = \"192.0.2.5/0\"", not("192.0.2.5/0")),
        ("address = \"2001:db8::5/64\"", not("2001:db8::5/64")),
        ("address = \"192.0.2.0/24\"", "line 7: no machine can have the address 192.0.2.0/24".to_owned()),
        ("address = \"192.0.2.255/24\"", "line 7: no machine can have the address 192.0.2.255/24".to_owned()),
        ("address = \"127.0.0.1/8\"", "line 7: no machine can have the address 127.0.0.1/8".to_owned()),
        ("address = \"192.0.2.5/24\"\ngateway = \"192.0.3.1\"", "line 8: the gateway 192.0.3.1 is not in the network of 192.0.2.5/24".to_owned()),
        ("address = \"192.0.2.5/24\"\ngateway = \"192.0.2.5\"", "line 8: the box cannot be its own gateway".to_owned()),
        ("address = \"192.0.2.5/24\"\ndns = [\"224.0.0.1\"]", "line 8: \"224.0.0.1\" is not the IPv4 address of a machine".to_owned()),
        ("gateway = \"192.0.2.1\"", "line 7: a gateway is of use only with an address: without one the box asks a DHCP server for all of it".to_owned()),
        ("colour = \"blue\"", "line 7: the key `colour` is not known here; known are `name`, `address`, `gateway`, `dns`".to_owned()),
    ] {
        check(&format!("[box]\n{table}\n"), &expected);
    }
    let five = "address = \"192.0.2.5/24\"\ndns = [\"192.0.2.1\", \"192.0.2.2\", \"192.0.2.3\", \"192.0.2.4\", \"192.0.2.6\"]";
    check(
        &format!("[box]\n{five}\n"),
        "line 8: there are 4 DNS servers at most",
    );
}

/// DESIGN §7: from the boot partition come name and network only.
#[test]
fn the_boot_partition_brings_no_accounts() {
    for (addition, line) in [
        ("host_name = \"mail.firma.cz\"\n", 1),
        ("[[domain]]\nname = \"firma.cz\"\n", 2),
        (
            "[[mailbox]]\naddress = \"a@firma.cz\"\npassword = \"tajné a dlouhé\"\n",
            2,
        ),
        ("[[redirect]]\naddress = \"a@firma.cz\"\ntargets = []\n", 2),
        ("[limits]\nconnections = 7\n", 1),
        ("[log]\nsyslog = \"192.0.2.9:514\"\n", 1),
    ] {
        let refused = super::parse_box(format!("{addition}{BOX}").as_bytes()).unwrap_err();
        assert_eq!(refused.0.len(), 1, "{refused}");
        assert_eq!(refused.0[0].line, line, "{refused}");
        assert!(refused.0[0].text.contains("only [box]"), "{refused}");
    }
}
