//! Answers as one self-contained page: a file that opens from a disk, asks no network for anything, and can be sent to somebody.
//!
//! [`page`] is what a page holds, made by [`replay`], [`story`], [`study`] and [`check`]; here it becomes the bytes of a file. What was read from
//! outside reaches the file by two ways only: as escaped text, and as JSON that the page's own script reads and shows as text. A policy in
//! the page lets no other script run, so that even a mistake in escaping runs nothing.

mod body;
pub mod check;
pub mod life;
mod markup;
pub mod page;
pub mod policy;
pub mod replay;
pub mod story;
pub mod study;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use page::{Chart, Detail, Page, Table};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = concat!(
    "'use strict';\n{\n",
    include_str!("js/base.js"),
    include_str!("js/table.js"),
    include_str!("js/life.js"),
    include_str!("js/charts.js"),
    include_str!("js/start.js"),
    "}\n"
);

/// What the page's script reads.
#[derive(Serialize)]
struct Data<'p> {
    tables: &'p [Table],
    details: &'p [Detail],
    charts: &'p [Chart],
    without: &'p str,
}

/// The bytes of a page's file. The same page gives the same bytes.
///
/// # Errors
/// That its data cannot be written as JSON.
pub fn write(page: &Page) -> Result<String, String> {
    let data = Data { tables: &page.tables, details: &page.details, charts: &page.charts, without: &page.without };
    let mut data = serde_json::to_value(data).map_err(|error| format!("the page cannot be written: {error}"))?;
    show(&mut data);
    let data = markup::embedded(&data.to_string());
    let slots = [
        ("style-hash", hash(STYLE)),
        ("script-hash", hash(SCRIPT)),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("title", markup::escaped(&page.title)),
        ("style", STYLE.to_owned()),
        ("body", body::write(page)),
        ("data", data),
        ("script", SCRIPT.to_owned()),
    ];
    Ok(filled(TEMPLATE, &slots))
}

/// Fills the slots of a template, each once and in one pass: what is filled in is not looked at again.
fn filled(template: &str, slots: &[(&str, String)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        out.extend(slots.iter().find(|(slot, _)| *slot == name).map(|(_, text)| text.as_str()));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The source by which a content security policy knows a script or a style.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

/// Makes visible in every text what could mislead a reader.
fn show(value: &mut Value) {
    match value {
        Value::String(text) => *text = markup::visible(text),
        Value::Array(values) => values.iter_mut().for_each(show),
        Value::Object(map) => map.values_mut().for_each(show),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fills_a_slot_is_no_template() {
        let slots = [("a", "{{b}}".to_owned()), ("b", "x".to_owned())];
        assert_eq!(filled("<{{a}}|{{b}}|{{c}}>", &slots), "<{{b}}|x|>");
    }

    #[test]
    fn the_page_s_own_parts_cannot_end_their_elements() {
        assert!(!SCRIPT.contains("</script") && !SCRIPT.contains("<!--"));
        assert!(!STYLE.contains("</style"));
        // No text from outside may become markup or code.
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
            assert!(!SCRIPT.contains(word), "{word}");
        }
    }
}
