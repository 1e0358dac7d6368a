//! Who the process runs as: `name|uid[:group|gid]` looked up in the container's own passwd and
//! group files. The rules are Docker's (moby/sys/user, `GetExecUser`).

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;

use linkspan_runtime::bundle::Ids;
use linkspan_runtime::plan::UserSpec;

use crate::report::{About as _, Fault};

/// Longer files are cut: an image may bring anything under these names.
const LONGEST_FILE: u64 = 4 * 1024 * 1024;

/// Who the process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The primary one included, as Docker does since 20.10.
    pub(crate) groups: Vec<u32>,
    /// `/` for a user without a passwd entry.
    pub(crate) home: String,
}

/// Looks a user up in the root of this process.
pub(crate) fn find(spec: &UserSpec) -> Result<User, Fault> {
    resolve(spec, &read("/etc/passwd")?, || read("/etc/group"))
}

/// These numbers, with nothing added. Only the home folder is looked up.
pub(crate) fn exactly(ids: &Ids) -> Result<User, Fault> {
    let passwd = read("/etc/passwd")?;
    let home = passwd_entries(&passwd)
        .find(|entry| entry.uid == ids.uid && !entry.home.is_empty())
        .map_or("/", |entry| entry.home);
    Ok(User { uid: ids.uid, gid: ids.gid, groups: ids.groups.clone(), home: home.to_owned() })
}

/// A file that may be missing. Neither a pipe nor a device in its place can hold us up.
fn read(path: &str) -> Result<String, Fault> {
    let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path);
    let file = match file {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        other => other.about(|| format!("`{path}`"))?,
    };
    let mut content = Vec::with_capacity(4096);
    file.take(LONGEST_FILE).read_to_end(&mut content).about(|| format!("`{path}`"))?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// A line of passwd.
struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// name:password:uid:gid:comment:home:shell. Lines that are none are skipped.
fn passwd_entries(content: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    content.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or("");
        (!name.is_empty()).then_some(PasswdEntry { name, uid, gid, home })
    })
}

/// name:password:gid:members, as name, gid and members.
fn group_entries(content: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    content.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        (!name.is_empty()).then_some((name, gid, fields.next().unwrap_or("")))
    })
}

/// A number of a user or group. Docker's limit is that of a signed 32-bit number.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| i32::try_from(*number).is_ok())
}

fn resolve(
    spec: &UserSpec,
    passwd: &str,
    group: impl FnOnce() -> Result<String, Fault>,
) -> Result<User, Fault> {
    let (user_part, group_part) = spec.user.split_once(':').unwrap_or((&spec.user, ""));
    let uid = if user_part.is_empty() { Some(0) } else { number(user_part) };
    let entry = passwd_entries(passwd)
        .find(|entry| uid == Some(entry.uid) || (!user_part.is_empty() && entry.name == user_part));
    let mut user = match (&entry, uid) {
        (Some(entry), _) => User {
            uid: entry.uid,
            gid: entry.gid,
            groups: Vec::new(),
            home: if entry.home.is_empty() { "/" } else { entry.home }.to_owned(),
        },
        (None, Some(uid)) => User { uid, gid: 0, groups: Vec::new(), home: "/".to_owned() },
        (None, None) => {
            return Err(Fault::new(format!(
                "unable to find user {user_part}: no matching entries in passwd file"
            )));
        }
    };
    let group_file_matters =
        entry.is_some() || !group_part.is_empty() || !spec.additional_groups.is_empty();
    let groups = if group_file_matters { group()? } else { String::new() };
    if !group_part.is_empty() {
        // A group that was asked for takes the place of those that the file lists.
        user.gid = group_id(group_part, &groups)?;
    } else if let Some(entry) = entry {
        user.groups.extend(
            group_entries(&groups)
                .filter(|(_, _, members)| members.split(',').any(|member| member == entry.name))
                .map(|(_, gid, _)| gid),
        );
    }
    for name in &spec.additional_groups {
        user.groups.push(group_id(name, &groups)?);
    }
    user.groups.insert(0, user.gid);
    let mut seen = Vec::with_capacity(user.groups.len());
    user.groups.retain(|gid| {
        !seen.contains(gid) && {
            seen.push(*gid);
            true
        }
    });
    Ok(user)
}

