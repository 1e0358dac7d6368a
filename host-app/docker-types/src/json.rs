//! JSON as Docker's daemon reads it, which is Go's `encoding/json`: `null` is the same as absent,
//! whatever the type; names of fields match in any case; what is not known is ignored; a second
//! value after the first is an error.
//!
//! Clients depend on it: the docker CLI writes `null` for every list that is empty.

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::{Map, Value};

use crate::error::Malformed;

/// Reads the body of a request.
///
/// # Errors
/// What is wrong, in words that begin as Docker's do.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    from_value(value(body)?)
}

/// The same from a value that has been read.
///
/// # Errors
/// Where in it something is wrong, and what.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Malformed> {
    T::deserialize(Lenient(value)).map_err(|error| Malformed::Json(error.to_string()))
}

/// A body as one value.
///
/// # Errors
/// When it is empty or not JSON.
pub fn value(body: &[u8]) -> Result<Value, Malformed> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Malformed::Json("got EOF while reading request body".into()));
    }
    serde_json::from_slice(body).map_err(|error| Malformed::Json(error.to_string()))
}

/// Absent when null or missing; one string counts as a list of one (Docker's `strslice`).
pub(crate) fn strings<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    struct Strings;
    impl<'de> Visitor<'de> for Strings {
        type Value = Option<Vec<String>>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a string or a list of strings")
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(vec![text.to_owned()]))
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = seq.next_element()? {
                all.push(one);
            }
            Ok(Some(all))
        }
    }
    deserializer.deserialize_any(Strings)
}

/// What is wrong, and the way to it.
#[derive(Debug)]
struct Wrong {
    path: String,
    what: String,
}

impl Wrong {
    fn within(mut self, name: &str) -> Self {
        self.path =
            if self.path.is_empty() { name.to_owned() } else { format!("{name}.{}", self.path) };
        self
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.what),
            path => write!(f, "{path}: {}", self.what),
        }
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self { path: String::new(), what: message.to_string() }
    }
}

/// Of a value that was to be something else.
fn unexpected(value: &Value) -> de::Unexpected<'_> {
    match value {
        Value::Null => de::Unexpected::Unit,
        Value::Bool(value) => de::Unexpected::Bool(*value),
        Value::Number(_) => de::Unexpected::Other("number"),
        Value::String(text) => de::Unexpected::Str(text),
        Value::Array(_) => de::Unexpected::Seq,
        Value::Object(_) => de::Unexpected::Map,
    }
}

struct Lenient(Value);

impl IntoDeserializer<'_, Wrong> for Lenient {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

