//! The body of a page: everything that can be read without a script.

use super::markup::Markup;
use super::page::{Column, Kind, Page, PolicyBox, Row, Table, Tile, Tone};

/// Rows that stand in the file itself, for a reader without a script.
const ROWS_MAX: usize = 100;

/// Writes the body.
pub(super) fn write(page: &Page) -> String {
    let mut out = Markup::default();
    head(&mut out, page);
    out.raw("<main id=\"main\" tabindex=\"-1\">\n");
    out.raw("<noscript><p class=\"notice\">Without its script this page shows the numbers, the worst rows and the settings. Timelines, charts, sorting and filters need it; it asks no network for anything.</p></noscript>\n");
    // What is told about a row stands below all tables that may have opened it.
    for one in &page.tables {
        table(&mut out, one);
    }
    out.raw("<section id=\"life\" aria-labelledby=\"life-title\" hidden=\"\"></section>\n");
    for (index, chart) in page.charts.iter().enumerate() {
        out.raw("<section class=\"chart-section\" hidden=\"\">").element("<h2>", chart.title(), "</h2>");
        if !chart.note().is_empty() {
            out.element("<p class=\"aside\">", chart.note(), "</p>");
        }
        out.raw("<div id=\"chart-").text(&index.to_string()).raw("\"></div></section>\n");
    }
    policy(&mut out, &page.policy);
    list(
        &mut out,
        "<section aria-labelledby=\"remarks\"><h2 id=\"remarks\">What to know about this page</h2><ul>",
        &page.remarks,
        "</ul></section>\n",
    );
    if !page.reproduce.is_empty() {
        out.raw("<section aria-labelledby=\"again\"><h2 id=\"again\">How to get this answer again</h2><p>The same input and the same program give the same page, byte for byte.</p>\n");
        for line in &page.reproduce {
            out.element("<div class=\"command\"><code>", line, "</code></div>\n");
        }
        out.raw("</section>\n");
    }
    out.raw("</main>\n<footer><p>Made by flowlapse ").text(env!("CARGO_PKG_VERSION"));
    out.raw(
        ". This file holds addresses and times from what was read; it is complete in itself and asks no network for anything.</p></footer>",
    );
    out.finish()
}

fn head(out: &mut Markup, page: &Page) {
    out.raw("<header>\n<div class=\"top\"><span><b>flowlapse</b> ").text(page.command);
    out.raw("</span><button type=\"button\" id=\"theme\" class=\"quiet\" hidden=\"\"></button></div>\n");
    out.element("<h1>", &page.lead, "</h1>\n");
    out.raw("<dl class=\"facts\">");
    for (name, value) in &page.facts {
        out.element("<dt>", name, "</dt>").element("<dd>", value, "</dd>");
    }
    out.raw("</dl>\n");
    if !page.route.is_empty() {
        out.raw("<ol class=\"route\" aria-label=\"The path\"><li><span>client</span></li>");
        for label in &page.route {
            out.element("<li class=\"box\"><span>", label, "</span></li>");
        }
        out.raw("<li><span>server</span></li></ol>\n");
    }
    out.raw("<ul class=\"tiles\">");
    page.tiles.iter().for_each(|one| tile(out, one));
    out.raw("</ul>\n</header>\n");
}

fn tile(out: &mut Markup, tile: &Tile) {
    out.raw("<li class=\"tile tone-").text(tile.tone.name()).raw("\"");
    if let Some(mark) = &tile.mark {
        out.element(" data-mark=\"", mark, "\"");
    }
    out.element("><span class=\"value\">", &tile.value, "</span>").element("<span class=\"label\">", &tile.label, "</span></li>");
}

fn table(out: &mut Markup, table: &Table) {
    out.raw("<section id=\"table-").text(table.id).raw("\" aria-labelledby=\"title-").text(table.id).raw("\"><h2 id=\"title-");
    out.text(table.id).element("\">", &table.title, "</h2>");
    if !table.note.is_empty() {
        out.element("<p class=\"aside\">", &table.note, "</p>");
    }
    out.raw("<div class=\"controls\" hidden=\"\"></div>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"");
    out.text(&table.title).raw("\"><table><thead><tr>");
    for column in &table.columns {
        out.raw("<th scope=\"col\"").raw(class(*column)).element(">", column.label, "</th>");
    }
    out.raw("</tr></thead>\n<tbody>");
    for row in table.rows.iter().take(ROWS_MAX) {
        line(out, &table.columns, row);
    }
    out.raw("</tbody></table></div>");
    if table.rows.len() > ROWS_MAX {
        let more = table.rows.len() - ROWS_MAX;
        out.element("<noscript><p class=\"aside\">", &format!("{more} more rows need the script."), "</p></noscript>");
    }
    out.raw("</section>\n");
}

const fn class(column: Column) -> &'static str {
    match (column.kind, column.wide) {
        (Kind::Number, true) => " class=\"number wide\"",
        (Kind::Number, false) => " class=\"number\"",
        (_, true) => " class=\"wide\"",
        (_, false) => "",
    }
}

fn line(out: &mut Markup, columns: &[Column], row: &Row) {
    out.raw("<tr>");
    for (index, (column, cell)) in columns.iter().zip(&row.cells).enumerate() {
        match index {
            0 => {
                out.raw("<td><span class=\"badge tone-").text(row.tone.name()).element("\">", cell.text(), "</span></td>");
            }
            1 => {
                out.raw("<th scope=\"row\">");
                for (at, part) in cell.text().split('\n').enumerate() {
                    out.element(if at == 0 { "<span class=\"first\">" } else { "<span class=\"second\">" }, part, "</span>");
                }
                out.raw("</th>");
            }
            _ => {
                out.raw("<td").raw(class(*column)).element(">", cell.text(), "</td>");
            }
        }
    }
    out.raw("</tr>\n");
}

fn policy(out: &mut Markup, boxes: &[PolicyBox]) {
    if boxes.is_empty() {
        return;
    }
    out.raw("<section class=\"policy\" aria-labelledby=\"policy\"><h2 id=\"policy\">The policy in force</h2>\n");
    for (index, one) in boxes.iter().enumerate() {
        let place = if boxes.len() > 1 { format!("{}. {}", index + 1, one.label) } else { one.label.clone() };
        out.element("<h3>", &place, "</h3>").element("<p class=\"aside\">", &one.what, "</p>");
        if one.settings.is_empty() {
            continue;
        }
        out.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Settings of ").text(&one.label);
        out.raw("\"><table><thead><tr><th scope=\"col\">Setting</th><th scope=\"col\">Value</th><th scope=\"col\">From</th></tr></thead><tbody>");
        for setting in &one.settings {
            out.raw(if setting.given { "<tr class=\"given\">" } else { "<tr>" });
            out.element("<td><code>", &setting.name, "</code></td>").element("<td>", &setting.value, "</td>");
            out.element("<td>", &setting.origin, "</td></tr>\n");
        }
        out.raw("</tbody></table></div>\n");
    }
    out.raw("</section>\n");
}

fn list(out: &mut Markup, open: &'static str, lines: &[String], close: &'static str) {
    if lines.is_empty() {
        return;
    }
    out.raw(open);
    for line in lines {
        out.element("<li>", line, "</li>");
    }
    out.raw(close);
}

/// The colour of a count: nothing of it is as it should be.
pub(super) const fn tone_of(count: u64, tone: Tone) -> Tone {
    if count == 0 { Tone::Plain } else { tone }
}
