//! `--html` in a browser: pages render, sort, filter, zoom and answer to keys; they complain of nothing, ask no network for anything, and
//! run no script but their own. Without a Chromium these tests say so and pass; with FLOWLAPSE_BROWSER=required they fail.

#[path = "html/browser.rs"]
mod browser;
#[path = "html/pages.rs"]
mod pages;

use browser::Browser;
use pages::{FIREWALL, Folder, HANG, page};
use serde_json::json;

const ROWS: &str = "document.querySelectorAll('#table-flows tbody tr[data-id]').length";
const FIRST: &str = "document.querySelector('#table-flows tbody tr').dataset.id";

fn quiet(browser: &mut Browser) {
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn a_table_sorts_filters_and_links() {
    let Some(mut browser) = Browser::start("table") else { return };
    let folder = Folder::new("browser-table");
    let file = folder.file("x.html");
    pages::several(&file);
    browser.resize(1280, 900);
    browser.open(&file, "");
    let rows = browser.ask(ROWS).as_u64().expect("a count");
    assert!(rows > 4, "{rows}");
    assert_eq!(browser.text("document.querySelector('#life h2 .badge').textContent"), "cut", "the worst flow is open");

    // A header sorts, by the mouse and by Enter, and says so.
    let before = browser.text(FIRST);
    let header = "document.querySelectorAll('#table-flows thead th')[7]";
    assert_eq!(browser.text(&format!("{header}.getAttribute('aria-sort')")), "none");
    browser.ask(&format!("{header}.querySelector('button').click()"));
    assert_eq!(browser.text(&format!("{header}.getAttribute('aria-sort')")), "descending");
    let most = browser.text(FIRST);
    browser.ask(&format!("{header}.querySelector('button').focus()"));
    browser.press("Enter");
    assert_eq!(browser.text(&format!("{header}.getAttribute('aria-sort')")), "ascending");
    let least = browser.text(FIRST);
    assert!(most != least && (before != most || before != least), "{before} {most} {least}");
    let packets = "[...document.querySelectorAll('#table-flows tbody tr')].map((row) => Number(row.cells[7].textContent))";
    assert_eq!(browser.ask(&format!("{packets}.every((n, at, all) => !at || all[at - 1] <= n)")), json!(true));

    // Words and marks filter, and the page says how many are left.
    browser.ask("const box = document.querySelector('#filter-flows'); box.value = 'survives'; box.dispatchEvent(new Event('input'))");
    let alive = browser.ask(ROWS).as_u64().expect("a count");
    assert!(alive > 0 && alive < rows, "{alive} of {rows}");
    assert!(browser.text("document.querySelector('#table-flows .told').textContent").starts_with(&format!("{alive} of {rows}")));
    browser.ask("const again = document.querySelector('#filter-flows'); again.value = ''; again.dispatchEvent(new Event('input'))");
    browser.ask("document.querySelector('#table-flows .chip[data-mark=cut]').click()");
    let cut = browser.ask(ROWS).as_u64().expect("a count");
    assert_eq!(browser.text("document.querySelector('#table-flows .chip[data-mark=cut] .count').textContent"), cut.to_string());
    assert!(cut < rows);
    assert!(browser.text("location.hash").contains("v=cut"));

    // A row opens its life; the link does it again.
    browser.ask("document.querySelector('#table-flows .chip[data-mark=cut]').click()");
    browser.ask("[...document.querySelectorAll('#table-flows tbody tr')].at(-1).querySelector('a').click()");
    let hash = browser.text("location.hash");
    let title = browser.text("document.querySelector('#life h2').textContent");
    assert!(hash.contains("flow="), "{hash}");
    assert_eq!(browser.text("document.activeElement.id"), "life-title", "the keyboard is where the eye is");
    browser.open(&file, &hash);
    assert_eq!(browser.text("document.querySelector('#life h2').textContent"), title);
    quiet(&mut browser);
}

#[test]
fn a_life_zooms_steps_and_speaks() {
    let Some(mut browser) = Browser::start("life") else { return };
    let folder = Folder::new("browser-life");
    let file = folder.file("x.html");
    page(&["replay", HANG, "--box", FIREWALL], &file);
    browser.resize(1280, 900);
    browser.open(&file, "");
    let seen = |browser: &mut Browser| {
        let ask = |end: &str| format!("Number(document.querySelector('.timeline').dataset.{end})");
        (browser.ask(&ask("from")).as_f64().expect("a time"), browser.ask(&ask("to")).as_f64().expect("a time"))
    };
    let all = seen(&mut browser);
    assert!(all.0 < 0.001 && all.1 > 5_400.0, "{all:?}");
    browser.ask("document.querySelector('.timeline').focus()");
    browser.press("+");
    let near = seen(&mut browser);
    assert!(near.1 - near.0 < all.1 - all.0, "{near:?}");
    browser.press("0");
    assert_eq!(seen(&mut browser), all);
    browser.ask("document.querySelector('.tools button').click()");
    assert!(seen(&mut browser).1 < all.1 || seen(&mut browser).0 > all.0, "the button zooms");
    browser.press("0");
    // The wheel zooms only with Ctrl: without, the page scrolls.
    browser.ask(
        "document.querySelector('.timeline').dispatchEvent(new WheelEvent('wheel', { deltaY: -100, clientX: 400, cancelable: true }))",
    );
    assert_eq!(seen(&mut browser), all);
    browser.ask("document.querySelector('.timeline').dispatchEvent(new WheelEvent('wheel', { deltaY: -100, clientX: 400, ctrlKey: true, cancelable: true }))");
    assert_ne!(seen(&mut browser), all);
    browser.press("0");

    // Events are stepped through, each told with what is left of the timer.
    let said = "document.querySelector('.life .readout').textContent";
    browser.press("ArrowRight");
    let first = browser.text(said);
    assert!(first.starts_with("Frame 1 at 0 s: SYN client → server"), "{first}");
    browser.press("n");
    let forgotten = browser.text(said);
    assert!(forgotten.contains("forgets the flow") && forgotten.contains("no entry"), "{forgotten}");
    browser.press("n");
    browser.press("n");
    let late = browser.text(said);
    assert!(late.contains("Frame 8") && late.contains("kept by conntrack:strict,established=3600"), "{late}");
    browser.press("ArrowLeft");
    assert_ne!(browser.text(said), late);

    // Without skipping silences time is even.
    browser.press("s");
    assert_eq!(browser.text("document.querySelector('.tools [aria-pressed]').getAttribute('aria-pressed')"), "false");
    assert!(browser.ask("document.querySelectorAll('.timeline .fuse.burnt[d^=M]').length").as_u64() == Some(1));
    assert!(browser.ask("document.querySelectorAll('.timeline .stop').length").as_u64() > Some(0));

    // The charts answer to keys too.
    browser.ask("document.querySelector('#chart-0 .chart').focus()");
    browser.press("ArrowRight");
    let told = browser.text("document.querySelector('#chart-0 .readout').textContent");
    assert!(told.contains("keeps 0% of the flows"), "{told}");
    browser.ask("document.querySelector('#chart-1 .chart').focus()");
    browser.press("ArrowRight");
    assert!(browser.text("document.querySelector('#chart-1 .readout').textContent").contains("entry"));
    quiet(&mut browser);
}

#[test]
fn a_page_fits_a_phone_the_dark_and_paper() {
    let Some(mut browser) = Browser::start("phone") else { return };
    let folder = Folder::new("browser-phone");
    let files = [folder.file("replay.html"), folder.file("run.html")];
    pages::several(&files[0]);
    page(&["run", "scenarios/ssh-firewall.json"], &files[1]);
    for file in &files {
        browser.resize(390, 800);
        browser.open(file, "");
        assert_eq!(browser.ask("document.documentElement.scrollWidth <= 390"), json!(true), "{}", file.display());
        browser.resize(1280, 900);
        browser.open(file, "");
        let ground = "getComputedStyle(document.body).backgroundColor";
        let light = browser.text(ground);
        browser.ask("document.getElementById('theme').click()");
        let dark = browser.text(ground);
        assert_ne!(light, dark);
        browser.ask("document.getElementById('theme').click()");
        assert_eq!(browser.text(ground), light);
        // Who prefers the dark gets it.
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
        browser.ask("localStorage.clear(); delete document.documentElement.dataset.theme");
        browser.call("Emulation.setEmulatedMedia", &features);
        assert_eq!(browser.text(ground), dark);
        browser.call("Emulation.setEmulatedMedia", &json!({"media": "print"}));
        assert_eq!(browser.text("getComputedStyle(document.querySelector('.tools')).display"), "none");
        assert_eq!(browser.text("getComputedStyle(document.querySelector('.scroll')).overflow"), "visible");
        browser.call("Emulation.setEmulatedMedia", &json!({"media": "", "features": []}));
        // The first Tab leads past everything to the answer.
        browser.open(file, "");
        browser.press("Tab");
        assert_eq!(browser.text("document.activeElement.className"), "skip");
    }
    quiet(&mut browser);
}

#[test]
fn a_hostile_page_runs_nothing_but_its_own_script() {
    let Some(mut browser) = Browser::start("hostile") else { return };
    let folder = Folder::new("browser-hostile");
    let (run, replay) = (folder.file("run.html"), folder.file("replay.html"));
    pages::hostile(&folder, &run);
    pages::hostile_replay(&folder, &replay);
    for file in [&run, &replay] {
        browser.open(file, "");
        // Everything is opened once, so that every text has been shown.
        browser.ask("for (const link of document.querySelectorAll('tbody a')) link.click()");
        assert_eq!(browser.ask("window.hacked === undefined"), json!(true));
        assert_eq!(browser.ask("document.querySelectorAll('img, iframe, [onerror], [onload]').length"), json!(0));
        assert!(browser.text("document.body.innerText").contains("<img src=x onerror="), "it is shown as text");
    }
    quiet(&mut browser);
    // And if escaping ever failed, the page's own policy would let nothing run.
    browser.ask("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked=3\"><a onclick=\"window.hacked=4\" id=trap>x</a>')");
    browser.ask("document.getElementById('trap').click()");
    browser.ask("new Promise((done) => setTimeout(() => done(true), 100))");
    assert_eq!(browser.ask("window.hacked === undefined"), json!(true));
    // It did complain: complaints are heard.
    assert!(browser.complaints().iter().any(|told| told.contains("Content Security Policy")), "the policy said nothing");
}
