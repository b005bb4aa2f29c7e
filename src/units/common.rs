//! Values of which there are few, each held by millions of actors: one copy in memory for all holders.
//!
//! Examples are names of time zones, versions of tariffs, capabilities of a processor, descriptions of a charger
//! model. Each thread has a table of the values it created last, and a holder of an equal value shares the copy. The
//! table has [`KNOWN_MAX`] entries; a full table is cleared, and values that are shared already stay shared. A kind
//! with many distinct values costs a little more than without the table, and is otherwise unaffected.

use super::TariffHash;
use crate::stored::{Stored, StoredError};
use hashbrown::HashSet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::RefCell;
use std::fmt;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;
use std::thread::LocalKey;

/// A value that all holders of an equal one share. It is compared, printed and stored like the value itself.
pub struct Common<T: Few>(Arc<T>);

/// A kind of value of which there are few.
pub trait Few: Eq + Hash + 'static {
    /// The table of this thread.
    fn known() -> &'static LocalKey<Known<Self>>
    where
        Self: Sized;
}

/// Values that a thread has met.
pub type Known<T> = RefCell<HashSet<Arc<T>>>;

/// Most values of one kind in the table of a thread.
const KNOWN_MAX: usize = 1_024;

impl<T: Few> Common<T> {
    /// Returns the shared copy of `value`.
    pub fn new(value: T) -> Common<T> {
        T::known().with_borrow_mut(|known| {
            if let Some(one) = known.get(&value) {
                return Common(Arc::clone(one));
            }
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            let one = Arc::new(value);
            known.insert(Arc::clone(&one));
            Common(one)
        })
    }
}

impl<T: Few> Deref for Common<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Few> Clone for Common<T> {
    fn clone(&self) -> Common<T> {
        Common(Arc::clone(&self.0))
    }
}

impl<T: Few> PartialEq for Common<T> {
    fn eq(&self, other: &Common<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl<T: Few> Eq for Common<T> {}

impl<T: Few> From<T> for Common<T> {
    fn from(value: T) -> Common<T> {
        Common::new(value)
    }
}

impl<T: Few + Default> Default for Common<T> {
    fn default() -> Common<T> {
        Common::new(T::default())
    }
}

impl<T: Few + fmt::Display> fmt::Display for Common<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Few + fmt::Debug> fmt::Debug for Common<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Few + Serialize> Serialize for Common<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Few + Deserialize<'de>> Deserialize<'de> for Common<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Common<T>, D::Error> {
        T::deserialize(deserializer).map(Common::new)
    }
}

impl<T: Few + Stored> Stored for Common<T> {
    fn store(&self, out: &mut Vec<u8>) {
        (**self).store(out);
    }

    fn load(from: &mut &[u8]) -> Result<Common<T>, StoredError> {
        T::load(from).map(Common::new)
    }
}

#[cfg(test)]
impl<T: Few + crate::stored::Example> crate::stored::Example for Common<T> {
    fn make(index: usize, most: &mut usize) -> Common<T> {
        Common::new(crate::stored::example(index, most))
    }
}

/// Implements [`Few`] for value types.
macro_rules! few {
    ($($kind:ty),+) => {$(
        impl $crate::units::Few for $kind {
            fn known() -> &'static std::thread::LocalKey<$crate::units::Known<$kind>> {
                std::thread_local! {
                    static KNOWN: $crate::units::Known<$kind> = std::cell::RefCell::default();
                }
                &KNOWN
            }
        }
    )+};
}

pub(crate) use few;

few!(Box<str>, TariffHash);

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Common<Box<str>> {
        Common::new(text.into())
    }

    #[test]
    fn equal_values_are_one_in_memory() {
        let (one, other) = (name("Europe/Berlin"), name("Europe/Berlin"));
        assert!(Arc::ptr_eq(&one.0, &other.0));
        assert_eq!((one.clone(), size_of_val(&one)), (other, 8));
        assert_ne!(one, name("Europe/Paris"));
        assert_eq!(&**one, "Europe/Berlin");
    }

    #[test]
    fn it_is_stored_as_the_value_is() {
        let bytes = crate::stored::to_bytes(&name("Europe/Berlin"));
        assert_eq!(bytes, crate::stored::to_bytes(&Box::<str>::from("Europe/Berlin")));
        let read: Common<Box<str>> = crate::stored::from_bytes(&bytes).unwrap();
        assert!(Arc::ptr_eq(&read.0, &name("Europe/Berlin").0));
    }

    #[test]
    fn of_many_different_ones_the_table_keeps_a_bounded_number() {
        let first = name("0");
        let all: Vec<_> = (0..5 * KNOWN_MAX).map(|number| name(&number.to_string())).collect();
        assert!(<Box<str>>::known().with_borrow(HashSet::len) <= KNOWN_MAX);
        assert_eq!((all[0].clone(), Arc::strong_count(&all[0].0)), (first, 3), "what is shared stays shared");
    }
}
