//! Goes through a graph from its inputs to its outputs, for as long as each value is no larger than some constant times the
//! input, and each operator takes no longer than that. What a constant costs is measured by the first runs.

use std::collections::{HashMap, HashSet};

use super::{
    Unbounded,
    list::{Rule, rule},
    operands::{ALL_PAIRS, Use, Value, constant},
    proto::{GraphProto, NodeProto, ValueInfoProto},
    shapes::{Shape, Size, Sizes, axes, is_linear},
};

/// The values that are known so far.
pub(super) struct Linear<'a> {
    values: HashMap<&'a str, Value>,
    sizes: Sizes,
    /// Texts as callers send them, in whatever shape.
    texts: HashSet<&'a str>,
    tokenized: bool,
}

/// These give the texts that they take.
const OF_TEXTS: [&str; 6] = ["Flatten", "Identity", "Reshape", "Squeeze", "StringNormalizer", "Unsqueeze"];

const UNKNOWN: &str = "is not known to cost no more than linear time";
const NOT_CONSTANT: &str = "has an operand that depends on the input, and its cost grows with the value";
const SUBGRAPH: &str = "runs a part of the graph of its own";
const BROKEN: &str = "takes a value that is not there";
const PART: &str = "gives a part of a constant that is as large as a value of the input says";
const TOKENS: &str = "takes texts that are not the caller's, or takes them a second time";
const GRAMS: &str = "looks for grams of too many words";

impl<'a> Linear<'a> {
    /// The constants and inputs of `graph`.
    pub(super) fn new(graph: &'a GraphProto, same_rows: bool) -> Self {
        let texts = graph.input.iter().map(|input| &*input.name).collect();
        let mut linear = Self { values: HashMap::new(), sizes: Sizes::default(), texts, tokenized: false };
        let rows = linear.sizes.open();
        for input in &graph.input {
            let mut shape = linear.declared(input);
            if let Some(first) = shape.as_mut().and_then(|shape| shape.first_mut()).filter(|_| same_rows) {
                *first = rows;
            }
            linear.values.insert(&input.name, Value::Computed(shape));
        }
        // A constant that is declared as an input too cannot be given by a caller.
        linear.values.extend(graph.initializer.iter().map(|tensor| (&*tensor.name, constant(tensor))));
        linear
    }

    fn declared(&mut self, input: &ValueInfoProto) -> Shape {
        let shape = input.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?;
        let size = |value: Option<i64>| match value.and_then(|value| usize::try_from(value).ok()) {
            Some(size) if size > 0 => Size::Fixed(size),
            _ => self.sizes.open(),
        };
        Some(shape.dim.iter().map(|dim| dim.dim_value).map(size).collect())
    }

    /// Goes on behind `node`.
    ///
    /// # Errors
    /// Why it is not known to be linear.
    pub(super) fn take(&mut self, node: &'a NodeProto) -> Result<(), Unbounded> {
        let refused = |reason| Err(Unbounded::operator(&node.op_type, reason));
        if node.has_subgraph() {
            return refused(SUBGRAPH);
        }
        // Operands that are left out have no name.
        let operand = |name: &String| match &**name {
            "" => Some(None),
            name => self.values.get(name).cloned().map(Some),
        };
        let Some(operands) = node.input.iter().map(operand).collect::<Option<Vec<_>>>() else {
            return refused(BROKEN);
        };
        let first_is_text = node.input.first().is_some_and(|name| self.texts.contains(&**name));
        // Words of words are as many as the square of a text's length allows, and other texts are in no input's size.
        if node.op_type == "Tokenizer" && (!first_is_text || std::mem::replace(&mut self.tokenized, true)) {
            return refused(TOKENS);
        }
        if first_is_text && OF_TEXTS.contains(&&*node.op_type) {
            self.texts.extend(node.output.iter().map(|name| &**name));
        }
        let used = Use { node, operands };
        let is_own = matches!(&*node.domain, "" | "ai.onnx" | "ai.onnx.ml");
        let output = match rule(&node.domain, &node.op_type) {
            // The input has no part in it, and so it takes as long as in the first runs.
            _ if is_own && used.computed().next().is_none() => used.constant(),
            None => return refused(UNKNOWN),
            Some(rule) => match self.output(rule, &used) {
                Ok(shape) => Value::Computed(shape),
                Err(reason) => return refused(reason),
            },
        };
        // Shapes of further outputs are not followed.
        let others = match output {
            Value::Constant { .. } => Value::Constant { shape: None, integers: None },
            Value::Computed(_) => Value::Computed(None),
        };
        for (place, name) in node.output.iter().enumerate() {
            self.values.insert(name, if place == 0 { output.clone() } else { others.clone() });
        }
        Ok(())
    }

