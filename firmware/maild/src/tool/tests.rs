//! The tools on a store, and what other programs make of what they write.

use super::*;
use mail::{Address, Flags, InternalDate, Keyword, MailboxName, Structure, SystemFlags, Timestamp};
use std::fs;
use std::process::Command;
use store::{Append, CreateMailbox, NewAccount, NewMessage, Provision};
use tempfile::TempDir;

struct Data {
    folder: TempDir,
}

fn wait<T>(doing: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(doing)
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn name(text: &str) -> MailboxName {
    MailboxName::parse(text).unwrap()
}

/// A message of this number: dots, `From `, 8-bit text, no end of the last line for some.
fn message(number: u32) -> Vec<u8> {
    let mut text = format!(
        "Return-Path: <eva@firma.test>\r\nFrom: eva@firma.test\r\nSubject: number {number}\r\n\r\n\
         P\u{159}\u{ed}li\u{161}\r\nFrom here on\r\n>From there\r\n.\r\n\r\n"
    );
    for line in 0..number * 7 % 50 {
        text.push_str("line ");
        text.push_str(&line.to_string());
        text.push_str("\r\n");
    }
    let mut message = text.into_bytes();
    if number >= RANDOM_FROM {
        let mut state = number;
        let octets = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        });
        message.extend(
            octets
                .filter(|octet| !matches!(octet, 0 | b'\r' | b'\n'))
                .take(4000),
        );
    }
    message
}

/// Messages from this number on have octets that cannot be compressed, and so stand in the log as they are.
const RANDOM_FROM: u32 = 1000;

