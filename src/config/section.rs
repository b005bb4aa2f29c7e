//! Sections: defined once, with the manual's text and the built-in value beside each setting.

use super::problem::Problem;
use super::setting::Setting;
use super::tree::{Origin, Table, Value};
use crate::units::{did_you_mean, visible};

/// A setting of a section, for the file that `config init` writes and for the list of known keys.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// Whether it has to be set; its built-in value is then used only until the problem is reported.
    pub required: bool,
    /// Its description.
    pub doc: &'static [&'static str],
}

/// Part of a configuration.
pub trait Section: Sized + 'static {
    /// Its key.
    const KEY: &'static str;
    /// Its subject.
    const ABOUT: &'static [&'static str];
    /// Its settings.
    const FIELDS: &'static [Field];
    /// The built-in values.
    fn built_in() -> &'static Self;
    /// Reads it; faults are reported to the reader, and the built-in value is used instead.
    fn read(reader: &mut Reader<'_>) -> Self;
    /// Its settings as TOML, with their keys.
    fn write(&self) -> Vec<(&'static str, Option<String>)>;
}

macro_rules! sections {
    ($($(#[doc = $about:literal])+ $name:ident $key:literal {
        $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr $(, $required:ident)?;)*
    })*) => {$(
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> $name {
                <$name as $crate::config::section::Section>::built_in().clone()
            }
        }

        impl $crate::config::section::Section for $name {
            const KEY: &'static str = $key;
            const ABOUT: &'static [&'static str] = &[$($about),+];
            const FIELDS: &'static [$crate::config::section::Field] = &[$($crate::config::section::Field {
                name: stringify!($field),
                required: !<[&str]>::is_empty(&[$(stringify!($required))?]),
                doc: &[$($doc),+],
            }),*];

            fn built_in() -> &'static $name {
                static BUILT_IN: std::sync::LazyLock<$name> = std::sync::LazyLock::new(|| $name {
                    $($field: $default,)*
                });
                &BUILT_IN
            }

            fn read(reader: &mut $crate::config::section::Reader<'_>) -> $name {
                let built_in = $name::built_in();
                // Fields are read in the order of FIELDS, which one macro makes.
                let mut fields = <$name as $crate::config::section::Section>::FIELDS.iter();
                let mut next = || fields.next().expect("a field for each setting");
                $name { $($field: reader.setting(next(), &built_in.$field),)* }
            }

            fn write(&self) -> Vec<(&'static str, Option<String>)> {
                vec![$((stringify!($field), $crate::config::setting::Setting::write(&self.$field)),)*]
            }
        }
    )*};
}
pub(super) use sections;

/// Reads one section of the tree.
pub struct Reader<'a> {
    table: Option<&'a Table>,
    place: Origin,
    key: &'static str,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// Reads the section `S` of the tree, or the built-in values.
    pub fn section<S: Section>(root: &Table, problems: &mut Vec<Problem>) -> S {
        match root.get(S::KEY) {
            None => Reader { table: None, place: Origin::Default, key: S::KEY, problems }.whole(),
            Some(entry) => match &entry.value {
                Value::Table(table) => {
                    Reader { table: Some(table), place: entry.key.clone(), key: S::KEY, problems }.whole()
                }
                other => {
                    problems.push(Problem {
                        origin: entry.place.clone(),
                        title: format!("`{}` is a section", S::KEY),
                        label: format!("found {}", other.what()),
                        help: Some(format!("write `[{}]` on a line of its own, and its settings below", S::KEY)),
                    });
                    Reader { table: None, place: Origin::Default, key: S::KEY, problems }.whole()
                }
            },
        }
    }

    /// Reads every `[[S]]` of the tree, each with the place where it stands.
    pub fn sections<S: Section>(root: &Table, problems: &mut Vec<Problem>) -> Vec<(S, Origin)> {
        let Some(entry) = root.get(S::KEY) else { return Vec::new() };
        let Value::Tables(tables) = &entry.value else {
            problems.push(Problem {
                origin: entry.place.clone(),
                title: format!("`{}` is a list of sections", S::KEY),
                label: format!("found {}", entry.value.what()),
                help: Some(format!("write `[[{}]]`, in double brackets, once for each", S::KEY)),
            });
            return Vec::new();
        };
        let read = |(table, place): &(Table, Origin)| {
            let reader = Reader { table: Some(table), place: place.clone(), key: S::KEY, problems: &mut *problems };
            (reader.whole::<S>(), place.clone())
        };
        tables.iter().map(read).collect()
    }

    fn whole<S: Section>(mut self) -> S {
        let section = S::read(&mut self);
        for (name, entry) in self.table.into_iter().flatten() {
            let known = S::FIELDS.iter().map(|field| field.name);
            if !known.clone().any(|field| field == name) {
                self.problems.push(unknown(name, &entry.key, &format!("[{}]", S::KEY), known));
            }
        }
        section
    }

    /// Reads one setting.
    pub fn setting<T: Setting + Clone>(&mut self, field: &Field, built_in: &T) -> T {
        let name = field.name;
        let found = self.table.and_then(|table| table.get(name));
        match found.map(|entry| (entry, T::read(&entry.value))) {
            Some((_, Ok(value))) => return value,
            Some((entry, Err(wanted))) => self.problems.push(Problem {
                origin: entry.place.clone(),
                title: format!("`{}.{name}` cannot be this", self.key),
                label: format!("wanted {wanted}"),
                help: None,
            }),
            None if field.required => self.problems.push(Problem {
                origin: self.place.clone(),
                title: format!("`{}.{name}` is missing", self.key),
                label: format!("`{name}` has to be set here"),
                help: None,
            }),
            None => {}
        }
        built_in.clone()
    }
}

/// A key that is not known, and the one that was probably meant.
pub fn unknown<'a>(name: &str, origin: &Origin, place: &str, known: impl Iterator<Item = &'a str> + Clone) -> Problem {
    let label = match did_you_mean(name, known.clone()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "unknown key".to_owned(),
    };
    let known: Vec<&str> = known.collect();
    Problem {
        origin: origin.clone(),
        title: format!("unknown key `{}` in {place}", visible(name)),
        label,
        help: Some(format!("known here: {}", known.join(", "))),
    }
}