/// Null is a number's zero.
macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            match self.0 {
                Value::Null => visitor.visit_i64(0),
                Value::Number(number) => {
                    number.$method(visitor).map_err(de::Error::custom)
                }
                other => Err(de::Error::invalid_type(unexpected(&other), &visitor)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Lenient {
    type Error = Wrong;

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_f32 deserialize_f64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => number.deserialize_any(visitor).map_err(de::Error::custom),
            Value::String(text) => visitor.visit_string(text),
            Value::Array(all) => visitor.visit_seq(Elements::new(all)),
            Value::Object(all) => visitor.visit_map(Entries::new(all)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::Null => visitor.visit_bool(false),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::Null => visitor.visit_str(""),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::Null => visitor.visit_seq(Elements::new(Vec::new())),
            _ => self.deserialize_any(visitor),
        }
    }

    /// An array of fixed length: what is missing is zero, as in Go.
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Wrong> {
        let mut all = match self.0 {
            Value::Null => Vec::new(),
            Value::Array(all) => all,
            other => return Err(de::Error::invalid_type(unexpected(&other), &visitor)),
        };
        all.resize(len, Value::Null);
        visitor.visit_seq(Elements::new(all))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::Null => visitor.visit_map(Entries::new(Map::new())),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let all = match self.0 {
            Value::Null => Map::new(),
            Value::Object(all) => all,
            other => return Err(de::Error::invalid_type(unexpected(&other), &visitor)),
        };
        let known = |key: &String| fields.contains(&key.as_str());
        let (mut exact, others): (Map<_, _>, Map<_, _>) =
            all.into_iter().partition(|(key, _)| known(key));
        for (key, value) in others {
            if let Some(field) = fields.iter().find(|field| field.eq_ignore_ascii_case(&key)) {
                exact.entry(*field).or_insert(value);
            }
        }
        visitor.visit_map(Entries::new(exact))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple_struct enum identifier
    }
}

struct Elements {
    rest: std::vec::IntoIter<Value>,
    next: usize,
}

impl Elements {
    fn new(all: Vec<Value>) -> Self {
        Self { rest: all.into_iter(), next: 0 }
    }
}

impl<'de> SeqAccess<'de> for Elements {
    type Error = Wrong;
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Wrong> {
        let Some(value) = self.rest.next() else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        let element = seed.deserialize(Lenient(value));
        element.map(Some).map_err(|wrong| wrong.within(&index.to_string()))
    }
}

struct Entries {
    rest: serde_json::map::IntoIter,
    now: Option<(String, Value)>,
}

impl Entries {
    fn new(all: Map<String, Value>) -> Self {
        Self { rest: all.into_iter(), now: None }
    }
}

impl<'de> MapAccess<'de> for Entries {
    type Error = Wrong;
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        self.now = self.rest.next();
        match &self.now {
            Some((key, _)) => seed.deserialize(key.as_str().into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let (key, value) = self.now.take().unwrap_or_default();
        seed.deserialize(Lenient(value)).map_err(|wrong| wrong.within(&key))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    struct Body {
        name: String,
        count: i64,
        on: bool,
        list: Vec<String>,
        maybe: Option<Vec<String>>,
        size: [u32; 2],
        map: BTreeMap<String, Option<Inner>>,
        inner: Inner,
        #[serde(deserialize_with = "strings")]
        words: Option<Vec<String>>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    struct Inner {
        weight: u16,
    }

    #[test]
    fn null_is_the_same_as_absent() {
        let nulls = br#"{"Name":null,"Count":null,"On":null,"List":null,"Maybe":null,"Size":null,
            "Map":null,"Inner":null,"Words":null}"#;
        assert_eq!(read::<Body>(nulls).unwrap(), Body::default());
        assert_eq!(read::<Body>(b"{}").unwrap(), Body::default());
        let body: Body =
            read(br#"{"Map":{"a":null},"List":[null],"Maybe":[],"Size":[7],"Words":"x"}"#).unwrap();
        assert_eq!(body.map, BTreeMap::from([("a".to_owned(), None)]));
        assert_eq!((body.list, body.maybe, body.size), (vec![String::new()], Some(vec![]), [7, 0]));
        assert_eq!(body.words, Some(vec!["x".to_owned()]));
    }

    #[test]
    fn names_match_in_any_case_and_an_exact_one_wins() {
        let body: Body = read(br#"{"NAME":"a","cOuNt":2,"inner":{"WEIGHT":3},"new":1}"#).unwrap();
        assert_eq!((body.name.as_str(), body.count, body.inner.weight), ("a", 2, 3));
        let body: Body = read(br#"{"Name":"exact","name":"other"}"#).unwrap();
        assert_eq!(body.name, "exact");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (body, words) in [
            (&b""[..], "got EOF while reading request body"),
            (b"  ", "got EOF"),
            (b"{", "EOF while parsing"),
            (b"{} {}", "trailing"),
            (b"[]", "sequence"),
            (br#"{"Count":"1"}"#, "Count: invalid type: string \"1\""),
            (br#"{"Count":1.5}"#, "Count: "),
            (br#"{"Inner":{"Weight":-1}}"#, "Inner.Weight: "),
            (br#"{"Inner":{"Weight":70000}}"#, "Inner.Weight: "),
            (br#"{"List":["a",2]}"#, "List.1: "),
            (br#"{"Name":{}}"#, "Name: "),
        ] {
            let error = read::<Body>(body).expect_err("wrong").to_string();
            assert!(error.starts_with("invalid JSON: ") && error.contains(words), "{error}");
        }
    }
}
