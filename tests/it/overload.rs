//! More work than a model can do: who is let in is served in time, who is not learns it at once, and nothing is run for
//! nobody.

mod line;
mod load;
mod stuck;
