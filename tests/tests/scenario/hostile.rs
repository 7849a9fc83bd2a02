//! What the host stage shows of maild's bounds: forbidden calls end it (D43), and it does without descriptors (D18).

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::appliance::SENDER;
use e2e::mail::short_message;
use e2e::runner::Outcome;
use e2e::stage::HostProcess;
use e2e::{Appliance, Office, Plan, Service, Smtp, Stage};

e2e::scenarios![; own
    d43_each_forbidden_call_ends_maild_and_the_mail_is_there,
    d43_the_ordinary_maild_takes_no_orders,
    d18_few_descriptors_are_kept_for_mail,
    d18_without_descriptors_nothing_runs_in_circles,
];

/// The number of SIGSYS, on every architecture of ours.
const SIGSYS: i32 = 31;
/// What no list of calls has.
const FORBIDDEN: [&str; 9] = [
    "program", "execute", "trace", "signal", "mount", "raw", "packet", "unix", "pass",
];
/// Clock ticks of /proc/PID/stat in a second (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

fn d43_each_forbidden_call_ends_maild_and_the_mail_is_there(_stage: &dyn Stage) -> Outcome {
    let mut running = HostProcess::hostile(Plan::of(Office::for_names(["anna"])))?;
    let account = running.office().accounts[0].clone();
    for (number, name) in FORBIDDEN.into_iter().enumerate() {
        let id = format!("hostile{number}@client.example.org");
        let message = short_message(SENDER, &account.address, &id);
        (&running as &dyn Appliance).deliver(&account, &message)?;
        running.order(name)?;
        let status = running.ends()?;
        assert_eq!(
            status.signal(),
            Some(SIGSYS),
            "{name}: {status}\n{}",
            running.console()
        );
        running.start()?;
    }
    let console = running.console();
    assert!(!console.contains("DONE"), "{console}");
    let mut imap = (&running as &dyn Appliance).imap_of(&account)?;
    let exists = imap.ok("SELECT INBOX")?.number_of("EXISTS");
    assert_eq!(exists, Some(FORBIDDEN.len() as u64));
    Ok(())
}

/// The same file of orders, and the program that is in the image.
fn d43_the_ordinary_maild_takes_no_orders(_stage: &dyn Stage) -> Outcome {
    let running = HostProcess::start(Plan::of(Office::for_names(["anna"])))?;
    let account = running.office().accounts[0].clone();
    running.order("program")?;
    // Longer than somebody inside would take to look.
    std::thread::sleep(Duration::from_millis(500));
    let message = short_message(SENDER, &account.address, "deaf@client.example.org");
    (&running as &dyn Appliance).deliver(&account, &message)?;
    assert!(!running.console().contains("hostile"), "{}", running.console());
    let pid = running.maild_pid().ok_or("it runs")?;
    let program = std::fs::read(format!("/proc/{pid}/exe"))?;
    let word = b"POSTOLKA_HOSTILE";
    assert!(!program.windows(word.len()).any(|octets| octets == word));
    Ok(())
}

/// D18: 64 descriptors are the store's and deliveries'; the others are connections, and one more is told so.
fn d18_few_descriptors_are_kept_for_mail(_stage: &dyn Stage) -> Outcome {
    const DESCRIPTORS: u32 = 128;
    const CONNECTIONS: usize = 64;
    let mut office = Office::for_names(["anna"]);
    office.connections_per_address_max = Some(1000);
    let running = HostProcess::with_descriptors(Plan::of(office), DESCRIPTORS)?;
    let account = running.office().accounts[0].clone();
    let addr = running.addr(Service::Smtp);
    let mut held = Vec::new();
    let refused = loop {
        match Smtp::connect(addr) {
            Ok(smtp) if smtp.greeting.code == 220 => held.push(smtp),
            Ok(smtp) => break smtp.greeting.code,
            Err(error) => return Err(format!("after {}: {error}", held.len()).into()),
        }
        assert!(
            held.len() <= CONNECTIONS,
            "there are no descriptors left for mail"
        );
    };
    assert_eq!((refused, held.len()), (421, CONNECTIONS));
    // With all places taken a message is kept, and one is read by somebody who comes when a place is free.
    let smtp = held.last_mut().ok_or("nobody is connected")?;
    smtp.command("EHLO client.example.org")?;
    let message = short_message(SENDER, &account.address, "few@client.example.org");
    assert_eq!(smtp.deliver(SENDER, &account.address, &message)?.code, 250);
    for smtp in held.drain(..2) {
        smtp.quit()?;
    }
    let mut imap = (&running as &dyn Appliance).imap_of(&account)?;
    assert_eq!(imap.ok("SELECT INBOX")?.number_of("EXISTS"), Some(1));
    Ok(())
}

/// D18: when the kernel gives no descriptor for a connection that waits, accepting it is tried again later, and not at once
/// for ever.
fn d18_without_descriptors_nothing_runs_in_circles(_stage: &dyn Stage) -> Outcome {
    const WATCHED: Duration = Duration::from_secs(3);
    /// It has far fewer after its start.
    const DESCRIPTORS_MAX: u32 = 1000;
    let running = HostProcess::start(Plan::of(Office::for_names(["anna"])))?;
    let pid = running.maild_pid().ok_or("it runs")?;
    let addr = running.addr(Service::Smtp);
    // The start has its own use of the processor.
    Smtp::connect(addr)?.quit()?;
    std::thread::sleep(Duration::from_secs(1));
    // A new descriptor gets the lowest number that is free; so many are allowed, and there is none.
    let lowest_free =
        (0..DESCRIPTORS_MAX).find(|number| !Path::new(&format!("/proc/{pid}/fd/{number}")).exists());
    limit_descriptors(pid, lowest_free.ok_or("it has every descriptor")?)?;
    let waiting = std::thread::spawn(move || {
        Smtp::connect(addr)
            .map(|smtp| smtp.greeting.code)
            .map_err(|error| error.to_string())
    });
    let (before, began) = (processor_ticks(pid)?, Instant::now());
    std::thread::sleep(WATCHED);
    let ticks = processor_ticks(pid)? - before;
    assert!(!waiting.is_finished(), "it was greeted without a descriptor");
    println!(
        "D18: {ticks} ticks of the processor in {:.1} s",
        began.elapsed().as_secs_f32()
    );
    assert!(
        ticks < TICKS_PER_SECOND * WATCHED.as_secs() / 10,
        "{ticks} ticks in {WATCHED:?}"
    );
    limit_descriptors(pid, 1024)?;
    let greeted = waiting.join().map_err(|_| "the client panicked")?;
    assert_eq!(greeted, Ok(220));
    Ok(())
}

fn limit_descriptors(pid: u32, count: u32) -> Outcome {
    e2e::tool::run(Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={count}:")]))?;
    Ok(())
}

/// Time on the processor, of user and kernel: the 14th and 15th field of /proc/PID/stat, behind a name in parentheses.
fn processor_ticks(pid: u32) -> Result<u64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}
