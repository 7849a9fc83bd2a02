//! The octets that were read and the octets that are owed.

/// Octets that arrived and were not used yet. The pump adds at the end, the session takes from the
/// front. It is bounded by the pump, which reads only while less than
/// [`limits::INPUT_OCTETS_MAX`](crate::limits::INPUT_OCTETS_MAX) are waiting.
#[derive(Debug, Default)]
pub struct Input {
    octets: Vec<u8>,
    start: usize,
}

impl Input {
    /// An empty input.
    pub const fn new() -> Input {
        Input {
            octets: Vec::new(),
            start: 0,
        }
    }

    /// What waits to be used, oldest first.
    pub fn waiting(&self) -> &[u8] {
        &self.octets[self.start..]
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting().is_empty()
    }

    /// The number of octets waiting.
    pub fn len(&self) -> usize {
        self.octets.len() - self.start
    }

    /// Marks the first `count` waiting octets as used.
    ///
    /// # Panics
    /// If fewer octets wait: the caller counted octets it had not seen.
    pub fn consume(&mut self, count: usize) {
        assert!(
            count <= self.len(),
            "a session consumed octets that were not there"
        );
        self.start += count;
        if self.start == self.octets.len() {
            self.octets.clear();
            self.start = 0;
        }
    }

    /// Adds octets that arrived.
    pub fn extend(&mut self, octets: &[u8]) {
        // Moving the rest to the front before growing keeps the buffer as small as what waits.
        if self.start > 0 && self.octets.len() + octets.len() > self.octets.capacity() {
            self.octets.drain(..self.start);
            self.start = 0;
        }
        self.octets.extend_from_slice(octets);
    }

    /// Forgets everything that waits and gives its memory back.
    pub fn clear(&mut self) {
        self.octets = Vec::new();
        self.start = 0;
    }
}

/// Octets owed to the peer, in order. The pump writes them out between steps.
#[derive(Debug, Default)]
pub struct Output {
    octets: Vec<u8>,
}

impl Output {
    /// An empty output.
    pub const fn new() -> Output {
        Output { octets: Vec::new() }
    }

    /// Adds octets to what is owed.
    pub fn push(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// What is owed.
    pub fn owed(&self) -> &[u8] {
        &self.octets
    }

    /// Whether nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// The number of octets owed.
    pub fn len(&self) -> usize {
        self.octets.len()
    }

    /// Forgets what was written out, keeping at most a small buffer for what comes next.
    pub fn written(&mut self) {
        if self.octets.capacity() > crate::limits::OUTPUT_OCTETS_KEPT {
            self.octets = Vec::new();
        } else {
            self.octets.clear();
        }
    }

    /// The buffer itself, for writers that fill a `Vec`.
    pub fn as_vec_mut(&mut self) -> &mut Vec<u8> {
        &mut self.octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumed_octets_are_gone_and_the_rest_keeps_its_order() {
        let mut input = Input::new();
        input.extend(b"abc");
        input.consume(2);
        input.extend(b"def");
        assert_eq!(input.waiting(), b"cdef");
        input.consume(4);
        assert!(input.is_empty());
    }

    #[test]
    fn the_buffer_does_not_grow_with_what_was_consumed() {
        let mut input = Input::new();
        for _ in 0..10_000 {
            input.extend(b"0123456789");
            input.consume(9);
            input.extend(b"x");
            input.consume(2);
        }
        assert!(
            input.octets.capacity() < 1024,
            "capacity {}",
            input.octets.capacity()
        );
    }
}
