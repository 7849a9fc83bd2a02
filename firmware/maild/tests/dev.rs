//! `maild --data` as whoever develops meets it.
#![allow(clippy::unwrap_used)]

mod common;

use common::{GOOD, Running, connect, deliver, deliver_text, dev, maild};
use nix::sys::signal::Signal;
use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("postolka.toml");
    fs::write(&path, text).unwrap();
    path
}

/// Runs it to its end, which is an error; gives what it said, which is short.
fn refused(command: &mut Command) -> String {
    let (status, said) = Running::start(command).end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(!said.contains("LISTENING") && !said.contains("panic"), "{said}");
    assert!(said.lines().count() <= 5, "not a sentence: {said}");
    said
}

#[test]
fn it_says_where_it_listens_serves_and_stops_on_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let provision = file(folder.path(), GOOD);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut running = Running::start(&mut dev(folder.path(), Some(&provision)));
        running.ready();
        running.wait_for("self-test", |line| line.contains("self-test passed after "));
        let reply = deliver(running.address("smtp"), "anna@firma.test");
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
        let reply = deliver(running.address("smtp"), "nobody@firma.test");
        assert!(reply.starts_with("550 5.1.1"), "{reply}");
        let (mut idle, greeting) = connect(running.address("smtp"));
        assert!(greeting.starts_with("220 postolka.local "), "{greeting}");
        running.signal(signal);
        let mut goodbye = String::new();
        idle.read_to_string(&mut goodbye).unwrap();
        assert!(goodbye.starts_with("421 "), "{goodbye}");
        let (status, said) = running.end();
        assert!(status.success(), "{said}");
    }
    let public = fs::read_to_string(folder.path().join("data/ca.pem")).unwrap();
    assert!(public.starts_with("-----BEGIN CERTIFICATE-----"));
}

/// Nothing of a file with a mistake is applied.
#[test]
fn a_wrong_file_changes_nothing_and_the_next_one_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = file(
        folder.path(),
        &format!("{GOOD}\n[[mailbox]]\naddress = \"*@firma.test\"\npassword = \"x\"\n"),
    );
    let said = refused(&mut dev(folder.path(), Some(&wrong)));
    assert!(said.contains("line 9: ") && said.contains("line 10: "), "{said}");
    let right = file(folder.path(), &GOOD.replace("anna", "eva"));
    let mut running = Running::start(&mut dev(folder.path(), Some(&right)));
    running.ready();
    let smtp = running.address("smtp");
    assert!(deliver(smtp, "anna@firma.test").starts_with("550 5.1.1"));
    assert!(deliver(smtp, "eva@firma.test").starts_with("250 "));
}

#[test]
fn a_box_with_accounts_leaves_the_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let named = format!("host_name = \"mail.firma.test\"\n{GOOD}");
    let mut running = Running::start(&mut dev(folder.path(), Some(&file(folder.path(), &named))));
    running.ready();
    running.signal(Signal::SIGTERM);
    assert!(running.end().0.success());
    let other = named
        .replace("anna", "eva")
        .replace("mail.firma.test", "other.firma.test");
    for provision in [Some(file(folder.path(), &other)), None] {
        let mut running = Running::start(&mut dev(folder.path(), provision.as_deref()));
        running.ready();
        let smtp = running.address("smtp");
        assert!(deliver(smtp, "eva@firma.test").starts_with("550 5.1.1"));
        assert!(deliver(smtp, "anna@firma.test").starts_with("250 "));
        // The name it got with its accounts.
        assert!(connect(smtp).1.starts_with("220 mail.firma.test "));
    }
}

/// The limits of the file hold at each start, for load tests.
#[test]
fn limits_are_lifted_and_lowered_by_the_file() {
    let folder = tempfile::tempdir().unwrap();
    for limit in [1, 3] {
        let text = format!("{GOOD}[limits]\nconnections_per_address = {limit}\n");
        let mut running = Running::start(&mut dev(folder.path(), Some(&file(folder.path(), &text))));
        running.ready();
        let smtp = running.address("smtp");
        let held: Vec<_> = (0..limit).map(|_| connect(smtp)).collect();
        assert!(held.iter().all(|(_, greeting)| greeting.starts_with("220 ")));
        assert!(connect(smtp).1.starts_with("421 4.7.0 Too many connections"));
    }
}

