//! `linux.devices` and `linux.resources.devices`.

use linkspan_runtime::bundle::{Node, NodeKind};
use linkspan_runtime::devices::{Access, DeviceRule, STANDARD_RULES, Verdict};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType as Type};

use super::{ConfigError, invalid};

pub(super) fn nodes(list: Option<&[LinuxDevice]>) -> Result<Vec<Node>, ConfigError> {
    list.unwrap_or_default().iter().map(node).collect()
}

fn node(device: &LinuxDevice) -> Result<Node, ConfigError> {
    let property = format!("linux.devices[{}]", device.path().display());
    if !device.path().is_absolute() {
        return invalid(property, "the path is not absolute");
    }
    let kind = match device.typ() {
        Type::C | Type::U => NodeKind::Character,
        Type::B => NodeKind::Block,
        Type::P => NodeKind::Pipe,
        Type::A => return invalid(property, "the type is none of c, b, u, p"),
    };
    let (major, minor) = match kind {
        NodeKind::Pipe => (0, 0),
        _ => (number(&property, device.major())?, number(&property, device.minor())?),
    };
    Ok(Node {
        path: device.path().clone(),
        kind,
        major,
        minor,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
    })
}

fn number(property: &str, value: i64) -> Result<u32, ConfigError> {
    match u32::try_from(value) {
        Ok(value) => Ok(value),
        Err(_) => invalid(property, format!("{value} is not the number of a device")),
    }
}

/// The device filter: the default devices can always be used; then the last entry that fits;
/// then the nodes of the bundle; and nothing else.
pub(super) fn verdicts(
    list: Option<&[LinuxDeviceCgroup]>,
    nodes: &[Node],
) -> Result<Vec<Verdict>, ConfigError> {
    let allow = |rule| Verdict { rule, allow: true };
    let mut verdicts: Vec<Verdict> =
        STANDARD_RULES.iter().filter(|rule| rule.major.is_some()).copied().map(allow).collect();
    for entry in list.unwrap_or_default().iter().rev() {
        let property = "linux.resources.devices";
        let access = match entry.access().as_deref().filter(|access| !access.is_empty()) {
            None => Access::ALL,
            Some(text) => match Access::parse(text) {
                Some(access) => access,
                None => return invalid(property, format!("`{text}` is not made of r, w and m")),
            },
        };
        let kinds: &[bool] = match entry.typ().unwrap_or(Type::A) {
            Type::A => &[false, true],
            Type::C | Type::U => &[false],
            Type::B => &[true],
            Type::P => return invalid(property, "the type is none of a, c, b"),
        };
        // -1 is runc's way to say "all".
        let any = |value: Option<i64>| match value {
            None | Some(-1) => Ok(None),
            Some(value) => number(property, value).map(Some),
        };
        let (major, minor) = (any(entry.major())?, any(entry.minor())?);
        for &block in kinds {
            let rule = DeviceRule { block, major, minor, access };
            verdicts.push(Verdict { rule, allow: entry.allow() });
        }
    }
    verdicts.extend(nodes.iter().filter(|node| node.kind != NodeKind::Pipe).map(|node| {
        allow(DeviceRule {
            block: node.kind == NodeKind::Block,
            major: Some(node.major),
            minor: Some(node.minor),
            access: Access::ALL,
        })
    }));
    // Making a node is not using it; denied only by an entry that says so.
    verdicts.extend(STANDARD_RULES.iter().filter(|rule| rule.major.is_none()).copied().map(allow));
    Ok(verdicts)
}
