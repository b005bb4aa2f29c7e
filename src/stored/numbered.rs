//! Structs and enums with their numbers.

use super::{StoredError, number};

/// Writes and reads a type by the numbers of its fields and variants.
///
/// ```text
/// stored!(struct Reading { 0: at, 1: register, 2: note or None } without timer);
/// stored!(value struct Amount { 0: minor, 1: currency });
/// stored!(struct Timestamp(ms));
/// stored!(enum Stage { 0: Waiting, 1: Charging { 0: limit }, 2: Closed(end), 5: Moved(0: from, 1: to) });
/// ```
///
/// `or` has the value of a field that older bytes lack. `without` names fields that are not stored and begin with their
/// default. A value is written without a length and never gets another field. All fields and variants have to be named.
macro_rules! stored {
    (struct $t:ident { $($n:literal : $f:ident $(or $d:expr)?),+ $(,)? } $(without $($s:ident),+)?) => {
        const _: () = assert!($crate::stored::are_counted(&[$($n),+]), "fields are numbered from 0, without gaps");
        impl $crate::stored::Stored for $t {
            fn store(&self, out: &mut Vec<u8>) {
                let $t { $($f,)+ $($($s: _,)+)? } = self;
                let at = $crate::stored::begin(out);
                $($crate::stored::Stored::store($f, out);)+
                $crate::stored::end(at, out);
            }

            fn load(from: &mut &[u8]) -> Result<$t, $crate::stored::StoredError> {
                let mut body = $crate::stored::Body::open(stringify!($t), from)?;
                Ok($t {
                    $($f: $crate::stored::stored!(@field body $n $f $($d)?),)+
                    $($($s: Default::default(),)+)?
                })
            }
        }
        #[cfg(test)]
        impl $crate::stored::Example for $t {
            fn make(index: usize, most: &mut usize) -> $t {
                $t {
                    $($f: $crate::stored::example(index, most),)+
                    $($($s: Default::default(),)+)?
                }
            }
        }
    };
    (value struct $t:ident { $($n:literal : $f:ident),+ $(,)? }) => {
        const _: () = assert!($crate::stored::are_counted(&[$($n),+]), "fields are numbered from 0, without gaps");
        impl $crate::stored::Stored for $t {
            #[inline]
            fn store(&self, out: &mut Vec<u8>) {
                let $t { $($f),+ } = self;
                $($crate::stored::Stored::store($f, out);)+
            }

            #[inline]
            fn load(from: &mut &[u8]) -> Result<$t, $crate::stored::StoredError> {
                Ok($t {
                    $($f: $crate::stored::Stored::load(from)
                        .map_err(|error| error.within(stringify!($t), stringify!($f)))?,)+
                })
            }
        }
        #[cfg(test)]
        impl $crate::stored::Example for $t {
            fn make(index: usize, most: &mut usize) -> $t {
                $t { $($f: $crate::stored::example(index, most),)+ }
            }
        }
    };
    (struct $t:ident ( $f:ident )) => {
        impl $crate::stored::Stored for $t {
            #[inline]
            fn store(&self, out: &mut Vec<u8>) {
                let $t($f) = self;
                $crate::stored::Stored::store($f, out);
            }

            #[inline]
            fn load(from: &mut &[u8]) -> Result<$t, $crate::stored::StoredError> {
                $crate::stored::Stored::load(from).map($t)
            }
        }
        #[cfg(test)]
        impl $crate::stored::Example for $t {
            fn make(index: usize, most: &mut usize) -> $t {
                $t($crate::stored::example(index, most))
            }
        }
    };
    (enum $t:ident { $($n:literal : $v:ident $({ $($b:tt)* })? $(( $($p:tt)* ))?),+ $(,)? }) => {
        const _: () = assert!($crate::stored::are_distinct(&[$($n),+]), "two variants have one number");
        impl $crate::stored::Stored for $t {
            #[inline]
            fn store(&self, out: &mut Vec<u8>) {
                match self {
                    $($crate::stored::stored!(@pattern $t $v $({ $($b)* })? $(( $($p)* ))?) => {
                        $crate::stored::store_variant($n, out);
                        $crate::stored::stored!(@store out $({ $($b)* })? $(( $($p)* ))?);
                    })+
                }
            }

            #[inline]
            fn load(from: &mut &[u8]) -> Result<$t, $crate::stored::StoredError> {
                match $crate::stored::variant(from)? {
                    $($n => $crate::stored::stored!(@load from $t $v $({ $($b)* })? $(( $($p)* ))?),)+
                    other => Err($crate::stored::StoredError::unknown_variant(stringify!($t), other)),
                }
            }
        }
        #[cfg(test)]
        impl $crate::stored::Example for $t {
            fn make(index: usize, most: &mut usize) -> $t {
                let variants: &[fn(usize, &mut usize) -> $t] = &[
                    $(|index, most| $crate::stored::stored!(
                        @example index most $t $v $({ $($b)* })? $(( $($p)* ))?
                    ),)+
                ];
                $crate::stored::one_of(variants, index, most)
            }
        }
    };
    (@example $i:ident $most:ident $t:ident $v:ident) => {{
        let _ = ($i, $most);
        $t::$v
    }};
    (@example $i:ident $most:ident $t:ident $v:ident ( $f:ident )) => { $t::$v($crate::stored::example($i, $most)) };
    (@example $i:ident $most:ident $t:ident $v:ident ( $($n:literal : $f:ident $(or $d:expr)?),+ )) => {
        $t::$v($($crate::stored::stored!(@ignore $f $crate::stored::example($i, $most))),+)
    };
    (@example $i:ident $most:ident $t:ident $v:ident { $($n:literal : $f:ident $(or $d:expr)?),+ $(,)? }) => {
        $t::$v { $($f: $crate::stored::example($i, $most)),+ }
    };
    (@ignore $f:ident $e:expr) => { $e };
    (@field $body:ident $n:literal $f:ident) => {
        $body.field($n, stringify!($f))?
    };
    (@field $body:ident $n:literal $f:ident $d:expr) => {
        $body.later_field(stringify!($f))?.unwrap_or_else(|| $d)
    };
    (@pattern $t:ident $v:ident) => { $t::$v };
    (@pattern $t:ident $v:ident ( $f:ident )) => { $t::$v($f) };
    (@pattern $t:ident $v:ident ( $($n:literal : $f:ident $(or $d:expr)?),+ )) => { $t::$v($($f),+) };
    (@pattern $t:ident $v:ident { $($n:literal : $f:ident $(or $d:expr)?),+ $(,)? }) => { $t::$v { $($f),+ } };
    (@store $out:ident) => {};
    (@store $out:ident ( $f:ident )) => { $crate::stored::Stored::store($f, $out) };
    (@store $out:ident ( $($fields:tt)+ )) => { $crate::stored::stored!(@store $out { $($fields)+ }) };
    (@store $out:ident { $($n:literal : $f:ident $(or $d:expr)?),+ $(,)? }) => {
        let at = $crate::stored::begin($out);
        $($crate::stored::Stored::store($f, $out);)+
        $crate::stored::end(at, $out);
    };
    (@load $from:ident $t:ident $v:ident) => { Ok($t::$v) };
    (@load $from:ident $t:ident $v:ident ( $f:ident )) => {
        $crate::stored::Stored::load($from)
            .map($t::$v)
            .map_err(|error| error.within(stringify!($t), stringify!($v)))
    };
    (@load $from:ident $t:ident $v:ident ( $($n:literal : $f:ident $(or $d:expr)?),+ )) => {{
        const _: () = assert!($crate::stored::are_counted(&[$($n),+]), "fields are numbered from 0, without gaps");
        let mut body = $crate::stored::Body::open(stringify!($v), $from)?;
        Ok($t::$v($($crate::stored::stored!(@field body $n $f $($d)?)),+))
    }};
    (@load $from:ident $t:ident $v:ident { $($n:literal : $f:ident $(or $d:expr)?),+ $(,)? }) => {{
        const _: () = assert!($crate::stored::are_counted(&[$($n),+]), "fields are numbered from 0, without gaps");
        let mut body = $crate::stored::Body::open(stringify!($v), $from)?;
        Ok($t::$v { $($f: $crate::stored::stored!(@field body $n $f $($d)?)),+ })
    }};
}