#[test]
fn what_keeps_it_from_starting_is_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();

    let said = refused(&mut dev(path, Some(&path.join("absent.toml"))));
    assert!(
        said.ends_with("absent.toml cannot be read: it is not there"),
        "{said}"
    );
    let said = refused(&mut dev(path, Some(path)));
    assert!(said.ends_with("cannot be read: it is a folder"), "{said}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let base = (port - 25).to_string();
    let said = refused(
        maild()
            .arg("--data")
            .arg(path.join("data"))
            .args(["--port-base", &base]),
    );
    assert!(
        said.contains(&format!(
            "127.0.0.1:{port} cannot be listened on: another program listens there"
        )),
        "{said}"
    );

    fs::write(path.join("data"), "a file where the folder should be").unwrap();
    let said = refused(&mut dev(path, None));
    assert!(said.contains("the data folder"), "{said}");
    assert_eq!(
        fs::read(path.join("data")).unwrap(),
        b"a file where the folder should be"
    );
}

#[test]
fn a_second_process_on_the_same_data_is_refused_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let provision = file(folder.path(), GOOD);
    let mut running = Running::start(&mut dev(folder.path(), Some(&provision)));
    running.ready();
    let said = refused(&mut dev(folder.path(), Some(&provision)));
    assert!(
        said.contains("another maild already uses the data folder"),
        "{said}"
    );
    assert!(deliver(running.address("smtp"), "anna@firma.test").starts_with("250 "));
}

#[test]
fn wrong_arguments_are_a_sentence_and_exit_code_2() {
    for (arguments, expected) in [
        (&["--dat", "x"][..], "there is no option"),
        (&[], "--data DIR says where"),
        (
            &["--data", "x", "--port-base", "65000"],
            "--port-base wants a number",
        ),
    ] {
        let (status, said) = Running::start(maild().args(arguments)).end();
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.starts_with("maild: ") && said.contains(expected), "{said}");
    }
    let (status, said) = Running::start(maild().arg("--help")).end();
    assert!(status.success() && said.contains("--port-base NUMBER"), "{said}");
}

/// D38: no password in the clear on the disk or in the log, also when it is refused.
#[test]
fn d38_no_password_is_kept_or_logged_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = file(
        folder.path(),
        &format!("{GOOD}\n[[mailbox]]\naddress = \"x\"\npassword = \"jiné tajné heslo\"\n"),
    );
    let said = refused(dev(folder.path(), Some(&wrong)).args(["--log", "debug"]));
    assert!(!said.contains("heslo"), "{said}");
    let provision = file(folder.path(), GOOD);
    let mut running = Running::start(dev(folder.path(), Some(&provision)).args(["--log", "debug"]));
    running.ready();
    running.signal(Signal::SIGTERM);
    let (_, said) = running.end();
    assert!(!said.contains("heslo"), "{said}");
    fs::remove_file(provision).unwrap();
    let mut files = 0;
    let mut folders = vec![folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let octets = fs::read(&path).unwrap();
            let canary = "tajné".as_bytes();
            assert!(
                !octets.windows(canary.len()).any(|window| window == canary),
                "{}",
                path.display()
            );
        }
    }
    assert!(files >= 5, "the canary was looked for in {files} files only");
}

/// Here a file cannot grow over 1 MiB, which is as good as a disk that fails.
#[test]
fn a_store_that_stops_writing_ends_it_with_a_sentence_and_the_next_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let program = dev(folder.path(), Some(&file(folder.path(), GOOD)));
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut house = Running::start(&mut command);
    house.ready();
    let smtp = house.address("smtp");
    // Text that does not get shorter: the digits of a sequence that never repeats.
    let mut state = 1_u64;
    let mut text = || {
        let mut text = String::new();
        while text.len() < 200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let _ = write!(text, "{:08x}\r\n", state >> 32);
        }
        text
    };
    let mut accepted = 0;
    let last = loop {
        let reply = deliver_text(smtp, "anna@firma.test", &text());
        if !reply.starts_with("250") {
            break reply;
        }
        accepted += 1;
        assert!(accepted < 100, "the disk does not fail");
    };
    assert!(last.starts_with("451 "), "{last}");
    let (status, said) = house.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("maild: the store stopped writing: "), "{said}");

    let mut again = Running::start(&mut dev(folder.path(), None));
    again.ready();
    assert!(deliver(again.address("smtp"), "anna@firma.test").starts_with("250"));
    assert!(accepted > 0);
}
