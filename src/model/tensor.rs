//! Tensors: a shape, and row-major elements of one datatype.

use half::{bf16, f16};

use super::datatype::Datatype;

/// ONNX knows no tensor of more dimensions that anything could compute.
pub const MAX_DIMENSIONS: usize = 64;

/// The elements of a tensor.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "one variant per datatype, named like it")]
pub enum Data {
    Bool(Vec<bool>),
    Uint8(Vec<u8>),
    Uint16(Vec<u16>),
    Uint32(Vec<u32>),
    Uint64(Vec<u64>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Fp16(Vec<f16>),
    Bf16(Vec<bf16>),
    Fp32(Vec<f32>),
    Fp64(Vec<f64>),
    Bytes(Vec<String>),
}

/// Runs `$body` with `$values` bound to the elements, whatever their datatype.
macro_rules! for_each_datatype {
    ($data:expr, $values:ident => $body:expr) => {
        match $data {
            $crate::model::Data::Bool($values) => $body,
            $crate::model::Data::Uint8($values) => $body,
            $crate::model::Data::Uint16($values) => $body,
            $crate::model::Data::Uint32($values) => $body,
            $crate::model::Data::Uint64($values) => $body,
            $crate::model::Data::Int8($values) => $body,
            $crate::model::Data::Int16($values) => $body,
            $crate::model::Data::Int32($values) => $body,
            $crate::model::Data::Int64($values) => $body,
            $crate::model::Data::Fp16($values) => $body,
            $crate::model::Data::Bf16($values) => $body,
            $crate::model::Data::Fp32($values) => $body,
            $crate::model::Data::Fp64($values) => $body,
            $crate::model::Data::Bytes($values) => $body,
        }
    };
}

/// Like [`for_each_datatype`] where the result is elements of the same datatype.
macro_rules! map_each_datatype {
    ($data:expr, $values:ident => $body:expr) => {
        match $data {
            $crate::model::Data::Bool($values) => $crate::model::Data::Bool($body),
            $crate::model::Data::Uint8($values) => $crate::model::Data::Uint8($body),
            $crate::model::Data::Uint16($values) => $crate::model::Data::Uint16($body),
            $crate::model::Data::Uint32($values) => $crate::model::Data::Uint32($body),
            $crate::model::Data::Uint64($values) => $crate::model::Data::Uint64($body),
            $crate::model::Data::Int8($values) => $crate::model::Data::Int8($body),
            $crate::model::Data::Int16($values) => $crate::model::Data::Int16($body),
            $crate::model::Data::Int32($values) => $crate::model::Data::Int32($body),
            $crate::model::Data::Int64($values) => $crate::model::Data::Int64($body),
            $crate::model::Data::Fp16($values) => $crate::model::Data::Fp16($body),
            $crate::model::Data::Bf16($values) => $crate::model::Data::Bf16($body),
            $crate::model::Data::Fp32($values) => $crate::model::Data::Fp32($body),
            $crate::model::Data::Fp64($values) => $crate::model::Data::Fp64($body),
            $crate::model::Data::Bytes($values) => $crate::model::Data::Bytes($body),
        }
    };
}

impl Data {
    /// No elements.
    pub const fn empty(datatype: Datatype) -> Self {
        match datatype {
            Datatype::Bool => Self::Bool(Vec::new()),
            Datatype::Uint8 => Self::Uint8(Vec::new()),
            Datatype::Uint16 => Self::Uint16(Vec::new()),
            Datatype::Uint32 => Self::Uint32(Vec::new()),
            Datatype::Uint64 => Self::Uint64(Vec::new()),
            Datatype::Int8 => Self::Int8(Vec::new()),
            Datatype::Int16 => Self::Int16(Vec::new()),
            Datatype::Int32 => Self::Int32(Vec::new()),
            Datatype::Int64 => Self::Int64(Vec::new()),
            Datatype::Fp16 => Self::Fp16(Vec::new()),
            Datatype::Bf16 => Self::Bf16(Vec::new()),
            Datatype::Fp32 => Self::Fp32(Vec::new()),
            Datatype::Fp64 => Self::Fp64(Vec::new()),
            Datatype::Bytes => Self::Bytes(Vec::new()),
        }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        for_each_datatype!(self, values => values.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The datatype of the elements.
    pub const fn datatype(&self) -> Datatype {
        match self {
            Self::Bool(_) => Datatype::Bool,
            Self::Uint8(_) => Datatype::Uint8,
            Self::Uint16(_) => Datatype::Uint16,
            Self::Uint32(_) => Datatype::Uint32,
            Self::Uint64(_) => Datatype::Uint64,
            Self::Int8(_) => Datatype::Int8,
            Self::Int16(_) => Datatype::Int16,
            Self::Int32(_) => Datatype::Int32,
            Self::Int64(_) => Datatype::Int64,
            Self::Fp16(_) => Datatype::Fp16,
            Self::Bf16(_) => Datatype::Bf16,
            Self::Fp32(_) => Datatype::Fp32,
            Self::Fp64(_) => Datatype::Fp64,
            Self::Bytes(_) => Datatype::Bytes,
        }
    }

    /// A copy of the elements `from..to`.
    fn slice(&self, from: usize, to: usize) -> Self {
        map_each_datatype!(self, values => values[from..to].to_vec())
    }

    /// Appends a copy of `other`'s elements. Different datatypes are a mistake of ours and append nothing.
    fn extend(&mut self, other: &Self) {
        macro_rules! same {
            ($($variant:ident),*) => {
                match (self, other) {
                    $((Self::$variant(mine), Self::$variant(theirs)) => mine.extend_from_slice(theirs),)*
                    _ => debug_assert!(false, "tensors of different datatypes cannot be stacked"),
                }
            };
        }
        same!(Bool, Uint8, Uint16, Uint32, Uint64, Int8, Int16, Int32, Int64, Fp16, Bf16, Fp32, Fp64, Bytes);
    }
}

/// A shape, and as many elements as it says, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

impl Tensor {
    /// `None` unless `data` holds exactly the elements that `shape` says.
    pub fn new(shape: Vec<usize>, data: Data) -> Option<Self> {
        let elements = shape.iter().try_fold(1_usize, |product, dim| product.checked_mul(*dim))?;
        (elements == data.len()).then_some(Self { shape, data })
    }

    /// Dimensions, outermost first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements.
    pub const fn data(&self) -> &Data {
        &self.data
    }

    /// What the elements take in memory, in bytes.
    pub fn bytes(&self) -> usize {
        match &self.data {
            Data::Bytes(texts) => texts.iter().map(|text| text.len() + size_of::<String>()).sum(),
            data => for_each_datatype!(data, values => size_of_val(values.as_slice())),
        }
    }

    /// Shape and elements, taken apart.
    pub fn into_parts(self) -> (Vec<usize>, Data) {
        (self.shape, self.data)
    }

    /// The elements, to be changed in place. Their number must stay.
    pub(crate) const fn data_mut(&mut self) -> &mut Data {
        &mut self.data
    }

    /// Stacks `tensors` along their first dimension. `None` for no tensors, scalars, or tails that differ.
    pub fn stack<'a>(mut tensors: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let mut stacked = tensors.next()?.clone();
        for tensor in tensors {
            if tensor.shape.get(1..)? != stacked.shape.get(1..)? || tensor.data.datatype() != stacked.data.datatype() {
                return None;
            }
            *stacked.shape.first_mut()? += tensor.shape.first()?;
            stacked.data.extend(&tensor.data);
        }
        Some(stacked)
    }

    /// Like [`stack`](Self::stack) for integers whose second dimension, the last one, may differ: shorter rows are filled up
    /// to `length` with `value`. `None` for other datatypes and ranks, or a row that is longer than that.
    pub fn stack_padded<'a>(
        tensors: impl Iterator<Item = &'a Self> + Clone,
        length: usize,
        value: i64,
    ) -> Option<Self> {
        let count: usize = tensors.clone().map(|tensor| tensor.shape.first().copied().unwrap_or(0)).sum();
        let first = &tensors.clone().next()?.data;
        macro_rules! fill {
            ($($variant:ident)*) => {
                match first {
                    $(Data::$variant(_) => {
                        let mut values = Vec::with_capacity(count.checked_mul(length)?);
                        for tensor in tensors {
                            let ([_, own], Data::$variant(elements)) = (&tensor.shape[..], &tensor.data) else { return None };
                            for row in elements.chunks((*own).max(1)) {
                                values.extend_from_slice(row);
                                let missing = length.checked_sub(*own)?;
                                values.resize(values.len() + missing, value.try_into().ok()?);
                            }
                        }
                        Data::$variant(values)
                    })*
                    _ => return None,
                }
            };
        }
        Self::new(vec![count, length], fill!(Int64 Int32))
    }