fn group_id(name: &str, groups: &str) -> Result<u32, Fault> {
    let gid = number(name);
    group_entries(groups)
        .find(|(known, known_gid, _)| *known == name || gid == Some(*known_gid))
        .map(|(_, gid, _)| gid)
        .or(gid)
        .ok_or_else(|| {
            Fault::new(format!("unable to find group {name}: no matching entries in group file"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        # a comment\n\
        broken\n\
        app:x:1000:1001:App:/home/app:/bin/sh\n\
        homeless:x:1002:1002::\n\
        4242:x:7:7::/odd:\n";
    const GROUP: &str = "root:x:0:root\n\
        bin:x:1:root,daemon,app\n\
        wheel:x:10:root\n\
        app:x:1001:\n\
        video:x:27:app\n";

    fn find(user: &str, additional: &[&str]) -> Result<User, String> {
        let spec = UserSpec {
            user: user.to_owned(),
            additional_groups: additional.iter().map(|name| (*name).to_owned()).collect(),
        };
        resolve(&spec, PASSWD, || Ok(GROUP.to_owned())).map_err(|fault| fault.detail)
    }

    fn user(uid: u32, gid: u32, groups: &[u32], home: &str) -> Result<User, String> {
        Ok(User { uid, gid, groups: groups.to_vec(), home: home.to_owned() })
    }

    #[test]
    fn nobody_named_is_root_with_roots_groups() {
        assert_eq!(find("", &[]), user(0, 0, &[0, 1, 10], "/root"));
        assert_eq!(find("0", &[]), find("root", &[]));
    }

    #[test]
    fn names_and_numbers_find_the_same_entry() {
        assert_eq!(find("app", &[]), user(1000, 1001, &[1001, 1, 27], "/home/app"));
        assert_eq!(find("1000", &[]), find("app", &[]));
    }

    #[test]
    fn an_explicit_group_replaces_the_listed_ones() {
        assert_eq!(find("app:wheel", &[]), user(1000, 10, &[10], "/home/app"));
        assert_eq!(find("app:77", &[]), user(1000, 77, &[77], "/home/app"));
        assert_eq!(find(":video", &[]), user(0, 27, &[27], "/root"));
    }

    #[test]
    fn numbers_need_no_entry() {
        assert_eq!(find("5555", &[]), user(5555, 0, &[0], "/"));
        assert_eq!(find("5555:6666", &[]), user(5555, 6666, &[6666], "/"));
    }

    #[test]
    fn a_name_of_digits_is_found_when_no_number_is() {
        assert_eq!(find("4242", &[]), user(7, 7, &[7], "/odd"));
    }

    #[test]
    fn additional_groups_come_on_top_once() {
        assert_eq!(
            find("app", &["wheel", "1", "99"]),
            user(1000, 1001, &[1001, 1, 27, 10, 99], "/home/app")
        );
    }

    #[test]
    fn a_missing_home_is_the_root() {
        assert_eq!(find("homeless", &[]), user(1002, 1002, &[1002], "/"));
    }

    #[test]
    fn unknown_names_and_numbers_out_of_range_are_errors() {
        let user = |name: &str| {
            Err(format!("unable to find user {name}: no matching entries in passwd file"))
        };
        assert_eq!(find("ghost", &[]), user("ghost"));
        assert_eq!(find("4294967295", &[]), user("4294967295"));
        let group = "unable to find group ghosts: no matching entries in group file".to_owned();
        assert_eq!(find("app:ghosts", &[]), Err(group.clone()));
        assert_eq!(find("app", &["ghosts"]), Err(group));
    }
}
