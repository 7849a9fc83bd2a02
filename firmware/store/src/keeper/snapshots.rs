//! What the keeper asks of snapshots.

use crate::error::StoreError;
use crate::shared::Shared;

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

/// Whether snapshots can be made.
pub(super) const ARE_THERE: bool = cfg!(test);

#[cfg(test)]
thread_local! {
    pub(super) static PRETENDED: std::cell::RefCell<Vec<u64>> = const { std::cell::RefCell::new(Vec::new()) };
}

pub(super) fn kept(_shared: &Shared) -> Result<Kept, StoreError> {
    #[cfg(test)]
    {
        let made = PRETENDED.with_borrow(Clone::clone);
        return Ok(Kept {
            covered: made.iter().rev().nth(1).copied().unwrap_or_default(),
            newest: made.last().copied().unwrap_or_default(),
            octets: 1000,
        });
    }
    #[cfg(not(test))]
    Ok(Kept::default())
}

pub(super) fn make(_shared: &Shared) -> Result<(), StoreError> {
    #[cfg(test)]
    {
        let batch = crate::index::rows::counter(&_shared.read()?.state, crate::index::state::BATCH)?;
        PRETENDED.with_borrow_mut(|made| made.push(batch));
    }
    Ok(())
}
