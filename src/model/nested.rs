//! Nested lists of JSON, read in one pass.
//!
//! Reading never fails for lists that are ragged or hold the wrong thing: the fault is kept with its place, so that the
//! caller gets a pointer to it instead of a parser's column number.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{cost, numbers::Numbers};

/// A (nested) list, flattened, with the shape that it had.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Nested {
    /// Lengths from the outermost list inwards; empty for a bare number or string.
    pub shape: Vec<usize>,
    /// The leaves from first to last.
    pub leaves: Leaves,
    /// The first thing that is wrong with it; shape and leaves are not to be believed then.
    pub fault: Option<Box<Fault>>,
    /// The first `null` among numbers: they stand there as NaN, which JSON has no word for. A fault where the model takes
    /// none, and before `fault` where both are set.
    pub missing: Option<Box<Fault>>,
}

/// The innermost values. All of one kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Leaves {
    /// Also for no leaves at all.
    Numbers(Numbers),
    /// `true` and `false`.
    Bools(Vec<bool>),
    /// Strings.
    Texts(Vec<String>),
}

impl Default for Leaves {
    fn default() -> Self {
        Self::Numbers(Numbers::default())
    }
}

/// A JSON number, as exactly as it was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Without fraction and exponent, in the range of `i64`.
    Int(i64),
    /// Without fraction and exponent, above the range of `i64`.
    UInt(u64),
    /// Everything else.
    Float(f64),
}

/// What is wrong inside a value, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Indices of the lists on the way, outermost first.
    pub path: Vec<usize>,
    /// What is wrong, as a stable word.
    pub code: &'static str,
    /// The same for people.
    pub detail: String,
}

impl<'de> Deserialize<'de> for Nested {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut reader = Reader::default();
        deserializer.deserialize_any(&mut reader)?;
        reader.finish()
    }
}

const NULL: &str = "null is no value for a tensor";

/// Walks a nested list once, collecting leaves and checking that sister lists have equal lengths.
#[derive(Default)]
pub(super) struct Reader {
    /// Indices of the lists that are open now.
    path: Vec<usize>,
    /// Length of the lists at each depth, once one of them has been closed.
    lengths: Vec<Option<usize>>,
    /// How deep the leaves are, once one has been seen.
    leaf_depth: Option<usize>,
    leaves: Leaves,
    fault: Option<Box<Fault>>,
    missing: Option<Box<Fault>>,
}

impl Reader {
    /// What was read, with room taken for what was not charged on the way.
    pub(super) fn finish<E: Error>(self) -> Result<Nested, E> {
        let shape: Vec<usize> = self.lengths.into_iter().map(|length| length.unwrap_or(0)).collect();
        let rest = match &self.leaves {
            Leaves::Numbers(numbers) => numbers.rest(),
            Leaves::Bools(bools) => bools.len(),
            Leaves::Texts(_) => 0,
        };
        cost::charge(size_of::<Nested>() + size_of_val(&*shape) + rest)?;
        Ok(Nested { shape, leaves: self.leaves, fault: self.fault, missing: self.missing })
    }

    /// Keeps the first fault only: the others usually follow from it.
    fn fault(&mut self, code: &'static str, detail: impl Into<String>) {
        if self.fault.is_none() {
            self.fault = Some(Box::new(Fault { path: self.path.clone(), code, detail: detail.into() }));
        }
    }

    fn number<E: Error>(&mut self, number: Number) -> Result<(), E> {
        if !self.at_leaf_depth() {
            return Ok(());
        }
        match &mut self.leaves {
            Leaves::Numbers(numbers) => match numbers.push(number) {
                0 => {}
                bytes => cost::charge(bytes)?,
            },
            Leaves::Bools(_) | Leaves::Texts(_) => self.mixed(),
        }
        Ok(())
    }

    /// Only numbers can be missing: there is a number for it.
    fn null<E: Error>(&mut self) -> Result<(), E> {
        let fault = || Box::new(Fault { path: self.path.clone(), code: "null", detail: NULL.to_owned() });
        match &self.leaves {
            Leaves::Numbers(_) if self.fault.is_none() => {
                self.missing = self.missing.take().or_else(|| Some(fault()));
                self.number(Number::Float(f64::NAN))
            }
            _ => {
                self.fault("null", NULL);
                Ok(())
            }
        }
    }

    fn bool(&mut self, value: bool) {
        if !self.at_leaf_depth() {
            return;
        }
        match &mut self.leaves {
            Leaves::Bools(bools) => bools.push(value),
            Leaves::Numbers(numbers) if numbers.is_empty() => self.leaves = Leaves::Bools(vec![value]),
            Leaves::Numbers(_) | Leaves::Texts(_) => self.mixed(),
        }
    }

    fn text<E: Error>(&mut self, value: String) -> Result<(), E> {
        if !self.at_leaf_depth() {
            return Ok(());
        }
        match &mut self.leaves {
            Leaves::Texts(texts) => {
                cost::charge(cost::of_text(value.len()))?;
                texts.push(value);
            }
            Leaves::Numbers(numbers) if numbers.is_empty() => {
                cost::charge(cost::of_text(value.len()))?;
                self.leaves = Leaves::Texts(vec![value]);
            }
            Leaves::Numbers(_) | Leaves::Bools(_) => self.mixed(),
        }
        Ok(())
    }

