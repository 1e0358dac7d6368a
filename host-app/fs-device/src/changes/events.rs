//! What inotify has told, made ready to be compared.

use std::collections::HashMap;

use rustix::fs::inotify::ReadFlags;

use super::Place;

/// One event of inotify.
pub(super) struct Event {
    pub(super) place: Place,
    pub(super) flags: ReadFlags,
    pub(super) cookie: u32,
}

/// The names to compare, in the order of their first events.
#[derive(Default)]
pub(super) struct Names {
    pub(super) list: Vec<(Place, bool)>,
    positions: HashMap<Place, usize>,
}

impl Names {
    pub(super) fn of(events: &[Event]) -> Self {
        let mut names = Self::default();
        for event in events {
            names.add(&event.place, event.flags.contains(ReadFlags::CLOSE_WRITE));
        }
        names
    }

    fn add(&mut self, place: &Place, closed: bool) {
        let position = *self.positions.entry(place.clone()).or_insert(self.list.len());
        match self.list.get_mut(position) {
            Some((_, already)) => *already |= closed,
            None => self.list.push((place.clone(), closed)),
        }
    }

    /// What was closed under the old name is closed under the new one.
    pub(super) fn moved(&mut self, from: &Place, to: &Place) {
        let closed = self.positions.get(from).is_some_and(|position| self.list[*position].1);
        self.add(to, closed);
    }
}

/// Both ends of each move within what is watched.
pub(super) fn moves(events: &[Event]) -> Vec<(&Place, &Place)> {
    let mut from = HashMap::new();
    let mut moves = Vec::new();
    for event in events {
        if event.flags.contains(ReadFlags::MOVED_FROM) {
            from.insert(event.cookie, &event.place);
        } else if event.flags.contains(ReadFlags::MOVED_TO)
            && let Some(from) = from.remove(&event.cookie)
        {
            moves.push((from, &event.place));
        }
    }
    moves
}
