//! Random numbers from a seed: the only source of randomness in simulations and randomised tests, so the same seed repeats
//! them. A gate draws from the operating system instead.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// One stream of random numbers.
///
/// ```
/// use wattstile::units::rng::Rng;
///
/// let (mut one, mut same) = (Rng::new(7), Rng::new(7));
/// assert_eq!(one.below(1_000), same.below(1_000));
/// ```
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Rng {
        Rng(ChaCha8Rng::seed_from_u64(seed))
    }

    /// The stream of a seed that belongs to one thing (a charger, an operation), whatever else is rolled before it.
    ///
    /// Two things with different names get unrelated streams, so a simulation's outcome does not depend on the order in
    /// which concurrent things happen to be served.
    pub fn of(seed: u64, thing: u128) -> Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..24].copy_from_slice(&thing.to_le_bytes());
        Rng(ChaCha8Rng::from_seed(key))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `end`, or 0 when `end` is 0. The bias of the multiplication is below 2⁻³² for any practical range.
    pub fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.bits()) * u128::from(end);
        u64::try_from(wide >> 64).expect("the upper half of a product of two u64")
    }

    /// A place in a list of this length; 0 when it is empty.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("it is below a usize")
    }

    /// A number from `low` to `high`, both included; `low` when the range is empty.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        match high.checked_sub(low) {
            Some(span) if span > 0 => {
                let step = self.below(span.unsigned_abs() + 1);
                low.saturating_add(i64::try_from(step).unwrap_or(i64::MAX))
            }
            _ => low,
        }
    }

    /// True this many times in ten thousand.
    pub fn chance(&mut self, per_ten_thousand: u16) -> bool {
        self.below(10_000) < u64::from(per_ten_thousand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_another_does_not() {
        let roll = |mut rng: Rng| -> Vec<u64> { (0..4).map(|_| rng.bits()).collect() };
        assert_eq!(roll(Rng::new(7)), roll(Rng::new(7)));
        assert_ne!(roll(Rng::new(7)), roll(Rng::new(8)));
        assert_ne!(roll(Rng::of(7, 1)), roll(Rng::of(7, 2)));
    }

    #[test]
    fn ranges_hold_their_ends_and_chances_their_shares() {
        let mut rng = Rng::new(1);
        let rolls: Vec<i64> = (0..2_000).map(|_| rng.between(-2, 2)).collect();
        assert_eq!(rolls.iter().min(), Some(&-2));
        assert_eq!(rolls.iter().max(), Some(&2));
        assert_eq!(rng.between(5, 5), 5);
        let hits = (0..10_000).filter(|_| rng.chance(2_500)).count();
        assert!((2_200..2_800).contains(&hits), "{hits}");
        assert!(!rng.chance(0));
        assert!(rng.chance(10_000));
    }
}
