//! Numbered places for values of one kind, made in chunks: a value never moves, and a value costs no more than its size.
//!
//! A single vector that doubles would have half of its memory empty after each growth, and stop its shard for as long as
//! it takes to move hundreds of thousands of sessions. That is why it is our own: `slab` (0.4) and `slotmap` (1.1), examined in
//! November 2026, keep one vector, and `sharded-slab` (0.1), which has pages, pays for access from several threads.

/// ShardTable of a chunk.
const CHUNK: usize = 256;

/// ShardTable, some of them taken.
#[derive(Debug)]
pub(super) struct Cells<T> {
    /// All of them full but for the last one.
    chunks: Vec<Vec<Cell<T>>>,
    /// The place that was vacated last.
    vacant: Option<u32>,
    len: usize,
}

#[derive(Debug)]
enum Cell<T> {
    Taken(T),
    /// The place that was vacated before.
    Vacant(Option<u32>),
}

impl<T> Cells<T> {
    pub fn new() -> Cells<T> {
        Cells { chunks: Vec::new(), vacant: None, len: 0 }
    }

    /// What a place takes.
    #[cfg(test)]
    pub const BYTES: usize = size_of::<Cell<T>>();

    /// Values that are there.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// ShardTable that there ever were: every number is below.
    pub fn end(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    /// Puts a value into the place that was vacated last, or into a new one.
    ///
    /// # Panics
    /// When there are 2^32 places.
    pub fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(place) = self.vacant {
            let cell = self.cell_mut(place).expect("a vacant place is below the end");
            let Cell::Vacant(before) = std::mem::replace(cell, Cell::Taken(value)) else {
                unreachable!("a place in the list of vacant ones is vacant")
            };
            self.vacant = before;
            return place;
        }
        let place = u32::try_from(self.end()).expect("fewer than 2^32 places");
        match self.chunks.last_mut().filter(|last| last.len() < CHUNK) {
            Some(last) => last.push(Cell::Taken(value)),
            None => {
                // The first chunk grows with its content: many partitions of a small gate have few actors.
                let mut chunk = if self.chunks.is_empty() { Vec::new() } else { Vec::with_capacity(CHUNK) };
                chunk.push(Cell::Taken(value));
                self.chunks.push(chunk);
            }
        }
        place
    }

    /// Takes a value out.
    pub fn remove(&mut self, place: u32) -> Option<T> {
        let before = self.vacant;
        let cell = self.cell_mut(place).filter(|cell| matches!(cell, Cell::Taken(_)))?;
        let Cell::Taken(value) = std::mem::replace(cell, Cell::Vacant(before)) else { return None };
        self.vacant = Some(place);
        self.len -= 1;
        Some(value)
    }

    #[inline]
    pub fn get(&self, place: u32) -> Option<&T> {
        let place = place as usize;
        match self.chunks.get(place / CHUNK)?.get(place % CHUNK)? {
            Cell::Taken(value) => Some(value),
            Cell::Vacant(_) => None,
        }
    }

    #[inline]
    pub fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        match self.cell_mut(place)? {
            Cell::Taken(value) => Some(value),
            Cell::Vacant(_) => None,
        }
    }

    /// Every value with its place, in the order of places.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0_u32..).zip(self.chunks.iter().flatten()).filter_map(|(place, cell)| match cell {
            Cell::Taken(value) => Some((place, value)),
            Cell::Vacant(_) => None,
        })
    }

    #[inline]
    fn cell_mut(&mut self, place: u32) -> Option<&mut Cell<T>> {
        let place = place as usize;
        self.chunks.get_mut(place / CHUNK)?.get_mut(place % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn they_are_a_map_whose_keys_are_given_out(steps in prop::collection::vec((any::<bool>(), 0_u32..700), 0..1_500)) {
            let (mut cells, mut model) = (Cells::new(), BTreeMap::new());
            for (number, (goes, place)) in steps.into_iter().enumerate() {
                if goes {
                    prop_assert_eq!(cells.remove(place), model.remove(&place));
                } else {
                    let place = cells.insert(number);
                    prop_assert!(model.insert(place, number).is_none(), "place {} was taken", place);
                }
                prop_assert_eq!(cells.get(place).copied(), model.get(&place).copied());
                prop_assert_eq!(cells.get_mut(place).copied(), model.get(&place).copied());
            }
            prop_assert_eq!((cells.len(), cells.is_empty()), (model.len(), model.is_empty()));
            prop_assert!(cells.iter().map(|(place, number)| (place, *number)).eq(model));
        }
    }

    #[test]
    fn a_place_is_used_again_before_there_are_more() {
        let mut cells = Cells::new();
        for number in 0..3 * CHUNK {
            cells.insert(number);
        }
        for place in [5, 700, 300] {
            assert_eq!(cells.remove(place), Some(place as usize));
        }
        assert_eq!([cells.insert(0), cells.insert(0), cells.insert(0)], [300, 700, 5]);
        assert_eq!((cells.end(), cells.insert(0)), (3 * CHUNK, 3 * CHUNK as u32));
        let places: usize = cells.chunks.iter().map(Vec::capacity).sum();
        assert_eq!(places, 4 * CHUNK, "a chunk at a time");
    }
}
