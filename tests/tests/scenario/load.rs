//! Many messages at once: none lost, none twice, none changed.

use std::sync::atomic::{AtomicUsize, Ordering};

use e2e::appliance::SENDER;
use e2e::mail::random_message;
use e2e::oracle::{Fate, Found, Oracle};
use e2e::runner::Outcome;
use e2e::{Account, Appliance};

e2e::scenarios![shared two_hundred_messages_on_eight_connections];

const MESSAGES: usize = 200;
const CONNECTIONS: usize = 8;

/// D2
fn two_hundred_messages_on_eight_connections(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let oracle = Oracle::default();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| -> std::io::Result<()> {
                    let mut smtp = appliance.smtp()?;
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= MESSAGES {
                            return smtp.quit();
                        }
                        let id = format!("load{number}@client.example.org");
                        // From a few hundred octets to over the size that goes to a file of its own.
                        let octets = 400 << (number % 11);
                        let message = random_message(SENDER, &account.address, &id, octets, number as u64);
                        let reply = smtp.deliver(SENDER, &account.address, &message);
                        oracle.write_down(&id, &message, Fate::of(&reply));
                        reply?;
                    }
                })
            })
            .collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().expect("a client gives an error, no panic"))
    })?;
    let mut imap = appliance.imap_of(account)?;
    let found = oracle.judge(&mut imap)?;
    assert_eq!(
        found,
        Found {
            acknowledged: MESSAGES,
            present: MESSAGES
        }
    );
    Ok(())
}
