//! Conversations (RFC 5256 §3).
//!
//! # Invariants
//!
//! - Any references have threads: those that would make a loop are passed over, and of two messages with one id the second
//!   counts as having none.
//! - Time is `n log n` in messages and references together, whatever they refer to. Nothing recurses.
//! - At most four containers for each message are made for messages that are not there; references beyond that are passed
//!   over.

mod forest;
#[cfg(test)]
mod tests;

use crate::Timestamp;
use forest::Forest;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// An id of a message, made small. Ids are equal when these are; two different ones have one by chance only, since the
/// hash is keyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdHash(u64);

/// Makes ids small; all messages of one THREAD go through the same one.
#[derive(Clone, Debug, Default)]
pub struct IdHasher(RandomState);

impl IdHasher {
    /// The id, small.
    pub fn hash(&self, id: &[u8]) -> IdHash {
        IdHash(self.0.hash_one(id))
    }
}

/// What THREAD needs to know of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadMessage {
    /// Its Message-ID.
    pub id: Option<IdHash>,
    /// The ids of the messages before it ([`crate::Structure::ancestors`]).
    pub ancestors: Vec<IdHash>,
    /// When it was sent.
    pub sent: Timestamp,
    /// Its base subject, folded ([`crate::sort::base_subject`]).
    pub base_subject: Box<str>,
    /// Whether its subject says that it is a reply or was forwarded.
    pub is_reply: bool,
}

/// How messages are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadBy {
    /// ORDEREDSUBJECT: by subject alone.
    OrderedSubject,
    /// REFERENCES: by what they refer to, and then by subject.
    References,
}

/// A place in the threads, in the order in which they are told: a parent before its children, and depth first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadItem {
    /// How many are above it; 0 begins a thread.
    pub depth: u32,
    /// The message, by its place in what was given. `None`: its messages are below, and the one above them is not there.
    pub message: Option<u32>,
}

/// Puts messages, given in the order of their sequence numbers, into threads.
pub fn thread(messages: &[ThreadMessage], by: ThreadBy) -> Vec<ThreadItem> {
    match by {
        ThreadBy::OrderedSubject => ordered_subject(messages),
        ThreadBy::References => references(messages),
    }
}

/// The order of siblings: when they were sent, and then where they are in the mailbox (RFC 5256 §2.2).
fn compare(messages: &[ThreadMessage], one: usize, other: usize) -> Ordering {
    messages[one]
        .sent
        .cmp(&messages[other].sent)
        .then(one.cmp(&other))
}

fn place(message: usize) -> Option<u32> {
    u32::try_from(message).ok()
}

fn ordered_subject(messages: &[ThreadMessage]) -> Vec<ThreadItem> {
    let mut order: Vec<usize> = (0..messages.len()).collect();
    let subject = |message: &usize| &messages[*message].base_subject;
    order.sort_by(|one, other| {
        subject(one)
            .cmp(subject(other))
            .then(compare(messages, *one, *other))
    });
    let mut threads: Vec<&[usize]> = order
        .chunk_by(|one, other| subject(one) == subject(other))
        .collect();
    threads.sort_by(|one, other| compare(messages, one[0], other[0]));
    let items = threads.into_iter().flat_map(|thread| {
        thread.iter().enumerate().map(|(number, message)| ThreadItem {
            depth: u32::from(number > 0),
            message: place(*message),
        })
    });
    items.collect()
}

/// REFERENCES. The numbers are the steps of RFC 5256 §3.
fn references(messages: &[ThreadMessage]) -> Vec<ThreadItem> {
    let mut tree = Tree::linked(messages);
    tree.prune();
    tree.sort(messages);
    tree.join_subjects(messages);
    tree.sort(messages);
    tree.items()
}

/// The containers: those of the messages first, by their places, then those of messages that are only spoken of.
struct Tree {
    messages: usize,
    parents: Vec<Option<usize>>,
    children: Vec<Vec<usize>>,
    /// The containers without a parent, in order.
    roots: Vec<usize>,
}

impl Tree {
    /// (1) Links each message to those it refers to.
    fn linked(messages: &[ThreadMessage]) -> Tree {
        let mut places: HashMap<IdHash, usize> = HashMap::new();
        for (place, message) in messages.iter().enumerate() {
            if let Some(id) = message.id {
                places.entry(id).or_insert(place);
            }
        }
        let containers_max = messages.len().saturating_mul(5);
        let mut forest = Forest::new(messages.len());
        for (place, message) in messages.iter().enumerate() {
            let mut last = None;
            for id in &message.ancestors {
                let ancestor = match places.get(id) {
                    Some(ancestor) => *ancestor,
                    None if forest.len() < containers_max => {
                        places.insert(*id, forest.len());
                        forest.add()
                    }
                    None => continue,
                };
                // (1)(A): a link that was there stays, and a loop is not made.
                if let Some(parent) = last
                    && forest.parent(ancestor).is_none()
                    && !forest.is_below(parent, ancestor)
                {
                    forest.link(ancestor, parent);
                }
                last = Some(ancestor);
            }
            // (1)(B): what the message says of itself counts more than what others said of it, also if it says nothing.
            if forest.parent(place).is_some() {
                forest.cut(place);
            }
            if let Some(parent) = last.filter(|parent| !forest.is_below(*parent, place)) {
                forest.link(place, parent);
            }
        }
        let parents: Vec<Option<usize>> = (0..forest.len())
            .map(|container| forest.parent(container))
            .collect();
        let mut children = vec![Vec::new(); parents.len()];
        for (child, parent) in parents.iter().enumerate() {
            if let Some(parent) = parent {
                children[*parent].push(child);
            }
        }
        // (2)
        let roots = (0..parents.len())
            .filter(|container| parents[*container].is_none())
            .collect();
        Tree {
            messages: messages.len(),
            parents,
            children,
            roots,
        }
    }

