//! The one place where errors of the guest get the code that they have on the wire.

use linkspan_containers::error::{Error as ContainerError, ImageError, LaunchKind};
use linkspan_containers::ports::{PortError, PortErrorKind};
use linkspan_containers::volumes::VolumeError;
use linkspan_files::Error as FileError;
use linkspan_images::{Conflict, Error as StoreError};
use linkspan_net::Error as NetError;
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_registry::Error as RegistryError;

use crate::registries::Error as TransferError;

/// What to do when the data disk is full.
pub(crate) const NO_SPACE_HINT: &str = "remove containers or images, or give the machine a larger disk: `linkspan machine set --disk GIB`";

/// An error of `containers`.
#[must_use]
pub fn of_container(error: &ContainerError) -> Failure {
    use ContainerError as E;
    let code = match error {
        E::NotFound(_) | E::Gone(_) => ErrorCode::NotFound,
        E::Ambiguous { .. } | E::Invalid { .. } => ErrorCode::InvalidArgument,
        E::NameConflict { .. } => ErrorCode::NameConflict,
        E::WrongState { .. } => ErrorCode::WrongState,
        E::Unsupported { .. } | E::NoLog => ErrorCode::Unsupported,
        E::Volume(error) => return of_volume(error),
        E::Image(ImageError::NotFound(_)) => ErrorCode::NotFound,
        E::Image(ImageError::Invalid { .. }) => ErrorCode::InvalidArgument,
        E::Image(ImageError::Unusable { .. }) => ErrorCode::Internal,
        E::Image(ImageError::OtherPlatform { .. }) => ErrorCode::Unsupported,
        E::Launch(launch) => match launch.kind {
            LaunchKind::NotFound => ErrorCode::CommandNotFound,
            LaunchKind::NotExecutable => ErrorCode::CommandNotExecutable,
            LaunchKind::Invalid => ErrorCode::InvalidArgument,
            LaunchKind::Engine => ErrorCode::Internal,
        },
        E::Ports(error) => match error.kind {
            PortErrorKind::InUse => ErrorCode::InUse,
            PortErrorKind::Denied => ErrorCode::PermissionDenied,
            PortErrorKind::Invalid => ErrorCode::InvalidArgument,
            PortErrorKind::Unavailable => ErrorCode::Unavailable,
            PortErrorKind::Failed => ErrorCode::Internal,
        },
        E::Network(network) => code_of_network(network),
        E::NoSuchPath { .. } => ErrorCode::NotFound,
        E::NotAFolder(_) | E::Files(FileError::Loop { .. }) => ErrorCode::InvalidArgument,
        E::Files(FileError::Io { source, .. }) => of_io(source),
        E::Files(_) => ErrorCode::Cancelled,
        E::Unpack(error) => return of_store(error),
        E::TimedOut { .. } | E::SlowReader(_) => ErrorCode::TimedOut,
        E::File { source, .. } | E::Process { source, .. } => of_io(source),
        E::Record { .. } => ErrorCode::DataCorrupt,
    };
    let failure = Failure::new(code, chain(error));
    match error {
        E::Ports(PortError { hint: Some(hint), .. }) => failure.hint(hint),
        E::Network(network) => with_network_hint(failure, network),
        E::Image(ImageError::NotFound(_)) => failure.hint(
            "bring it with `linkspan pull`, `linkspan load` or `linkspan import`; `linkspan images` lists what is there",
        ),
        E::Image(ImageError::OtherPlatform { here, .. }) => failure.hint(format!(
            "bring the image for {here} (`linkspan pull --platform {here}`), or an emulator: \
             `linkspan run --privileged --rm tonistiigi/binfmt --install all`"
        )),
        E::NotFound(_) => failure.hint("`linkspan ps -a` lists all containers"),
        E::NameConflict { .. } => failure.hint("remove or rename that container, or choose another name"),
        E::Ambiguous { .. } => failure.hint("give more characters of the id"),
        _ => failure,
    }
}

/// An error of `net`.
#[must_use]
pub fn of_network(error: &NetError) -> Failure {
    with_network_hint(Failure::new(code_of_network(error), chain(error)), error)
}

fn code_of_network(error: &NetError) -> ErrorCode {
    use NetError as E;
    match error {
        E::NotFound(_) => ErrorCode::NotFound,
        E::Ambiguous { .. } | E::Invalid { .. } | E::Overlap { .. } => ErrorCode::InvalidArgument,
        E::NameConflict(_) => ErrorCode::NameConflict,
        E::Unsupported { .. } => ErrorCode::Unsupported,
        E::NoSubnetLeft | E::NoAddressLeft { .. } => ErrorCode::NoSpace,
        E::AddressInUse { .. } | E::InUse { .. } => ErrorCode::InUse,
        E::Predefined(_) => ErrorCode::PermissionDenied,
        E::AlreadyConnected { .. } | E::NotConnected { .. } => ErrorCode::WrongState,
        E::Kernel { .. } => ErrorCode::Internal,
        E::File { source, .. } => of_io(source),
        E::Record { .. } => ErrorCode::DataCorrupt,
    }
}

fn with_network_hint(failure: Failure, error: &NetError) -> Failure {
    match error {
        NetError::NotFound(_) => failure.hint("`linkspan network ls` lists all networks"),
        NetError::InUse { .. } => {
            failure.hint("stop those containers or `linkspan network disconnect` them first")
        }
        NetError::NoSubnetLeft => {
            failure.hint("remove a network, or name a subnet: `linkspan network create --subnet`")
        }
        _ => failure,
    }
}

