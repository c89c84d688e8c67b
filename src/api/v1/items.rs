//! The items of a batch, as far as they are worth their memory.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use crate::{config::MOST_BATCH_ITEMS, model::cost};

/// What an item takes until it is answered, whatever is in it: two bytes of JSON become a pointer, a tensor with its shape,
/// and a question to the cache.
const ITEM_BYTES: usize = 512;

/// A list of which no more is kept than the configuration allows in one batch. All are counted, for the words of the
/// refusal.
#[derive(Debug)]
pub(super) struct Items<T> {
    /// The first of them.
    pub kept: Vec<T>,
    /// All of them.
    pub count: usize,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ItemsVisitor<T> {
            type Value = Items<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items<T>, A::Error> {
                let mut kept = Vec::new();
                let most = cost::max_items(MOST_BATCH_ITEMS);
                while kept.len() < most {
                    match list.next_element()? {
                        Some(item) => {
                            cost::charge(ITEM_BYTES)?;
                            kept.push(item);
                        }
                        None => return Ok(Items { count: kept.len(), kept }),
                    }
                }
                let mut count = kept.len();
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Items { kept, count })
            }
        }

        deserializer.deserialize_seq(ItemsVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_configuration_allows_is_counted_and_not_kept() {
        for (count, kept) in [(0, 0), (3, 3), (MOST_BATCH_ITEMS, MOST_BATCH_ITEMS), (100_000, MOST_BATCH_ITEMS)] {
            let json = serde_json::to_string(&vec![0; count]).unwrap();
            let items: Items<u8> = serde_json::from_str(&json).unwrap();
            assert_eq!((items.kept.len(), items.count), (kept, count));
        }
    }
}
