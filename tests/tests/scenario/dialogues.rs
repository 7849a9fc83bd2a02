//! The dialogues of the protocols, as they stand beside their code, on a real box: whole, octet by octet and cut.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use e2e::client::tls;
use e2e::dialogue::{Dialogue, Way};
use e2e::runner::Outcome;
use e2e::{Conversation, Office, Plan, Service, Stage};
use rustls::ClientConfig;

e2e::scenarios![; own
    smtp_dialogues_run_on_the_box,
    imap_dialogues_run_on_the_box,
];

/// Cuts of one dialogue on a machine; a process takes forty.
const CUTS_ON_A_MACHINE: usize = 3;

/// The longest dialogue that is said octet by octet to a machine; a process takes them all.
const OCTETS_ON_A_MACHINE: usize = 600;

fn smtp_dialogues_run_on_the_box(stage: &dyn Stage) -> Outcome {
    run(
        stage,
        "smtp",
        |addr, _tls, _name| Conversation::connect(addr),
        Service::Smtp,
    )
}

fn imap_dialogues_run_on_the_box(stage: &dyn Stage) -> Outcome {
    run(stage, "imap", Conversation::connect_tls, Service::Imaps)
}

/// Runs all marked dialogues of a protocol against one box of their own.
fn run(
    stage: &dyn Stage,
    protocol: &str,
    connect: impl Fn(std::net::SocketAddr, Arc<ClientConfig>, &str) -> io::Result<Conversation>,
    service: Service,
) -> Outcome {
    let dialogues = marked(protocol)?;
    assert!(
        !dialogues.is_empty(),
        "no dialogue of {protocol} is marked as fit for a box"
    );
    let appliance = stage.appliance(Plan::of(Office::of_dialogues()))?;
    let tls = tls::trusting(appliance.ca_pem())?;
    let name = appliance.host_name();
    for (path, dialogue) in dialogues {
        for way in ways(stage, &dialogue) {
            let conversation = connect(appliance.addr(service), Arc::clone(&tls), name)?;
            dialogue
                .run(conversation, &tls, name, way)
                .map_err(|error| format!("{}: {error}\nconsole:\n{}", path.display(), appliance.console()))?;
        }
    }
    Ok(())
}

fn ways(stage: &dyn Stage, dialogue: &Dialogue) -> Vec<Way> {
    let longest = dialogue.longest_turn();
    let is_process = stage.name() == "host process";
    let step = longest / if is_process { 40 } else { CUTS_ON_A_MACHINE };
    let cuts = (1..longest).step_by(step.max(1)).map(Way::CutAt);
    // Inside TLS each octet is a record; an emulated box takes minutes for the longest dialogues.
    let octet_by_octet =
        (is_process || dialogue.octets() <= OCTETS_ON_A_MACHINE).then_some(Way::OctetByOctet);
    [Way::Whole]
        .into_iter()
        .chain(octet_by_octet)
        .chain(cuts)
        .collect()
}

fn marked(protocol: &str) -> io::Result<Vec<(PathBuf, Dialogue)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../firmware")
        .join(protocol)
        .join("testdata");
    let mut dialogues = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        if Dialogue::is_for_a_box(&text) {
            dialogues.push((path, Dialogue::parse(&text)));
        }
    }
    dialogues.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(dialogues)
}