    /// The first `length` elements along the second dimension. `None` when there are not more than that.
    pub fn cut(&self, length: usize) -> Option<Self> {
        let [rows, own, rest @ ..] = &self.shape[..] else { return None };
        let width: usize = rest.iter().product();
        if length >= *own {
            return None;
        }
        let data = map_each_datatype!(&self.data, values => {
            let row = |row: usize| &values[row * own * width..(row * own + length) * width];
            (0..*rows).map(row).collect::<Vec<_>>().concat()
        });
        let mut shape = self.shape.clone();
        shape[1] = length;
        Some(Self { shape, data })
    }

    /// Copies `count` rows of the first dimension from row `from`. `None` when there are not so many.
    pub fn rows(&self, from: usize, count: usize) -> Option<Self> {
        let rows = *self.shape.first()?;
        if from.checked_add(count)? > rows {
            return None;
        }
        let row = self.data.len().checked_div(rows).unwrap_or(0);
        let mut shape = self.shape.clone();
        shape[0] = count;
        Some(Self { shape, data: self.data.slice(from * row, (from + count) * row) })
    }

    /// The same elements without a first dimension of 1. Other shapes stay as they are.
    #[must_use]
    pub fn without_batch_dimension(mut self) -> Self {
        if self.shape.first() == Some(&1) {
            self.shape.remove(0);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], values: &[i64]) -> Tensor {
        Tensor::new(shape.to_vec(), Data::Int64(values.to_vec())).unwrap()
    }

