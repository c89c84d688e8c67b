//! Answers that all callers share, and those that nobody takes: neither costs others their memory or their time.

mod client;
mod compressed;
mod health;
mod shared;
mod unread;
