//! `--restart`.

use linkspan_proto::v1::RestartPolicy;

/// A policy and, after a colon, how often at most. Whether there is such a policy is the engine's
/// to say.
///
/// # Errors
/// What is wrong with the number.
pub(crate) fn policy(text: &str) -> Result<RestartPolicy, String> {
    let (name, count) = text.split_once(':').unwrap_or((text, "0"));
    let maximum_retry_count = count
        .parse()
        .map_err(|_| format!("`{count}` is not a number of retries, as in `on-failure:3`"))?;
    Ok(RestartPolicy { name: name.into(), maximum_retry_count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_may_have_a_number() {
        let three = policy("on-failure:3").expect("valid");
        assert_eq!((three.name.as_str(), three.maximum_retry_count), ("on-failure", 3));
        assert_eq!(policy("always").expect("valid").maximum_retry_count, 0);
        assert!(policy("on-failure:").is_err() && policy("on-failure:-1").is_err());
    }
}
