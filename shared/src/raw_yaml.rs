//! A YAML value as the reader hands it over, before anybody says what it may be.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::Number;
use serde_saphyr::Spanned;

/// A value, with keys of type `K`.
pub(crate) enum Raw<K> {
    Null,
    Bool(bool),
    Whole(Number),
    /// A whole number of more than 64 bits.
    Huge,
    Float(f64),
    Text(String),
    List(Vec<Spanned<Raw<K>>>),
    Map(Vec<(Spanned<K>, Spanned<Raw<K>>)>),
}

impl<'de, K: Deserialize<'de>> Deserialize<'de> for Raw<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor(PhantomData))
    }
}

struct RawVisitor<K>(PhantomData<K>);

impl<'de, K: Deserialize<'de>> Visitor<'de> for RawVisitor<K> {
    type Value = Raw<K>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw<K>, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw<K>, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw<K>, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw<K>, E> {
        Ok(Raw::Whole(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw<K>, E> {
        Ok(Raw::Whole(value.into()))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw<K>, E> {
        Ok(Raw::Huge)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw<K>, E> {
        Ok(Raw::Huge)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw<K>, E> {
        Ok(Raw::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw<K>, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw<K>, E> {
        Ok(Raw::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw<K>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw<K>, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}
