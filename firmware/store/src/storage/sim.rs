//! A disk in memory whose power can be cut (rig R1 of the promises).
//!
//! It keeps what is durable apart from what is not yet. [`File::sync`] makes a file's content durable,
//! only [`Storage::sync_folder`] makes names durable. A cut keeps the durable image, and of everything
//! since then a random part: sectors of 512 octets or pages of 4 KiB, lengths, names, each by itself.
//! The same seed gives the same disk.

use super::{File, Room, Storage};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// A simulated disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct Sim {
    disk: Arc<Mutex<Disk>>,
}

/// What is to go wrong. Calls are counted from 1; only those that change something count.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The power is cut in this call: what it was to write may have reached the disk in part, what it
    /// was to sync is not synced.
    pub cut_at: Option<u64>,
    /// This call fails with the error. A write has then written nothing, its first half, or all, and what a
    /// sync was to make durable never becomes so, though a later sync says that it is.
    pub fail_at: Option<(u64, io::ErrorKind)>,
    /// Each call that would change something fails: the disk can be read, and not written.
    pub is_read_only: bool,
    /// Keep what a cut in each call would leave, and go on: [`Sim::take_cuts`]. So one course is cut
    /// everywhere without being run for each cut.
    pub keeps_cuts: bool,
    /// Syncs of files whose name begins so, or of just the folder `folder NAME`, do nothing: for seeing that
    /// a test notices.
    pub ignored_syncs: Option<&'static str>,
    /// Syncs of files whose name begins so fail, as in `fail_at`.
    pub failing_syncs: Option<&'static str>,
    /// Octets of all files together; more is [`io::ErrorKind::StorageFull`].
    pub capacity_octets: Option<u64>,
    /// Reads of files whose name begins so fail.
    pub unreadable: Option<&'static str>,
    /// The most files open at a time.
    pub open_files_max: Option<usize>,
}

/// What was done to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Calls that change something.
    pub calls: u64,
    /// Octets written.
    pub octets_written: u64,
    /// Syncs of files in `log`.
    pub log_syncs: u64,
    /// Syncs of files in `bodies`.
    pub body_syncs: u64,
    /// Syncs of folders.
    pub folder_syncs: u64,
}

#[derive(Debug, Default)]
struct Disk {
    random: u64,
    plan: Plan,
    counted: Counted,
    nodes: BTreeMap<u64, Node>,
    next_node: u64,
    folders: BTreeSet<String>,
    durable_folders: BTreeSet<String>,
    /// Pages of files that cannot be read any more.
    spoiled: BTreeSet<(u64, usize)>,
    open_files: usize,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// Changes of names that are not durable, with their folder.
    pending_names: Vec<(String, NameChange)>,
    /// What the next power-on finds.
    after_cut: Option<Image>,
    cuts: Vec<Cut>,
}

/// What is on a disk without power.
#[derive(Clone, Debug, Default)]
struct Image {
    files: BTreeMap<String, Vec<u8>>,
    folders: BTreeSet<String>,
}

/// What a cut would have left.
#[derive(Debug)]
pub struct Cut {
    /// The call in which it would have been.
    pub call: u64,
    image: Image,
}

impl Cut {
    /// The disk after the power comes back.
    pub fn reboot(&self, seed: u64) -> Sim {
        self.image.clone().boot(seed)
    }
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(String, u64),
    Unset(String),
    Renamed(String, String, u64),
}

#[derive(Debug, Default)]
struct Node {
    live: Vec<u8>,
    /// Pages that were ever written: only they take room, as in a file with holes.
    pages: BTreeSet<usize>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone, Debug)]
enum Pending {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Pending {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Pending::Write(offset, octets) => write(content, *offset, octets),
            Pending::Length(length) => content.resize(*length, 0),
        }
    }
}

const PAGE_OCTETS: usize = 4096;

impl Node {
    /// The pages that a change would need besides those there are.
    fn pages_for(&self, pending: &Pending) -> usize {
        match pending {
            Pending::Write(offset, octets) => pages(*offset, octets.len())
                .filter(|page| !self.pages.contains(page))
                .count(),
            Pending::Length(_) => 0,
        }
    }

    fn change(&mut self, pending: Pending) {
        pending.apply(&mut self.live);
        match &pending {
            Pending::Write(offset, octets) => self.pages.extend(pages(*offset, octets.len())),
            Pending::Length(length) => self.pages.retain(|page| page * PAGE_OCTETS < *length),
        }
        self.pending.push(pending);
    }
}

