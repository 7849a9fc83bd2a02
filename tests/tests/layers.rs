//! The walls of the house: which crate may use which, what lies at the top of the repository, and that the README of
//! each crate is there. Read from `cargo metadata`, so that no manifest can say otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What each crate of ours may use directly: in its program, its tests and its build.
///
/// `mail`, `wire` ← `store`, `auth`, `net` ← `delivery` ← `smtp`, `imap`, `web` ← `maild`. Protocols do not know each other.
/// PID 1 and netd know the contract between the processes and the board, and nothing of mail. Loader, init and builder
/// share one format of slots. What tests the box from outside knows that format, which is on the outside of the box, and
/// not its inside.
const MAY_USE: [(&str, &[&str]); 20] = [
    ("mail", &[]),
    ("wire", &["mail"]),
    ("store", &["mail", "wire"]),
    ("auth", &["mail", "wire", "store"]),
    ("net", &["mail", "wire"]),
    ("delivery", &["mail", "wire", "store", "auth", "net"]),
    ("smtp", &["mail", "wire", "store", "auth", "net", "delivery"]),
    ("imap", &["mail", "wire", "store", "auth", "net", "delivery"]),
    ("web", &["mail", "wire", "store", "auth", "net", "delivery"]),
    (
        "maild",
        &[
            "mail", "wire", "store", "auth", "net", "delivery", "smtp", "imap", "web", "handoff", "cage",
        ],
    ),
    ("handoff", &[]),
    ("cage", &[]),
    ("netd", &["handoff", "cage"]),
    ("init", &["handoff", "board", "format"]),
    ("board", &[]),
    ("format", &[]),
    ("loader", &["format"]),
    ("builder", &["board", "format"]),
    ("qemu", &["format"]),
    ("e2e", &["qemu", "format"]),
];

/// What a program must not even contain. Small programs stay small, and one AWS-LC is enough.
const MUST_NOT_LINK: [(&str, &[&str]); 3] = [
    (
        "init",
        &[
            "tokio",
            "rustls",
            "mail-parser",
            "redb",
            "aws-lc-sys",
            "hyper",
            "openssl-sys",
        ],
    ),
    (
        "netd",
        &[
            "tokio",
            "rustls",
            "mail-parser",
            "redb",
            "aws-lc-sys",
            "hyper",
            "openssl-sys",
        ],
    ),
    ("maild", &["ring", "openssl-sys", "native-tls"]),
];

/// Crates that bring no standard library with them.
const NO_STD: [&str; 4] = ["format", "loader", "handoff", "board"];

/// The top of the repository, as the map in the README draws it.
const TOP_LEVEL: [&str; 16] = [
    ".cargo",
    ".ci",
    ".config",
    ".gitignore",
    ".rustfmt.toml",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "board",
    "firmware",
    "image",
    "qemu",
    "rust-toolchain.toml",
    "tests",
];

