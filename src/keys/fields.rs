//! Reads the fields of one table of a keys file, and notes what is wrong with them without quoting a value.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::faults::Faults;

/// A table whose fields are taken one by one.
pub(super) struct Fields<'a, 'i, 'f> {
    table: &'a DeTable<'i>,
    /// Where the table begins, in bytes.
    start: usize,
    /// The id of the key that the table is about, once it is known.
    pub(super) key: Option<String>,
    known: Vec<&'static str>,
    faults: &'a mut Faults<'f>,
}

impl<'a, 'i, 'f> Fields<'a, 'i, 'f> {
    /// `None`, with a fault, when `value` is no table.
    pub(super) fn of(value: &'a Spanned<DeValue<'i>>, faults: &'a mut Faults<'f>) -> Option<Self> {
        let start = value.span().start;
        match value.get_ref() {
            DeValue::Table(table) => Some(Self { table, start, key: None, known: Vec::new(), faults }),
            _ => {
                faults.note(start, None, "expected a table");
                None
            }
        }
    }

    /// A field that must be there.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        read: impl FnOnce(&DeValue<'i>) -> Option<T>,
    ) -> Option<T> {
        if !self.table.contains_key(name) {
            self.known.push(name);
            self.fault(format!("{name} is missing: expected {expected}"));
            return None;
        }
        self.optional(name, expected, read)
    }

    /// A field that may be there.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        read: impl FnOnce(&DeValue<'i>) -> Option<T>,
    ) -> Option<T> {
        self.known.push(name);
        let value = self.table.get(name)?;
        let found = read(value.get_ref());
        if found.is_none() {
            self.faults.note(value.span().start, self.key.as_deref(), format!("{name}: expected {expected}"));
        }
        found
    }

    /// Something is wrong with the table as a whole.
    pub(super) fn fault(&mut self, message: impl Into<String>) {
        self.faults.note(self.start, self.key.as_deref(), message);
    }

    /// Whatever has not been taken by now is a slip of the writer's.
    pub(super) fn end(self) {
        for name in self.table.keys().filter(|name| !self.known.contains(&name.get_ref().as_ref())) {
            let message = format!("there is no such field: expected {}", self.known.join(", "));
            self.faults.note(name.span().start, self.key.as_deref(), message);
        }
    }
}
