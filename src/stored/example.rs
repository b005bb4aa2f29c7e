//! Examples of every stored type, made by [`super::stored!`]: of a struct as many that each variant of each of its fields is in
//! one of them, of an enum those of every variant. A new variant has an example as soon as it has a number.

use smallvec::{Array, SmallVec};
use std::any::TypeId;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

/// A type of which there are examples.
pub(crate) trait Example: Sized + 'static {
    /// The example with this index, from the beginning again behind the last; `most` grows to their number.
    fn make(index: usize, most: &mut usize) -> Self;
}

/// The number of examples of a type.
pub(crate) fn count<T: Example>() -> usize {
    thread_local! {
        static COUNTS: RefCell<HashMap<TypeId, usize>> = RefCell::default();
    }
    if let Some(known) = COUNTS.with_borrow(|counts| counts.get(&TypeId::of::<T>()).copied()) {
        return known;
    }
    let mut most = 1;
    T::make(0, &mut most);
    COUNTS.with_borrow_mut(|counts| counts.insert(TypeId::of::<T>(), most));
    most
}

/// Part of an example that is made.
pub(crate) fn example<T: Example>(index: usize, most: &mut usize) -> T {
    let own = count::<T>();
    *most = own.max(*most);
    T::make(index % own, &mut 1)
}

/// An example of one of the variants.
pub(crate) fn one_of<T>(variants: &[fn(usize, &mut usize) -> T], index: usize, most: &mut usize) -> T {
    let count = |variant: &fn(usize, &mut usize) -> T| {
        let mut own = 1;
        variant(0, &mut own);
        own
    };
    let counts: Vec<usize> = variants.iter().map(count).collect();
    let all: usize = counts.iter().sum();
    *most = all.max(*most);
    let mut index = index % all;
    for (variant, count) in variants.iter().zip(counts) {
        if index < count {
            return variant(index, &mut 1);
        }
        index -= count;
    }
    unreachable!("the index is below the sum")
}

macro_rules! examples {
    ($($t:ty: $($value:expr),+;)+) => {$(
        impl Example for $t {
            fn make(index: usize, most: &mut usize) -> $t {
                let all = [$($value),+];
                *most = all.len().max(*most);
                all.into_iter().cycle().nth(index).expect("it goes round")
            }
        }
    )+};
}

examples! {
    u8: 0xa5;
    u16: 513;
    u32: 70_000;
    u64: 1 << 40;
    i64: 1_790_000_000_000, -3;
    u128: 1 << 100;
    i128: 45 << 80, -1;
    bool: false, true;
    NonZeroU32: NonZeroU32::MIN;
    NonZeroU64: NonZeroU64::MIN;
    String: "text".to_owned();
    Box<str>: "text".into();
}

impl<T: Example> Example for Option<T> {
    fn make(index: usize, most: &mut usize) -> Option<T> {
        one_of(&[|index, most| Some(example(index, most)), |_, _| None], index, most)
    }
}

impl<T: Example> Example for Box<T> {
    fn make(index: usize, most: &mut usize) -> Box<T> {
        Box::new(example(index, most))
    }
}

impl<const N: usize> Example for [u8; N] {
    fn make(_: usize, _: &mut usize) -> [u8; N] {
        std::array::from_fn(|place| u8::try_from(place + 1).expect("short"))
    }
}

impl<const N: usize> Example for [Option<NonZeroU32>; N] {
    fn make(_: usize, _: &mut usize) -> [Option<NonZeroU32>; N] {
        std::array::from_fn(|place| NonZeroU32::new(u32::try_from(place).expect("short")))
    }
}

impl<T: Example + Ord> Example for BTreeSet<T> {
    fn make(index: usize, most: &mut usize) -> BTreeSet<T> {
        [example(index, most)].into_iter().collect()
    }
}

macro_rules! lists {
    ($($list:ty),+) => {$(
        impl<T: Example> Example for $list {
            fn make(index: usize, most: &mut usize) -> $list {
                [example(index, most)].into_iter().collect()
            }
        }
    )+};
}

lists!(Vec<T>, VecDeque<T>, Box<[T]>, Arc<[T]>);

impl<A: Array<Item: Example> + 'static> Example for SmallVec<A> {
    fn make(index: usize, most: &mut usize) -> SmallVec<A> {
        [example(index, most)].into_iter().collect()
    }
}

impl<K: Example + Ord, V: Example> Example for BTreeMap<K, V> {
    fn make(index: usize, most: &mut usize) -> BTreeMap<K, V> {
        [(example(index, most), example(index, most))].into_iter().collect()
    }
}

impl<A: Example, B: Example> Example for (A, B) {
    fn make(index: usize, most: &mut usize) -> (A, B) {
        (example(index, most), example(index, most))
    }
}
