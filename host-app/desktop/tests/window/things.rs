//! Volumes and networks in the window.

use crate::{Bench, Shared, containers::field};

pub(crate) const TESTS: &[Shared] = &[
    ("a_volume_is_made_shows_who_has_it_and_is_removed", volumes),
    ("a_network_is_made_joined_left_and_removed", networks),
];

fn volumes(bench: &Bench) {
    let Bench { app, .. } = bench;
    app.anew("volumes");
    app.press("Create…");
    app.write(&field("Name"), "shelf");
    app.click("//dialog//button[normalize-space()='Create']");
    let row = "//main//tr[.//a[normalize-space()='shelf']]";
    app.find(&format!("{row}[contains(., 'nobody')]"));
    bench.sleeper("reader", &["-v", "shelf:/shelf"]);
    app.find(&format!("{row}//a[normalize-space()='reader']"));
    app.press("Measure sizes");
    app.find(&format!("{row}//td[contains(., ' B') or contains(., 'kB')]"));
    app.picture("volumes");
    app.click(&format!("{row}//a[normalize-space()='shelf']"));
    app.see("In the machine");
    // The engine's words, not ours.
    app.press("Remove…");
    app.press("Remove it and all that is in it");
    app.find("//main//*[@role='alert'][contains(., 'shelf')]");
    bench.remove("reader");
    app.see("nobody");
    app.press("Remove…");
    app.press("Remove it and all that is in it");
    app.find("//main//h1[normalize-space()='Volumes']");
    app.see_no("shelf");
}

fn networks(bench: &Bench) {
    let Bench { app, .. } = bench;
    bench.sleeper("member", &[]);
    app.anew("networks");
    app.press("Create…");
    app.write(&field("Name"), "backend");
    app.click("//dialog//button[normalize-space()='Create']");
    app.click("//main//a[normalize-space()='backend']");
    app.see("Nobody.");
    app.click("//main//select/option[normalize-space()='member']");
    app.press("Connect");
    let row = "//main//tr[.//a[normalize-space()='member']]";
    app.find(&format!(
        "{row}//td[contains(., '172.') or contains(., '10.') or contains(., '192.')]"
    ));
    app.picture("network");
    app.press("Disconnect… member");
    app.press("Disconnect member");
    app.see("Nobody.");
    app.press("Remove…");
    app.press("Remove backend");
    app.find("//main//h1[normalize-space()='Networks']");
    app.see_no("backend");
    bench.remove("member");
}