    fn mixed(&mut self) {
        self.fault("mixed_types", "one list holds values of different kinds");
    }

    fn at_leaf_depth(&mut self) -> bool {
        let depth = self.path.len();
        let fits = *self.leaf_depth.get_or_insert(depth) == depth && self.lengths.len() <= depth;
        if !fits {
            self.ragged("a value stands where its neighbours are lists, or the other way round");
        }
        fits
    }

    fn ragged(&mut self, detail: impl Into<String>) {
        self.fault("ragged_list", detail);
    }

    fn list<'de, A: SeqAccess<'de>>(&mut self, mut list: A) -> Result<(), A::Error> {
        let depth = self.path.len();
        if self.leaf_depth.is_some_and(|leaf_depth| leaf_depth <= depth) {
            self.ragged("a list stands where its neighbours are values");
        }
        if self.lengths.len() <= depth {
            self.lengths.resize(depth + 1, None);
        }
        let mut length = 0;
        self.path.push(0);
        while self.fault.is_none() && list.next_element_seed(&mut *self)?.is_some() {
            length += 1;
            if let Some(index) = self.path.last_mut() {
                *index = length;
            }
        }
        self.path.pop();
        if self.fault.is_some() {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        match self.lengths.get(depth).copied().flatten() {
            Some(expected) if expected != length => {
                self.ragged(format!("this list has length {length} where its neighbours have {expected}"));
            }
            _ => self.lengths[depth] = Some(length),
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &mut Reader {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Reader {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a string, a boolean or a list")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.bool(value);
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.number(Number::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.number(i64::try_from(value).map_or(Number::UInt(value), Number::Int))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.number(Number::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.text(value.to_owned())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<(), E> {
        self.text(value)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.null()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        self.list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.fault("object", "an object cannot stand inside a value");
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(json: &str) -> Nested {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn lists_are_flattened_with_their_shape() {
        let cases: [(&str, &[usize], usize); 7] = [
            ("7", &[], 1),
            ("[]", &[0], 0),
            ("[[],[]]", &[2, 0], 0),
            ("[1,2.5,-3]", &[3], 3),
            ("[[1,2],[3,4],[5,6]]", &[3, 2], 6),
            ("[[[true]]]", &[1, 1, 1], 1),
            (r#"["a","b"]"#, &[2], 2),
        ];
        for (json, shape, leaves) in cases {
            let nested = nested(json);
            let count = match &nested.leaves {
                Leaves::Numbers(values) => values.len(),
                Leaves::Bools(values) => values.len(),
                Leaves::Texts(values) => values.len(),
            };
            assert_eq!((nested.shape.as_slice(), count, nested.fault), (shape, leaves, None), "{json}");
        }
    }

    #[test]
    fn a_fault_names_its_place() {
        let cases: [(&str, &str, &[usize]); 10] = [
            ("[[1,2],[3]]", "ragged_list", &[1]),
            ("[[1,2],[3,4,5]]", "ragged_list", &[1]),
            ("[[1],2]", "ragged_list", &[1]),
            ("[1,[2]]", "ragged_list", &[1]),
            ("[[],[1]]", "ragged_list", &[1]),
            ("[[],1]", "ragged_list", &[1]),
            (r#"[1,"a"]"#, "mixed_types", &[1]),
            (r#"["a",null]"#, "null", &[1]),
            (r#"[null,"a"]"#, "mixed_types", &[1]),
            (r#"[{"a":1}]"#, "object", &[0]),
        ];
        for (json, code, path) in cases {
            let fault = nested(json).fault.unwrap_or_else(|| panic!("{json} has no fault"));
            assert_eq!((fault.code, fault.path.as_slice()), (code, path), "{json}");
        }
    }

    #[test]
    fn null_among_numbers_is_a_missing_one_with_its_place() {
        for (json, path) in [("null", &[][..]), ("[[0,null],[null,1]]", &[0, 1]), (r#"[null,"a"]"#, &[0])] {
            let missing = nested(json).missing.unwrap_or_else(|| panic!("{json} misses nothing"));
            assert_eq!((missing.code, missing.path.as_slice()), ("null", path), "{json}");
        }
        let nested = nested("[[0,null],[null,1]]");
        assert_eq!((nested.shape.as_slice(), nested.fault), (&[2, 2][..], None));
        let Leaves::Numbers(numbers) = nested.leaves else { panic!("no numbers") };
        assert_eq!(numbers.iter().filter(|number| matches!(number, Number::Float(value) if value.is_nan())).count(), 2);
    }

    #[test]
    fn whole_numbers_stay_exact() {
        let nested = nested("[9007199254740993, -9223372036854775808, 18446744073709551615]");
        let expected = vec![Number::Int(9_007_199_254_740_993), Number::Int(i64::MIN), Number::UInt(u64::MAX)];
        assert_eq!(nested.leaves, Leaves::Numbers(expected.into_iter().collect()));
    }
}
