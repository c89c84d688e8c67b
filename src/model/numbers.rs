//! Numbers of JSON, as exact as they were written, in 8 bytes each.
//!
//! A JSON number of two bytes (`1,`) became 16 of an enum. Here a number is one word: a float as its own bits, an integer
//! in the payload of a NaN (JSON has no NaN), and one of 16 digits and more in a list beside them. The words lie in
//! pieces: growing copies none of them, and a conversion frees each piece once it is done with it.

use super::nested::Number;

/// Numbers in the order in which they were written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Numbers {
    full: Vec<Vec<u64>>,
    last: Vec<u64>,
    /// Integers that no payload holds.
    wide: Vec<Number>,
}

/// Words of a piece: 64 KiB.
const PIECE: usize = 8192;

/// The upper bits of words that hold an integer: a NaN with its sign set, and the integer in the 51 bits below.
const INTEGER: u64 = 0xfff8 << 48;
const INTEGER_BITS: u32 = 51;

/// The upper bits of words that hold a position in `wide`: a NaN that computes with nothing.
const WIDE: u64 = 0x7ff4 << 48;
const WIDE_MASK: u64 = 0xfffc << 48;

impl Numbers {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.full.len() * PIECE + self.last.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.full.is_empty() && self.last.is_empty()
    }

    /// Appends one, and tells the bytes for which room must be taken now: those of a whole piece when one is full.
    pub fn push(&mut self, number: Number) -> usize {
        let mut bytes = 0;
        if self.last.len() == PIECE {
            self.full.push(std::mem::take(&mut self.last));
            bytes += PIECE * size_of::<u64>();
        }
        let word = self.word(number);
        if word & WIDE_MASK == WIDE {
            bytes += size_of::<Number>();
        }
        self.last.push(word);
        bytes
    }

    /// Bytes that no [`push`](Self::push) has told yet.
    pub const fn rest(&self) -> usize {
        self.last.len() * size_of::<u64>()
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Number> + '_ {
        self.full.iter().chain([&self.last]).flatten().map(|word| read(*word, &self.wide))
    }

    /// Shows one after the other, and frees their memory piece by piece.
    ///
    /// # Errors
    /// The first error of `see`.
    pub fn consume<E>(self, mut see: impl FnMut(Number) -> Result<(), E>) -> Result<(), E> {
        for piece in self.full.into_iter().chain([self.last]) {
            for word in piece {
                see(read(word, &self.wide))?;
            }
        }
        Ok(())
    }

    fn word(&mut self, number: Number) -> u64 {
        let number = match number {
            // One bit pattern for all: the others are taken.
            Number::Float(value) if value.is_nan() => return f64::NAN.to_bits(),
            Number::Float(value) => return value.to_bits(),
            Number::Int(value) if fits(value) => return INTEGER | (value.cast_unsigned() & !INTEGER),
            wide => wide,
        };
        let place = self.wide.len() as u64;
        self.wide.push(number);
        WIDE | (place & !WIDE_MASK)
    }
}

impl FromIterator<Number> for Numbers {
    fn from_iter<I: IntoIterator<Item = Number>>(numbers: I) -> Self {
        let mut all = Self::default();
        for number in numbers {
            all.push(number);
        }
        all
    }
}

const fn fits(value: i64) -> bool {
    const END: i64 = 1 << (INTEGER_BITS - 1);
    -END <= value && value < END
}

fn read(word: u64, wide: &[Number]) -> Number {
    if word >= INTEGER {
        const UNUSED: u32 = u64::BITS - INTEGER_BITS;
        return Number::Int((word << UNUSED).cast_signed() >> UNUSED);
    }
    let place = (word & WIDE_MASK == WIDE).then_some(word & !WIDE_MASK);
    let wide = place.and_then(|place| wide.get(usize::try_from(place).ok()?)).copied();
    wide.unwrap_or(Number::Float(f64::from_bits(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_went_in() {
        let end = 1_i64 << 50;
        let ints = [0, 1, -1, end - 1, end, -end, -end - 1, i64::MAX, i64::MIN, 9_007_199_254_740_993];
        let floats = [0.0, -0.0, 1.5, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, f64::INFINITY, f64::NEG_INFINITY];
        let all = ints.map(Number::Int).into_iter().chain(floats.map(Number::Float));
        let all: Vec<Number> = all.chain([Number::UInt(u64::MAX), Number::UInt(1 << 63)]).collect();
        let numbers: Numbers = all.iter().copied().collect();
        assert_eq!(numbers.iter().collect::<Vec<_>>(), all);
        let Some(Number::Float(zero)) = numbers.iter().nth(11) else { panic!("no float") };
        assert!(zero.is_sign_negative());
        let missing: Numbers = [f64::NAN, -f64::NAN].map(Number::Float).into_iter().collect();
        assert!(missing.iter().all(|number| matches!(number, Number::Float(value) if value.is_nan())));
    }

    #[test]
    fn every_byte_is_told_once() {
        for count in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5] {
            let mut numbers = Numbers::default();
            let told: usize = (0..count).map(|_| numbers.push(Number::Int(7))).sum();
            assert_eq!((told + numbers.rest(), numbers.len()), (count * 8, count));
            let mut seen = 0;
            let count_one = |_| {
                seen += 1;
                Ok::<_, ()>(())
            };
            numbers.consume(count_one).unwrap();
            assert_eq!(seen, count);
        }
        let mut numbers = Numbers::default();
        assert_eq!(numbers.push(Number::Int(i64::MAX)), size_of::<Number>());
    }
}
