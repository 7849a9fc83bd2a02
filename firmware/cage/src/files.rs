//! Files and ports, by Landlock.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    PathFdError, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags,
};

use crate::CageError;

/// What the box's kernel has (6.12). A later one is not asked for more, so that the cage is the same on all.
const ABI_OF_THE_BOX: ABI = ABI::V6;

/// Everything but to execute, and to make what is no file or folder.
const OWN: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | WriteFile | Truncate | ReadDir | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
});

/// The files that a program keeps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files<'a> {
    /// Its own folder, which must exist.
    pub own: Option<&'a Path>,
    /// Files that may be read. One that does not exist will not.
    pub readable: &'a [&'a str],
}

/// What it may do by TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net {
    /// Connect, from a port that the system chooses, and take connections on listening sockets that it was given.
    Connects,
    /// Nothing.
    Nothing,
}

/// What is asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Everything that the box's kernel can; without, it is an error.
    Whole,
    /// As much as it can.
    AsItIs,
}

impl Files<'_> {
    /// Confines this thread, and those it starts. Gives whether the kernel enforces all of it.
    pub(crate) fn restrict(&self, net: Net, kernel: Kernel) -> Result<bool, CageError> {
        let level = match kernel {
            Kernel::Whole => CompatLevel::HardRequirement,
            Kernel::AsItIs => CompatLevel::BestEffort,
        };
        let ports = match net {
            Net::Connects => AccessNet::BindTcp.into(),
            Net::Nothing => AccessNet::from_all(ABI_OF_THE_BOX),
        };
        let mut ruleset = Ruleset::default()
            .set_compatibility(level)
            .handle_access(AccessFs::from_all(ABI_OF_THE_BOX))?
            .handle_access(ports)?
            .scope(Scope::from_all(ABI_OF_THE_BOX))?
            .create()?;
        if let Some(own) = self.own {
            let folder = open(own)?;
            ruleset = ruleset.add_rule(PathBeneath::new(folder, OWN))?;
        }
        for path in self.readable.iter().map(Path::new).filter(|path| path.exists()) {
            ruleset = ruleset.add_rule(PathBeneath::new(open(path)?, AccessFs::ReadFile))?;
        }
        if net == Net::Connects {
            // Port 0 is any that is free: whoever connects may want to know it before.
            ruleset = ruleset.add_rule(NetPort::new(0, AccessNet::BindTcp))?;
        }
        let status = ruleset.restrict_self()?;
        Ok(status.ruleset == RulesetStatus::FullyEnforced)
    }
}

fn open(path: &Path) -> Result<PathFd, CageError> {
    PathFd::new(path).map_err(|error| CageError::Path {
        path: path.display().to_string(),
        source: match error {
            PathFdError::OpenCall { source, .. } => source,
            // The type may grow; today there is no other.
            other => std::io::Error::other(other),
        },
    })
}
