//! The command line.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use crate::tool::{self, Tool};
use tracing::Level;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
The mail process of the box.

  maild --data DIR [options]       run on this computer, with sockets of its own
  maild --handoff [--data DIR]     run in the box: init is at the other end of standard input (/data/mail)
  maild log DIR                    print the log that was kept in DIR
  maild check DIR                  read every octet of the mail in DIR and verify it
  maild rebuild DIR                make the index in DIR anew from the log
  maild export DIR TO [options]    write mail into the folder TO: ACCOUNT/ as Maildir++, or ACCOUNT/MAILBOX.mbox
  maild import DIR FROM --account ADDRESS [--mailbox NAME]
                                   take mail from FROM: an mbox, a Maildir with its folders, or a folder of *.mbox
  maild --help

DIR is the folder of the data, on a computer or on the card of a box; check, rebuild, export and import want that no maild
runs there. They end with 0 if all is well, 1 if it could not be done, 2 if the command line makes no sense, 3 if it was
done and something was found or left out, which is told. Export and import go on where they were cut.

Options of export:
  --account ADDRESS                that account only
  --mailbox NAME                   that mailbox of it only
  --format FORMAT                  maildir or mbox (maildir)

Options of --data:
  --listen ADDRESS                 the address to listen on (127.0.0.1)
  --port-base NUMBER               ports are this plus 25, 443, 993 (20000); 0: free ports, which are printed
  --provision FILE                 a postolka.toml for a box without accounts; its [limits] hold for this run
  --log LEVEL                      error, warn, info, debug (info)

When it is ready, a line 'LISTENING' is printed, and before it one line for each service with its address.
DIR/ca.pem is the certificate that clients have to trust. SIGTERM and Ctrl-C stop it cleanly.
";

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    Help,
    /// Run in the box.
    Handoff {
        data: PathBuf,
        log: Level,
    },
    /// Run on a computer.
    Dev(Dev),
    /// Print the log that was kept.
    Log {
        data: PathBuf,
    },
    /// Do something with a store that nobody serves.
    Tool(Tool),
}

/// How to run on a computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dev {
    pub(crate) data: PathBuf,
    pub(crate) listen: IpAddr,
    /// 0: the system chooses each port.
    pub(crate) port_base: u16,
    pub(crate) provision: Option<PathBuf>,
    pub(crate) log: Level,
}

/// Where the box keeps its mail.
pub(crate) const BOX_FOLDER: &str = "/data/mail";
/// The highest base that leaves room for port 993.
const PORT_BASE_MAX: u16 = u16::MAX - 993;

/// Reads the arguments behind the program's name.
///
/// # Errors
/// A sentence for whoever typed them.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut arguments = arguments.into_iter();
    let (mut data, mut provision, mut listen, mut port_base) = (None, None, None, None);
    let mut is_handoff = false;
    let mut log = Level::INFO;
    while let Some(argument) = arguments.next() {
        if argument == "log" && data.is_none() {
            let data = arguments
                .next()
                .ok_or("log wants the folder of the data behind it")?;
            return match arguments.next() {
                None => Ok(Command::Log { data: data.into() }),
                Some(more) => Err(format!("behind the folder of the log there is {more:?} too much")),
            };
        }
        if data.is_none() && matches!(argument.as_str(), "check" | "rebuild" | "export" | "import") {
            return match tool::parse(&argument, arguments) {
                Ok(Some(tool)) => Ok(Command::Tool(tool)),
                Ok(None) => Ok(Command::Help),
                Err(sentence) => Err(sentence),
            };
        }
        // `--data DIR` and `--data=DIR`.
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        if matches!(name.as_str(), "--help" | "-h") {
            return Ok(Command::Help);
        }
        if name == "--handoff" && inline.is_none() {
            is_handoff = true;
            continue;
        }
        if !matches!(
            name.as_str(),
            "--data" | "--listen" | "--port-base" | "--provision" | "--log"
        ) {
            return Err(format!(
                "there is no option {name:?}; --help lists those there are"
            ));
        }
        let value = inline
            .or_else(|| arguments.next())
            .ok_or_else(|| format!("{name} wants a value behind it"))?;
        match name.as_str() {
            "--data" => data = Some(PathBuf::from(value)),
            "--provision" => provision = Some(PathBuf::from(value)),
            "--listen" => listen = Some(address(&value)?),
            "--port-base" => port_base = Some(base(&value)?),
            _ => log = level(&value)?,
        }
    }
    let is_dev = provision.is_some() || listen.is_some() || port_base.is_some();
    match (data, is_handoff) {
        (Some(data), false) => Ok(Command::Dev(Dev {
            data,
            listen: listen.unwrap_or(Ipv4Addr::LOCALHOST.into()),
            port_base: port_base.unwrap_or(20_000),
            provision,
            log,
        })),
        (data, true) if !is_dev => Ok(Command::Handoff {
            data: data.unwrap_or_else(|| PathBuf::from(BOX_FOLDER)),
            log,
        }),
        (_, true) => Err("with --handoff, sockets and the provisioning file come from init".to_owned()),
        (None, false) => Err("--data DIR says where the mail is kept; --help shows all options".to_owned()),
    }
}

