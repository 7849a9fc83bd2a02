//! Runs scenarios on a stage: those that share one box, each with its own account, and those that own theirs.

use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::appliance::{Appliance, Plan, Stage};
use crate::office::{Account, Office};

/// How a scenario ends.
pub type Outcome = Result<(), Box<dyn Error>>;

/// One scenario. Its name is the name of its function; what no list names is dead code to the compiler.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// A sentence about the behaviour.
    pub name: &'static str,
    /// What it does.
    pub run: Run,
}

/// What a scenario needs.
#[derive(Clone, Copy)]
pub enum Run {
    /// A box shared with others, and an account nobody else uses.
    Shared(fn(&dyn Appliance, &Account) -> Outcome),
    /// Boxes of its own, because it cuts, kills, fills or presses.
    Own(fn(&dyn Stage) -> Outcome),
}

/// Lists the scenarios of a file: `scenarios![shared one, two; own three]`.
#[macro_export]
macro_rules! scenarios {
    ($(shared $($shared:ident),+ $(,)?)? $(; own $($own:ident),+ $(,)?)?) => {
        pub(super) fn scenarios() -> Vec<$crate::runner::Scenario> {
            vec![
                $($($crate::runner::Scenario {
                    name: stringify!($shared),
                    run: $crate::runner::Run::Shared($shared),
                },)+)?
                $($($crate::runner::Scenario {
                    name: stringify!($own),
                    run: $crate::runner::Run::Own($own),
                },)+)?
            ]
        }
    };
}

/// People of the shared box who belong to no scenario: the owner, who comes first, and two who get mail with others.
pub const OTHERS: [&str; 3] = ["owner", "colleague", "deputy"];

/// The shared box, started when the first scenario wants it. A start that failed is not tried again.
type SharedBox = Mutex<Option<Result<Arc<dyn Appliance>, ()>>>;

/// Runs the scenarios that the command line asks for, as `cargo test` would.
pub fn main(stage: &Arc<dyn Stage>, scenarios: Vec<Scenario>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Two cores, an emulator and time limits: one after the other unless somebody asks for more.
    arguments.test_threads.get_or_insert(1);
    let shared_names = scenarios
        .iter()
        .filter(|scenario| matches!(scenario.run, Run::Shared(_)))
        .map(|scenario| scenario.name);
    let office = Arc::new(Office::for_names(OTHERS.into_iter().chain(shared_names)));
    let shared = Arc::new(SharedBox::default());
    let times = Arc::new(Mutex::new(Vec::new()));
    let trials = scenarios
        .into_iter()
        .map(|scenario| {
            let (stage, office, shared) = (Arc::clone(stage), Arc::clone(&office), Arc::clone(&shared));
            let times = Arc::clone(&times);
            Trial::test(scenario.name, move || {
                let _timed = Timed {
                    times: &times,
                    name: scenario.name,
                    started: Instant::now(),
                };
                let outcome = match scenario.run {
                    Run::Own(run) => run(stage.as_ref()),
                    Run::Shared(run) => {
                        let appliance = shared_box(&shared, stage.as_ref(), &office)?;
                        let account = office.account(scenario.name);
                        run(appliance.as_ref(), account)
                            .map_err(|error| with_console(appliance.as_ref(), error.as_ref()))
                    }
                };
                outcome.map_err(|error| Failed::from(error.to_string()))
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Dropped here, not at exit: the box must not outlive the tests.
    let shared = shared.lock().map(|mut shared| shared.take());
    drop(shared);
    if let Ok(mut times) = times.lock() {
        times.sort_unstable_by_key(|(time, _)| std::cmp::Reverse(*time));
        for (time, name) in times
            .iter()
            .take(SLOWEST)
            .filter(|(time, _)| *time > Duration::from_secs(5))
        {
            println!("{:>6.1} s  {name}", time.as_secs_f32());
        }
    }
    conclusion.exit_code()
}

/// How many of the slowest scenarios are told at the end.
const SLOWEST: usize = 12;

/// Writes down the time of a scenario when it ends, however it ends.
struct Timed<'a> {
    times: &'a Mutex<Vec<(Duration, &'static str)>>,
    name: &'static str,
    started: Instant,
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        if let Ok(mut times) = self.times.lock() {
            times.push((self.started.elapsed(), self.name));
        }
    }
}

fn shared_box(shared: &SharedBox, stage: &dyn Stage, office: &Office) -> Result<Arc<dyn Appliance>, Failed> {
    let mut shared = shared
        .lock()
        .expect("starting a box gives an error instead of a panic");
    if let Some(started) = shared.as_ref() {
        let told = "the shared box did not start: see the first that needed it";
        return started.clone().map_err(|()| Failed::from(told));
    }
    let started = stage
        .appliance(Plan::of(office.clone()))
        .map(Arc::<dyn Appliance>::from);
    *shared = Some(started.as_ref().map(Arc::clone).map_err(drop));
    started.map_err(|error| format!("{}: the shared box does not start: {error}", stage.name()).into())
}

fn with_console(appliance: &dyn Appliance, error: &dyn Error) -> Box<dyn Error> {
    let console = appliance.console();
    let lines: Vec<&str> = console.lines().collect();
    let last = lines[lines.len().saturating_sub(15)..].join("\n  ");
    format!("{error}\nits console ended:\n  {last}").into()
}