    fn is_message(&self, container: usize) -> bool {
        container < self.messages
    }

    /// (3) Takes away the containers of messages that are not there, where nothing needs them.
    fn prune(&mut self) {
        for container in self.bottom_up() {
            let children = std::mem::take(&mut self.children[container]);
            let mut kept = Vec::with_capacity(children.len());
            for child in children {
                if self.is_message(child) {
                    kept.push(child);
                } else {
                    // (3)(A), (3)(B): its children, already pruned, take its place.
                    kept.append(&mut self.children[child]);
                }
            }
            for child in &kept {
                self.parents[*child] = Some(container);
            }
            self.children[container] = kept;
        }
        let roots = std::mem::take(&mut self.roots);
        for root in roots {
            if self.is_message(root) || self.children[root].len() > 1 {
                self.roots.push(root);
            } else if let Some(only) = self.children[root].pop() {
                self.parents[only] = None;
                self.roots.push(only);
            }
        }
    }

    /// All containers, children before their parents.
    fn bottom_up(&self) -> Vec<usize> {
        let mut order = self.roots.clone();
        let mut next = 0;
        while let Some(container) = order.get(next) {
            order.extend(&self.children[*container]);
            next += 1;
        }
        order.reverse();
        order
    }

    /// (4), (6) Sorts siblings, roots among them. An absent message is as old as its oldest child.
    fn sort(&mut self, messages: &[ThreadMessage]) {
        let mut first: Vec<usize> = (0..self.parents.len()).collect();
        for container in self.bottom_up() {
            let mut children = std::mem::take(&mut self.children[container]);
            children.sort_by(|one, other| compare(messages, first[*one], first[*other]));
            if !self.is_message(container)
                && let Some(child) = children.first()
            {
                first[container] = first[*child];
            }
            self.children[container] = children;
        }
        self.roots
            .sort_by(|one, other| compare(messages, first[*one], first[*other]));
    }

    /// (5) Joins threads with the same base subject.
    fn join_subjects(&mut self, messages: &[ThreadMessage]) {
        // The message whose subject is that of the thread.
        let speaker = |tree: &Tree, root: usize| {
            if tree.is_message(root) {
                Some(root)
            } else {
                tree.children[root].first().copied()
            }
        };
        let mut table: HashMap<&str, usize> = HashMap::new();
        // (5)(B)
        for root in &self.roots {
            let Some(message) = speaker(self, *root).map(|message| &messages[message]) else {
                continue;
            };
            if message.base_subject.is_empty() {
                continue;
            }
            table
                .entry(&message.base_subject)
                .and_modify(|known| {
                    let is_known_reply = self.is_message(*known) && messages[*known].is_reply;
                    if (!self.is_message(*root) && self.is_message(*known))
                        || (is_known_reply && !message.is_reply)
                    {
                        *known = *root;
                    }
                })
                .or_insert(*root);
        }
        // (5)(C)
        let roots = std::mem::take(&mut self.roots);
        let mut gone = vec![false; self.parents.len()];
        // An absent message that a pair was put under takes the place of the one in the table.
        let mut moved: HashMap<usize, usize> = HashMap::new();
        for root in &roots {
            let root = *root;
            let Some(message) = speaker(self, root).map(|message| &messages[message]) else {
                continue;
            };
            let Some(known) = table.get(&*message.base_subject).copied() else {
                continue;
            };
            let known = moved.get(&known).copied().unwrap_or(known);
            if known == root || self.parents[root].is_some() {
                continue;
            }
            let (is_dummy, is_known_dummy) = (!self.is_message(root), !self.is_message(known));
            if is_known_dummy && is_dummy {
                let children = std::mem::take(&mut self.children[root]);
                for child in &children {
                    self.parents[*child] = Some(known);
                }
                self.children[known].extend(children);
                gone[root] = true;
            } else if is_known_dummy || (message.is_reply && !messages[known].is_reply) {
                self.parents[root] = Some(known);
                self.children[known].push(root);
            } else {
                let pair = self.parents.len();
                self.parents.push(None);
                self.children.push(vec![known, root]);
                gone.push(false);
                self.parents[known] = Some(pair);
                self.parents[root] = Some(pair);
                self.roots.push(pair);
                moved.insert(known, pair);
            }
        }
        self.roots.extend(
            roots
                .into_iter()
                .filter(|root| self.parents[*root].is_none() && !gone[*root]),
        );
    }

    /// All that is left, depth first.
    fn items(&self) -> Vec<ThreadItem> {
        let mut items = Vec::with_capacity(self.messages);
        let mut todo: Vec<(u32, usize)> = self.roots.iter().rev().map(|root| (0, *root)).collect();
        while let Some((depth, container)) = todo.pop() {
            items.push(ThreadItem {
                depth,
                message: if self.is_message(container) {
                    place(container)
                } else {
                    None
                },
            });
            todo.extend(
                self.children[container]
                    .iter()
                    .rev()
                    .map(|child| (depth + 1, *child)),
            );
        }
        items
    }
}
