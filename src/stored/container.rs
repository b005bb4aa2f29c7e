//! Values of values: options, lists, sets, tables, texts.

use super::{Stored, StoredError, load_count, load_text, store_count, store_text};
use smallvec::{Array, SmallVec};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;

impl<T: Stored> Stored for Option<T> {
    #[inline]
    fn store(&self, out: &mut Vec<u8>) {
        self.is_some().store(out);
        if let Some(value) = self {
            value.store(out);
        }
    }

    #[inline]
    fn load(from: &mut &[u8]) -> Result<Option<T>, StoredError> {
        bool::load(from)?.then(|| T::load(from)).transpose()
    }
}

impl<T: Stored> Stored for Box<T> {
    #[inline]
    fn store(&self, out: &mut Vec<u8>) {
        (**self).store(out);
    }

    #[inline]
    fn load(from: &mut &[u8]) -> Result<Box<T>, StoredError> {
        T::load(from).map(Box::new)
    }
}

impl<const N: usize> Stored for [u8; N] {
    #[inline]
    fn store(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    #[inline]
    fn load(from: &mut &[u8]) -> Result<[u8; N], StoredError> {
        let (bytes, rest) = from.split_first_chunk().ok_or_else(StoredError::ends)?;
        *from = rest;
        Ok(*bytes)
    }
}

/// Each as a number, where 0 is none.
impl<const N: usize> Stored for [Option<NonZeroU32>; N] {
    #[inline]
    fn store(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|place| place.map_or(0, NonZeroU32::get).store(out));
    }

    #[inline]
    fn load(from: &mut &[u8]) -> Result<[Option<NonZeroU32>; N], StoredError> {
        let mut places = [None; N];
        for place in &mut places {
            *place = NonZeroU32::new(u32::load(from)?);
        }
        Ok(places)
    }
}

impl<T: Stored> Stored for Vec<T> {
    fn store(&self, out: &mut Vec<u8>) {
        store_count(self.len(), out);
        T::store_all(self, out);
    }

    fn load(from: &mut &[u8]) -> Result<Vec<T>, StoredError> {
        T::load_all(load_count(from)?, from)
    }
}

impl<T: Stored> Stored for Box<[T]> {
    fn store(&self, out: &mut Vec<u8>) {
        store_count(self.len(), out);
        T::store_all(self, out);
    }

    fn load(from: &mut &[u8]) -> Result<Box<[T]>, StoredError> {
        Vec::load(from).map(Vec::into_boxed_slice)
    }
}

impl<T: Stored> Stored for Arc<[T]> {
    fn store(&self, out: &mut Vec<u8>) {
        store_count(self.len(), out);
        T::store_all(self, out);
    }

    fn load(from: &mut &[u8]) -> Result<Arc<[T]>, StoredError> {
        Vec::load(from).map(Arc::from)
    }
}

impl<T: Stored> Stored for VecDeque<T> {
    fn store(&self, out: &mut Vec<u8>) {
        store_count(self.len(), out);
        let (front, back) = self.as_slices();
        T::store_all(front, out);
        T::store_all(back, out);
    }

    fn load(from: &mut &[u8]) -> Result<VecDeque<T>, StoredError> {
        Vec::load(from).map(VecDeque::from)
    }
}

impl<A: Array<Item: Stored>> Stored for SmallVec<A> {
    #[inline]
    fn store(&self, out: &mut Vec<u8>) {
        store_count(self.len(), out);
        A::Item::store_all(self, out);
    }

    #[inline]
    fn load(from: &mut &[u8]) -> Result<SmallVec<A>, StoredError> {
        let count = load_count(from)?;
        let mut values = SmallVec::new();
        // Millions of these are in memory: no more room than they take.
        values.reserve_exact(count.min(from.len()));
        for _ in 0..count {
            values.push(A::Item::load(from)?);
        }
        Ok(values)
    }
}

impl<K: Stored + Ord, V: Stored> Stored for BTreeMap<K, V> {
    fn store(&self, out: &mut Vec<u8>) {
        store_count(self.len(), out);
        for (key, value) in self {
            key.store(out);
            value.store(out);
        }
    }

    fn load(from: &mut &[u8]) -> Result<BTreeMap<K, V>, StoredError> {
        Ok(<(K, V)>::load_all(load_count(from)?, from)?.into_iter().collect())
    }
}

impl<T: Stored + Ord> Stored for BTreeSet<T> {
    fn store(&self, out: &mut Vec<u8>) {
        store_count(self.len(), out);
        self.iter().for_each(|value| value.store(out));
    }

    fn load(from: &mut &[u8]) -> Result<BTreeSet<T>, StoredError> {
        Ok(T::load_all(load_count(from)?, from)?.into_iter().collect())
    }
}

impl<A: Stored, B: Stored> Stored for (A, B) {
    #[inline]
    fn store(&self, out: &mut Vec<u8>) {
        self.0.store(out);
        self.1.store(out);
    }

    #[inline]
    fn load(from: &mut &[u8]) -> Result<(A, B), StoredError> {
        Ok((A::load(from)?, B::load(from)?))
    }
}

impl Stored for Box<str> {
    fn store(&self, out: &mut Vec<u8>) {
        store_text(self, out);
    }

    fn load(from: &mut &[u8]) -> Result<Box<str>, StoredError> {
        load_text(from).map(Box::from)
    }
}

impl Stored for String {
    fn store(&self, out: &mut Vec<u8>) {
        store_text(self, out);
    }

    fn load(from: &mut &[u8]) -> Result<String, StoredError> {
        load_text(from).map(String::from)
    }
}
