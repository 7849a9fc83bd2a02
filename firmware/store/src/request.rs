//! What a request is to the writer: it is decided against the index, and its outcome is a record.

use crate::error::StoreError;
use crate::index::Tables;
use crate::log::body::SealedBody;
use crate::log::record::{Mutation, Relocated};
use tokio::sync::oneshot;

/// The most octets of bodies that one record holds; larger bodies have files of their own. It bounds
/// what the writer has in memory. A MULTIAPPEND of 120 messages of 256 KiB fits.
pub(crate) const RECORD_BODY_OCTETS_MAX: u64 = 32 * 1024 * 1024;

/// A change that someone asks for.
pub(crate) trait Request: Send + 'static {
    /// What the one who asks is told.
    type Reply: Send + 'static;

    /// Says what is to become of the request, and changes nothing. It sees what the requests before it
    /// in the same batch became. Without a mutation there is nothing to be done.
    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, Self::Reply), StoreError>;

    /// The bodies of the new messages, in the order in which the mutation names them.
    fn bodies(&self) -> Vec<&SealedBody> {
        Vec::new()
    }

    /// The octets that stand behind the mutation in the batch, in pieces.
    fn stored<'q>(&'q self, _mutation: &Mutation) -> Vec<&'q [u8]> {
        self.bodies().into_iter().map(SealedBody::batch_octets).collect()
    }

    /// How many octets [`Request::stored`] has, at most.
    fn stored_octets(&self) -> u64 {
        let octets = |body: &SealedBody| body.batch_octets().len() as u64;
        self.bodies().into_iter().map(octets).sum()
    }

    /// Whether a new segment is to begin with this request.
    fn begins_segment(&self) -> bool {
        false
    }

    /// Whether a checkpoint is to come before the answer.
    fn wants_checkpoint(&self) -> bool {
        false
    }

    /// As [`Request::bodies`].
    fn bodies_mut(&mut self) -> Vec<&mut SealedBody> {
        Vec::new()
    }

    /// Whether it is refused when the disk is low. What frees room, or what an administrator needs, is
    /// not.
    fn needs_room(&self) -> bool {
        false
    }
}

/// Nothing is asked; the answer says that the writer answers.
pub(crate) struct Pulse;

impl Request for Pulse {
    type Reply = ();

    fn decide(&self, _tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        Ok((None, ()))
    }
}

/// Asks for a checkpoint: the index is durable when it is answered, unless the disk is full.
pub(crate) struct Checkpoint;

impl Request for Checkpoint {
    type Reply = ();

    fn decide(&self, _tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        Ok((None, ()))
    }

    fn wants_checkpoint(&self) -> bool {
        true
    }
}

/// Writes a record that says nothing, so that there is a batch after the last.
pub(crate) struct Mark {
    /// The segment that is being filled is ended: what was written before is in sealed segments when this is answered, and
    /// the index has its place in the new one.
    pub(crate) begins_segment: bool,
}

impl Request for Mark {
    type Reply = ();

    fn decide(&self, _tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        Ok((Some(Mutation::Relocate(Relocated { bodies: Vec::new() })), ()))
    }

    fn begins_segment(&self) -> bool {
        self.begins_segment
    }
}

/// A request on its way, whatever its type.
pub(crate) trait Job: Send {
    /// Octets that it adds to a batch.
    fn body_octets(&self) -> u64;
    /// Decides it. `None`: nothing is to be written. An error is one of the index, and so not of this request
    /// alone.
    fn decide(&mut self, tables: &Tables<'_>, is_low: bool) -> Result<Option<Mutation>, StoreError>;
    /// The octets that go into the batch behind `mutation`, which it was decided to be.
    fn stored<'j>(&'j self, mutation: &Mutation) -> Vec<&'j [u8]>;
    /// As [`Request::needs_room`].
    fn needs_room(&self) -> bool;
    /// As [`Request::begins_segment`].
    fn begins_segment(&self) -> bool;
    /// As [`Request::wants_checkpoint`].
    fn wants_checkpoint(&self) -> bool;
    /// A record that names its bodies may be on the disk.
    fn keep_bodies(&mut self);
    /// Takes back what was decided: it was not written.
    fn fail(&mut self, error: StoreError);
    /// Tells the one who asked. They may have gone; what was done is done.
    fn answer(self: Box<Self>);
}

/// A request with the place where its answer goes.
pub(crate) struct Pending<Q: Request> {
    pub(crate) request: Q,
    pub(crate) reply: Result<Q::Reply, StoreError>,
    pub(crate) to: oneshot::Sender<Result<Q::Reply, StoreError>>,
}

impl<Q: Request> Pending<Q> {
    pub(crate) fn new(request: Q, to: oneshot::Sender<Result<Q::Reply, StoreError>>) -> Pending<Q> {
        Pending {
            request,
            reply: Err(StoreError::Closed),
            to,
        }
    }
}

impl<Q: Request> Job for Pending<Q> {
    fn body_octets(&self) -> u64 {
        self.request.stored_octets()
    }

    fn decide(&mut self, tables: &Tables<'_>, is_low: bool) -> Result<Option<Mutation>, StoreError> {
        let decided = if is_low && self.request.needs_room() {
            Err(StoreError::Full)
        } else if self.body_octets() > RECORD_BODY_OCTETS_MAX {
            Err(StoreError::TooLarge {
                octets_max: RECORD_BODY_OCTETS_MAX,
            })
        } else {
            self.request.decide(tables)
        };
        let (mutation, reply) = match decided {
            Ok((mutation, reply)) => (mutation, Ok(reply)),
            Err(error) if error.is_of_index() => return Err(error),
            Err(error) => (None, Err(error)),
        };
        self.reply = reply;
        Ok(mutation)
    }

    fn stored<'j>(&'j self, mutation: &Mutation) -> Vec<&'j [u8]> {
        self.request.stored(mutation)
    }

    fn needs_room(&self) -> bool {
        self.request.needs_room()
    }

    fn begins_segment(&self) -> bool {
        self.request.begins_segment()
    }

    fn wants_checkpoint(&self) -> bool {
        self.request.wants_checkpoint()
    }

    fn keep_bodies(&mut self) {
        for body in self.request.bodies_mut() {
            body.keep();
        }
    }

    fn fail(&mut self, error: StoreError) {
        self.reply = Err(error);
    }

    fn answer(self: Box<Self>) {
        let Pending { request, reply, to } = *self;
        // A body that was refused is removed before the sender learns of it.
        drop(request);
        let _ = to.send(reply);
    }
}
