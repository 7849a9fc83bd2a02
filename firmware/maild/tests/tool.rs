//! `maild check`, `rebuild`, `export` and `import` as whoever types them meets them: sentences and exit codes.
#![allow(clippy::unwrap_used)]

mod common;

use common::{GOOD, Running, deliver, dev, maild};
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;

/// Exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = maild().args(arguments).output().unwrap();
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    let said = (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    );
    assert!(!said.2.contains("panic"), "{said:?}");
    said
}

#[test]
fn a_box_that_runs_is_left_alone_and_one_that_was_stopped_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let provision = folder.path().join("postolka.toml");
    fs::write(&provision, GOOD).unwrap();
    let mut running = Running::start(&mut dev(folder.path(), Some(&provision)));
    running.ready();
    assert!(deliver(running.address("smtp"), "anna@firma.test").starts_with("250 "));
    let data = folder.path().join("data");
    let (data, to) = (data.to_str().unwrap(), folder.path().join("to"));
    let to = to.to_str().unwrap();
    let from = folder.path().join("from");
    fs::create_dir(&from).unwrap();
    let tools: [&[&str]; 4] = [
        &["check", data],
        &["rebuild", data],
        &["export", data, to],
        &[
            "import",
            data,
            from.to_str().unwrap(),
            "--account",
            "anna@firma.test",
        ],
    ];
    for tool in &tools[..3] {
        let (code, out, said) = run(tool);
        assert_eq!((code, out.as_str()), (1, ""), "{tool:?}: {said}");
        assert!(said.contains("is in use; stop the maild that uses it"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(
        !Path::new(to).exists(),
        "an export that could not be made left a folder"
    );
    running.signal(Signal::SIGTERM);
    assert!(running.end().0.success());

    for (tool, said) in tools
        .iter()
        .zip(["checked ", "the index was made anew: ", "exported 1 message to "])
    {
        let (code, out, told) = run(tool);
        assert_eq!(code, 0, "{tool:?}: {out}{told}");
        assert!(out.starts_with(said), "{out}");
    }
    let (code, _, said) = run(tools[3]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("neither an mbox nor a Maildir"), "{said}");
    // What was left out is exit code 3.
    fs::write(from.join("bad.mbox"), "no mbox\n").unwrap();
    let (code, out, said) = run(tools[3]);
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains("bad.mbox: it does not begin with \"From \""),
        "{said}"
    );
    assert!(out.starts_with("imported 0 messages"), "{out}");
}

#[test]
fn what_makes_no_sense_is_exit_code_2() {
    for arguments in [
        &["check"][..],
        &["check", "a", "b"],
        &["import", "a", "b"],
        &["export", "a", "b", "--format", "x"],
    ] {
        let (code, out, said) = run(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let (code, out, _) = run(&["check", "--help"]);
    assert_eq!(code, 0);
    assert!(out.contains("maild rebuild DIR"), "{out}");
    let (code, _, said) = run(&["check", "/nonexistent-folder"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("there is no store in /nonexistent-folder"),
        "{said}"
    );
}
