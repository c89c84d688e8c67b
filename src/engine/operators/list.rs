//! The operators whose cost is at most linear in the size of what they take and give, with the reason for each, and how they
//! have to be used for that.

/// How an operator must be used, so that what it gives is no larger than some constant times what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// One computed operand, the first; the others are constants. It gives the shape of the first.
    Same,
    /// The same, and its output has another shape, which is not followed.
    First,
    /// Operands are brought to one shape: not two computed ones that could span a table of all pairs.
    Broadcast,
    /// One computed factor: of two, the cost is no product of sizes of the input only where one is constant.
    Product,
    /// Reduces dimensions, or the last of them, to one number.
    Reduce,
    /// Takes entries out of one operand by the numbers in the other: one is constant, and its entries are bounded.
    Gather,
    /// Takes one entry for each index, which has the indices' shape.
    GatherElements,
    /// The same elements in another shape, whatever that is computed from.
    Reshape,
    Flatten,
    Squeeze,
    Unsqueeze,
    Transpose,
    /// A part of the first operand, whatever its ends are computed from.
    Slice,
    /// All operands one after the other.
    Concat,
    /// Parts of the first operand.
    Split,
    /// The shape itself, or the number of elements: a few integers.
    Shape,
    /// One row of the output, with a constant number of columns, for each row of the first operand.
    Rows,
}

/// ONNX's own operators: domain "".
const ONNX: &[(Rule, &[&str])] = &[
    // One element for each element, in constant time; strings in a time that their length bounds.
    (
        Rule::Same,
        &[
            "Abs",
            "Acos",
            "Acosh",
            "Asin",
            "Asinh",
            "Atan",
            "Atanh",
            "BitwiseNot",
            "Cast",
            "Ceil",
            "Celu",
            "Clip",
            "Cos",
            "Cosh",
            "Dropout",
            "Elu",
            "Erf",
            "Exp",
            "Floor",
            "Gelu",
            "HardSigmoid",
            "HardSwish",
            "Identity",
            "IsInf",
            "IsNaN",
            "LeakyRelu",
            "Log",
            "Mish",
            "Neg",
            "Not",
            "Reciprocal",
            "Relu",
            "Round",
            "Selu",
            "Shrink",
            "Sigmoid",
            "Sign",
            "Sin",
            "Sinh",
            "Softplus",
            "Softsign",
            "Sqrt",
            "Swish",
            "Tan",
            "Tanh",
            "ThresholdedRelu",
        ],
    ),
    // One element for each element, by constant numbers for its channel.
    (Rule::Same, &["BatchNormalization", "DequantizeLinear", "QuantizeLinear"]),
    // One element for each element, after two or three passes over all of them.
    (Rule::Same, &["Hardmax", "LayerNormalization", "LogSoftmax", "LpNormalization", "RMSNormalization", "Softmax"]),
    // One pass along a constant axis, or over a triangle that a constant moves.
    (Rule::Same, &["CumSum", "Trilu"]),
    // Constant time for each element of the shape to which all operands are brought.
    (
        Rule::Broadcast,
        &[
            "Add",
            "And",
            "BitShift",
            "BitwiseAnd",
            "BitwiseOr",
            "BitwiseXor",
            "Div",
            "Equal",
            "Greater",
            "GreaterOrEqual",
            "Less",
            "LessOrEqual",
            "Max",
            "Mean",
            "Min",
            "Mod",
            "Mul",
            "Or",
            "PRelu",
            "Pow",
            "Sub",
            "Sum",
            "Where",
            "Xor",
        ],
    ),
    // As many multiplications for each row as the constant factor has elements.
    (Rule::Product, &["Gemm", "MatMul"]),
    // One pass.
    (
        Rule::Reduce,
        &[
            "ArgMax",
            "ArgMin",
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceMax",
            "ReduceMean",
            "ReduceMin",
            "ReduceProd",
            "ReduceSum",
            "ReduceSumSquare",
        ],
    ),
    // One copy of a bounded constant row for each index, or a constant number of copies.
    (Rule::Gather, &["Gather"]),
    (Rule::GatherElements, &["GatherElements"]),
    // At most one copy of what there is.
    (Rule::Reshape, &["Reshape"]),
    (Rule::Flatten, &["Flatten"]),
    (Rule::Squeeze, &["Squeeze"]),
    (Rule::Unsqueeze, &["Unsqueeze"]),
    (Rule::Transpose, &["Transpose"]),
    (Rule::Slice, &["Slice"]),
    (Rule::Concat, &["Concat"]),
    (Rule::Split, &["Split"]),
    (Rule::Shape, &["Shape", "Size"]),
    // What is repeated or added is a constant, and so is by how much it makes the output larger.
    (Rule::First, &["Expand", "OneHot", "Pad", "Tile"]),
    // Words are looked up, in grams of a constant number of words, in a constant vocabulary; and compared with constant ones.
    (Rule::First, &["StringNormalizer", "TfIdfVectorizer"]),
];

/// Classical models: domain "ai.onnx.ml".
const ML: &[(Rule, &[&str])] = &[
    // One element for each element: arithmetic with constants, or a look into a constant table.
    (Rule::Same, &["Binarizer", "CategoryMapper", "Imputer", "LabelEncoder", "Normalizer", "Scaler"]),
    // As many steps for each row as constant coefficients, support vectors or trees have.
    (
        Rule::Rows,
        &[
            "LinearClassifier",
            "LinearRegressor",
            "SVMClassifier",
            "SVMRegressor",
            "TreeEnsemble",
            "TreeEnsembleClassifier",
            "TreeEnsembleRegressor",
        ],
    ),
    // A constant number of columns for each element.
    (Rule::First, &["OneHotEncoder"]),
    // Columns whose numbers are constant.
    (Rule::First, &["ArrayFeatureExtractor"]),
    // Each operand is brought to a constant width, and they stand one beside the other.
    (Rule::Concat, &["FeatureVectorizer"]),
    // A map of the constant names of classes for each row; nothing but an output takes one.
    (Rule::First, &["ZipMap"]),
];

/// Operators of ONNX Runtime: domain "com.microsoft".
const MICROSOFT: &[(Rule, &[&str])] = &[
    // Its expressions are matched without steps back, and rows are filled up to the longest: texts count with that length
    // where an input is measured (`engine/inline.rs`).
    (Rule::First, &["Tokenizer"]),
];

/// How the operator must be used; `None` where it is not known to be linear.
pub(super) fn rule(domain: &str, operator: &str) -> Option<Rule> {
    let list = match domain {
        "" | "ai.onnx" => ONNX,
        "ai.onnx.ml" => ML,
        "com.microsoft" => MICROSOFT,
        _ => return None,
    };
    list.iter().find(|(_, names)| names.contains(&operator)).map(|(rule, _)| *rule)
}

/// ONNX's operators whose kernels take a dimension of 0 as any other one: each was run on shapes with one and two of them. They
/// give one element for each element, and of none, none; or a sum, which is 0 then.
const TAKES_NOTHING: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "And",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Cast",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "Div",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "IsInf",
    "IsNaN",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Mean",
    "Min",
    "Mish",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Pow",
    "Reciprocal",
    "ReduceSum",
    "Relu",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Sub",
    "Sum",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Xor",
];

/// Whether the operator can be tried with a dimension of 0: others may end the process.
pub(super) fn takes_nothing(domain: &str, operator: &str) -> bool {
    matches!(domain, "" | "ai.onnx") && TAKES_NOTHING.contains(&operator)
}