fn pages(offset: usize, octets: usize) -> std::ops::Range<usize> {
    offset / PAGE_OCTETS..(offset + octets).div_ceil(PAGE_OCTETS)
}

fn write(content: &mut Vec<u8>, offset: usize, octets: &[u8]) {
    let end = offset + octets.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(octets);
}

/// The folder a name is in.
fn folder_of(name: &str) -> String {
    name.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned()
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("simulated disks are small")
}

impl Sim {
    /// An empty disk.
    pub fn new(seed: u64) -> Sim {
        let disk = Disk {
            random: seed,
            folders: BTreeSet::from([String::new()]),
            durable_folders: BTreeSet::from([String::new()]),
            ..Disk::default()
        };
        Sim {
            disk: Arc::new(Mutex::new(disk)),
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("nothing panics while it holds this lock")
    }

    /// What is to go wrong from now on.
    pub fn plan(&self, plan: Plan) {
        self.disk().plan = plan;
    }

    /// What was done so far.
    pub fn counted(&self) -> Counted {
        self.disk().counted
    }

    /// Whether the power was cut.
    pub fn is_cut(&self) -> bool {
        self.disk().after_cut.is_some()
    }

    /// Cuts the power, if it is not yet, and is the disk after it comes back.
    #[must_use]
    pub fn reboot(&self, seed: u64) -> Sim {
        let mut disk = self.disk();
        if disk.after_cut.is_none() {
            disk.after_cut = Some(disk.image(None));
        }
        disk.after_cut.clone().expect("it was cut above").boot(seed)
    }

    /// What cuts in the calls since the last time would have left ([`Plan::keeps_cuts`]).
    pub fn take_cuts(&self) -> Vec<Cut> {
        std::mem::take(&mut self.disk().cuts)
    }

    /// Changes octets of a file behind everyone's back.
    pub fn flip(&self, name: &str, offset: u64, mask: u8) {
        let mut disk = self.disk();
        let node = disk.names[name];
        let node = disk.nodes.get_mut(&node).expect("names have nodes");
        node.live[place(offset)] ^= mask;
        node.durable = node.live.clone();
    }

    /// The page of a file with octet `offset` cannot be read any more.
    pub fn spoil(&self, name: &str, offset: u64) {
        let mut disk = self.disk();
        let node = disk.names[name];
        disk.spoiled.insert((node, place(offset) / PAGE_OCTETS));
    }

    /// What all files take of the disk.
    pub fn used_octets(&self) -> u64 {
        self.disk().used_octets()
    }

    /// The names of all files.
    pub fn names(&self) -> Vec<String> {
        self.disk().names.keys().cloned().collect()
    }

    /// What all files whose name begins with `folder` hold, at one moment.
    pub fn octets_in(&self, folder: &str) -> u64 {
        let disk = self.disk();
        let nodes = disk.names.iter().filter(|(name, _)| name.starts_with(folder));
        nodes.map(|(_, node)| disk.nodes[node].live.len() as u64).sum()
    }

    /// The content of a file.
    pub fn content(&self, name: &str) -> Vec<u8> {
        let disk = self.disk();
        disk.nodes[&disk.names[name]].live.clone()
    }
}

impl Image {
    fn boot(self, seed: u64) -> Sim {
        let mut next = Disk {
            random: seed,
            durable_folders: self.folders.clone(),
            folders: self.folders,
            ..Disk::default()
        };
        for (name, content) in self.files {
            let node = next.next_node;
            next.next_node += 1;
            next.nodes.insert(
                node,
                Node {
                    pages: (0..content.len().div_ceil(PAGE_OCTETS)).collect(),
                    live: content.clone(),
                    durable: content,
                    pending: Vec::new(),
                },
            );
            next.names.insert(name.clone(), node);
            next.durable_names.insert(name, node);
        }
        Sim {
            disk: Arc::new(Mutex::new(next)),
        }
    }
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Disk {
    /// Counts a call and says whether it goes wrong.
    fn call(&mut self) -> io::Result<()> {
        self.call_with(None)
    }

    /// As [`Disk::call`]; the change to a node may reach the disk in part.
    fn call_with(&mut self, under_way: Option<(u64, &Pending)>) -> io::Result<()> {
        self.alive()?;
        if self.plan.is_read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.counted.calls += 1;
        let call = self.counted.calls;
        if self.plan.keeps_cuts {
            let image = self.image(under_way);
            self.cuts.push(Cut { call, image });
        }
        if self.plan.cut_at == Some(call) {
            self.after_cut = Some(self.image(under_way));
            return Err(power_cut());
        }
        match self.plan.fail_at {
            Some((call, kind)) if call == self.counted.calls => Err(kind.into()),
            _ => Ok(()),
        }
    }

    fn alive(&self) -> io::Result<()> {
        if self.after_cut.is_some() {
            Err(power_cut())
        } else {
            Ok(())
        }
    }

    /// Decides what a cut leaves.
    fn image(&self, under_way: Option<(u64, &Pending)>) -> Image {
        // Nothing else may have asked for a number: each call has a fate of its own.
        let mut state = self.random ^ self.counted.calls.wrapping_mul(0xa076_1d64_78bd_642f);
        let mut random = || random(&mut state);
        // Sometimes nothing more got to the disk, sometimes all, mostly some.
        let survives_of_8 = [0, 1, 4, 7, 8][place(random() % 5)];
        let piece_octets = if random().is_multiple_of(2) { 512 } else { 4096 };
        let mut names = self.durable_names.clone();
        for (_, change) in &self.pending_names {
            if random() % 8 < survives_of_8 {
                match change.clone() {
                    NameChange::Set(name, node) => _ = names.insert(name, node),
                    NameChange::Unset(name) => _ = names.remove(&name),
                    NameChange::Renamed(from, to, node) => {
                        names.remove(&from);
                        names.insert(to, node);
                    }
                }
            }
        }
        let mut files = BTreeMap::new();
        for (name, node) in names {
            let mut content = self.nodes[&node].durable.clone();
            let last = under_way
                .filter(|(of, _)| *of == node)
                .map(|(_, pending)| pending);
            for pending in self.nodes[&node].pending.iter().chain(last) {
                match pending {
                    Pending::Length(_) => {
                        if random() % 8 < survives_of_8 {
                            pending.apply(&mut content);
                        }
                    }
                    Pending::Write(offset, octets) => {
                        let mut from = 0;
                        while from < octets.len() {
                            let to = ((offset + from) / piece_octets + 1) * piece_octets - *offset;
                            let to = to.min(octets.len());
                            if random() % 8 < survives_of_8 {
                                write(&mut content, *offset + from, &octets[from..to]);
                            }
                            from = to;
                        }
                    }
                }
            }
            files.insert(name, content);
        }
        let mut folders = self.durable_folders.clone();
        for folder in self
            .folders
            .difference(&self.durable_folders)
            .cloned()
            .collect::<Vec<_>>()
        {
            if random() % 8 < survives_of_8 {
                folders.insert(folder);
            }
        }
        // A folder whose own folder is lost is lost with it. In this order each comes behind its own.
        let mut found = BTreeSet::new();
        for folder in folders {
            if folder.is_empty() || found.contains(&folder_of(&folder)) {
                found.insert(folder);
            }
        }
        let folders = found;
        files.retain(|name, _| folders.contains(&folder_of(name)));
        Image { files, folders }
    }

    fn used_octets(&self) -> u64 {
        self.names
            .values()
            .map(|node| (self.nodes[node].pages.len() * PAGE_OCTETS) as u64)
            .sum()
    }

    /// The name that a file has now.
    fn name_of(&self, node: u64) -> &str {
        self.names
            .iter()
            .find(|(_, of)| **of == node)
            .map_or("", |(name, _)| name)
    }

    fn ignores_sync_of(&self, name: &str) -> bool {
        self.plan.ignored_syncs.is_some_and(|ignored| {
            if name.starts_with("folder ") {
                name == ignored
            } else {
                name.starts_with(ignored)
            }
        })
    }
}

fn power_cut() -> io::Error {
    io::Error::other("the power is cut")
}

fn not_found(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, name.to_owned())
}

impl Storage for Sim {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk();
        disk.call()?;
        if !disk.folders.contains(&folder_of(name)) {
            return Err(not_found(name));
        }
        if disk.names.contains_key(name) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, name.to_owned()));
        }
        let node = disk.next_node;
        disk.next_node += 1;
        disk.nodes.insert(node, Node::default());
        disk.names.insert(name.to_owned(), node);
        disk.pending_names
            .push((folder_of(name), NameChange::Set(name.to_owned(), node)));
        disk.open_files += 1;
        drop(disk);
        Ok(Arc::new(SimFile {
            sim: self.clone(),
            node,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk();
        disk.alive()?;
        let node = *disk.names.get(name).ok_or_else(|| not_found(name))?;
        if disk.plan.open_files_max.is_some_and(|max| disk.open_files >= max) {
            return Err(io::Error::other("too many open files"));
        }
        disk.open_files += 1;
        drop(disk);
        Ok(Arc::new(SimFile {
            sim: self.clone(),
            node,
        }))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let disk = self.disk();
        disk.alive()?;
        if !disk.folders.contains(folder) {
            return Err(not_found(folder));
        }
        let below = disk.folders.iter().filter(|below| !below.is_empty());
        let names = disk
            .names
            .keys()
            .chain(below)
            .filter(|name| folder_of(name) == folder);
        Ok(names
            .map(|name| name.rsplit('/').next().unwrap_or(name).to_owned())
            .collect())
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.alive()?;
        if !disk.folders.contains(&folder_of(folder)) {
            return Err(not_found(folder));
        }
        if !disk.folders.contains(folder) {
            disk.call()?;
            disk.folders.insert(folder.to_owned());
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call()?;
        let node = disk.names.remove(from).ok_or_else(|| not_found(from))?;
        disk.names.insert(to.to_owned(), node);
        let change = NameChange::Renamed(from.to_owned(), to.to_owned(), node);
        disk.pending_names.push((folder_of(to), change));
        Ok(())
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call()?;
        let node = *disk.names.get(from).ok_or_else(|| not_found(from))?;
        if !disk.folders.contains(&folder_of(to)) {
            return Err(not_found(to));
        }
        if disk.names.contains_key(to) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, to.to_owned()));
        }
        disk.names.insert(to.to_owned(), node);
        disk.pending_names
            .push((folder_of(to), NameChange::Set(to.to_owned(), node)));
        Ok(())
    }

    /// It is gone at once: none is removed that anything needs.
    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call()?;
        if !disk.folders.contains(folder) {
            return Err(not_found(folder));
        }
        let mut all = disk.names.keys().chain(disk.folders.iter());
        if all.any(|name| folder_of(name) == folder && !name.is_empty()) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        disk.folders.remove(folder);
        disk.durable_folders.remove(folder);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call()?;
        disk.names.remove(name).ok_or_else(|| not_found(name))?;
        disk.pending_names
            .push((folder_of(name), NameChange::Unset(name.to_owned())));
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call()?;
        disk.counted.folder_syncs += 1;
        if disk.ignores_sync_of(&format!("folder {folder}")) {
            return Ok(());
        }
        let made: Vec<_> = disk
            .folders
            .iter()
            .filter(|made| folder_of(made) == folder)
            .cloned()
            .collect();
        disk.durable_folders.extend(made);
        let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut disk.pending_names)
            .into_iter()
            .partition(|(of, _)| of == folder);
        disk.pending_names = later;
        for (_, change) in now {
            match change {
                NameChange::Set(name, node) => _ = disk.durable_names.insert(name, node),
                NameChange::Unset(name) => _ = disk.durable_names.remove(&name),
                NameChange::Renamed(from, to, node) => {
                    disk.durable_names.remove(&from);
                    disk.durable_names.insert(to, node);
                }
            }
        }
        Ok(())
    }

    fn room(&self) -> io::Result<Room> {
        let disk = self.disk();
        disk.alive()?;
        let total_octets = disk.plan.capacity_octets.unwrap_or(1 << 40);
        Ok(Room {
            total_octets,
            free_octets: total_octets.saturating_sub(disk.used_octets()),
        })
    }

    fn fill_random(&self, octets: &mut [u8]) -> io::Result<()> {
        let mut disk = self.disk();
        for octet in octets {
            *octet = random(&mut disk.random).to_le_bytes()[0];
        }
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    sim: Sim,
    node: u64,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if let Ok(mut disk) = self.sim.disk.lock() {
            disk.open_files -= 1;
        }
    }
}

