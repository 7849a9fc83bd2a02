//! The power goes away (D1, D2, D3, D7). On the host stage that is SIGKILL of the process: rig R2.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use e2e::appliance::SENDER;
use e2e::mail::{own_prefix, random_message, short_message};
use e2e::oracle::Oracle;
use e2e::power_cut::Load;
use e2e::random::{Random, seeds};
use e2e::runner::Outcome;
use e2e::{Office, Plan, Service, Stage, tool};

e2e::scenarios![; own
    d1_a_message_is_there_after_a_cut_right_behind_the_250,
    d2_cuts_at_random_moments_lose_nothing,
    d3_what_imap_acknowledged_survives_a_cut,
];

/// D1, with the programs people use: swaks in, the cut, curl and mbsync out.
fn d1_a_message_is_there_after_a_cut_right_behind_the_250(stage: &dyn Stage) -> Outcome {
    let mut appliance = stage.appliance(Plan::of(Office::for_names(["anna"])))?;
    let account = appliance.office().accounts[0].clone();
    let message = short_message(SENDER, &account.address, "cut@client.example.org");
    tool::swaks(appliance.addr(Service::Smtp), SENDER, &account.address, &message)?;
    // A second one, cut while the 250 is still warm: no QUIT, no closing.
    let second = random_message(SENDER, &account.address, "second@client.example.org", 300_000, 1);
    let mut smtp = appliance.smtp()?;
    assert_eq!(smtp.deliver(SENDER, &account.address, &second)?.code, 250);
    appliance.cut_power()?;
    appliance.start()?;
    own_prefix(
        &tool::curl(appliance.as_ref(), &account, "INBOX;MAILINDEX=1")?,
        &message,
    )?;
    own_prefix(
        &tool::curl(appliance.as_ref(), &account, "INBOX;MAILINDEX=2")?,
        &second,
    )?;
    assert_eq!(tool::mbsync(appliance.as_ref(), &account)?.len(), 2);
    Ok(())
}

/// D1, D2, D7 by rig R2.
fn d2_cuts_at_random_moments_lose_nothing(stage: &dyn Stage) -> Outcome {
    // A machine takes seconds to come up, a process a tenth of one.
    let (usual, cuts): (&[u64], usize) = if stage.name() == "host process" {
        (&[1, 2, 3, 4], 6)
    } else {
        (&[1], 4)
    };
    for seed in seeds(usual) {
        cut_under_load(stage, seed, cuts).map_err(|error| format!("E2E_SEEDS={seed}: {error}"))?;
    }
    Ok(())
}

fn cut_under_load(stage: &dyn Stage, seed: u64, cuts: usize) -> Outcome {
    let mut random = Random::new(seed);
    let mut appliance = stage.appliance(Plan::of(Office::for_names(["anna"])))?;
    let account = appliance.office().accounts[0].clone();
    let oracle = Oracle::default();
    let next = AtomicUsize::new(0);
    for cut in 0..cuts {
        let goal = oracle.acknowledged() + random.below(30);
        let pause = Duration::from_micros(random.next_u64() % 20_000);
        let load = Load {
            smtp: appliance.addr(Service::Smtp),
            account: &account,
            oracle: &oracle,
            next: &next,
            seed: random.next_u64(),
            octets: |random| 300 << random.below(12),
        };
        // The cut falls at a random moment behind a random number of replies.
        load.until_cut(goal, pause, || appliance.cut_power())?;
        appliance.start()?;
        let mut imap = appliance.imap_of(&account)?;
        let found = oracle
            .judge(&mut imap)
            .map_err(|error| format!("after cut {}: {error}", cut + 1))?;
        assert!(
            found.acknowledged >= goal,
            "the load did not come so far: {found:?} of {goal}"
        );
    }
    Ok(())
}

/// D3: APPEND, STORE and EXPUNGE that were answered OK.
fn d3_what_imap_acknowledged_survives_a_cut(stage: &dyn Stage) -> Outcome {
    let mut appliance = stage.appliance(Plan::of(Office::for_names(["anna"])))?;
    let account = appliance.office().accounts[0].clone();
    let mut imap = appliance.imap_of(&account)?;
    let mut messages = Vec::new();
    for number in 0..6_u64 {
        let id = format!("d3-{number}@client.example.org");
        let message = random_message(SENDER, &account.address, &id, 200 << (number * 2), number);
        assert!(imap.append("INBOX", "", &message)?.is_ok());
        messages.push(message);
    }
    let validity = imap.ok("SELECT INBOX")?.code("UIDVALIDITY");
    let uids: Vec<u32> = imap.fetch_all()?.iter().map(|message| message.uid).collect();
    imap.ok("STORE 2 FLAGS (\\Answered $Label)")?;
    imap.ok("STORE 1,4 +FLAGS (\\Deleted)")?;
    imap.ok("EXPUNGE")?;
    appliance.cut_power()?;
    appliance.start()?;
    let mut imap = appliance.imap_of(&account)?;
    let selected = imap.ok("SELECT INBOX")?;
    assert_eq!(selected.code("UIDVALIDITY"), validity);
    let fetched = imap.fetch_all()?;
    let expected = [1, 2, 4, 5];
    assert_eq!(fetched.len(), expected.len());
    for (found, index) in fetched.iter().zip(expected) {
        assert_eq!(found.uid, uids[index]);
        assert!(found.octets == messages[index], "UID {} differs", found.uid);
    }
    let flags = imap.ok("FETCH 1 FLAGS")?;
    let line = &flags
        .untagged
        .iter()
        .find(|response| response.line.contains("FETCH"))
        .ok_or("no FETCH")?
        .line;
    assert!(line.contains("\\Answered") && line.contains("$Label"), "{line}");
    Ok(())
}
