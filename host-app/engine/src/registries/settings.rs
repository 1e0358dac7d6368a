//! Changing the settings, and what is allowed.

use std::{net::IpAddr, path::PathBuf};

use linkspan_proto::host::v1;
use linkspan_state::{Mirror, RegistrySettings};

use super::authorities;

/// More at once only makes each of them slower.
const MAX_PARALLEL: u32 = 64;

/// The settings with some changed, or everything that is wrong with that.
pub(crate) fn patched(
    settings: &RegistrySettings,
    patch: v1::RegistrySettingsPatch,
) -> Result<RegistrySettings, Vec<String>> {
    let mut settings = settings.clone();
    let mut problems = Vec::new();
    for url in &patch.remove_mirrors {
        take(&mut settings.mirrors, |mirror| mirror.url == *url, "mirror", url, &mut problems);
    }
    for host in &patch.remove_insecure {
        take(&mut settings.insecure, |one| one == host, "insecure registry", host, &mut problems);
    }
    for file in &patch.remove_authority_files {
        let is = |one: &PathBuf| one.as_os_str() == file.as_str();
        take(&mut settings.authority_files, is, "authority file", file, &mut problems);
    }
    for mirror in patch.add_mirrors {
        problems.extend(check_mirror(&mirror.url).err());
        settings.mirrors.retain(|one| one.url != mirror.url);
        settings.mirrors.push(Mirror { url: mirror.url, authoritative: mirror.authoritative });
    }
    for host in patch.add_insecure {
        problems.extend(check_insecure(&host).err());
        settings.insecure.retain(|one| *one != host);
        settings.insecure.push(host);
    }
    for file in patch.add_authority_files.into_iter().map(PathBuf::from) {
        problems.extend(authorities::of_file(&file).err().map(|failure| failure.message));
        settings.authority_files.retain(|one| *one != file);
        settings.authority_files.push(file);
    }
    for (name, new, present) in [
        ("HTTP proxy", patch.http_proxy, &mut settings.http_proxy),
        ("HTTPS proxy", patch.https_proxy, &mut settings.https_proxy),
    ] {
        let Some(new) = new else { continue };
        problems.extend(check_proxy(name, &new).err());
        *present = new;
    }
    settings.no_proxy = patch.no_proxy.unwrap_or(settings.no_proxy);
    for (name, new, present) in [
        ("downloads", patch.parallel_downloads, &mut settings.parallel_downloads),
        ("uploads", patch.parallel_uploads, &mut settings.parallel_uploads),
    ] {
        let Some(new) = new else { continue };
        if new > MAX_PARALLEL {
            problems.push(format!("{name}: {new} at once is more than {MAX_PARALLEL}"));
        }
        *present = new;
    }
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

fn take<T>(
    list: &mut Vec<T>,
    is: impl Fn(&T) -> bool,
    what: &str,
    name: &str,
    problems: &mut Vec<String>,
) {
    let before = list.len();
    list.retain(|one| !is(one));
    if list.len() == before {
        problems.push(format!("{what}: `{name}` is not set"));
    }
}

fn check_mirror(url: &str) -> Result<(), String> {
    let fail = |why: &str| Err(format!("mirror: `{url}` {why}"));
    let Some((scheme, rest)) = url.split_once("://") else {
        return fail("needs the form `https://HOST[:PORT][/PREFIX]`");
    };
    if !matches!(scheme, "http" | "https") {
        return fail("is neither http nor https");
    }
    let host = rest.split('/').next().unwrap_or_default();
    if host.contains('@') {
        return fail("has a password in it: use `linkspan login` for its host");
    }
    if host.is_empty() || url.contains(['?', '#']) || url.contains(char::is_whitespace) {
        return fail("needs the form `https://HOST[:PORT][/PREFIX]`");
    }
    Ok(())
}

fn check_insecure(text: &str) -> Result<(), String> {
    let fail =
        || Err(format!("insecure registry: `{text}` is neither HOST, HOST:PORT nor ADDRESS/BITS"));
    if text.is_empty() || text.contains(char::is_whitespace) || text.contains("://") {
        return fail();
    }
    let Some((address, bits)) = text.split_once('/') else { return Ok(()) };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return fail(),
    };
    if bits.parse::<u8>().is_ok_and(|bits| bits <= most) { Ok(()) } else { fail() }
}

/// Empty: as the environment says.
fn check_proxy(name: &str, url: &str) -> Result<(), String> {
    if url.contains(char::is_whitespace) || url.ends_with("://") {
        return Err(format!("{name}: `{url}` needs the form `http://HOST:PORT`"));
    }
    Ok(())
}

pub(crate) fn encode(settings: &RegistrySettings) -> v1::RegistrySettings {
    let RegistrySettings {
        mirrors,
        insecure,
        http_proxy,
        https_proxy,
        no_proxy,
        authority_files,
        parallel_downloads,
        parallel_uploads,
    } = settings.clone();
    let mirror = |Mirror { url, authoritative }| v1::RegistryMirrorSetting { url, authoritative };
    v1::RegistrySettings {
        mirrors: mirrors.into_iter().map(mirror).collect(),
        insecure,
        http_proxy,
        https_proxy,
        no_proxy,
        authority_files: authority_files.iter().map(|file| file.display().to_string()).collect(),
        parallel_downloads,
        parallel_uploads,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(url: &str, authoritative: bool) -> v1::RegistryMirrorSetting {
        v1::RegistryMirrorSetting { url: url.into(), authoritative }
    }

    #[test]
    fn a_change_takes_away_first_and_keeps_the_order_of_what_it_adds() {
        let first = v1::RegistrySettingsPatch {
            add_mirrors: vec![mirror("https://a.example", false), mirror("http://b:5000/x", true)],
            add_insecure: ["lab.example:5000", "10.0.0.0/8", "fd00::/8"].map(Into::into).into(),
            http_proxy: Some("http://proxy:3128".into()),
            parallel_downloads: Some(6),
            ..Default::default()
        };
        let settings = patched(&RegistrySettings::default(), first).unwrap();
        let second = v1::RegistrySettingsPatch {
            remove_mirrors: vec!["http://b:5000/x".into()],
            add_mirrors: vec![mirror("http://b:5000/x", false), mirror("https://a.example", true)],
            remove_insecure: vec!["10.0.0.0/8".into()],
            http_proxy: Some(String::new()),
            ..Default::default()
        };
        let settings = encode(&patched(&settings, second).unwrap());
        let expected = [mirror("http://b:5000/x", false), mirror("https://a.example", true)];
        assert_eq!(settings.mirrors, expected);
        assert_eq!(settings.insecure, ["lab.example:5000", "fd00::/8"]);
        assert_eq!((settings.http_proxy.as_str(), settings.parallel_downloads), ("", 6));
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let patch = v1::RegistrySettingsPatch {
            add_mirrors: ["a.example", "ftp://a", "https://u:p@a", "https://a/?x"]
                .map(|url| mirror(url, false))
                .into(),
            remove_mirrors: vec!["https://none".into()],
            add_insecure: ["http://a", "10.0.0.0/33", "a/8", ""].map(Into::into).into(),
            https_proxy: Some("http://".into()),
            add_authority_files: vec!["/no/such/file.pem".into()],
            parallel_uploads: Some(1000),
            ..Default::default()
        };
        let problems = patched(&RegistrySettings::default(), patch).unwrap_err();
        assert_eq!(problems.len(), 12, "{problems:#?}");
    }
}
