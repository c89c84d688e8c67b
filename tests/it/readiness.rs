//! Broken models, required models, several versions.
