//! `qemu/run`: builds the box, boots it, and says how to send and read the first message.

mod run;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "run") {
        arguments.remove(0);
    }
    match run::options::parse(&arguments) {
        Ok(None) => {
            print!("{}", run::options::HELP);
            ExitCode::SUCCESS
        }
        Ok(Some(options)) => match run::run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(trouble) => fail(&trouble.to_string()),
        },
        Err(trouble) => fail(&trouble.to_string()),
    }
}

fn fail(trouble: &str) -> ExitCode {
    eprintln!("qemu/run: {trouble}");
    ExitCode::FAILURE
}
