//! The headers of the distribution specification that need reading.

use std::time::Duration;

use http::Uri;
use http::header::HeaderMap;

/// A header as text, if it is there and is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `Content-Range: bytes 10-19/100`: first byte, last byte, whole length if given (RFC 9110,
/// section 14.4).
pub(crate) fn content_range(value: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, whole) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok())?
    };
    let (first, last) = (number(first)?, number(last)?);
    let whole = if whole == "*" { None } else { Some(number(whole)?) };
    let fits = first <= last && whole.is_none_or(|whole| last < whole);
    fits.then_some((first, last, whole))
}

/// `Range: 0-99` of an upload: how many bytes the registry has. `0-0` is what registries say
/// of none (it would be one; a piece of one byte is sent again then).
pub(crate) fn received(value: &str) -> Option<u64> {
    let value = value.trim();
    let (first, last) = value.strip_prefix("bytes=").unwrap_or(value).split_once('-')?;
    let last: u64 = last.parse().ok()?;
    (first == "0").then(|| if last == 0 { 0 } else { last.saturating_add(1) })
}

/// `Retry-After`: seconds or a date (RFC 9110, section 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: jiff::Timestamp) -> Option<Duration> {
    let value = text(headers, "retry-after")?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// The target of `Link: <...>; rel="next"` (RFC 8288).
pub(crate) fn next_link(value: &str) -> Option<&str> {
    value.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let next = parameters.split(';').any(|parameter| {
            parameter.trim().split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value.trim().trim_matches('"').split(' ').any(|word| word == "next")
            })
        });
        next.then_some(target)
    })
}

/// Where a `Location` or `Link` of the answer from `base` leads (RFC 3986, section 5.2, without
/// the removal of dot segments: no registry sends them).
pub(crate) fn resolve(base: &Uri, target: &str) -> Option<Uri> {
    let scheme = base.scheme_str()?;
    let authority = base.authority()?;
    let text = if target.contains("://") {
        target.to_owned()
    } else if let Some(rest) = target.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if target.starts_with('/') {
        format!("{scheme}://{authority}{target}")
    } else if target.starts_with('?') {
        format!("{scheme}://{authority}{}{target}", base.path())
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{target}")
    };
    // A fragment is for the reader, not for the server; http::Uri drops it.
    let uri: Uri = text.parse().ok()?;
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    (web && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn ranges_are_read_and_nonsense_is_not() {
        assert_eq!(content_range("bytes 10-19/100"), Some((10, 19, Some(100))));
        assert_eq!(content_range("bytes 0-0/*"), Some((0, 0, None)));
        for bad in [
            "",
            "bytes",
            "bytes 9-1/10",
            "bytes 0-10/10",
            "bytes */10",
            "bytes -1-2/3",
            "items 0-1/2",
            "bytes +0-1/2",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
        assert_eq!(received("0-99"), Some(100));
        assert_eq!(received("bytes=0-99"), Some(100));
        assert_eq!(received("0-0"), Some(0));
        for bad in ["", "99", "1-2", "0-x"] {
            assert_eq!(received(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_next_page_is_found_among_links() {
        for (value, next) in [
            (r#"</v2/x/tags/list?last=a&n=1>; rel="next""#, Some("/v2/x/tags/list?last=a&n=1")),
            ("<a>; rel=next", Some("a")),
            (r#"<a>; rel="prev", <b>; title="t"; rel="next last""#, Some("b")),
            (r#"<a>; rel="prev""#, None),
            ("a; rel=next", None),
            ("", None),
        ] {
            assert_eq!(next_link(value), next, "{value}");
        }
    }

    #[test]
    fn locations_are_resolved_against_the_request() {
        let base: Uri = "https://r:1/v2/x/blobs/uploads/?a=b".parse().unwrap();
        for (target, result) in [
            ("http://s/u?q=1", Some("http://s/u?q=1")),
            ("//s/u", Some("https://s/u")),
            ("/u?q", Some("https://r:1/u?q")),
            ("7f?s=1", Some("https://r:1/v2/x/blobs/uploads/7f?s=1")),
            ("?s=1", Some("https://r:1/v2/x/blobs/uploads/?s=1")),
            ("file:///etc/passwd", None),
            ("http://", None),
            ("http://a b/", None),
        ] {
            let uri = resolve(&base, target).map(|uri| uri.to_string());
            assert_eq!(uri.as_deref(), result, "{target}");
        }
    }

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        for (value, wait) in [
            ("7", Some(7)),
            ("Fri, 02 Jan 2026 03:04:15 GMT", Some(10)),
            ("Fri, 02 Jan 2026 03:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", HeaderValue::from_static(value));
            assert_eq!(retry_after(&headers, now), wait.map(Duration::from_secs), "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(text in "[ -~]{0,60}", base in "https?://[a-z]{1,5}(:[0-9]{1,4})?/[a-z/?=]{0,9}") {
            let _ = (content_range(&text), received(&text), next_link(&text));
            if let Some(uri) = base.parse().ok().and_then(|base| resolve(&base, &text)) {
                proptest::prop_assert!(matches!(uri.scheme_str(), Some("http" | "https")));
                proptest::prop_assert!(uri.host().is_some());
            }
        }
    }
}
