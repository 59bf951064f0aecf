//! The layout of states as bytes is written down: it cannot change unnoticed.
//!
//! States are written without the names of their fields, so bytes of another layout are read as something
//! else or not at all. A deserializer that holds nothing asks every type of a state what it is made of,
//! every variant of an enum in turn, and the answers are `fixtures/state/layout.txt`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::de::value::Error;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};
use toolwarden::baseline::peers::{Group, GroupSummary};
use toolwarden::detect::AgentState;
use toolwarden::pipeline::baselines::Header;
use toolwarden::pipeline::epochs::board::Member;
use toolwarden::pipeline::epochs::entry::{Logged, Report};
use toolwarden::pipeline::epochs::snapshot::SnapshotPart;
use toolwarden::state::changelog::{Dead, LessonRecord, Marker, Snapshot};
use toolwarden::state::codec::FORMAT;
use toolwarden::state::reached::Reached;

/// What was found out so far.
#[derive(Default)]
struct Seen {
    lines: BTreeSet<String>,
    /// The variants of each enum that were looked at, and how many it has.
    enums: BTreeMap<String, (usize, usize)>,
}

/// The place in a state that is asked for.
#[derive(Clone)]
struct Place<'a> {
    seen: &'a RefCell<Seen>,
    path: String,
}

impl Place<'_> {
    fn say(&self, what: &str) {
        self.seen.borrow_mut().lines.insert(format!("{}: {what}", self.path));
    }

    fn below(&self, name: &str) -> Self {
        Self { seen: self.seen, path: format!("{}{name}", self.path) }
    }
}

/// Places one after the other.
struct Places<'a>(std::vec::IntoIter<Place<'a>>);

impl<'de> SeqAccess<'de> for Places<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|place| seed.deserialize(place)).transpose()
    }
}

impl<'de> MapAccess<'de> for Places<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        self.0.next().map(|place| seed.deserialize(place)).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(self.0.next().expect("a value after its key"))
    }
}

/// One variant of an enum.
struct Chosen<'a>(Place<'a>, usize);

impl<'de, 'a> EnumAccess<'de> for Chosen<'a> {
    type Error = Error;
    type Variant = Place<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Place<'a>), Error> {
        let number = u32::try_from(self.1).unwrap();
        let variant: serde::de::value::U32Deserializer<Error> = number.into_deserializer();
        Ok((seed.deserialize(variant)?, self.0))
    }
}

impl<'de> VariantAccess<'de> for Place<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_struct("", fields, visitor)
    }
}

