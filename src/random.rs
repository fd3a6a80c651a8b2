//! Random numbers that are the same everywhere: counter-based streams.
//!
//! candle's CPU generator can't be seeded, and a generator with hidden state can't be resumed.
//! A [`Stream`] is a key and a counter: the n-th number depends on nothing else. Keys come from the seed
//! and from what a checkpoint counts anyway, so a checkpoint stores no stream and a resumed run draws what
//! the unbroken run would have drawn.

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// FNV-1a, 64 bit, of a name; turns names into keys.
pub fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A seekable stream of random numbers (splitmix64 in counter mode).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    key: u64,
    counter: u64,
}

impl Stream {
    /// The stream of this name under this seed. Different names give independent streams.
    pub fn new(seed: u64, name: &str) -> Self {
        Self { key: mix(seed.wrapping_add(GOLDEN_GAMMA)) ^ mix(fnv1a(name)), counter: 0 }
    }

    /// The stream whose key is exactly `key`: output `i` is splitmix64 started at `key`.
    pub fn from_key(key: u64) -> Self {
        Self { key, counter: 0 }
    }

    /// An independent stream for item `index` (a sample, a layer, a step) of this one.
    /// Does not depend on how many numbers were drawn from `self`.
    pub fn child(&self, index: u64) -> Self {
        Self { key: mix(self.key ^ mix(index.wrapping_add(GOLDEN_GAMMA))), counter: 0 }
    }

    pub fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        mix(self.key.wrapping_add(self.counter.wrapping_mul(GOLDEN_GAMMA)))
    }

    /// What [`Self::next_u64`] will give after `places` other draws.
    #[inline]
    pub fn at(&self, places: u64) -> u64 {
        let counter = self.counter.wrapping_add(places).wrapping_add(1);
        mix(self.key.wrapping_add(counter.wrapping_mul(GOLDEN_GAMMA)))
    }

    /// The key and the counter, for what draws as [`Self::at`] does but elsewhere.
    #[cfg(feature = "cuda")]
    pub(crate) fn position(&self) -> [u64; 2] {
        [self.key, self.counter]
    }

    /// Uniform in [0, 1), 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in [low, high).
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform integer in 0..n. `n` must not be 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// Standard normal (Box-Muller, one of the pair; two draws each).
    pub fn normal(&mut self) -> f64 {
        let u = 1.0 - self.uniform();
        let v = self.uniform();
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Fisher-Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// 0..n in random order.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }

    /// One of the items. `items` must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_fill_rule_of_the_golden_data() {
        let key = fnv1a("a");
        assert_eq!(key, 0xaf63_dc4c_8601_ec8c);
        let mut stream = Stream::from_key(key);
        let unit = |z: u64| ((z >> 40) as i64 - (1 << 23)) as f32 * 2f32.powi(-23);
        let first: Vec<f32> = (0..4).map(|_| unit(stream.next_u64())).collect();
        assert_eq!(first, [-0.256_538_15, 0.996_244_55, 0.984_213, 0.371_881_72]);
    }

    #[test]
    fn children_do_not_depend_on_what_was_drawn() {
        let mut stream = Stream::new(1, "order");
        let before = stream.child(7).next_u64();
        stream.next_u64();
        assert_eq!(stream.child(7).next_u64(), before);
        assert_ne!(stream.child(8).next_u64(), before);
    }

    #[test]
    fn places_are_the_draws_to_come() {
        let mut stream = Stream::new(2, "at");
        stream.next_u64();
        let ahead: Vec<u64> = (0..3).map(|place| stream.at(place)).collect();
        assert_eq!(ahead, [stream.next_u64(), stream.next_u64(), stream.next_u64()]);
    }

    #[test]
    fn moments() {
        let mut stream = Stream::new(3, "moments");
        let draws: Vec<f64> = (0..20_000).map(|_| stream.normal()).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / draws.len() as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
