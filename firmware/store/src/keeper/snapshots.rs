//! What the keeper asks of snapshots.

use crate::error::StoreError;
use crate::shared::Shared;
use crate::snapshot;

/// What the kept snapshots say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    /// The last batch that both have; 0: there are not two.
    pub(super) covered: u64,
    /// The last batch that the newest has; 0: there is none.
    pub(super) newest: u64,
    /// Octets of the newest.
    pub(super) octets: u64,
}

pub(super) fn kept(shared: &Shared) -> Kept {
    let kept = snapshot::kept(shared);
    let newest = kept.first();
    Kept {
        covered: snapshot::covered(shared),
        newest: newest.map_or(0, |newest| newest.position.batch),
        octets: newest.map_or(0, |newest| newest.octets),
    }
}

pub(super) fn make(shared: &Shared) -> Result<(), StoreError> {
    snapshot::make(shared).map(|_| ())
}
