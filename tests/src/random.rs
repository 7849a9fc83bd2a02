//! Randomness as an argument: a failure prints its seed, and the seed gives the same run again.

/// SplitMix64 (Steele, Lea, Flood 2014): small, seedable, good enough to make mail and pick moments.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next_u64() % bound as u64).expect("it is below a usize")
    }

    /// `count` octets.
    pub fn octets(&mut self, count: usize) -> Vec<u8> {
        let mut octets = Vec::with_capacity(count + 8);
        while octets.len() < count {
            octets.extend_from_slice(&self.next_u64().to_le_bytes());
        }
        octets.truncate(count);
        octets
    }
}

/// The seeds of a scenario that draws lots: those of `E2E_SEEDS`, else the given ones.
pub fn seeds(usual: &[u64]) -> Vec<u64> {
    match std::env::var("E2E_SEEDS") {
        Ok(list) => {
            listed(&list).expect("E2E_SEEDS holds numbers with commas between, or ranges such as 1-50")
        }
        Err(_) => usual.to_vec(),
    }
}

fn listed(list: &str) -> Option<Vec<u64>> {
    let mut seeds = Vec::new();
    for item in list.split(',') {
        let (from, to) = item.split_once('-').unwrap_or((item, item));
        seeds.extend(from.trim().parse::<u64>().ok()?..=to.trim().parse().ok()?);
    }
    Some(seeds)
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn seeds_are_numbers_and_ranges() {
        assert_eq!(listed("7"), Some(vec![7]));
        assert_eq!(listed("1-3, 9"), Some(vec![1, 2, 3, 9]));
        for wrong in ["", "x", "1-", "1,,2"] {
            assert_eq!(listed(wrong), None, "{wrong}");
        }
    }
}