fn address(value: &str) -> Result<IpAddr, String> {
    value
        .parse()
        .map_err(|_| format!("--listen wants an IP address such as 127.0.0.1 or ::1, not {value:?}"))
}

fn base(value: &str) -> Result<u16, String> {
    value
        .parse()
        .ok()
        .filter(|base| *base <= PORT_BASE_MAX)
        .ok_or_else(|| format!("--port-base wants a number from 0 to {PORT_BASE_MAX}, not {value:?}"))
}

fn level(value: &str) -> Result<Level, String> {
    match value {
        "error" => Ok(Level::ERROR),
        "warn" => Ok(Level::WARN),
        "info" => Ok(Level::INFO),
        "debug" => Ok(Level::DEBUG),
        _ => Err(format!("--log wants error, warn, info or debug, not {value:?}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    fn refused(line: &str) -> String {
        parsed(line).unwrap_err()
    }

    #[test]
    fn the_line_of_the_readme_is_understood() {
        let line = "--data /tmp/box --listen 127.0.0.1 --port-base 20000 --provision postolka.toml";
        let dev = Dev {
            data: PathBuf::from("/tmp/box"),
            listen: Ipv4Addr::LOCALHOST.into(),
            port_base: 20_000,
            provision: Some(PathBuf::from("postolka.toml")),
            log: Level::INFO,
        };
        assert_eq!(parsed(line), Ok(Command::Dev(dev.clone())));
        assert_eq!(parsed(&line.replace(" 20000", "=20000")), Ok(Command::Dev(dev)));
        let handoff = |data: &str| Command::Handoff {
            data: PathBuf::from(data),
            log: Level::INFO,
        };
        assert_eq!(parsed("--handoff"), Ok(handoff("/data/mail")));
        assert_eq!(parsed("--handoff --data x"), Ok(handoff("x")));
        assert_eq!(parsed("--data x --help"), Ok(Command::Help));
    }

    #[test]
    fn a_tool_comes_first_and_has_options_of_its_own() {
        let data = PathBuf::from("x");
        assert_eq!(parsed("check x"), Ok(Command::Tool(Tool::Check { data })));
        assert_eq!(parsed("export --help"), Ok(Command::Help));
        assert!(refused("import x y").contains("--account ADDRESS"));
        assert!(refused("rebuild x --port-base 0").contains("rebuild has no option"));
        assert!(refused("--data x check").contains("there is no option \"check\""));
    }

    #[test]
    fn what_is_wrong_is_said_in_a_sentence() {
        assert!(refused("").contains("--data DIR says where"));
        assert!(refused("--data").contains("--data wants a value"));
        assert!(refused("--dat x").contains("there is no option \"--dat\""));
        assert!(refused("x").contains("there is no option \"x\""));
        assert!(refused("--data x --port-base 64543").contains("from 0 to 64542"));
        assert!(refused("--data x --port-base -1").contains("from 0 to 64542"));
        assert!(refused("--data x --listen localhost").contains("an IP address"));
        assert!(refused("--data x --log loud").contains("error, warn, info or debug"));
        assert!(refused("--handoff --provision x").contains("come from init"));
        assert!(refused("--handoff --port-base 0").contains("come from init"));
    }
}