    #[test]
    fn rows_undo_stacking() {
        let (a, b) = (tensor(&[1, 2], &[1, 2]), tensor(&[2, 2], &[3, 4, 5, 6]));
        let stacked = Tensor::stack([&a, &b].into_iter()).unwrap();
        assert_eq!(stacked, tensor(&[3, 2], &[1, 2, 3, 4, 5, 6]));
        assert_eq!(stacked.rows(0, 1), Some(a));
        assert_eq!(stacked.rows(1, 2), Some(b));
        assert_eq!(stacked.rows(2, 2), None);
    }

    #[test]
    fn shorter_rows_are_filled_up_and_cut_back() {
        let (a, b) = (tensor(&[1, 1], &[1]), tensor(&[2, 2], &[3, 4, 5, 6]));
        let stacked = Tensor::stack_padded([&a, &b].into_iter(), 3, 9).unwrap();
        assert_eq!(stacked, tensor(&[3, 3], &[1, 9, 9, 3, 4, 9, 5, 6, 9]));
        assert_eq!(stacked.rows(1, 2).unwrap().cut(2), Some(b.clone()));
        assert_eq!(tensor(&[1, 3, 2], &[1, 2, 3, 4, 5, 6]).cut(2), Some(tensor(&[1, 2, 2], &[1, 2, 3, 4])));
        assert_eq!(Tensor::stack_padded([&b].into_iter(), 1, 9), None);
    }

    #[test]
    fn only_equal_tails_are_stacked() {
        assert_eq!(Tensor::stack([&tensor(&[1, 2], &[1, 2]), &tensor(&[1, 3], &[1, 2, 3])].into_iter()), None);
        assert_eq!(Tensor::stack([&tensor(&[], &[1]), &tensor(&[], &[2])].into_iter()), None);
        let empty = tensor(&[1, 0], &[]);
        assert_eq!(Tensor::stack([&empty, &empty].into_iter()).and_then(|stacked| stacked.rows(1, 1)), Some(empty));
    }

    #[test]
    fn a_shape_must_match_its_elements() {
        assert_eq!(Tensor::new(vec![2, 2], Data::Int64(vec![1])), None);
        assert_eq!(Tensor::new(vec![usize::MAX, 2], Data::Int64(vec![])), None);
    }
}
