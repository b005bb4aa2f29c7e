//! Shapes of JSON documents, read from the types that make them: what the API's document and the heads of its tables are
//! made of. `described!` stands around a struct and leaves it as it is.

use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A type whose JSON has a known shape.
pub trait Described {
    /// Its JSON schema; that of a struct is kept in `shapes`, and a reference to it is returned.
    fn shape(shapes: &mut Shapes) -> Value;
}

/// The schemas of structs, by their names.
#[derive(Debug, Default)]
pub struct Shapes(BTreeMap<&'static str, Value>);

/// A member of a struct.
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// Its attributes as they stand in the source, the documentation among them.
    pub attributes: &'static [&'static str],
    /// The shape of its type.
    pub shape: fn(&mut Shapes) -> Value,
}

impl Shapes {
    /// The schemas that were gathered.
    pub fn into_map(self) -> Map<String, Value> {
        self.0.into_iter().map(|(name, shape)| (name.to_owned(), shape)).collect()
    }

    /// The schema that a reference leads to; others are returned as they are.
    pub fn resolved<'a>(&'a self, shape: &'a Value) -> &'a Value {
        let name = shape["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
        name.and_then(|name| self.0.get(name)).unwrap_or(shape)
    }

    /// Keeps the schema of a struct, and returns a reference to it.
    pub fn object(&mut self, name: &'static str, attributes: &[&str], members: &[Member]) -> Value {
        let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
        if self.0.contains_key(name) {
            return reference;
        }
        // A struct that contains itself finds this entry.
        self.0.insert(name, Value::Null);
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for member in members {
            let has = |word: &str| member.attributes.iter().any(|attribute| is_serde(attribute, word));
            if has("skip") {
                continue;
            }
            let mut shape = (member.shape)(self);
            if has("flatten") {
                let inner = self.resolved(&shape).clone();
                if let Some(inner) = inner["properties"].as_object() {
                    properties.extend(inner.clone());
                }
                required.extend(inner["required"].as_array().cloned().unwrap_or_default());
                continue;
            }
            let text = documentation(member.attributes);
            if !text.is_empty() {
                shape["description"] = text.into();
            }
            if !has("default") && !has("skip_serializing_if") {
                required.push(member.name.trim_start_matches("r#").into());
            }
            properties.insert(member.name.trim_start_matches("r#").to_owned(), shape);
        }
        let mut shape = json!({ "type": "object", "properties": properties, "required": required });
        let text = documentation(attributes);
        if !text.is_empty() {
            shape["description"] = text.into();
        }
        self.0.insert(name, shape);
        reference
    }
}

/// Whether an attribute is one of serde that has this word.
fn is_serde(attribute: &str, word: &str) -> bool {
    let inner = attribute.strip_prefix("serde").map(|rest| rest.trim_start_matches([' ', '(']));
    let words = inner.map(|inner| inner.trim_end_matches(')').split(','));
    words.is_some_and(|mut words| words.any(|each| each.split('=').next().is_some_and(|name| name.trim() == word)))
}

/// The lines of documentation among attributes, as one text.
fn documentation(attributes: &[&str]) -> String {
    let lines = attributes.iter().filter_map(|attribute| {
        let text = attribute.strip_prefix("doc")?.trim_start().strip_prefix('=')?.trim();
        let text = text.trim_start_matches('r').trim_matches('#').strip_prefix('"')?.strip_suffix('"')?;
        Some(text.replace("\\\"", "\"").replace("\\\\", "\\").trim().to_owned())
    });
    lines.collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// Structs with a [`Described`] that is read from their own definitions.
macro_rules! described {
    ($(
        $(#[$attribute:meta])* $visibility:vis struct $name:ident {
            $($(#[$of:meta])* $seen:vis $member:ident: $type:ty),* $(,)?
        }
    )+) => {$(
        $(#[$attribute])*
        $visibility struct $name {
            $($(#[$of])* $seen $member: $type,)*
        }

        impl $crate::units::shape::Described for $name {
            fn shape(shapes: &mut $crate::units::shape::Shapes) -> ::serde_json::Value {
                let members = [$($crate::units::shape::Member {
                    name: stringify!($member),
                    attributes: &[$(stringify!($of)),*],
                    shape: <$type as $crate::units::shape::Described>::shape,
                }),*];
                shapes.object(stringify!($name), &[$(stringify!($attribute)),*], &members)
            }
        }
    )+};
}

pub(crate) use described;

/// A JSON string that is one of these.
pub fn one_of<T: Serialize>(values: &[T]) -> Value {
    json!({ "type": "string", "enum": values })
}

macro_rules! plain {
    ($($type:ty: $shape:tt;)*) => {
        $(impl Described for $type {
            fn shape(_: &mut Shapes) -> Value {
                json!($shape)
            }
        })*
    };
}

plain! {
    String: { "type": "string" };
    &'static str: { "type": "string" };
    PathBuf: { "type": "string" };
    bool: { "type": "boolean" };
    u8: { "type": "integer", "minimum": 0, "maximum": 255 };
    u16: { "type": "integer", "minimum": 0, "maximum": 65_535 };
    u32: { "type": "integer", "format": "int64", "minimum": 0 };
    u64: { "type": "integer", "format": "int64", "minimum": 0 };
    usize: { "type": "integer", "format": "int64", "minimum": 0 };
    i64: { "type": "integer", "format": "int64" };
    i128: { "type": "integer" };
    Decimal: { "type": "string", "format": "decimal" };
    Value: {};
}

impl<T: Described> Described for Option<T> {
    fn shape(shapes: &mut Shapes) -> Value {
        let mut shape = T::shape(shapes);
        match shape["type"].as_str().map(str::to_owned) {
            Some(name) => shape["type"] = json!([name, "null"]),
            None if shape.get("$ref").is_some() => shape = json!({ "anyOf": [shape, { "type": "null" }] }),
            None => {}
        }
        shape
    }
}

impl<T: Described> Described for Vec<T> {
    fn shape(shapes: &mut Shapes) -> Value {
        json!({ "type": "array", "items": T::shape(shapes) })
    }
}

impl<T: Described, const LENGTH: usize> Described for [T; LENGTH] {
    fn shape(shapes: &mut Shapes) -> Value {
        json!({ "type": "array", "items": T::shape(shapes), "minItems": LENGTH, "maxItems": LENGTH })
    }
}

/// A pair is an array of two; both are of the second one's type, or null.
impl<T: Described> Described for (Option<T>, T) {
    fn shape(shapes: &mut Shapes) -> Value {
        json!({ "type": "array", "items": Option::<T>::shape(shapes), "minItems": 2, "maxItems": 2 })
    }
}

impl<K, T: Described> Described for BTreeMap<K, T> {
    fn shape(shapes: &mut Shapes) -> Value {
        json!({ "type": "object", "additionalProperties": T::shape(shapes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    described! {
    /// A thing.
    #[derive(Serialize)]
    struct Inner {
        /// How many, in "pieces".
        count: u64,
    }
    }

    described! {
    /// It has
    /// an inner one.
    #[derive(Serialize)]
    struct Outer {
        #[serde(flatten)]
        inner: Inner,
        /// A name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        others: Vec<Inner>,
        #[serde(skip)]
        hidden: u8,
        worth: Option<Decimal>,
        first: Option<Inner>,
    }
    }

    /// What serde writes and what the shape says are read from the same definition.
    #[test]
    fn a_shape_follows_the_attributes_of_its_struct() {
        let mut shapes = Shapes::default();
        assert_eq!(Outer::shape(&mut shapes), json!({ "$ref": "#/components/schemas/Outer" }));
        let inner = json!({ "$ref": "#/components/schemas/Inner" });
        let shapes = shapes.into_map();
        assert_eq!(
            shapes["Outer"],
            json!({
                "type": "object", "description": "It has an inner one.", "required": ["count", "others", "worth", "first"],
                "properties": {
                    "count": { "type": "integer", "format": "int64", "minimum": 0, "description": "How many, in \"pieces\"." },
                    "name": { "type": ["string", "null"], "description": "A name." },
                    "others": { "type": "array", "items": inner },
                    "worth": { "type": ["string", "null"], "format": "decimal" },
                    "first": { "anyOf": [inner, { "type": "null" }] },
                }
            })
        );
        let thing =
            Outer { inner: Inner { count: 1 }, name: None, others: Vec::new(), hidden: 0, worth: None, first: None };
        let written = serde_json::to_value(&thing).unwrap();
        let names: Vec<&String> = written.as_object().unwrap().keys().collect();
        assert_eq!(names, ["count", "others", "worth", "first"]);
        assert_eq!(thing.hidden, 0);
    }
}
