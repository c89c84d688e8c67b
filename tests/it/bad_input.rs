//! Everything that callers get wrong.
