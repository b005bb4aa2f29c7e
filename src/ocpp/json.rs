//! Members of JSON objects as chargers write them: numbers as texts, texts as numbers, nulls for absent members, one object
//! where a list is expected.

use serde_json::{Map, Value};
use std::borrow::Cow;

/// The members of an object; a value of another kind has none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object<'a>(Option<&'a Map<String, Value>>);

impl<'a> Object<'a> {
    /// Of a value; of the first one of a list.
    pub fn of(value: &'a Value) -> Object<'a> {
        match value {
            Value::Object(members) => Object(Some(members)),
            Value::Array(items) => items.first().map_or(Object(None), Object::of),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Object(None),
        }
    }

    /// A member; null counts as absent.
    fn get(self, name: &str) -> Option<&'a Value> {
        self.0?.get(name).filter(|value| !value.is_null())
    }

    /// Whether there is such a member.
    pub fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A text, without blanks around it; a number or a truth value as it is written.
    pub fn text(self, name: &str) -> Option<Cow<'a, str>> {
        match self.get(name)? {
            Value::String(text) => Some(Cow::Borrowed(text.trim())),
            Value::Number(number) => Some(Cow::Owned(number.to_string())),
            Value::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// A whole number; a fraction is cut.
    pub fn integer(self, name: &str) -> Option<i64> {
        super::decimal::scaled(&self.text(name)?, 0)
    }

    /// Whether a member is true.
    pub fn flag(self, name: &str) -> bool {
        self.text(name).as_deref() == Some("true")
    }

    /// A member that is an object.
    pub fn object(self, name: &str) -> Object<'a> {
        self.get(name).map_or(Object(None), Object::of)
    }

    /// The objects of a list; a single object counts as a list of one.
    pub fn list(self, name: &str) -> impl Iterator<Item = Object<'a>> + use<'a> {
        let items = match self.get(name) {
            Some(Value::Array(items)) => items.as_slice(),
            Some(one @ Value::Object(_)) => std::slice::from_ref(one),
            _ => &[],
        };
        items.iter().map(Object::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_whatever_their_kind() {
        let value: Value = serde_json::from_str(
            r#"{"a": 7, "b": " 7 ", "c": null, "d": 7.0, "e": {"x": 1}, "f": [{"x": 2}], "g": true, "h": [], "i": 1e2}"#,
        )
        .unwrap();
        let object = Object::of(&value);
        assert_eq!(["a", "b", "d", "i"].map(|name| object.integer(name)), [Some(7), Some(7), Some(7), Some(100)]);
        assert_eq!(["a", "b", "g"].map(|name| object.text(name).unwrap().into_owned()), ["7", "7", "true"]);
        assert!(!object.has("c") && object.text("c").is_none() && object.integer("e").is_none());
        assert_eq!(object.object("f").integer("x"), Some(2));
        let xs = |name| object.list(name).map(|item| item.integer("x")).collect::<Vec<_>>();
        assert_eq!((xs("e"), xs("f"), xs("h"), xs("a")), (vec![Some(1)], vec![Some(2)], vec![], vec![]));
        assert_eq!(Object::of(&Value::Null).text("a"), None);
    }
}