/// An error of the volumes.
#[must_use]
pub fn of_volume(error: &VolumeError) -> Failure {
    use VolumeError as E;
    let code = match error {
        E::NotFound(_) => ErrorCode::NotFound,
        E::Name(_) | E::NameLength(_) | E::Option(_) | E::Filter(_) => ErrorCode::InvalidArgument,
        E::InUse { .. } => ErrorCode::InUse,
        E::Conflict(_) => ErrorCode::NameConflict,
        E::Driver(_) | E::Unsupported { .. } | E::HostPath(_) => ErrorCode::Unsupported,
        E::File { source, .. } => of_io(source),
        E::NotShared(_) => ErrorCode::NotFound,
        E::Record { .. } => ErrorCode::DataCorrupt,
        E::Copy(FileError::Io { source, .. }) => of_io(source),
        E::Copy(_) => ErrorCode::InvalidArgument,
    };
    let failure = Failure::new(code, chain(error));
    match error {
        E::NotFound(_) => failure.hint("`linkspan volume ls` lists all volumes"),
        E::InUse { .. } => failure.hint("remove these containers first"),
        E::HostPath(_) => failure.hint("mount it into containers: `-v /path/on/host:/path`"),
        E::NotShared(_) => failure.hint(
            "`linkspan machine status` lists the shared folders; `linkspan machine set --share \
             FOLDER` adds one, from the machine's next start on",
        ),
        _ => failure,
    }
}

/// An error of the image store.
#[must_use]
pub fn of_store(error: &StoreError) -> Failure {
    use StoreError as E;
    let code = match error {
        E::NotFound { .. } => ErrorCode::NotFound,
        E::Ambiguous { .. }
        | E::InvalidReference(_)
        | E::InvalidChange { .. }
        | E::InvalidFilter { .. }
        | E::NoPlatform { .. } => ErrorCode::InvalidArgument,
        E::Conflict { .. } => ErrorCode::InUse,
        E::Corrupt { .. } | E::TooLarge { .. } => ErrorCode::DataCorrupt,
        E::Unsupported { .. } => ErrorCode::Unsupported,
        E::NoSpace { .. } => ErrorCode::NoSpace,
        E::Read(_) | E::Write(_) => ErrorCode::Cancelled,
        E::NotGivenBack { .. } => ErrorCode::Unsupported,
        E::Io { source, .. } => of_io(source),
        _ => ErrorCode::Internal,
    };
    let failure = Failure::new(code, chain(error));
    match error {
        E::Conflict { conflict, .. } => failure.hint(match conflict {
            Conflict::Running { .. } => "stop and remove that container first",
            Conflict::LastName { .. } | Conflict::Stopped { .. } => {
                "remove that container first, or use --force"
            }
            Conflict::SeveralNames { .. } => "remove it by each name, or use --force",
            Conflict::Children { .. } => "remove the images that were committed on it first",
        }),
        E::NotFound { .. } => failure.hint("`linkspan images` lists what is there"),
        E::NoSpace { .. } => failure.hint(NO_SPACE_HINT),
        _ => failure,
    }
}

/// An error of a transfer.
#[must_use]
pub fn of_registries(error: &TransferError) -> Failure {
    use TransferError as E;
    match error {
        E::Store(error) => of_store(error),
        E::Registry(error) => of_registry(error),
        E::Invalid(_) | E::Reference(_) => Failure::new(ErrorCode::InvalidArgument, chain(error)),
        E::Missing(_) => Failure::new(ErrorCode::NotFound, chain(error))
            .hint("`linkspan images` lists what is there, `linkspan tag` gives it the name"),
        E::Panic(_) => Failure::new(ErrorCode::Internal, chain(error)),
    }
}

/// An error of the client of registries.
fn of_registry(error: &RegistryError) -> Failure {
    use RegistryError as E;
    let code = match error {
        // What the store said to its layer is the reason, and how it came here is not.
        E::Sink { source, .. } | E::Source { source, .. } => {
            let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<StoreError>());
            match inner {
                Some(inner) => return of_store(inner),
                None => of_io(source),
            }
        }
        E::Setting { .. } | E::Reference(_) | E::Platform { .. } => ErrorCode::InvalidArgument,
        E::NotFound { .. } | E::NoPlatform { .. } => ErrorCode::NotFound,
        E::Denied { .. } | E::Unauthorized { .. } => ErrorCode::PermissionDenied,
        E::TooManyRequests { .. }
        | E::Unreachable { .. }
        | E::Broken { .. }
        | E::Refused { .. }
        | E::Tls { .. }
        | E::Protocol { .. } => ErrorCode::Unavailable,
        E::Corrupt { .. } => ErrorCode::DataCorrupt,
        E::Unsupported { .. } => ErrorCode::Unsupported,
        _ => ErrorCode::Internal,
    };
    let failure = Failure::new(code, chain(error));
    match error {
        E::Unauthorized { .. } | E::Denied { .. } => {
            failure.hint("`linkspan login` shows a registry who you are")
        }
        _ => failure,
    }
}

pub(crate) fn of_io(error: &std::io::Error) -> ErrorCode {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorCode::NoSpace,
        std::io::ErrorKind::PermissionDenied => ErrorCode::PermissionDenied,
        _ => ErrorCode::Internal,
    }
}

/// The whole chain in one line; a cause that the text already ends with is not repeated.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_image_is_not_found_and_says_what_to_do() {
        let failure = of_container(&ImageError::NotFound("nginx".into()).into());
        assert_eq!(failure.code, ErrorCode::NotFound);
        assert!(failure.message.contains("nginx") && failure.hint.is_some(), "{failure:?}");
    }

    #[test]
    fn causes_are_told_once() {
        let cause = std::io::Error::other("the disk is on fire");
        let error = StoreError::Io { action: "open", path: "/x".into(), source: cause };
        assert_eq!(of_store(&error).message, "cannot open `/x`: the disk is on fire");
    }
}
