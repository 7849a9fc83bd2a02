//! Runs scenarios on a stage: those that share one box, each with its own account, and those that own theirs; and puts
//! them beside each other as far as they bear it.

mod floor;

use std::cell::RefCell;
use std::error::Error;
use std::fmt::Arguments as Text;
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::appliance::{Appliance, Plan, Stage};
use crate::office::{Account, Office};
use floor::{Floor, Kind};

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
    /// A box shared with others, and an account nobody else uses. One of them runs at a time.
    Shared(fn(&dyn Appliance, &Account) -> Outcome),
    /// Boxes of its own, because it cuts, kills, fills or presses. What runs beside it makes it slower, and nothing else.
    Own(fn(&dyn Stage) -> Outcome),
    /// Boxes of its own, and the computer too, because it judges how long something takes or how large something is.
    Alone(fn(&dyn Stage) -> Outcome),
}

impl Run {
    fn kind(self) -> Kind {
        match self {
            Run::Shared(_) => Kind::Shared,
            Run::Own(_) => Kind::Own,
            Run::Alone(_) => Kind::Alone,
        }
    }
}

/// Lists the scenarios of a file: `scenarios![shared one, two; own three; alone four]`, as many of the three as there are.
#[macro_export]
macro_rules! scenarios {
    ($(shared $($shared:ident),+ $(,)?)? $(; own $($own:ident),+ $(,)?)? $(; alone $($alone:ident),+ $(,)?)?) => {
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
                $($($crate::runner::Scenario {
                    name: stringify!($alone),
                    run: $crate::runner::Run::Alone($alone),
                },)+)?
            ]
        }
    };
}

/// People of the shared box who belong to no scenario: the owner, who comes first, and two who get mail with others.
pub const OTHERS: [&str; 3] = ["owner", "colleague", "deputy"];

/// The shared box, started when the first scenario wants it. A start that failed is not tried again.
type SharedBox = Mutex<Option<Result<Arc<dyn Appliance>, ()>>>;

/// Runs the scenarios that the command line asks for, as `cargo test` would. `places` of them run at once, unless
/// `--test-threads` says otherwise.
pub fn main(stage: &Arc<dyn Stage>, scenarios: Vec<Scenario>, places: usize) -> ExitCode {
    let mut arguments = Arguments::from_args();
    let places = arguments.test_threads.unwrap_or(places);
    // A thread for each, and the floor says which of them go on: the library knows of nothing that bears no neighbours.
    arguments.test_threads = Some(if places == 1 { 1 } else { scenarios.len() });
    let shared_names = scenarios
        .iter()
        .filter(|scenario| matches!(scenario.run, Run::Shared(_)))
        .map(|scenario| scenario.name);
    let common = Arc::new(Common {
        stage: Arc::clone(stage),
        office: Office::for_names(OTHERS.into_iter().chain(shared_names)),
        shared: SharedBox::default(),
        floor: Floor::new(places),
        times: Mutex::default(),
    });
    let trials = scenarios.into_iter().enumerate().map(|(rank, scenario)| {
        let common = Arc::clone(&common);
        Trial::test(scenario.name, move || {
            let _place = common.floor.enter(rank, scenario.run.kind());
            // A thread with its name: a panic tells whose it was.
            let run = || thread::Builder::new().name(scenario.name.to_owned());
            thread::scope(|scope| {
                let run = run().spawn_scoped(scope, || common.run(scenario))?;
                run.join().unwrap_or_else(|panic| resume_unwind(panic))
            })
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    // Dropped here, not at exit: the box must not outlive the tests.
    let shared = common.shared.lock().map(|mut shared| shared.take());
    drop(shared);
    if let Ok(mut times) = common.times.lock() {
        times.sort_unstable_by_key(|(time, _)| std::cmp::Reverse(*time));
        for (time, name) in times.iter().filter(|(time, _)| *time > TOLD_FROM) {
            println!("{:>6.1} s  {name}", time.as_secs_f32());
        }
        // Who asks for the list of scenarios gets nothing but the list.
        if !times.is_empty() {
            let sum: Duration = times.iter().map(|(time, _)| *time).sum();
            println!("{:>6.1} s  all of them, one behind the other", sum.as_secs_f32());
        }
    }
    conclusion.exit_code()
}

/// Scenarios that took at least so long are told at the end.
const TOLD_FROM: Duration = Duration::from_secs(5);

/// What all scenarios of a run have in common.
struct Common {
    stage: Arc<dyn Stage>,
    /// The people of the shared box.
    office: Office,
    shared: SharedBox,
    floor: Floor,
    times: Mutex<Vec<(Duration, &'static str)>>,
}

impl Common {
    fn run(&self, scenario: Scenario) -> Result<(), Failed> {
        let _timed = Timed {
            times: &self.times,
            name: scenario.name,
            started: Instant::now(),
        };
        let outcome = match scenario.run {
            Run::Own(run) | Run::Alone(run) => run(self.stage.as_ref()),
            Run::Shared(run) => {
                let appliance = self.shared_box()?;
                let account = self.office.account(scenario.name);
                run(appliance.as_ref(), account)
                    .map_err(|error| with_console(appliance.as_ref(), error.as_ref()))
            }
        };
        outcome.map_err(|error| {
            let text = error.to_string();
            // Now and not only at the end, which does not come where the whole run hangs.
            tell(format_args!("FAILED: {text}"));
            Failed::from(text)
        })
    }

    fn shared_box(&self) -> Result<Arc<dyn Appliance>, Failed> {
        let mut shared = self
            .shared
            .lock()
            .expect("starting a box gives an error instead of a panic");
        if let Some(started) = shared.as_ref() {
            let told = "the shared box did not start: see the first that needed it";
            return started.clone().map_err(|()| Failed::from(told));
        }
        let started = self
            .stage
            .appliance(Plan::of(self.office.clone()))
            .map(Arc::<dyn Appliance>::from);
        *shared = Some(started.as_ref().map(Arc::clone).map_err(drop));
        started.map_err(|error| {
            let name = self.stage.name();
            format!("{name}: the shared box does not start: {error}").into()
        })
    }
}

/// Writes down the time of a scenario when it ends, however it ends, and prints what it had to tell.
struct Timed<'a> {
    times: &'a Mutex<Vec<(Duration, &'static str)>>,
    name: &'static str,
    started: Instant,
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        if let Ok(mut times) = self.times.lock() {
            times.push((took, self.name));
        }
        let told = TOLD.take();
        if !told.is_empty() {
            // At once, so that nobody else's words come in between.
            print!("{}:\n{told}", self.name);
        }
    }
}

thread_local! {
    /// What this scenario has told.
    static TOLD: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Prints a line of a scenario, under its name when it ends: several run at once. The targets call it `println!`.
pub fn tell(text: Text<'_>) {
    TOLD.with_borrow_mut(|told| {
        for line in text.to_string().lines() {
            told.extend(["  ", line, "\n"]);
        }
    });
}

fn with_console(appliance: &dyn Appliance, error: &dyn Error) -> Box<dyn Error> {
    let console = appliance.console();
    let lines: Vec<&str> = console.lines().collect();
    let last = lines[lines.len().saturating_sub(15)..].join("\n  ");
    format!("{error}\nits console ended:\n  {last}").into()
}
