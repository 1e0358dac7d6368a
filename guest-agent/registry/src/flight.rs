//! One download of a blob for all who want it at the same time.

use std::collections::HashMap;
use std::sync::Arc;

use linkspan_images::Digest;
use parking_lot::Mutex;
use tokio::sync::watch;

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flight {
    Bytes(u64),
    Landed,
}

type Table = Arc<Mutex<HashMap<Digest, watch::Receiver<Flight>>>>;

/// The blobs that are being downloaded.
#[derive(Default)]
pub(crate) struct Flights(Table);

/// Part in a download.
pub(crate) enum Part {
    /// This caller downloads; the others watch.
    Pilot(Pilot),
    /// Another does. The channel closes without `Landed` if that one fails or goes away.
    Passenger(watch::Receiver<Flight>),
}

/// Ends the flight when dropped, landed or not.
pub(crate) struct Pilot {
    digest: Digest,
    table: Table,
    state: watch::Sender<Flight>,
}

impl Flights {
    pub(crate) fn board(&self, digest: Digest) -> Part {
        let mut table = self.0.lock();
        if let Some(state) = table.get(&digest) {
            return Part::Passenger(state.clone());
        }
        let (state, receiver) = watch::channel(Flight::Bytes(0));
        table.insert(digest, receiver);
        Part::Pilot(Pilot { digest, table: self.0.clone(), state })
    }
}

impl Pilot {
    pub(crate) fn bytes(&self, current: u64) {
        self.state.send_replace(Flight::Bytes(current));
    }

    pub(crate) fn landed(self) {
        self.state.send_replace(Flight::Landed);
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        // Before the channel closes: who boards after that gets a flight of its own.
        self.table.lock().remove(&self.digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_during_a_download_shares_it_and_takes_over_when_it_fails() {
        let flights = Flights::default();
        let digest = Digest::of(b"x");
        let Part::Pilot(first) = flights.board(digest) else { panic!("nobody else is there") };
        let Part::Passenger(mut second) = flights.board(digest) else { panic!("one is enough") };
        assert!(matches!(flights.board(Digest::of(b"y")), Part::Pilot(_)));
        first.bytes(7);
        second.changed().await.unwrap();
        assert_eq!(*second.borrow_and_update(), Flight::Bytes(7));
        drop(first);
        assert!(second.changed().await.is_err());
        let Part::Pilot(second) = flights.board(digest) else { panic!("the first has gone") };
        let Part::Passenger(third) = flights.board(digest) else { panic!("one is enough") };
        second.landed();
        assert_eq!(*third.borrow(), Flight::Landed);
        assert!(matches!(flights.board(digest), Part::Pilot(_)));
    }
}