impl Data {
    /// With these accounts and nothing in them.
    fn with(accounts: &[&str]) -> Data {
        let data = Data {
            folder: tempfile::tempdir().unwrap(),
        };
        let (store, _) = Store::open(&data.path().join("store"), store::Options::default()).unwrap();
        let new = |text: &&str| NewAccount {
            address: address(text),
            verifier: "x".to_owned(),
            quota_octets: None,
        };
        let domain = address(accounts[0]).domain;
        wait(store.provision(Provision {
            domains: vec![domain],
            accounts: accounts.iter().map(new).collect(),
            redirects: Vec::new(),
        }))
        .unwrap();
        data
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn fill(&self, account: &str, mailbox: &str, numbers: std::ops::Range<u32>) {
        let (store, _) = open(self.path()).unwrap();
        let view = store.view().unwrap();
        let account = view.account_by_address(&address(account)).unwrap().unwrap().id;
        let found = view.mailbox_by_name(account, &name(mailbox)).unwrap();
        let mailbox = found.map_or_else(
            || {
                wait(store.create_mailbox(CreateMailbox {
                    account,
                    name: name(mailbox),
                    special_use: None,
                }))
                .unwrap()
            },
            |mailbox| mailbox.id,
        );
        for number in numbers {
            let octets = message(number);
            let mut body = store.body();
            body.write(&octets).unwrap();
            let mut flags = Flags::system(SystemFlags(u8::try_from(number % 32).unwrap()));
            if number % 3 == 0 {
                flags.keywords.insert(Keyword::parse("work").unwrap());
                flags.keywords.insert(Keyword::parse("$Forwarded").unwrap());
            }
            wait(store.append(Append {
                account,
                mailbox,
                messages: vec![NewMessage {
                    body: body.seal().unwrap(),
                    structure: Structure::parse(&octets).encode(),
                    flags,
                    internal_date: InternalDate::utc(Timestamp(1_700_000_000 + i64::from(number))),
                }],
            }))
            .unwrap();
        }
        store.close();
    }

    /// Mailbox, octets, flags and date of each message, in their order.
    fn all(&self, account: &str) -> Vec<(String, Vec<u8>, Flags, i64)> {
        let (store, _) = open(self.path()).unwrap();
        let view = store.view().unwrap();
        let account = view.account_by_address(&address(account)).unwrap().unwrap().id;
        let mut all = Vec::new();
        for mailbox in view.mailboxes(account).unwrap() {
            for entry in view.entries(mailbox.id).unwrap() {
                let message = view.message(mailbox.id, entry.uid).unwrap().unwrap();
                let octets = view.body(&message).unwrap().read_to_vec().unwrap();
                all.push((
                    mailbox.name.to_string(),
                    octets,
                    entry.flags,
                    message.internal_date.timestamp().0,
                ));
            }
        }
        assert_eq!(store.check().unwrap().flaws, []);
        store.close();
        all
    }

    fn export(&self, to: &Path, more: &[&str]) -> Result<Report, ToolError> {
        let line = [&[self.path().to_str().unwrap(), to.to_str().unwrap()], more].concat();
        match parse("export", line.into_iter().map(str::to_owned))
            .unwrap()
            .unwrap()
        {
            Tool::Export(export) => export::export(&export),
            other => panic!("{other:?}"),
        }
    }

    fn import(&self, from: &Path, account: &str, more: &[&str]) -> Result<Report, ToolError> {
        let line = [
            &[
                self.path().to_str().unwrap(),
                from.to_str().unwrap(),
                "--account",
                account,
            ],
            more,
        ]
        .concat();
        match parse("import", line.into_iter().map(str::to_owned))
            .unwrap()
            .unwrap()
        {
            Tool::Import(import) => import::import(&import),
            other => panic!("{other:?}"),
        }
    }
}

const ANNA: &str = "anna@firma.test";
const BOB: &str = "bob@firma.test";

fn well(report: Result<Report, ToolError>) -> String {
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    assert!(!report.is_told, "{}", report.summary);
    report.summary
}

#[test]
fn mail_comes_back_from_both_formats_and_a_second_run_adds_nothing() {
    let data = Data::with(&[ANNA, BOB]);
    data.fill(ANNA, "INBOX", 0..40);
    data.fill(ANNA, "Ko\u{161}/a.b", 40..45);
    let expected = data.all(ANNA);
    assert_eq!(expected.len(), 45);
    for format in ["maildir", "mbox"] {
        let to = tempfile::tempdir().unwrap();
        let options = ["--format", format];
        assert!(well(data.export(to.path(), &options)).starts_with("exported 45 messages"));
        let again = well(data.export(to.path(), &options));
        assert!(
            again.contains("exported 0 messages") && again.contains("45 messages were there"),
            "{again}"
        );
        let other = Data::with(&[BOB]);
        let from = to.path().join(ANNA);
        assert!(well(other.import(&from, BOB, &[])).starts_with("imported 45 messages"));
        assert_eq!(other.all(BOB), expected, "{format}: not what it was");
        let again = well(other.import(&from, BOB, &[]));
        assert!(
            again.contains("imported 0 messages") && again.contains("45 messages were there"),
            "{again}"
        );
        assert_eq!(other.all(BOB).len(), 45);
    }
}

#[test]
fn what_has_come_since_is_added_and_flags_follow() {
    let data = Data::with(&[ANNA]);
    data.fill(ANNA, "INBOX", 0..10);
    for format in ["maildir", "mbox"] {
        let to = tempfile::tempdir().unwrap();
        well(data.export(to.path(), &["--format", format]));
        data.fill(ANNA, "INBOX", 10..12);
        let summary = well(data.export(to.path(), &["--format", format]));
        assert!(summary.starts_with("exported 2 messages"), "{format}: {summary}");
        let other = Data::with(&[BOB]);
        well(other.import(&to.path().join(ANNA), BOB, &[]));
        assert_eq!(other.all(BOB), data.all(ANNA));
    }
}

/// Cut at a random octet: what is half there is made whole, and nothing is there twice.
#[test]
fn an_export_that_was_cut_goes_on() {
    let data = Data::with(&[ANNA]);
    data.fill(ANNA, "INBOX", 0..20);
    let to = tempfile::tempdir().unwrap();
    well(data.export(to.path(), &["--format", "mbox"]));
    let path = to.path().join(ANNA).join("INBOX.mbox");
    let whole = fs::read(&path).unwrap();
    let place = path.with_file_name("INBOX.mbox.place");
    let validity = fs::read_to_string(&place)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    for octets in [0, 1, 1000, whole.len() - 1] {
        // What was written behind the last place that was written down.
        fs::write(&place, format!("{validity} 0 0\n")).unwrap();
        fs::write(&path, &whole[..octets]).unwrap();
        well(data.export(to.path(), &["--format", "mbox"]));
        assert_eq!(fs::read(&path).unwrap(), whole, "{octets}");
    }
    // An mbox of somebody else's is left alone.
    fs::remove_file(&place).unwrap();
    fs::write(&path, "From me\n\nmine\n").unwrap();
    assert!(data.export(to.path(), &["--format", "mbox"]).unwrap().is_told);
    assert_eq!(fs::read(&path).unwrap(), b"From me\n\nmine\n");

    let to = tempfile::tempdir().unwrap();
    well(data.export(to.path(), &[]));
    let cur = to.path().join(ANNA).join("cur");
    let mut names: Vec<_> = fs::read_dir(&cur)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    fs::remove_file(&names[3]).unwrap();
    fs::write(&names[4], "half").unwrap();
    let summary = well(data.export(to.path(), &[]));
    assert!(summary.starts_with("exported 2 messages"), "{summary}");
    let other = Data::with(&[BOB]);
    well(other.import(&to.path().join(ANNA), BOB, &[]));
    assert_eq!(other.all(BOB), data.all(ANNA));
}

/// Cut between two waits for the disk: a part is there.
#[test]
fn an_import_that_was_cut_goes_on_without_duplicates() {
    let data = Data::with(&[ANNA]);
    data.fill(ANNA, "INBOX", 0..30);
    // Two that are the same are two.
    data.fill(ANNA, "INBOX", 5..6);
    let to = tempfile::tempdir().unwrap();
    well(data.export(to.path(), &["--format", "mbox"]));
    let path = to.path().join(ANNA).join("INBOX.mbox");
    let whole = fs::read(&path).unwrap();
    let half = to.path().join("half.mbox");
    let cut = whole.len() / 2;
    let at = cut + whole[cut..].windows(6).position(|six| six == b"\nFrom ").unwrap() + 1;
    fs::write(&half, &whole[..at]).unwrap();
    let other = Data::with(&[BOB]);
    well(other.import(&half, BOB, &[]));
    let part = other.all(BOB).len();
    assert!((5..30).contains(&part));
    let summary = well(other.import(&path, BOB, &[]));
    assert!(
        summary.contains(&format!("{part} messages were there")),
        "{summary}"
    );
    assert_eq!(other.all(BOB), data.all(ANNA));
}

#[test]
fn bad_input_is_told_counted_and_left_out() {
    let from = tempfile::tempdir().unwrap();
    for folder in ["cur", "new", ".a..b/cur"] {
        fs::create_dir_all(from.path().join(folder)).unwrap();
    }
    let file = |name: &str, octets: &[u8]| fs::write(from.path().join(name), octets).unwrap();
    file("cur/1.good:2,S", b"Subject: good\n\nx\n");
    file("new/2.new", b"Subject: new\n\n\xff\0\n");
    file("cur/3.empty:2,", b"");
    fs::create_dir(from.path().join("cur/4.folder")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", from.path().join("cur/5.link")).unwrap();
    let large = usize::try_from(wire::limits::MESSAGE_OCTETS_MAX).unwrap() + 1;
    file("cur/6.large:2,", &vec![b'x'; large]);
    file("not.mbox", b"Subject: no mbox\n\n");
    let data = Data::with(&[ANNA]);
    let report = data.import(from.path(), ANNA, &["--mailbox", "Old"]).unwrap();
    assert!(report.is_told);
    assert!(
        report.summary.starts_with("imported 2 messages"),
        "{}",
        report.summary
    );
    assert!(
        report.summary.contains("6 things could not be imported"),
        "{}",
        report.summary
    );
    let all = data.all(ANNA);
    let seen: Vec<_> = all
        .iter()
        .map(|(mailbox, octets, flags, _)| (mailbox.as_str(), octets.as_slice(), flags.system))
        .collect();
    assert_eq!(
        seen,
        [
            ("Old", &b"Subject: good\r\n\r\nx\r\n"[..], SystemFlags::SEEN),
            ("Old", b"Subject: new\r\n\r\n\xff\0\r\n", SystemFlags::default()),
        ]
    );
}

/// What Python's library of the two formats reads is what we wrote.
#[test]
fn another_program_reads_what_was_exported() {
    const PROGRAM: &str = r"
import mailbox, sys
kind, path = sys.argv[1:]
box = mailbox.Maildir(path, create=False) if kind == 'maildir' else mailbox.mbox(path, create=False)
for key in sorted(box.keys()):
    message = box[key]
    print(message['Subject'], ''.join(sorted(message.get_flags())), message.get_payload(decode=False).count('line '))
if kind == 'maildir':
    print(sorted(box.list_folders()))
";
    let data = Data::with(&[ANNA]);
    data.fill(ANNA, "INBOX", 0..9);
    data.fill(ANNA, "Sent/2024", 9..10);
    for (format, place) in [
        ("maildir", ANNA.to_owned()),
        ("mbox", format!("{ANNA}/INBOX.mbox")),
    ] {
        let to = tempfile::tempdir().unwrap();
        well(data.export(to.path(), &["--format", format]));
        let python = Command::new("python3")
            .args(["-c", PROGRAM, format])
            .arg(to.path().join(place))
            .output()
            .expect("python3 is installed");
        let said = String::from_utf8_lossy(&python.stdout).into_owned();
        assert!(
            python.status.success(),
            "{}",
            String::from_utf8_lossy(&python.stderr)
        );
        let mut lines: Vec<&str> = said.lines().collect();
        if format == "maildir" {
            let folders = lines.pop().unwrap();
            assert!(folders.contains("'Sent.2024'"), "{folders}");
        }
        assert_eq!(lines.len(), 9, "{said}");
        for (number, line) in lines.iter().enumerate() {
            let system = SystemFlags(u8::try_from(number).unwrap());
            let is_maildir = format == "maildir";
            let letters = if is_maildir {
                ["R", "F", "T", "S", "D"]
            } else {
                ["A", "F", "D", "RO", "T"]
            };
            let set = SystemFlags::NAMES.iter().zip(letters);
            let mut expected: Vec<char> = set
                .filter(|((flag, _), _)| system.contains(*flag))
                .flat_map(|(_, letters)| letters.chars())
                .collect();
            if is_maildir && number % 3 == 0 {
                expected.extend("Pa".chars());
            }
            if !is_maildir && !system.contains(SystemFlags::SEEN) {
                expected.push('O');
            }
            expected.sort_unstable();
            let expected: String = expected.into_iter().collect();
            let count = number * 7 % 50;
            assert_eq!(*line, format!("number {number} {expected} {count}"));
        }
    }
}

/// A mailbox without a message is lost with the index as much as mail is.
#[test]
fn an_index_that_alone_knows_of_a_mailbox_is_not_made_anew() {
    let data = Data::with(&[ANNA]);
    data.fill(ANNA, "Fledermaus", 0..0);
    let mut hit = 0;
    for segment in fs::read_dir(data.path().join("store/log")).unwrap() {
        let segment = segment.unwrap().path();
        let mut octets = fs::read(&segment).unwrap();
        while let Some(at) = octets.windows(10).position(|found| found == b"Fledermaus") {
            octets[at] ^= 1;
            hit += 1;
        }
        fs::write(&segment, octets).unwrap();
    }
    assert!(hit > 0, "the mailbox is not in the log");
    let refused = check::rebuild(data.path()).err().unwrap().to_string();
    assert!(refused.contains("was left as it is"), "{refused}");
    let (store, _) = open(data.path()).unwrap();
    let view = store.view().unwrap();
    let account = view.account_by_address(&address(ANNA)).unwrap().unwrap().id;
    assert!(
        view.mailbox_by_name(account, &name("Fledermaus"))
            .unwrap()
            .is_some()
    );
}

#[test]
fn check_and_rebuild_say_what_they_found() {
    let data = Data::with(&[ANNA]);
    data.fill(ANNA, "INBOX", 0..5);
    let before = data.all(ANNA);
    assert!(well(check::check(data.path())).contains("checked 5 messages"));
    fs::write(data.path().join("store/index.redb"), b"rubbish").unwrap();
    let summary = well(check::rebuild(data.path()));
    assert_eq!(summary, "the index was made anew: 1 account, 5 messages");
    assert_eq!(data.all(ANNA), before);
    assert!(!data.path().join("store/index.before").exists());

    // One octet of a message has rotted.
    data.fill(ANNA, "INBOX", RANDOM_FROM..RANDOM_FROM + 1);
    let rotten = message(RANDOM_FROM)[3000..3016].to_vec();
    let log = fs::read_dir(data.path().join("store/log")).unwrap();
    let mut hit = 0;
    for segment in log.map(|entry| entry.unwrap().path()) {
        let mut octets = fs::read(&segment).unwrap();
        while let Some(at) = octets.windows(16).position(|found| found == rotten) {
            octets[at] ^= 1;
            hit += 1;
        }
        fs::write(&segment, octets).unwrap();
    }
    assert!(hit > 0, "the message is not in the log as it is");
    let report = check::check(data.path()).unwrap();
    assert!(
        report.is_told && report.summary.contains("named above"),
        "{}",
        report.summary
    );
    // Made anew, the index would not even know that there was such a message.
    let refused = check::rebuild(data.path()).err().unwrap().to_string();
    assert!(refused.contains("was left as it is"), "{refused}");
    let to = tempfile::tempdir().unwrap();
    let report = data.export(to.path(), &[]).unwrap();
    assert!(
        report.is_told && report.summary.starts_with("exported 5 messages"),
        "{}",
        report.summary
    );
}

#[test]
fn a_store_in_use_and_one_that_is_not_there_are_told() {
    let data = Data::with(&[ANNA]);
    let (store, _) = open(data.path()).unwrap();
    let to = tempfile::tempdir().unwrap();
    let errors = [
        check::check(data.path()).err(),
        check::rebuild(data.path()).err(),
        data.export(to.path(), &[]).err(),
        data.import(to.path(), ANNA, &[]).err(),
    ];
    for error in &errors[..3] {
        let said = error.as_ref().unwrap().to_string();
        assert!(said.contains("is in use; stop the maild"), "{said}");
    }
    assert!(
        errors[3]
            .as_ref()
            .unwrap()
            .to_string()
            .contains("neither an mbox nor a Maildir")
    );
    store.close();
    drop(store);
    let none = tempfile::tempdir().unwrap();
    let said = check::check(none.path()).err().unwrap().to_string();
    assert!(said.contains("there is no store in"), "{said}");
    assert_eq!(
        fs::read_dir(none.path()).unwrap().count(),
        0,
        "something was made"
    );
    let said = data
        .export(to.path(), &["--account", BOB])
        .err()
        .unwrap()
        .to_string();
    assert!(said.contains("there is no account bob@firma.test"), "{said}");
}
