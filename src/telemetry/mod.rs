//! What the server says about itself. Ground: knows no model and no protocol.

pub mod logging;