pub(crate) use stored;

/// Whether these are 0, 1, 2, …
pub(crate) const fn are_counted(numbers: &[u64]) -> bool {
    let mut index = 0;
    while index < numbers.len() {
        if numbers[index] != index as u64 {
            return false;
        }
        index += 1;
    }
    true
}

/// Whether no number stands twice.
pub(crate) const fn are_distinct(numbers: &[u64]) -> bool {
    let mut one = 0;
    while one < numbers.len() {
        let mut other = one + 1;
        while other < numbers.len() {
            if numbers[one] == numbers[other] {
                return false;
            }
            other += 1;
        }
        one += 1;
    }
    true
}

/// Begins a struct: its length comes here. Most take less than 128 bytes, for which one byte is enough.
#[inline]
pub(crate) fn begin(out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.push(0);
    at
}

/// Ends the struct that began there.
#[inline]
pub(crate) fn end(at: usize, out: &mut Vec<u8>) {
    let length = out.len() - at - 1;
    match length {
        // The form of a number below 128.
        0..0x80 => out[at] = (length << 1 | 1) as u8,
        _ => end_long(at, length as u64, out),
    }
}

fn end_long(at: usize, length: u64, out: &mut Vec<u8>) {
    let before = out.len();
    number::put(length, out);
    // From behind the struct to its place, over the byte that was kept for it.
    let extra = out.len() - before - 1;
    let mut written = [0; 9];
    written[..=extra].copy_from_slice(&out[before..]);
    out.truncate(before + extra);
    out.copy_within(at + 1..before, at + 1 + extra);
    out[at..=at + extra].copy_from_slice(&written[..=extra]);
}

/// Writes the number of a variant.
#[inline]
pub(crate) fn store_variant(number: u64, out: &mut Vec<u8>) {
    number::put(number, out);
}

/// Reads the number of a variant.
#[inline]
pub(crate) fn variant(from: &mut &[u8]) -> Result<u64, StoredError> {
    number::get(from)
}

/// The fields of a struct.
pub(crate) struct Body<'a> {
    of: &'static str,
    rest: &'a [u8],
}

impl<'a> Body<'a> {
    /// Takes a struct from the beginning of `from`.
    #[inline]
    pub(crate) fn open(of: &'static str, from: &mut &'a [u8]) -> Result<Body<'a>, StoredError> {
        let length = super::load_count(from)?;
        number::bytes(length, from).map(|rest| Body { of, rest })
    }

    /// The next field, which every version wrote.
    #[inline]
    pub(crate) fn field<T: super::Stored>(&mut self, number: u64, name: &'static str) -> Result<T, StoredError> {
        let read = if self.rest.is_empty() { Err(StoredError::missing(number)) } else { T::load(&mut self.rest) };
        read.map_err(|error| error.within(self.of, name))
    }

    /// The next field, if the version that wrote this had it.
    #[inline]
    pub(crate) fn later_field<T: super::Stored>(&mut self, name: &'static str) -> Result<Option<T>, StoredError> {
        (!self.rest.is_empty())
            .then(|| T::load(&mut self.rest))
            .transpose()
            .map_err(|error| error.within(self.of, name))
    }
}
