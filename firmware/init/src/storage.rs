//! The data file system, as the loop sees it: a worker brings it up and tells how far it has come.

use std::os::fd::OwnedFd;

use handoff::ProvisionOrigin;

use crate::stick::Provision;
use crate::trouble::Trouble;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The worker is at it.
    Coming,
    /// It is mounted; the rest of the way up does not take long.
    Mounted,
    /// The worker has done what it had to.
    Ready,
    /// There will be none.
    Failed,
}

/// The data file system.
#[derive(Debug)]
pub(crate) struct Storage {
    stage: Stage,
    activity: String,
    troubles: Vec<Trouble>,
    provision: Option<Provision>,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            stage: Stage::Coming,
            activity: "looking for the disk".to_owned(),
            troubles: Vec::new(),
            provision: None,
        }
    }
}

impl Storage {
    pub(crate) fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    pub(crate) fn trouble(&mut self, trouble: Trouble) {
        if !self.troubles.contains(&trouble) {
            self.troubles.push(trouble);
        }
    }

    /// Whether it is over, and there is no place for mail.
    pub(crate) fn has_failed(&self) -> bool {
        self.stage == Stage::Failed
    }

    /// What is under way, for the console page.
    pub(crate) fn activity(&self) -> String {
        match self.stage {
            Stage::Coming | Stage::Mounted => self.activity.clone(),
            Stage::Ready | Stage::Failed => "the mail service".to_owned(),
        }
    }

    pub(crate) fn is_at(&mut self, activity: String) {
        self.activity = activity;
    }

    pub(crate) fn mounted(&mut self) {
        self.stage = Stage::Mounted;
    }

    pub(crate) fn provided(&mut self, file: OwnedFd, octets: u32, origin: ProvisionOrigin) {
        self.provision = Some(Provision {
            file,
            octets,
            origin,
            device: String::new(),
        });
    }

    /// Mail can be served; gives what was on a stick or the boot partition.
    pub(crate) fn ready(&mut self) -> Option<Provision> {
        self.stage = Stage::Ready;
        self.provision.take()
    }

    /// The worker has ended; whether there is no place for mail because of it.
    pub(crate) fn ended(&mut self, failure: Option<String>) {
        match self.stage {
            Stage::Ready | Stage::Failed => {}
            Stage::Coming | Stage::Mounted => {
                if self.troubles.is_empty() || failure.is_some() {
                    let how = failure.unwrap_or_else(|| "ended".to_owned());
                    self.trouble(Trouble::BringUp(how));
                }
                self.stage = Stage::Failed;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_ends_before_its_time_is_a_trouble_of_its_own() {
        let mut storage = Storage::default();
        storage.ended(Some("was ended by SIGSEGV".to_owned()));
        assert!(storage.has_failed());
        assert_eq!(
            storage.troubles(),
            [Trouble::BringUp("was ended by SIGSEGV".to_owned())]
        );
        // One that said what is wrong has said it.
        let mut told = Storage::default();
        told.trouble(Trouble::NoDisk);
        told.ended(None);
        assert!(told.has_failed());
        assert_eq!(told.troubles(), [Trouble::NoDisk]);
    }

    #[test]
    fn a_worker_that_goes_on_behind_ready_may_end_as_it_likes() {
        let mut storage = Storage::default();
        storage.mounted();
        assert!(storage.ready().is_none());
        storage.ended(Some("ended with error 1".to_owned()));
        assert!(!storage.has_failed() && storage.troubles().is_empty());
    }
}
