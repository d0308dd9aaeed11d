//! A document as a tree: for rows that do not stand at its top. Pure.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::super::value::Scalar;

/// A value of a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Big(u64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    /// Members in their order; of several of one name each.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl Node<'_> {
    /// The value, where it is a single one.
    pub fn scalar(&self) -> Option<Scalar<'_>> {
        Some(match self {
            Self::Bool(value) => Scalar::Bool(*value),
            Self::Int(value) => Scalar::Int(*value),
            Self::Big(value) => Scalar::Big(*value),
            Self::Float(value) => Scalar::Float(*value),
            Self::Text(value) => Scalar::Text(value),
            Self::Null | Self::List(_) | Self::Object(_) => return None,
        })
    }

    /// Whether it says nothing: null, and what is empty.
    pub fn is_nothing(&self) -> bool {
        match self {
            Self::Null => true,
            Self::List(list) => list.is_empty(),
            Self::Object(members) => members.is_empty(),
            _ => false,
        }
    }

    /// The member of that name, or the element of that number.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(own, _)| own == name).map(|(_, node)| node),
            Self::List(list) => list.get(name.parse::<usize>().ok()?),
            _ => None,
        }
    }

    /// What stands at the end of a way of names. A member whose own name is several of them, joined
    /// with dots, comes first.
    pub fn at(&self, names: &[impl AsRef<str>]) -> Option<&Self> {
        if let [name] = names {
            return self.get(name.as_ref());
        }
        self.ways(names).first()?.last().copied()
    }

    /// The nodes on each way of these names, the last of which stands at its end: several where
    /// members have one name.
    pub fn ways(&self, names: &[impl AsRef<str>]) -> Vec<Vec<&Self>> {
        let beginning_with = |n: usize| {
            let joined = names[..n].iter().map(AsRef::as_ref).collect::<Vec<_>>().join(".");
            let mut ways = Vec::new();
            for next in self.all(&joined) {
                if n == names.len() {
                    ways.push(vec![next]);
                    continue;
                }
                ways.extend(next.ways(&names[n..]).into_iter().map(|way| [vec![next], way].concat()));
            }
            ways
        };
        (1..=names.len()).rev().map(beginning_with).find(|ways| !ways.is_empty()).unwrap_or_default()
    }

    /// The members of that name, or the element of that number.
    fn all(&self, name: &str) -> Vec<&Self> {
        match self {
            Self::Object(members) => members.iter().filter(|(own, _)| own == name).map(|(_, node)| node).collect(),
            other => other.get(name).into_iter().collect(),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Nodes)
    }
}

struct Nodes;

impl<'de> Visitor<'de> for Nodes {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(i64::try_from(value).map_or(Node::Big(value), Node::Int))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node<'de>, E> {
        Ok(Node::Float(value))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = seq.next_element()? {
            list.push(node);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some((name, node)) = map.next_entry::<Name<'de>, Node<'de>>()? {
            members.push((name.0, node));
        }
        Ok(Node::Object(members))
    }
}

/// A member's name, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }

            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Names)
    }
}
