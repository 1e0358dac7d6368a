//! tmp
use crate::error::Malformed;
/// tmp
pub fn parse(text: &str) -> Result<Vec<String>, Malformed> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let value: std::collections::BTreeMap<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|e| Malformed::Filter(e.to_string()))?;
    let mut out = Vec::new();
    for (k, v) in value {
        match v {
            serde_json::Value::Object(m) => {
                for (x, _) in m {
                    out.push(format!("{k}={x}"))
                }
            }
            serde_json::Value::Array(m) => {
                for x in m {
                    out.push(format!("{k}={}", x.as_str().unwrap_or_default()))
                }
            }
            _ => {}
        }
    }
    Ok(out)
}