    /// The shape of the first output; or why the use of the operator is not linear.
    fn output(&mut self, rule: Rule, used: &Use<'_>) -> Result<Shape, &'static str> {
        let first = used.shape(0);
        match rule {
            // Its size is a value of the input, which the size of the input does not bound.
            Rule::Slice | Rule::Split if matches!(used.operands.first(), Some(Some(Value::Constant { .. }))) => {
                Err(PART)
            }
            // The same of a part of a value that a constant has made large, and of a constant that an input gives its shape.
            Rule::Slice | Rule::Split | Rule::Squeeze | Rule::Unsqueeze if !used.only_first() => Err(NOT_CONSTANT),
            Rule::Reshape if matches!(used.operands.first(), Some(Some(Value::Constant { .. }))) => Err(NOT_CONSTANT),
            Rule::Same | Rule::First | Rule::Rows | Rule::Reduce if !used.only_first() => Err(NOT_CONSTANT),
            Rule::First if used.node.op_type == "TfIdfVectorizer" && !used.has_short_grams() => Err(GRAMS),
            Rule::Same => Ok(first),
            Rule::First | Rule::Rows => Ok(None),
            Rule::Broadcast => self.broadcast(used),
            Rule::Product if used.computed().count() > 1 => Err(ALL_PAIRS),
            Rule::Product => Ok(used.product()),
            Rule::Reduce => Ok(used.reduced()),
            Rule::Gather => used.gathered(),
            Rule::GatherElements => Ok(used.shape(1)),
            Rule::Reshape => Ok(used.integers(1).zip(first).and_then(|(wanted, shape)| {
                let keeps = used.node.integer("allowzero", 0) == 0;
                self.sizes.reshaped(&shape, &wanted, keeps)
            })),
            Rule::Flatten => Ok(first.and_then(|shape| self.sizes.flattened(&shape, used.node.integer("axis", 1)))),
            Rule::Squeeze => Ok(used.squeezed()),
            Rule::Unsqueeze => Ok(used.unsqueezed()),
            Rule::Transpose => Ok(used.transposed()),
            Rule::Slice => Ok(first.map(|shape| self.sliced(&shape, used))),
            Rule::Concat => Ok(self.concatenated(used)),
            Rule::Split => Ok(first.and_then(|shape| self.changed_at(shape, used.node.integer("axis", 0)))),
            Rule::Shape => Ok(None),
        }
    }

    fn broadcast(&mut self, used: &Use<'_>) -> Result<Shape, &'static str> {
        let computed: Vec<Shape> = used.computed().cloned().collect();
        let known: Option<Vec<&[Size]>> = computed.iter().map(Option::as_deref).collect();
        match known {
            // One alone grows by what the constants say.
            None if computed.len() == 1 => Ok(None),
            None => Err(ALL_PAIRS),
            Some(known) if !is_linear(&known) => Err(ALL_PAIRS),
            Some(_) => {
                let all: Option<Vec<Vec<Size>>> = used.operands.iter().flatten().map(Value::shape).collect();
                Ok(all.map(|all| self.sizes.broadcast(&all.iter().map(|shape| &shape[..]).collect::<Vec<_>>())))
            }
        }
    }

    /// A part of `shape`: every dimension in which it may be smaller is one of its own, unless constants say how large it is.
    fn sliced(&mut self, shape: &[Size], used: &Use<'_>) -> Vec<Size> {
        let constants = || {
            let (starts, ends) = (used.integers(1)?, used.integers(2)?);
            let all = (0..i64::try_from(starts.len()).ok()?).collect::<Vec<_>>();
            let along = if used.node.input.len() > 3 { used.integers(3)? } else { all };
            let steps = if used.node.input.len() > 4 { used.integers(4)? } else { vec![1; starts.len()] };
            let equal = [ends.len(), along.len(), steps.len()].iter().all(|length| *length == starts.len());
            // Negative axes may be in another order than the ends: not worth following.
            let simple = along.iter().all(|axis| *axis >= 0) && steps.iter().all(|step| *step == 1);
            (equal && simple).then_some((starts, ends, along))
        };
        let Some((starts, ends, along)) = constants() else {
            return shape.iter().map(|_| self.sizes.open()).collect();
        };
        let mut sliced = shape.to_vec();
        for ((start, end), axis) in starts.iter().zip(&ends).zip(&along) {
            let Some(size) = usize::try_from(*axis).ok().and_then(|axis| sliced.get_mut(axis)) else { continue };
            *size = match *size {
                Size::Fixed(length) => Size::Fixed(between(*start, *end, length)),
                Size::Open(_) => self.sizes.open(),
            };
        }
        sliced
    }

    fn concatenated(&mut self, used: &Use<'_>) -> Shape {
        let axis = used.node.attribute("axis")?.i;
        let all: Vec<Vec<Size>> = used.operands.iter().flatten().map(Value::shape).collect::<Option<_>>()?;
        let first = all.first()?.clone();
        let at = *axes(&[axis], first.len())?.first()?;
        let sum = all.iter().try_fold(0_usize, |sum, shape| match shape.get(at) {
            Some(Size::Fixed(size)) => sum.checked_add(*size),
            _ => None,
        });
        match sum {
            Some(sum) => {
                let mut shape = first;
                shape[at] = Size::Fixed(sum);
                Some(shape)
            }
            None => self.changed_at(first, axis),
        }
    }

    /// `shape` with another size at one axis.
    fn changed_at(&mut self, mut shape: Vec<Size>, axis: i64) -> Shape {
        let at = *axes(&[axis], shape.len())?.first()?;
        shape[at] = self.sizes.open();
        Some(shape)
    }
}

/// Elements from `start` to `end` of `length`, both counted from the end where they are below 0.
fn between(start: i64, end: i64, length: usize) -> usize {
    let place = |place: i64| {
        let behind = usize::try_from(place.unsigned_abs()).unwrap_or(usize::MAX);
        if place < 0 { length.saturating_sub(behind) } else { behind.min(length) }
    };
    place(end).saturating_sub(place(start))
}
