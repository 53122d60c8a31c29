//! HTML that cannot be forgotten to be escaped: what is written as it is has to stand in the program's own text.

use crate::report::{plain, printable};

/// Text from the outside with everything that could mislead a reader made visible: control characters, and marks that turn the
/// direction of writing.
pub(super) fn visible(text: &str) -> String {
    // Lines are the page's own; nothing else that cannot be seen is let through.
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// A piece of a page.
#[derive(Debug, Default)]
pub(super) struct Markup(String);

impl Markup {
    /// Markup that stands in the program's text.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Markup {
        self.0.push_str(markup);
        self
    }

    /// Text, escaped; it may stand between tags and in a quoted attribute.
    pub(super) fn text(&mut self, text: &str) -> &mut Markup {
        self.0.push_str(&escaped(text));
        self
    }

    /// An element that holds text alone. The tag, with its attributes, stands in the program's text.
    pub(super) fn element(&mut self, open: &'static str, text: &str, close: &'static str) -> &mut Markup {
        self.raw(open).text(text).raw(close)
    }

    /// Everything that was written.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Text as it stands between tags and in quoted attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// JSON as it stands in a script element: nothing in it can end the element or begin another.
pub(super) fn embedded(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    // What is hidden from readers is written by its number, which is the same text.
    for c in plain::json(json).chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        let mut markup = Markup::default();
        markup.element("<p title=\"", "a\"'b<img src=x onerror=alert(1)>&amp;", "\">");
        assert_eq!(markup.finish(), "<p title=\"a&quot;&#39;b&lt;img src=x onerror=alert(1)&gt;&amp;amp;\">");
    }

    #[test]
    fn what_misleads_is_made_visible() {
        assert_eq!(visible("a\u{202e}b\u{200f}c\u{1b}d\ne\u{2028}"), "a\u{fffd}b\u{fffd}c\u{fffd}d\ne\u{fffd}");
    }

    #[test]
    fn json_cannot_end_its_element() {
        let json = embedded("[\"</script><!--&\u{2028}\"]");
        assert_eq!(json, "[\"\\u003c/script\\u003e\\u003c!--\\u0026\\u2028\"]");
        let back: Vec<String> = serde_json::from_str(&json).unwrap_or_default();
        assert_eq!(back, ["</script><!--&\u{2028}"]);
    }
}
