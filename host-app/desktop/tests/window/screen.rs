//! The windows on the screen, as a window manager sees them.

use x11rb::{
    connection::Connection as _,
    protocol::xproto::{
        AtomEnum, ClientMessageEvent, ConnectionExt as _, EventMask, MapState, Window,
    },
    rust_connection::RustConnection,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub(crate) struct Screen {
    connection: RustConnection,
    root: Window,
}

impl Screen {
    pub(crate) fn open(display: &str) -> Self {
        let (connection, number) = x11rb::connect(Some(display)).expect("a display");
        let root = connection.setup().roots[number].root;
        Self { connection, root }
    }

    /// Whether a window of this title is shown.
    pub(crate) fn shows(&self, title: &str) -> bool {
        // A window may go between two questions.
        self.find(title).is_ok_and(|window| window.is_some())
    }

    /// Closes it as its own cross would.
    pub(crate) fn close(&self, title: &str) {
        self.try_close(title).unwrap_or_else(|error| panic!("`{title}`: {error}"));
    }

    fn try_close(&self, title: &str) -> Result<()> {
        let window = self.find(title)?.ok_or("there is no such window")?;
        let delete = [self.atom("WM_DELETE_WINDOW")?, x11rb::CURRENT_TIME, 0, 0, 0];
        let event = ClientMessageEvent::new(32, window, self.atom("WM_PROTOCOLS")?, delete);
        self.connection.send_event(false, window, EventMask::NO_EVENT, event)?;
        self.connection.flush()?;
        Ok(())
    }

    fn find(&self, title: &str) -> Result<Option<Window>> {
        for window in self.connection.query_tree(self.root)?.reply()?.children {
            let (name, text) = (AtomEnum::WM_NAME, AtomEnum::ANY);
            let property = self.connection.get_property(false, window, name, text, 0, 64)?;
            let shown = self.connection.get_window_attributes(window)?.reply()?.map_state;
            if property.reply()?.value == title.as_bytes() && shown == MapState::VIEWABLE {
                return Ok(Some(window));
            }
        }
        Ok(None)
    }

    fn atom(&self, name: &str) -> Result<u32> {
        Ok(self.connection.intern_atom(false, name.as_bytes())?.reply()?.atom)
    }
}
