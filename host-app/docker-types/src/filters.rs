//! The query's `filters`: a JSON object of lists, or of objects whose keys are the values, as older
//! clients write it (moby's `api/types/filters`).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::Malformed;

/// Values by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// From the parameter's text; an empty one is no filters.
    ///
    /// # Errors
    /// When it is neither of the two forms.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let bad = |why: String| Malformed::Filter(why);
        let value: Value = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
        let Value::Object(all) = value else {
            return Err(bad(format!("`{text}` is not an object")));
        };
        let mut filters = BTreeMap::new();
        for (name, values) in all {
            let values: Option<Vec<String>> = match values {
                Value::Null => Some(Vec::new()),
                Value::Array(all) => {
                    all.into_iter().map(|one| one.as_str().map(str::to_owned)).collect()
                }
                Value::Object(all) => Some(all.into_iter().map(|(value, _)| value).collect()),
                _ => None,
            };
            let values = values
                .ok_or_else(|| bad(format!("the values of `{name}` are no list of texts")))?;
            filters.insert(name, values);
        }
        Ok(Self(filters))
    }

    /// `KEY=VALUE` of each, as the contract's lists have them.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        let one = |(name, values): (&String, &Vec<String>)| {
            values.iter().map(|value| format!("{name}={value}")).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(one).collect()
    }

    /// That there are no others than `known`.
    ///
    /// # Errors
    /// In Docker's words, the first that is another.
    pub fn only(&self, known: &[&str]) -> Result<(), Malformed> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(other) => Err(Malformed::NoFilter(other.clone())),
            None => Ok(()),
        }
    }

    /// That the values of one are among `known`.
    ///
    /// # Errors
    /// In Docker's words, the first that is another.
    pub fn only_values(&self, name: &str, known: &[&str]) -> Result<(), Malformed> {
        let mut values = self.0.get(name).into_iter().flatten();
        match values.find(|value| !known.contains(&value.as_str())) {
            Some(other) => Err(Malformed::NoFilter(format!("{name}={other}"))),
            None => Ok(()),
        }
    }

    /// The values of one, which is taken out: for what the caller does itself.
    pub fn take(&mut self, name: &str) -> Vec<String> {
        self.0.remove(name).unwrap_or_default()
    }

    /// Puts one in.
    pub fn insert(&mut self, name: &str, value: &str) {
        self.0.entry(name.to_owned()).or_default().push(value.to_owned());
    }

    /// A filter that is true or false, taken out; none when it is not given.
    ///
    /// # Errors
    /// In Docker's words, when it is neither, or both.
    pub fn take_bool(&mut self, name: &str) -> Result<Option<bool>, Malformed> {
        let values = self.take(name);
        let known = |value: &String| match value.as_str() {
            "1" | "true" => Some(true),
            "0" | "false" => Some(false),
            _ => None,
        };
        let first = match values.first() {
            None => return Ok(None),
            Some(first) => known(first),
        };
        match first {
            Some(value) if values.iter().all(|other| known(other) == first) => Ok(Some(value)),
            _ => Err(Malformed::Filter(format!("'{name}={}'", values.join(",")))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_filters_are_one_list() {
        for text in [
            r#"{"label":["a=b","c"],"status":["running"]}"#,
            r#"{"label":{"a=b":true,"c":true},"status":{"running":true}}"#,
        ] {
            let read = Filters::read(text).unwrap();
            assert_eq!(read.list(), ["label=a=b", "label=c", "status=running"], "{text}");
        }
        assert_eq!(Filters::read(r#"{"label!":["x"]}"#).unwrap().list(), ["label!=x"]);
        for none in ["", "{}", r#"{"label":null,"id":[]}"#] {
            assert!(Filters::read(none).unwrap().list().is_empty(), "{none}");
        }
        for wrong in ["[]", "{", "x", r#"{"a":"b"}"#, r#"{"a":[1]}"#, "null"] {
            assert!(Filters::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_filter_is_named_in_dockers_words() {
        let read = Filters::read(r#"{"status":["running","x"],"name":["y"]}"#).unwrap();
        assert_eq!(read.only(&["name", "status"]), Ok(()));
        assert_eq!(read.only(&["name"]).unwrap_err().to_string(), "invalid filter 'status'");
        assert_eq!(read.only_values("absent", &[]), Ok(()));
        let wrong = read.only_values("status", &["running"]).unwrap_err();
        assert_eq!(wrong.to_string(), "invalid filter 'status=x'");
    }

    #[test]
    fn a_filter_may_be_true_or_false() {
        let read = |text: &str| Filters::read(text).unwrap().take_bool("dangling");
        assert_eq!(read("{}"), Ok(None));
        assert_eq!(read(r#"{"dangling":["true","1"]}"#), Ok(Some(true)));
        assert_eq!(read(r#"{"dangling":{"false":true}}"#), Ok(Some(false)));
        for wrong in [r#"{"dangling":["yes"]}"#, r#"{"dangling":["1","0"]}"#] {
            let why = read(wrong).unwrap_err().to_string();
            assert!(why.starts_with("invalid filter: 'dangling="), "{why}");
        }
    }
}