#[test]
fn layers_point_one_way() {
    let workspace = Workspace::load();
    let rules: BTreeMap<&str, &[&str]> = MAY_USE.into_iter().collect();
    let mut wrong = Vec::new();
    for (name, package) in &workspace.members {
        let Some(allowed) = rules.get(name.as_str()) else {
            wrong.push(format!("{name} is in no layer: give it one in MAY_USE"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            // A dependency on a path is one of ours, by whatever name the manifest calls it.
            let used = dependency["name"].as_str().unwrap_or_default();
            let is_ours = !dependency["path"].is_null() || workspace.members.contains_key(used);
            if is_ours && used != name && !allowed.contains(&used) {
                wrong.push(format!("{name} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn small_programs_link_nothing_large() {
    for (program, banned) in MUST_NOT_LINK {
        let linked = linked_into(program);
        let names: BTreeSet<&str> = linked
            .iter()
            .filter_map(|package| package.split(' ').next())
            .collect();
        assert!(names.contains(program), "{program}: its tree was not read");
        let wrong: Vec<&&str> = banned.iter().filter(|name| names.contains(**name)).collect();
        assert!(wrong.is_empty(), "{program} links {wrong:?}");
    }
}

#[test]
fn aws_lc_is_linked_once() {
    let linked = linked_into("maild");
    let versions: Vec<&String> = linked
        .iter()
        .filter(|package| package.starts_with("aws-lc-sys "))
        .collect();
    assert!(versions.len() == 1, "{versions:?}");
}

#[test]
fn crates_of_the_boot_side_do_without_the_standard_library() {
    let workspace = Workspace::load();
    for name in NO_STD {
        let folder = workspace.folder(name).join("src");
        let source = ["lib.rs", "main.rs"]
            .iter()
            .find_map(|root| std::fs::read_to_string(folder.join(root)).ok())
            .expect("a crate has a root");
        assert!(source.contains("no_std"), "{name} is not no_std");
    }
}

#[test]
fn every_crate_has_a_readme_that_is_its_documentation() {
    let workspace = Workspace::load();
    for (name, package) in &workspace.members {
        let folder = workspace.folder(name);
        assert!(folder.join("README.md").is_file(), "{name} has no README.md");
        let roots = package["targets"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|target| {
                let kinds = target["kind"].as_array().into_iter().flatten();
                kinds.clone().any(|kind| kind == "lib" || kind == "bin")
            });
        // A library with a program beside it documents itself once, in the library.
        let texts: Vec<String> = roots
            .filter_map(|target| std::fs::read_to_string(target["src_path"].as_str()?).ok())
            .collect();
        let is_documentation = texts
            .iter()
            .any(|text| text.contains("#![doc = include_str!(\"../README.md\")]"));
        assert!(
            is_documentation,
            "the README.md of {name} is not its documentation"
        );
    }
}

#[test]
fn the_top_level_is_as_the_map_draws_it() {
    let workspace = Workspace::load();
    let output = Command::new("git")
        .args(["ls-tree", "--name-only", "HEAD"])
        .current_dir(workspace.root())
        .output()
        .expect("git is installed: this is its checkout");
    assert!(
        output.status.success(),
        "git: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("names at the top are ASCII");
    let found: BTreeSet<&str> = text.lines().collect();
    let expected: BTreeSet<&str> = TOP_LEVEL.into_iter().collect();
    let differ: Vec<&&str> = found.symmetric_difference(&expected).collect();
    assert!(differ.is_empty(), "too many or missing: {differ:?}");
}

struct Workspace {
    metadata: Value,
    members: BTreeMap<String, Value>,
}

impl Workspace {
    fn load() -> Workspace {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let output = Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--format-version",
                "1",
                "--locked",
                // The box; crates for other systems are neither linked nor downloaded.
                "--filter-platform",
                "aarch64-unknown-linux-musl",
                "--manifest-path",
            ])
            .arg(manifest)
            .output()
            .expect("cargo runs these tests, so it is there");
        assert!(
            output.status.success(),
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
        let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
        let is_member = |package: &Value| {
            let members = metadata["workspace_members"].as_array().into_iter().flatten();
            members.clone().any(|id| *id == package["id"])
        };
        let members = packages
            .iter()
            .filter(|package| is_member(package))
            .map(|package| {
                (
                    package["name"].as_str().unwrap_or_default().to_owned(),
                    package.clone(),
                )
            })
            .collect();
        Workspace { metadata, members }
    }

    fn root(&self) -> &Path {
        Path::new(
            self.metadata["workspace_root"]
                .as_str()
                .expect("cargo metadata tells the root"),
        )
    }

    fn folder(&self, member: &str) -> &Path {
        let manifest = self.members[member]["manifest_path"].as_str();
        manifest
            .and_then(|path| Path::new(path).parent())
            .expect("a member has a manifest in its folder")
    }
}

/// The crates (name and version) that end up in a program when it is built for the box. `cargo tree` and not the
/// metadata's graph: that one names optional dependencies that no feature has asked for.
fn linked_into(program: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--package", program, "--edges", "normal"])
        .args([
            "--target",
            "aarch64-unknown-linux-musl",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs these tests, so it is there");
    assert!(
        output.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("names of crates are ASCII");
    text.lines()
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .collect()
}