impl SimFile {
    /// Does something to the file's node, and keeps it in mind for the case of a cut.
    fn change(&self, pending: Pending) -> io::Result<()> {
        let mut disk = self.sim.disk();
        disk.alive()?;
        let more = (disk.nodes[&self.node].pages_for(&pending) * PAGE_OCTETS) as u64;
        if more > 0
            && disk
                .plan
                .capacity_octets
                .is_some_and(|capacity| disk.used_octets() + more > capacity)
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if let Pending::Write(_, octets) = &pending {
            disk.counted.octets_written += octets.len() as u64;
        }
        let result = disk.call_with(Some((self.node, &pending)));
        let part_of_2 = if result.is_err() {
            random(&mut disk.random) % 3
        } else {
            2
        };
        let is_cut = disk.after_cut.is_some();
        let node = disk.nodes.get_mut(&self.node).expect("open files have nodes");
        match (result, pending) {
            (Ok(()), pending) => {
                node.change(pending);
                Ok(())
            }
            (Err(error), Pending::Write(offset, octets)) if !is_cut => {
                let written = octets.len() * place(part_of_2) / 2;
                node.change(Pending::Write(offset, octets[..written].to_vec()));
                Err(error)
            }
            (Err(error), _) => Err(error),
        }
    }
}

impl File for SimFile {
    fn read_exact_at(&self, octets: &mut [u8], offset: u64) -> io::Result<()> {
        let disk = self.sim.disk();
        disk.alive()?;
        if disk
            .plan
            .unreadable
            .is_some_and(|prefix| disk.name_of(self.node).starts_with(prefix))
        {
            return Err(io::Error::other("the sector cannot be read"));
        }
        let is_spoiled = |page| disk.spoiled.contains(&(self.node, page));
        if pages(place(offset), octets.len()).any(is_spoiled) {
            return Err(io::Error::other("the sector cannot be read"));
        }
        let content = &disk.nodes[&self.node].live;
        let from = place(offset);
        let found = content
            .get(from..from + octets.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        octets.copy_from_slice(found);
        Ok(())
    }

    fn write_all_at(&self, octets: &[u8], offset: u64) -> io::Result<()> {
        self.change(Pending::Write(place(offset), octets.to_vec()))
    }

    fn length(&self) -> io::Result<u64> {
        let disk = self.sim.disk();
        disk.alive()?;
        Ok(disk.nodes[&self.node].live.len() as u64)
    }

    fn set_length(&self, octets: u64) -> io::Result<()> {
        self.change(Pending::Length(place(octets)))
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.sim.disk();
        let name = disk.name_of(self.node).to_owned();
        match name.split_once('/') {
            Some(("log", _)) => disk.counted.log_syncs += 1,
            Some(("bodies", _)) => disk.counted.body_syncs += 1,
            _ => (),
        }
        let mut result = disk.call();
        if disk
            .plan
            .failing_syncs
            .is_some_and(|prefix| name.starts_with(prefix))
        {
            result = result.and(Err(io::Error::other("the sync failed")));
        }
        let is_cut = disk.after_cut.is_some();
        let is_ignored = disk.ignores_sync_of(&name);
        let node = disk.nodes.get_mut(&self.node).expect("open files have nodes");
        if result.is_ok() && !is_ignored {
            for pending in std::mem::take(&mut node.pending) {
                pending.apply(&mut node.durable);
            }
        } else if result.is_err() && !is_cut {
            // The kernel forgets that the pages were to be written.
            node.pending.clear();
        }
        result
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lost_without_a_sync_of_its_folder_and_content_without_one_of_the_file() {
        let mut names_lost = 0;
        let mut contents_lost = 0;
        for seed in 0..100 {
            let sim = Sim::new(seed);
            for folder in ["bodies", "log"] {
                sim.create_folder(folder).unwrap();
            }
            sim.sync_folder("").unwrap();
            sim.plan(Plan {
                ignored_syncs: Some("folder bodies"),
                ..Plan::default()
            });
            for name in ["bodies/1", "log/1", "log/2"] {
                let file = sim.create(name).unwrap();
                file.write_all_at(&[7; 5000], 0).unwrap();
                if name != "log/2" {
                    file.sync().unwrap();
                }
            }
            sim.sync_folder("bodies").unwrap();
            sim.sync_folder("log").unwrap();
            let after = sim.reboot(seed);
            names_lost += usize::from(after.open("bodies/1").is_err());
            assert_eq!(after.content("log/1"), [7; 5000]);
            contents_lost += usize::from(after.content("log/2") != [7; 5000]);
        }
        assert!((20..80).contains(&names_lost), "{names_lost}");
        assert!((50..95).contains(&contents_lost), "{contents_lost}");
    }
}
