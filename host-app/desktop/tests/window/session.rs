//! What a desktop is to the app, on a session bus: it takes notifications and keeps trays.
//!
//! The specifications: Desktop Notifications 1.2, `StatusNotifierItem`, and `com.canonical.dbusmenu` as
//! libayatana-appindicator speaks it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use linkspan_test_e2e::wait_until;
use parking_lot::Mutex;
use zbus::{
    blocking::{Connection, Proxy, connection},
    message::Header,
    zvariant::{ObjectPath, OwnedValue, Structure, Value},
};

const SOON: Duration = Duration::from_secs(30);

/// A notification's title and text.
pub(crate) type Notice = (String, String);

#[derive(Debug, Default)]
struct Notifications(Arc<Mutex<Vec<Notice>>>);

#[zbus::interface(name = "org.freedesktop.Notifications")]
impl Notifications {
    #[expect(clippy::too_many_arguments, reason = "the specification's")]
    fn notify(
        &self,
        _app: &str,
        _replaces: u32,
        _icon: &str,
        title: String,
        body: String,
        _actions: Vec<String>,
        _hints: HashMap<String, OwnedValue>,
        _timeout: i32,
    ) -> u32 {
        let mut told = self.0.lock();
        told.push((title, body));
        u32::try_from(told.len()).expect("a test has few")
    }

    fn get_capabilities(&self) -> Vec<String> {
        vec!["body".into()]
    }

    fn get_server_information(&self) -> (String, String, String, String) {
        ("a test".into(), "Linkspan".into(), "1".into(), "1.2".into())
    }

    fn close_notification(&self, _id: u32) {}
}

/// Who has a tray: its name on the bus and where its item is.
type Item = (String, String);

#[derive(Debug, Default)]
struct Watcher(Arc<Mutex<Vec<Item>>>);

#[zbus::interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    fn register_status_notifier_item(&self, item: String, #[zbus(header)] header: Header<'_>) {
        let sender = header.sender().map(ToString::to_string).unwrap_or_default();
        self.0.lock().push((sender, item));
    }

    fn register_status_notifier_host(&self, _host: String) {}

    #[zbus(property)]
    fn registered_status_notifier_items(&self) -> Vec<String> {
        self.0.lock().iter().map(|(name, item)| format!("{name}{item}")).collect()
    }

    #[zbus(property)]
    fn is_status_notifier_host_registered(&self) -> bool {
        true
    }

    #[zbus(property)]
    fn protocol_version(&self) -> i32 {
        0
    }
}

/// The desktop, as long as it is kept.
pub(crate) struct Session {
    connection: Connection,
    told: Arc<Mutex<Vec<Notice>>>,
    items: Arc<Mutex<Vec<Item>>>,
}

impl Session {
    /// On the bus at this address.
    pub(crate) fn on(address: &str) -> Self {
        let (told, items) = (Arc::default(), Arc::default());
        let connection = (|| {
            connection::Builder::address(address)?
                .serve_at("/org/freedesktop/Notifications", Notifications(Arc::clone(&told)))?
                .serve_at("/StatusNotifierWatcher", Watcher(Arc::clone(&items)))?
                .name("org.freedesktop.Notifications")?
                .name("org.kde.StatusNotifierWatcher")?
                .build()
        })();
        Self { connection: connection.expect("a place on the bus"), told, items }
    }

    /// What the user was told since this was asked last.
    pub(crate) fn told(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.told.lock())
    }

    /// Waits for a notification with these words in its title, and gives its text.
    #[track_caller]
    pub(crate) fn hear(&self, title: &str, patience: Duration) -> String {
        let heard = || self.told.lock().iter().find(|(told, _)| told.contains(title)).cloned();
        let came = wait_until(patience, || heard().is_some());
        assert!(came, "no notification `{title}`, but {:?}", self.told.lock());
        heard().expect("it came").1
    }

    /// The tray of the app that came last.
    #[track_caller]
    pub(crate) fn tray(&self) -> Tray {
        assert!(wait_until(SOON, || !self.items.lock().is_empty()), "the app has no tray");
        let (name, item) = self.items.lock().last().cloned().expect("it has one");
        Tray { connection: self.connection.clone(), name, item }
    }

    /// No tray is known: the next one is that of the next app.
    pub(crate) fn forget_trays(&self) {
        self.items.lock().clear();
    }
}

/// An app's item in the tray, with its menu.
pub(crate) struct Tray {
    connection: Connection,
    name: String,
    item: String,
}

/// An entry of a menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    id: i32,
    pub(crate) label: String,
    pub(crate) enabled: bool,
}

impl Tray {
    /// The entries that are not lines between others.
    pub(crate) fn menu(&self) -> zbus::Result<Vec<Entry>> {
        let none: &[&str] = &[];
        let menu = self.menu_proxy()?;
        let answer = menu.call_method("GetLayout", &(0_i32, -1_i32, none))?;
        let (_, (_, _, children)): (u32, (i32, HashMap<String, OwnedValue>, Vec<OwnedValue>)) =
            answer.body().deserialize()?;
        Ok(children.iter().filter_map(|child| entry(child)).collect())
    }

    /// Waits until the menu has an entry of this label that can be chosen, or that cannot.
    #[track_caller]
    pub(crate) fn shows(&self, label: &str, enabled: bool, patience: Duration) -> Entry {
        let mut found = None;
        let shown = wait_until(patience, || {
            let menu = self.menu().unwrap_or_default();
            found = menu.into_iter().find(|each| each.label == label && each.enabled == enabled);
            found.is_some()
        });
        assert!(shown, "no `{label}` (enabled: {enabled}) in {:?}", self.menu());
        found.expect("it is shown")
    }

    /// Chooses it.
    #[track_caller]
    pub(crate) fn choose(&self, label: &str) {
        let entry = self.shows(label, true, SOON);
        let chosen = self.menu_proxy().and_then(|menu| {
            menu.call_method("Event", &(entry.id, "clicked", Value::from(0_i32), 0_u32)).map(drop)
        });
        chosen.unwrap_or_else(|error| panic!("`{label}` cannot be chosen: {error}"));
    }

    /// What the icon is: a picture's path, another one for each look.
    pub(crate) fn icon(&self) -> String {
        let icon = self.item_proxy().and_then(|item| item.get_property("IconName"));
        icon.unwrap_or_else(|error| panic!("the item has no icon: {error}"))
    }

    fn item_proxy(&self) -> zbus::Result<Proxy<'_>> {
        let (name, item) = (self.name.as_str(), self.item.as_str());
        Proxy::new(&self.connection, name, item, "org.kde.StatusNotifierItem")
    }

    fn menu_proxy(&self) -> zbus::Result<Proxy<'_>> {
        let path: zbus::zvariant::OwnedObjectPath = self.item_proxy()?.get_property("Menu")?;
        let path: ObjectPath<'_> = path.into_inner();
        Proxy::new(&self.connection, self.name.as_str(), path, "com.canonical.dbusmenu")
    }
}

/// `(ia{sv}av)`: id, properties, children.
fn entry(child: &Value<'_>) -> Option<Entry> {
    let parts = Structure::try_from(child.try_clone().ok()?).ok()?;
    let [Value::I32(id), Value::Dict(properties), _] = parts.fields() else { return None };
    let label: String = properties.get(&"label").ok()??;
    // True unless it is said.
    let enabled: Option<bool> = properties.get(&"enabled").ok()?;
    Some(Entry { id: *id, label, enabled: enabled.unwrap_or(true) })
}
