//! One node of a graph with its operands: which of them depend on the input, and the shape of what it gives.

use super::{
    proto::{NodeProto, TensorProto},
    shapes::{Shape, Size, axes},
};

/// Elements of a constant that one index copies.
const MAX_ROW: usize = 4096;

/// Words of a gram, and those that may be left out between two of them.
const MAX_GRAM: i64 = 8;

pub(super) const ALL_PAIRS: &str = "can compute all pairs of two parts of the input";
const LARGE_ROWS: &str = "can copy a large constant for each element of the input";

/// A value inside of the graph.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// The same in every run.
    Constant { shape: Option<Vec<usize>>, integers: Option<Vec<i64>> },
    /// Depends on the input.
    Computed(Shape),
}

/// One node, its operands and what is asked of them.
pub(super) struct Use<'a> {
    pub node: &'a NodeProto,
    pub operands: Vec<Option<Value>>,
}

impl Use<'_> {
    /// The shapes of what depends on the input.
    pub(super) fn computed(&self) -> impl Iterator<Item = &Shape> {
        self.operands.iter().flatten().filter_map(|value| match value {
            Value::Computed(shape) => Some(shape),
            Value::Constant { .. } => None,
        })
    }

    /// Whether nothing but the first operand depends on the input.
    pub(super) fn only_first(&self) -> bool {
        self.operands.iter().skip(1).flatten().all(|value| matches!(value, Value::Constant { .. }))
    }

    pub(super) fn shape(&self, operand: usize) -> Shape {
        self.operands.get(operand)?.as_ref()?.shape()
    }

    pub(super) fn integers(&self, operand: usize) -> Option<Vec<i64>> {
        match self.operands.get(operand)?.as_ref()? {
            Value::Constant { integers, .. } => integers.clone(),
            Value::Computed(_) => None,
        }
    }

    /// Axes that are an attribute of older operators, and an operand of newer ones.
    fn axes(&self) -> Option<Vec<i64>> {
        self.node.integers("axes").map(<[i64]>::to_vec).or_else(|| self.integers(1))
    }

    /// What a node gives that no input has a part in.
    pub(super) fn constant(&self) -> Value {
        match self.node.attribute("value").and_then(|value| value.t.as_ref()) {
            Some(tensor) if self.node.op_type == "Constant" => constant(tensor),
            _ => Value::Constant { shape: None, integers: None },
        }
    }

    pub(super) fn has_short_grams(&self) -> bool {
        ["max_gram_length", "max_skip_count"].iter().all(|name| self.node.integer(name, 1) <= MAX_GRAM)
    }

    /// A computed factor in front, and a constant one of two dimensions behind it; others are not followed.
    pub(super) fn product(&self) -> Shape {
        let (Some(Some(Value::Computed(first))), Some([inner, outer])) = (self.operands.first(), self.factor()) else {
            return None;
        };
        let mut shape = first.clone()?;
        let (rows, columns) = match self.node.op_type.as_str() {
            "Gemm" => (self.node.integer("transA", 0) != 0, self.node.integer("transB", 0) != 0),
            _ => (false, false),
        };
        if rows {
            shape.reverse();
        }
        *shape.last_mut()? = Size::Fixed(if columns { inner } else { outer });
        Some(shape)
    }

    fn factor(&self) -> Option<[usize; 2]> {
        match self.operands.get(1)?.as_ref()? {
            Value::Constant { shape, .. } => shape.as_deref()?.try_into().ok(),
            Value::Computed(_) => None,
        }
    }

    pub(super) fn reduced(&self) -> Shape {
        let shape = self.shape(0)?;
        let wanted = match self.node.op_type.starts_with("Arg") {
            true => Some(vec![self.node.integer("axis", 0)]),
            false => self.axes(),
        };
        let named = wanted.filter(|axes| !axes.is_empty());
        let is_given = self.operands.get(1).is_some_and(Option::is_some);
        let axes = match named {
            Some(named) => axes(&named, shape.len())?,
            // Axes that are constant and not known, and those that say that nothing is reduced.
            None if is_given || self.node.integer("noop_with_empty_axes", 0) != 0 => return None,
            None => (0..shape.len()).collect(),
        };
        let keeps = self.node.integer("keepdims", 1) != 0;
        let size = |(place, size): (usize, &Size)| match axes.contains(&place) {
            false => Some(*size),
            true => keeps.then_some(Size::Fixed(1)),
        };
        Some(shape.iter().enumerate().filter_map(size).collect())
    }

    pub(super) fn gathered(&self) -> Result<Shape, &'static str> {
        let axis = self.node.integer("axis", 0);
        match (self.operands.first().and_then(Option::as_ref), self.operands.get(1).and_then(Option::as_ref)) {
            (Some(Value::Constant { shape: Some(table), .. }), Some(Value::Computed(indices))) => {
                let at = axes(&[axis], table.len()).and_then(|axes| axes.first().copied()).ok_or(LARGE_ROWS)?;
                let (outer, inner) = (&table[..at], &table[at + 1..]);
                let row = outer.iter().chain(inner).try_fold(1_usize, |product, size| product.checked_mul(*size));
                if row.is_none_or(|row| row > MAX_ROW) {
                    return Err(LARGE_ROWS);
                }
                let fixed = |sizes: &[usize]| sizes.iter().map(|size| Size::Fixed(*size)).collect::<Vec<_>>();
                Ok(indices.as_ref().map(|indices| [fixed(outer), indices.clone(), fixed(inner)].concat()))
            }
            (Some(Value::Constant { .. }), Some(Value::Computed(_))) => Err(LARGE_ROWS),
            (Some(Value::Computed(data)), Some(Value::Constant { shape: indices, .. })) => {
                Ok(data.as_ref().zip(indices.as_ref()).and_then(|(data, indices)| {
                    let at = *axes(&[axis], data.len())?.first()?;
                    let indices = indices.iter().map(|size| Size::Fixed(*size)).collect::<Vec<_>>();
                    Some([&data[..at], &indices, &data[at + 1..]].concat())
                }))
            }
            _ => Err(ALL_PAIRS),
        }
    }

    pub(super) fn squeezed(&self) -> Shape {
        let shape = self.shape(0)?;
        let gone = axes(&self.axes()?, shape.len())?;
        Some(shape.iter().enumerate().filter(|(place, _)| !gone.contains(place)).map(|(_, size)| *size).collect())
    }

    pub(super) fn unsqueezed(&self) -> Shape {
        let (mut shape, wanted) = (self.shape(0)?, self.axes()?);
        for place in axes(&wanted, shape.len() + wanted.len())? {
            shape.insert(place.min(shape.len()), Size::Fixed(1));
        }
        Some(shape)
    }

    pub(super) fn transposed(&self) -> Shape {
        let shape = self.shape(0)?;
        let Some(order) = self.node.integers("perm") else { return Some(shape.into_iter().rev().collect()) };
        order.iter().map(|place| shape.get(usize::try_from(*place).ok()?).copied()).collect()
    }
}

impl Value {
    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Constant { shape, .. } => Some(shape.as_ref()?.iter().map(|size| Size::Fixed(*size)).collect()),
            Self::Computed(shape) => shape.clone(),
        }
    }
}

pub(super) fn constant(tensor: &TensorProto) -> Value {
    Value::Constant { shape: tensor.shape(), integers: tensor.integers() }
}