macro_rules! primitives {
    ($($method:ident $visit:ident $name:literal $value:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.say($name);
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for Place<'_> {
    type Error = Error;

    primitives! {
        deserialize_bool visit_bool "bool" false;
        deserialize_i8 visit_i8 "i8" 0;
        deserialize_i16 visit_i16 "i16" 0;
        deserialize_i32 visit_i32 "i32" 0;
        deserialize_i64 visit_i64 "i64" 0;
        deserialize_u8 visit_u8 "u8" 0;
        deserialize_u16 visit_u16 "u16" 0;
        deserialize_u32 visit_u32 "u32" 0;
        deserialize_u64 visit_u64 "u64" 0;
        deserialize_u128 visit_u128 "u128" 0;
        deserialize_f32 visit_f32 "f32" 0.0;
        deserialize_f64 visit_f64 "f64" 0.0;
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.say("text");
        // Some texts are read as what they say.
        visitor.visit_str(match &self.path {
            path if path.ends_with(".kind") => "tool",
            path if path.ends_with(".hash") => "0000000000000000",
            _ => "",
        })
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        panic!("{}: the bytes do not say what they are", self.path)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self.below("?"))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Places(vec![self.below("[]")].into_iter()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.say(&format!("{len} in a row"));
        // The items of an array are alike; those of a tuple may differ, and it is short.
        let name = |n: usize| if len > 6 { ".n".to_owned() } else { format!(".{n}") };
        let places: Vec<_> = (0..len).map(|n| self.below(&name(n))).collect();
        visitor.visit_seq(Places(places.into_iter()))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let places = vec![self.below("{key}"), self.below("{value}")];
        visitor.visit_map(Places(places.into_iter()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.say(&format!("{{ {} }}", fields.join(", ")));
        let places: Vec<_> = fields.iter().map(|name| self.below(&format!(".{name}"))).collect();
        visitor.visit_seq(Places(places.into_iter()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.say(&format!("one of {}", variants.join(", ")));
        let next = {
            let mut seen = self.seen.borrow_mut();
            let looked = seen.enums.entry(self.path.clone()).or_insert((0, variants.len()));
            looked.0 += 1;
            (looked.0 - 1) % variants.len()
        };
        let place = self.below(&format!("|{}", variants[next]));
        visitor.visit_enum(Chosen(place, next))
    }

    forward_to_deserialize_any! { i128 char bytes byte_buf identifier ignored_any }
}

/// The same without what stands below one of its fields, which is written down elsewhere.
fn layout_but<T: for<'de> Deserialize<'de>>(name: &str, but: &str) -> BTreeSet<String> {
    let mut lines = layout::<T>(name);
    let before = lines.len();
    lines.retain(|line| !line.starts_with(&format!("{name}.{but}.")));
    assert!(lines.len() < before, "{name} has no {but}");
    lines
}

/// Everything that `T` is made of, a line each, below a name.
fn layout<T: for<'de> Deserialize<'de>>(name: &str) -> BTreeSet<String> {
    let seen = RefCell::new(Seen::default());
    let is_done = |seen: &Seen| seen.enums.values().all(|(looked, all)| looked >= all);
    for round in 0..20_000 {
        let place = Place { seen: &seen, path: name.to_owned() };
        drop(T::deserialize(place).unwrap_or_else(|error| panic!("{name}: {error}")));
        if round > 0 && is_done(&seen.borrow()) {
            break;
        }
    }
    assert!(is_done(&seen.borrow()), "an enum with too many variants");
    seen.into_inner().lines
}

#[test]
fn a_state_keeps_its_layout_while_the_format_has_its_number() {
    let mut lines = vec![format!("format {FORMAT}")];
    lines.extend(layout::<AgentState>("agent"));
    lines.extend(layout::<Group>("group"));
    lines.extend(layout::<GroupSummary>("lesson"));
    // What a partition's changelog holds.
    lines.extend(layout_but::<Snapshot>("snapshot", "state"));
    lines.extend(layout::<Dead>("dead"));
    lines.extend(layout::<Marker>("marker"));
    lines.extend(layout_but::<LessonRecord>("taught", "summary"));
    // What the log of groups holds.
    lines.extend(layout::<Logged>("entry"));
    lines.extend(layout_but::<Report>("report", "lessons{value}{value}"));
    lines.extend(layout::<SnapshotPart>("part"));
    lines.extend(layout::<Member>("member"));
    // What an export holds besides.
    lines.extend(layout::<Header>("header"));
    lines.extend(layout::<Reached>("partition"));
    let actual = lines.join("\n") + "\n";
    assert!(actual.contains("\nagent.live?.sessions"), "what is optional is looked at: {actual}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/state/layout.txt");
    if std::env::var_os("TOOLWARDEN_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let (actual, expected): (BTreeSet<&str>, BTreeSet<&str>) =
        (actual.lines().collect(), expected.lines().collect());
    let changes: Vec<String> = (expected.difference(&actual).map(|line| format!("- {line}")))
        .chain(actual.difference(&expected).map(|line| format!("+ {line}")))
        .collect();
    assert!(
        changes.is_empty(),
        "the layout of states has changed, so states that were written before cannot be read.\n\
         If a release wrote format {FORMAT}, raise FORMAT in src/state/codec.rs.\n\
         Then write fixtures/state/layout.txt anew with\n\
         TOOLWARDEN_BLESS=1 cargo test --test it layout\n{}",
        changes.join("\n"),
    );
}
