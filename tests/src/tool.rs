//! The programs people really use, run against the box.

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Output};

use crate::appliance::{Appliance, Service};
use crate::client::tls;
use crate::office::Account;

/// Runs a program to its end.
///
/// # Errors
/// It is not installed (`tests/run` installs it), or it fails; then the error holds what it said.
pub fn run(command: &mut Command) -> Result<Output, Box<dyn Error>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!(
        "{program} ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}

/// Sends a message with swaks, from a file as a person keeps it: with the line ends of this computer. swaks makes CRLF
/// of them, doubles the dots, and ends the last line itself.
///
/// # Errors
/// swaks fails.
pub fn swaks(addr: SocketAddr, from: &str, to: &str, message: &[u8]) -> Result<Output, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("message");
    let text = String::from_utf8(message.to_vec())?.replace("\r\n", "\n");
    fs::write(&file, text.strip_suffix('\n').unwrap_or(&text))?;
    run(Command::new("swaks")
        .args([
            "--server",
            &addr.ip().to_string(),
            "--port",
            &addr.port().to_string(),
        ])
        .args([
            "--ehlo",
            "client.example.org",
            "--from",
            from,
            "--to",
            to,
            "--data",
        ])
        .arg(format!("@{}", file.display())))
}

/// Fetches a URL path from IMAP with curl, which checks the certificate against the box's own CA.
///
/// # Errors
/// curl fails.
pub fn curl(appliance: &dyn Appliance, account: &Account, path: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, appliance.ca_pem())?;
    let addr = appliance.addr(Service::Imaps);
    let host = appliance.host_name();
    let output = run(Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "180", "--cacert"])
        .arg(&ca)
        .args(["--resolve", &format!("{host}:{}:{}", addr.port(), addr.ip())])
        .args(["--user", &format!("{}:{}", account.address, account.password)])
        .arg(format!("imaps://{host}:{}/{path}", addr.port())))?;
    Ok(output.stdout)
}

/// Fetches the first page of the web with curl and this option, which checks the certificate against the box's own CA.
/// Gives the version of HTTP that was spoken and the status.
///
/// # Errors
/// curl fails.
pub fn curl_web(appliance: &dyn Appliance, option: &str) -> Result<String, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, appliance.ca_pem())?;
    let addr = appliance.addr(Service::Https);
    let output = run(Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "180",
            option,
            "--cacert",
        ])
        .arg(&ca)
        .args(["--resolve", &format!("localhost:{}:{}", addr.port(), addr.ip())])
        .args([
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_version} %{http_code}",
        ])
        .arg(format!("https://localhost:{}/", addr.port())))?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Copies INBOX into a maildir with mbsync, and gives the messages in it.
///
/// # Errors
/// mbsync fails.
pub fn mbsync(appliance: &dyn Appliance, account: &Account) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let at = folder.path().display();
    // mbsync connects by address, for which there is no name to check; it takes a certificate it was given by hand. This
    // one comes from a connection whose chain and name were checked.
    let checked = appliance.imap()?;
    let chain = checked.conversation.tls().and_then(|tls| tls.peer_certificates());
    let own = chain
        .and_then(<[_]>::first)
        .ok_or("the box served no certificate")?;
    fs::write(folder.path().join("box.pem"), tls::to_pem(own))?;
    fs::write(folder.path().join("password"), &account.password)?;
    fs::create_dir(folder.path().join("mail"))?;
    let addr = appliance.addr(Service::Imaps);
    let configuration = format!(
        "IMAPAccount box\nHost {host}\nPort {port}\nUser {user}\nPassCmd \"cat {at}/password\"\nAuthMechs PLAIN\n\
         SSLType IMAPS\nSystemCertificates no\nCertificateFile {at}/box.pem\nTimeout 180\n\n\
         IMAPStore far\nAccount box\n\n\
         MaildirStore near\nPath {at}/mail/\nInbox {at}/mail/INBOX\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns INBOX\nSync Pull\nCreate Near\nSyncState *\n",
        host = addr.ip(),
        port = addr.port(),
        user = account.address,
    );
    let file = folder.path().join("mbsyncrc");
    fs::write(&file, configuration)?;
    run(Command::new("mbsync").arg("--config").arg(&file).arg("all"))?;
    let mut messages = Vec::new();
    for place in ["cur", "new"] {
        for entry in fs::read_dir(folder.path().join("mail/INBOX").join(place))? {
            messages.push(fs::read(entry?.path())?);
        }
    }
    Ok(messages)
}
