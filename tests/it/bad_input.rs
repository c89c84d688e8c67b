//! Everything that callers get wrong, by mistake or on purpose. Each case looks at the whole answer: a problem document
//! with the right status, code and pointer, without a word of the input or of the machine. Then the server must still
//! answer others.

mod answer;
mod bodies;
mod flood;
mod headers;
mod limits;
mod log;
mod models;
mod room;
mod routes;
mod shapes;
mod socket;
mod texts;
mod values;
mod wire;
