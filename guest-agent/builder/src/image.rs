//! The configuration of the image that a build makes.
//!
//! No time in it is the clock's. Without an epoch a line of the history is as old as its layer, and a
//! layer as old as the first one with its content; lines without a layer are as old as what is
//! below; and the image is as old as the last line.

use linkspan_build::{History, ImageConfig, Plan};
use linkspan_images::Digest;
use serde_json::{Value, json};

/// The configuration blob. `below`: the layers of the base; `above`: those that were made, with their
/// ages in nanoseconds since 1970.
pub(crate) fn config(plan: &Plan, below: &[Digest], above: &[(Digest, i64)]) -> Vec<u8> {
    let mut config = plan.config.clone();
    if plan.epoch.is_none() {
        date(&mut config, above);
    }
    let layers = below.iter().chain(above.iter().map(|(layer, _)| layer));
    let diff_ids: Vec<String> = layers.map(ToString::to_string).collect();
    // A structure of strings, lists and maps of strings cannot fail.
    let mut json = serde_json::to_value(&config).unwrap_or_default();
    if let Value::Object(object) = &mut json {
        object.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": diff_ids }));
    }
    json.to_string().into_bytes()
}

fn date(config: &mut ImageConfig, above: &[(Digest, i64)]) {
    let text = |nanos: i64| {
        jiff::Timestamp::from_nanosecond(nanos.into()).ok().map(|time| time.to_string())
    };
    // The last lines with a layer are the layers that were made.
    let mut ages = above.iter().rev();
    let mut is_new = vec![false; config.history.len()];
    for (line, is_new) in config.history.iter_mut().zip(&mut is_new).rev() {
        if line.created.is_some() {
            break;
        }
        *is_new = true;
        if !line.empty_layer {
            let Some((_, age)) = ages.next() else { break };
            line.created = text(*age);
        }
    }
    let first = above.first().and_then(|(_, age)| text(*age));
    let mut last: Option<String> = None;
    for (line, is_new) in config.history.iter_mut().zip(is_new) {
        if let History { created: None, .. } = line
            && is_new
        {
            line.created = last.clone().or_else(|| first.clone());
        }
        last.clone_from(&line.created);
    }
    config.created = last.or_else(|| config.created.take());
}
