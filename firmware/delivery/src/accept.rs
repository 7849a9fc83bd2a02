//! A whole message becomes a mail in mailboxes.

use crate::check::{CheckError, Checked};
use crate::content::{Content, Hops};
use crate::route::{Route, Target};
use crate::trace_fields::{Client, Trace};
use crate::{Delivery, is_full};
use mail::{Flags, ForwardPath, ReversePath, Timestamp, TraceId};
use std::collections::BTreeSet;
use std::time::SystemTime;
use store::{Deliver, DeliveredCopy, SELF_TEST, StoreError};

/// What goes with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Who brings it.
    pub client: Client,
    /// Where reports about it go.
    pub reverse_path: ReversePath,
    /// Where it goes.
    pub recipients: Vec<Route>,
}

/// A message that survives a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its name in the reply, in its Received field and in the log (D37).
    pub trace: TraceId,
}

/// Why a whole message is not accepted. Nothing of it is kept then.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// AS17: it has been here before, or everywhere. For good.
    #[error("the message goes in a circle")]
    Loop,
    /// More large messages come at once than can be looked at. Passes.
    #[error("too many large messages at once")]
    Busy,
    /// S8: the disk is full. May pass.
    #[error("the disk is full")]
    DiskFull,
    /// Nobody kept its content. A fault of ours.
    #[error("there is no content")]
    NoContent,
    /// The system gives no random octets for the trace id. May pass.
    #[error("no random octets: {0}")]
    Random(getrandom::Error),
    /// The store failed. May pass.
    #[error("the store failed: {0}")]
    Store(#[source] StoreError),
}

impl From<StoreError> for AcceptError {
    fn from(error: StoreError) -> AcceptError {
        if is_full(&error) {
            AcceptError::DiskFull
        } else {
            AcceptError::Store(error)
        }
    }
}

impl From<CheckError> for AcceptError {
    fn from(error: CheckError) -> AcceptError {
        match error {
            CheckError::Busy => AcceptError::Busy,
            CheckError::Store(error) => error.into(),
        }
    }
}

impl Delivery {
    /// Delivers a whole message to all its recipients, in one record (S8). When this returns `Ok`, it
    /// survives a power cut in each of their mailboxes.
    ///
    /// # Errors
    /// See [`AcceptError`]; then none of them has it.
    pub async fn accept(&self, envelope: Envelope, content: Content) -> Result<Accepted, AcceptError> {
        let octets = content.len();
        let (body, hops) = content.finish();
        let targets = targets(&envelope.recipients);
        if goes_in_a_circle(&hops, &targets) {
            return Err(AcceptError::Loop);
        }
        let Checked { body, structure } = self.house.check_buffer.check(body).await?;
        let trace = Trace {
            client: &envelope.client,
            reverse_path: &envelope.reverse_path,
            host_name: &self.host_name(),
            id: new_trace_id()?,
            received: now(),
        };
        let copies = targets
            .iter()
            .map(|(forward_path, target)| DeliveredCopy {
                account: target.account,
                header: trace.fields(forward_path, target, &structure),
                flags: Flags::default(),
            })
            .collect();
        let deliver = Deliver {
            body,
            structure: structure.encode(),
            received: trace.received,
            copies,
        };
        let (id, mailboxes) = (trace.id, targets.len());
        let is_self_test = targets.iter().all(|(_, target)| target.account == SELF_TEST);
        self.house.store.deliver(deliver).await?;
        if is_self_test {
            // The self-test says itself how it went, and mail of people is what this line counts.
            tracing::debug!(trace = %id, "the self-test's message accepted");
            return Ok(Accepted { trace: id });
        }
        tracing::info!(
            trace = %id, octets, mailboxes,
            from = %envelope.reverse_path, client = %envelope.client.address,
            "message accepted"
        );
        Ok(Accepted { trace: id })
    }
}

/// Each mailbox once, with the first recipient that led to it.
fn targets(recipients: &[Route]) -> Vec<(&ForwardPath, &Target)> {
    let mut seen = BTreeSet::new();
    recipients
        .iter()
        .flat_map(|route| {
            route
                .targets
                .iter()
                .map(move |target| (&route.forward_path, target))
        })
        .filter(|(_, target)| seen.insert(target.account))
        .collect()
}

/// AS17. A message that one of several mailboxes had before is refused as a whole: left out in silence
/// there, nobody would learn of it.
fn goes_in_a_circle(hops: &Hops, targets: &[(&ForwardPath, &Target)]) -> bool {
    hops.are_too_many() || targets.iter().any(|(_, target)| hops.include(&target.address))
}

fn new_trace_id() -> Result<TraceId, AcceptError> {
    let mut octets = [0; 10];
    getrandom::fill(&mut octets).map_err(AcceptError::Random)?;
    Ok(TraceId::from_random(octets))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)))
}
