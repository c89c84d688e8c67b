//! The architecture's own rules.
