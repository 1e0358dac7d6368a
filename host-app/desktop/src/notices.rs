//! What the user is told when the window may be closed: a machine that failed or stands still, a
//! container that became unhealthy.

use linkspan_proto::{
    host::v1::{Machine, MachineState},
    v1::Event,
};
use tauri::{AppHandle, Manager as _};
use tauri_plugin_notification::NotificationExt as _;

use crate::prefs::Preferences;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) title: String,
    pub(crate) body: String,
}

/// `before`: what was known of it; what was so before we looked is not news.
pub(crate) fn of_machine(before: Option<&Machine>, now: &Machine) -> Option<Notice> {
    let before = before?;
    let body = |failure: &Option<_>| {
        failure.as_ref().map(|info: &linkspan_proto::v1::ErrorInfo| info.message.clone())
    };
    if now.state() == MachineState::Failed && before.state() != MachineState::Failed {
        return Some(Notice {
            title: format!("The machine `{}` has failed", now.name),
            body: body(&now.failure).unwrap_or_default(),
        });
    }
    if !now.halted.is_empty() && before.halted.is_empty() {
        return Some(Notice {
            title: format!("The machine `{}` stands still", now.name),
            body: now.halted.clone(),
        });
    }
    let crashed =
        now.last_crash.is_some() && now.last_crash_unix_nanos != before.last_crash_unix_nanos;
    crashed.then(|| Notice {
        title: format!("The machine `{}` crashed and was started again", now.name),
        body: body(&now.last_crash).unwrap_or_default(),
    })
}

/// Filters of `EventService.Events` for what [`of_event`] wants to see.
pub(crate) const FILTERS: [&str; 2] = ["type=container", "event=health_status"];

pub(crate) fn of_event(event: &Event) -> Option<Notice> {
    if event.action != "health_status: unhealthy" {
        return None;
    }
    let attribute = |name| event.attributes.get(name);
    Some(Notice {
        title: format!(
            "The container `{}` is unhealthy",
            attribute("name").unwrap_or(&event.actor_id)
        ),
        body: attribute("image").map(|image| format!("Image: {image}")).unwrap_or_default(),
    })
}

/// Unless the user has turned notifications off.
pub(crate) fn show(app: &AppHandle, notice: Notice) {
    if !app.state::<Preferences>().get().notify {
        return;
    }
    let Notice { title, body } = notice;
    if let Err(error) = app.notification().builder().title(title).body(body).show() {
        tracing::warn!(%error, "cannot show a notification");
    }
}

#[cfg(test)]
mod tests {
    use linkspan_proto::v1::ErrorInfo;

    use super::*;

    fn machine(state: MachineState) -> Machine {
        Machine { name: "default".into(), state: state.into(), ..Machine::default() }
    }

    #[test]
    fn a_failure_is_told_once_and_only_when_it_happens() {
        let failed = Machine {
            failure: Some(ErrorInfo { message: "no kernel".into(), ..ErrorInfo::default() }),
            ..machine(MachineState::Failed)
        };
        let notice = of_machine(Some(&machine(MachineState::Starting)), &failed).unwrap();
        assert_eq!(notice.title, "The machine `default` has failed");
        assert_eq!(notice.body, "no kernel");
        assert_eq!(of_machine(Some(&failed), &failed), None);
        assert_eq!(of_machine(None, &failed), None, "it had failed before we looked");
    }

    #[test]
    fn a_vm_that_stands_still_is_told_once() {
        let running = machine(MachineState::Running);
        let halted = Machine { halted: "the disk is full".into(), ..running.clone() };
        let notice = of_machine(Some(&running), &halted).unwrap();
        assert_eq!(notice.title, "The machine `default` stands still");
        assert_eq!(notice.body, "the disk is full");
        assert_eq!(of_machine(Some(&halted), &halted), None);
        assert_eq!(of_machine(Some(&halted), &running), None);
    }

    #[test]
    fn a_crash_that_was_repaired_is_told_too() {
        let running = machine(MachineState::Running);
        let again = Machine {
            last_crash: Some(ErrorInfo::default()),
            last_crash_unix_nanos: 7,
            ..running.clone()
        };
        assert!(of_machine(Some(&running), &again).unwrap().title.contains("crashed"));
        assert_eq!(of_machine(Some(&again), &again), None);
        assert_eq!(of_machine(Some(&again), &running), None);
    }

    #[test]
    fn only_an_unhealthy_container_is_news() {
        let event = |action: &str| Event {
            action: action.into(),
            attributes: [("name".into(), "web".into()), ("image".into(), "nginx".into())].into(),
            ..Event::default()
        };
        assert_eq!(of_event(&event("health_status: healthy")), None);
        let notice = of_event(&event("health_status: unhealthy")).unwrap();
        assert_eq!(notice.title, "The container `web` is unhealthy");
        assert_eq!(notice.body, "Image: nginx");
    }
}
