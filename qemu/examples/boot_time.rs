//! How long a box takes from power-on to the page on its console and to its first SMTP greeting, by what starts it.
//!
//! `cargo image && cargo run --profile ci -p qemu --example boot_time [RUNS]`, on an idle computer.
//!
//! Where QEMU puts the kernel into memory itself (`direct`), the page is the limit: what QEMU and the kernel need
//! whatever runs on them. What `uboot` and `edk2` take beyond it is firmware, loader and reading the slot; two seconds of
//! U-Boot's are a wait for a key. Nothing is judged; the numbers depend on the computer.

use qemu::{Builder, Disk, Error, Firmware, HostPort, Image, Machine, Stick};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(180);
const PROVISION: &str = "host_name = \"mail.firma.test\"\n\
    [[domain]]\nname = \"firma.test\"\n\
    [[mailbox]]\naddress = \"anna@firma.test\"\npassword = \"measured-once-and-gone\"\n";
/// What the page says and the loader does not.
const PAGE: &str = " on QEMU virt";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runs: usize = std::env::args().nth(1).map_or(Ok(5), |word| word.parse())?;
    let image = Image::built("ci")?;
    println!("seconds from power-on: median (least to most) of {runs} starts");
    println!("{:<28} {:>22} {:>22}", "", "page on the console", "SMTP greeting");
    let starts = [None].into_iter().chain(Firmware::ALL.map(Some));
    for firmware in starts {
        let name = firmware.map_or("direct", Firmware::name);
        for cpus in [1, 2] {
            let folder = tempfile::tempdir()?;
            let files = [("postolka.toml", PROVISION.as_bytes())];
            let stick = Stick::prepare(&folder.path().join("stick"), &files)?;
            let mut first = Vec::new();
            let mut later = Vec::new();
            for run in 0..runs {
                let path = folder.path().join(format!("disk{run}"));
                // Without a loader nobody tells init which disk was flashed: it grows no partition then, and takes an
                // empty disk as a whole.
                let the_box = match firmware {
                    None => Machine::builder(&image).disk(&Disk::create(&path, 1 << 30)?),
                    Some(firmware) => {
                        Machine::from_disk(&Disk::flash(&image.disk()?, &path, 1 << 30)?, firmware)
                    }
                };
                let the_box = the_box
                    .memory(512)
                    .cpus(cpus)
                    .stick(&stick)
                    .forward(25, HostPort::Free);
                first.push(start(&the_box)?);
                later.push(start(&the_box)?);
            }
            print(&format!("{name}, {cpus} CPU, new disk"), &first);
            print(&format!("{name}, {cpus} CPU, later starts"), &later);
        }
    }
    Ok(())
}

/// Starts the box, and stops it cleanly once it has greeted.
fn start(the_box: &Builder) -> Result<[Duration; 2], Box<dyn std::error::Error>> {
    let begin = Instant::now();
    let mut machine = the_box.start()?;
    machine.console().wait_for(PAGE, PATIENCE)?;
    let page = begin.elapsed();
    // slirp accepts before anybody listens in the machine, so a greeting is waited for only now.
    machine.console().wait_for("LISTENING", PATIENCE)?;
    let port = machine.port(25).ok_or("port 25 is not forwarded")?;
    let mut greeting = String::new();
    BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?).read_line(&mut greeting)?;
    let greeted = begin.elapsed();
    if !greeting.starts_with("220 ") {
        return Err(format!("not a greeting: {greeting}").into());
    }
    stop(&mut machine)?;
    Ok([page, greeted])
}

fn stop(machine: &mut Machine) -> Result<(), Error> {
    machine.press_power()?;
    machine.wait_exit(PATIENCE)?;
    Ok(())
}

fn print(what: &str, times: &[[Duration; 2]]) {
    let column = |place: usize| {
        let mut seconds: Vec<f64> = times.iter().map(|time| time[place].as_secs_f64()).collect();
        seconds.sort_by(f64::total_cmp);
        let (least, most) = (seconds[0], seconds[seconds.len() - 1]);
        format!("{:.2} ({least:.2} to {most:.2})", seconds[seconds.len() / 2])
    };
    println!("{what:<28} {:>22} {:>22}", column(0), column(1));
}
