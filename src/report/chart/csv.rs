//! Rows of fields as CSV (RFC 4180). It does not know what they mean.

use crate::report::plain;

/// A table under way.
pub(super) struct Table {
    out: String,
}

impl Table {
    /// A table with its header.
    pub(super) fn new(header: &[&str]) -> Table {
        let mut table = Table { out: String::new() };
        table.row(header);
        table
    }

    /// One more row.
    pub(super) fn row<S: AsRef<str>>(&mut self, fields: &[S]) {
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            self.out.push_str(&plain::field(field.as_ref()));
        }
        self.out.push_str("\r\n");
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let mut table = Table::new(&["a", "b"]);
        table.row(&["x,y", "say \"no\""]);
        assert_eq!(table.finish(), "a,b\r\n\"x,y\",\"say \"\"no\"\"\"\r\n");
    }
}
