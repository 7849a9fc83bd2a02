//! A record is written on a disk whose power is cut: at each call, with each part of what was not synced on it or not.

use std::collections::BTreeMap;

use handoff::{HostName, Ipv4Settings, StaticIpv4};

use super::*;

/// A folder on a disk with a cache.
///
/// What a file holds is durable once it was synced, what it is called once the folder was. Of what was not, a cut keeps as much as
/// `luck` says: names change in order, as in a journal, and a file has a beginning of what was written to it, zeros behind
/// that, or nothing at all.
#[derive(Clone, Debug, Default)]
struct Disk {
    files: Vec<Octets>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since the folder was synced.
    changes: Vec<Change>,
    /// Calls until the power goes.
    calls_left: Option<usize>,
    loses_file_syncs: bool,
    loses_name_syncs: bool,
}

#[derive(Clone, Debug, Default)]
struct Octets {
    live: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Change {
    Remove(String),
    Create(String, usize),
    Rename(String, String),
}

/// What a cut does to a file that was not synced.
#[derive(Clone, Copy, Debug)]
enum Tear {
    Whole,
    Half,
    Zeros,
    Nothing,
}

const TEARS: [Tear; 4] = [Tear::Whole, Tear::Half, Tear::Zeros, Tear::Nothing];

impl Disk {
    fn call(&mut self) -> io::Result<()> {
        match &mut self.calls_left {
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.changes.push(change);
    }

    /// What is there when the power is back.
    fn cut(&self, changes_kept: usize, tear: Tear) -> BTreeMap<String, Vec<u8>> {
        let mut names = self.durable_names.clone();
        for change in self.changes.iter().take(changes_kept) {
            apply(&mut names, change);
        }
        let torn = |file: &Octets| {
            let is_synced = file.live == file.durable;
            match tear {
                _ if is_synced => file.live.clone(),
                Tear::Whole => file.live.clone(),
                Tear::Half => file.live[..file.live.len() / 2].to_vec(),
                Tear::Zeros => vec![0; file.live.len()],
                Tear::Nothing => file.durable.clone(),
            }
        };
        let there = names.into_iter();
        there.map(|(name, at)| (name, torn(&self.files[at]))).collect()
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Remove(name) => {
            names.remove(name);
        }
        Change::Create(name, at) => {
            names.insert(name.clone(), *at);
        }
        Change::Rename(from, to) => {
            if let Some(at) = names.remove(from) {
                names.insert(to.clone(), at);
            }
        }
    }
}

impl Place for Disk {
    type File = usize;

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.call()?;
        if !self.names.contains_key(name) {
            return Err(ErrorKind::NotFound.into());
        }
        self.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn create(&mut self, name: &str) -> io::Result<usize> {
        self.call()?;
        if self.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.files.push(Octets::default());
        let at = self.files.len() - 1;
        self.change(Change::Create(name.to_owned(), at));
        Ok(at)
    }

    fn write(&mut self, file: &mut usize, octets: &[u8]) -> io::Result<()> {
        self.call()?;
        self.files[*file].live.extend(octets);
        Ok(())
    }

    fn sync(&mut self, file: &usize) -> io::Result<()> {
        self.call()?;
        if !self.loses_file_syncs {
            let file = &mut self.files[*file];
            file.durable.clone_from(&file.live);
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.call()?;
        self.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.call()?;
        if !self.loses_name_syncs {
            self.durable_names.clone_from(&self.names);
            self.changes.clear();
        }
        Ok(())
    }
}

fn name(text: &str) -> Record {
    Record::Name(HostName::new(text).unwrap_or_else(|_| panic!("{text}")))
}

/// Old and new record of each kind.
fn pairs() -> [(Record, Record); 3] {
    let fixed = Ipv4Settings::Static(StaticIpv4 {
        address: [192, 0, 2, 5].into(),
        prefix: 24,
        gateway: Some([192, 0, 2, 1].into()),
        dns: std::iter::once([192, 0, 2, 1].into()).collect(),
    });
    [
        (name("postolka"), name("mail")),
        (Record::Network(Ipv4Settings::Dynamic), Record::Network(fixed)),
        (Record::Time(1_790_000_000), Record::Time(1_790_000_900)),
    ]
}

/// Cuts everywhere on the way from `old`, if there is one, to `new`; gives how often, or what was found that must not be.
fn cut_everywhere(start: &Disk, old: Option<&Record>, new: &Record) -> Result<usize, String> {
    let kind = new.kind();
    let mut cuts = 0;
    for calls in 0.. {
        let mut disk = start.clone();
        disk.calls_left = Some(calls);
        let is_written = write_on(&mut disk, new).is_ok();
        for kept in 0..=disk.changes.len() {
            for tear in TEARS {
                cuts += 1;
                let there = disk.cut(kept, tear);
                let found = there.get(kind.word()).map(|octets| record::decode(kind, octets));
                let is_new = found == Some(Ok(new.clone()));
                let is_old = found == old.cloned().map(Ok);
                if !is_new && (is_written || !is_old) {
                    return Err(format!("{calls} calls, {kept} changes, {tear:?}: {found:?}"));
                }
                // The next start can write again, whatever was left behind.
                let mut next = Disk::default();
                for (name, octets) in there {
                    next.names.insert(name, next.files.len());
                    next.files.push(Octets {
                        durable: octets.clone(),
                        live: octets,
                    });
                }
                next.durable_names = next.names.clone();
                write_on(&mut next, new).map_err(|error| format!("the next write: {error}"))?;
            }
        }
        if is_written {
            break;
        }
    }
    Ok(cuts)
}

fn written(record: &Record) -> Disk {
    let mut disk = Disk::default();
    write_on(&mut disk, record).unwrap_or_else(|error| panic!("{error}"));
    disk
}

#[test]
fn a_power_cut_leaves_the_old_record_or_the_new_one_and_never_none() {
    for (old, new) in pairs() {
        let cuts = cut_everywhere(&written(&old), Some(&old), &new);
        assert!(cuts.as_ref().is_ok_and(|cuts| *cuts >= 40), "{cuts:?}");
        // The first record of all: none, or whole.
        let cuts = cut_everywhere(&Disk::default(), None, &new);
        assert!(cuts.as_ref().is_ok_and(|cuts| *cuts >= 40), "{cuts:?}");
    }
}

/// The simulation finds what it is for: without either sync something is lost.
#[test]
fn neither_sync_can_be_left_out() {
    for (old, new) in pairs() {
        let without_file_sync = Disk {
            loses_file_syncs: true,
            ..written(&old)
        };
        let found = cut_everywhere(&without_file_sync, Some(&old), &new);
        assert!(found.is_err(), "{found:?}");
        let without_name_sync = Disk {
            loses_name_syncs: true,
            ..written(&old)
        };
        let found = cut_everywhere(&without_name_sync, Some(&old), &new);
        assert!(found.is_err(), "{found:?}");
    }
}
