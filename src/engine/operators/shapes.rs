//! Shapes of values inside of a graph, as far as they can be followed: which dimensions are constant, and which of the others
//! are equal.

use std::mem;

/// One dimension of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// The graph says how large it is.
    Fixed(usize),
    /// The input says so. Equal numbers are equal sizes.
    Open(usize),
}

/// `None` where not even the number of dimensions is known.
pub(super) type Shape = Option<Vec<Size>>;

/// Numbers for dimensions that are equal to no other one.
#[derive(Debug, Default)]
pub(super) struct Sizes(usize);

impl Sizes {
    /// A dimension of which nothing is known.
    pub(super) const fn open(&mut self) -> Size {
        self.0 += 1;
        Size::Open(self.0)
    }

    /// The product of some dimensions.
    fn product(&mut self, sizes: &[Size]) -> Size {
        let open: Vec<Size> = sizes.iter().copied().filter(|size| matches!(size, Size::Open(_))).collect();
        let fixed = sizes.iter().try_fold(1_usize, |product, size| match size {
            Size::Fixed(size) => product.checked_mul(*size),
            Size::Open(_) => Some(product),
        });
        match (&open[..], fixed) {
            ([], Some(product)) => Size::Fixed(product),
            ([only], Some(1)) => *only,
            _ => self.open(),
        }
    }

    /// The dimension to which one of each operand is brought.
    fn common(&mut self, one: Size, other: Size) -> Size {
        match (one, other) {
            (Size::Fixed(a), Size::Fixed(b)) => Size::Fixed(a.max(b)),
            (Size::Fixed(1), open) | (open, Size::Fixed(1)) => open,
            // It is 1 or as large as the other one.
            (fixed @ Size::Fixed(_), Size::Open(_)) | (Size::Open(_), fixed @ Size::Fixed(_)) => fixed,
            (a, b) if a == b => a,
            _ => self.open(),
        }
    }

    /// The shape to which all `operands` are brought.
    pub(super) fn broadcast(&mut self, operands: &[&[Size]]) -> Vec<Size> {
        let rank = operands.iter().map(|shape| shape.len()).max().unwrap_or(0);
        let mut common = vec![Size::Fixed(1); rank];
        for shape in operands {
            for (size, other) in common.iter_mut().rev().zip(shape.iter().rev()) {
                *size = self.common(mem::replace(size, Size::Fixed(1)), *other);
            }
        }
        common
    }

    /// `shape` as two dimensions, divided at `axis`.
    pub(super) fn flattened(&mut self, shape: &[Size], axis: i64) -> Shape {
        let at = usize::try_from(if axis < 0 { axis + i64::try_from(shape.len()).ok()? } else { axis }).ok()?;
        let (outer, inner) = shape.split_at_checked(at)?;
        Some(vec![self.product(outer), self.product(inner)])
    }

    /// `shape` in a new form: 0 keeps a dimension, and -1 is what is left.
    pub(super) fn reshaped(&mut self, shape: &[Size], wanted: &[i64], keeps: bool) -> Shape {
        let size = |(place, wanted): (usize, &i64)| match wanted {
            0 if keeps => shape.get(place).copied(),
            -1 => Some(self.open()),
            size => usize::try_from(*size).ok().map(Size::Fixed),
        };
        wanted.iter().enumerate().map(size).collect()
    }
}

/// Whether bringing `operands` to one shape gives no more than a constant times the largest of them: not where one has a
/// dimension of the input that another one lacks, and the other way round.
pub(super) fn is_linear(operands: &[&[Size]]) -> bool {
    // From the last dimension on, as they are brought together.
    let open = |shape: &[Size]| -> Vec<Option<usize>> {
        let sizes = shape.iter().rev().map(|size| match size {
            Size::Open(number) => Some(*number),
            Size::Fixed(_) => None,
        });
        sizes.collect()
    };
    let operands: Vec<Vec<Option<usize>>> = operands.iter().map(|shape| open(shape)).collect();
    let rank = operands.iter().map(Vec::len).max().unwrap_or(0);
    let is_open = |place: usize| operands.iter().any(|shape| shape.get(place).is_some_and(Option::is_some));
    if (0..rank).filter(|place| is_open(*place)).count() <= 1 {
        return true;
    }
    let has_all = |largest: &Vec<Option<usize>>| {
        let own = |place: usize| largest.get(place).copied().flatten();
        operands.iter().all(|shape| {
            shape.iter().enumerate().all(|(place, number)| number.is_none_or(|number| own(place) == Some(number)))
        })
    };
    operands.iter().any(has_all)
}

/// Axes from 0 on, in order; `None` where one is not there.
pub(super) fn axes(axes: &[i64], rank: usize) -> Option<Vec<usize>> {
    let rank_number = i64::try_from(rank).ok()?;
    let axis = |axis: &i64| usize::try_from(if *axis < 0 { axis + rank_number } else { *axis }).ok();
    let mut axes: Vec<usize> = axes.iter().map(axis).collect::<Option<_>>()?;
    axes.sort_unstable();
    axes.dedup();
    axes.iter().all(|axis| *axis < rank).then_some(axes)
}
