//! Credit: how much each side may send before the other has read. One [`Granted`] and one
//! [`Taken`] for each connection; both only count.
//!
//! The counters are 32 bits wide and wrap. Source: virtio 1.2, section 5.10.6.3.

/// What we let the guest send: the room in our buffer.
#[derive(Debug)]
pub(crate) struct Granted {
    buf_alloc: u32,
    received: u32,
    forwarded: u32,
    /// `forwarded` as the guest knows it.
    told: u32,
}

/// The guest sent more than it may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overrun;

impl Granted {
    pub(crate) fn new(buf_alloc: u32) -> Self {
        Self { buf_alloc, received: 0, forwarded: 0, told: 0 }
    }

    /// So many bytes came.
    pub(crate) fn receive(&mut self, count: u32) -> Result<(), Overrun> {
        let held = self.received.wrapping_sub(self.forwarded);
        if count > self.buf_alloc - held {
            return Err(Overrun);
        }
        self.received = self.received.wrapping_add(count);
        Ok(())
    }

    /// So many of them have left our buffer. Never more than came.
    pub(crate) fn forward(&mut self, count: u32) {
        self.forwarded = self.forwarded.wrapping_add(count);
    }

    /// The guest should hear of the room that there is again. At half the buffer: seldom enough to
    /// cost little, early enough for the guest not to run dry.
    pub(crate) fn is_news(&self) -> bool {
        self.forwarded.wrapping_sub(self.told) >= self.buf_alloc / 2
    }

    /// `buf_alloc` and `fwd_cnt` for a packet that goes to the guest now.
    pub(crate) fn tell(&mut self) -> (u32, u32) {
        self.told = self.forwarded;
        (self.buf_alloc, self.forwarded)
    }
}

/// What the guest lets us send: the room in its buffer, as far as we have heard.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    buf_alloc: u32,
    sent: u32,
    forwarded: u32,
}

impl Taken {
    /// From a packet of the guest's. Whatever it says, [`available`](Self::available) stays within
    /// its `buf_alloc`.
    pub(crate) fn hear(&mut self, buf_alloc: u32, fwd_cnt: u32) {
        self.buf_alloc = buf_alloc;
        self.forwarded = fwd_cnt;
    }

    /// Bytes that may be sent now.
    pub(crate) fn available(&self) -> u32 {
        self.buf_alloc.saturating_sub(self.sent.wrapping_sub(self.forwarded))
    }

    /// So many were sent. Never more than were available.
    pub(crate) fn send(&mut self, count: u32) {
        self.sent = self.sent.wrapping_add(count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_guest_may_fill_the_buffer_and_not_one_byte_more() {
        let mut granted = Granted::new(100);
        assert_eq!(granted.receive(100), Ok(()));
        assert_eq!(granted.receive(1), Err(Overrun));
        granted.forward(49);
        assert!(!granted.is_news());
        granted.forward(1);
        assert!(granted.is_news());
        assert_eq!(granted.tell(), (100, 50));
        assert!(!granted.is_news());
        assert_eq!(granted.receive(51), Err(Overrun));
        assert_eq!(granted.receive(50), Ok(()));
    }

    #[test]
    fn a_buffer_that_shrinks_below_what_is_on_its_way_leaves_no_credit() {
        let mut taken = Taken::default();
        assert_eq!(taken.available(), 0, "nothing was heard yet");
        taken.hear(1000, 0);
        taken.send(800);
        taken.hear(100, 0);
        assert_eq!(taken.available(), 0);
        taken.hear(100, 750);
        assert_eq!(taken.available(), 50);
    }

    proptest! {
        #[test]
        fn both_sides_agree_across_the_wrap_of_the_counters(
            start: u32,
            steps in proptest::collection::vec((0_u32..5000, 0_u32..5000), 1..100),
        ) {
            let mut granted =
                Granted { buf_alloc: 4096, received: start, forwarded: start, told: start };
            let mut taken = Taken { buf_alloc: 4096, sent: start, forwarded: start };
            let mut held = 0;
            for (send, forward) in steps {
                let count = send.min(taken.available());
                prop_assert_eq!(granted.receive(count), Ok(()));
                taken.send(count);
                held += count;
                let read = forward.min(held);
                granted.forward(read);
                held -= read;
                if granted.is_news() {
                    let (buf_alloc, fwd_cnt) = granted.tell();
                    taken.hear(buf_alloc, fwd_cnt);
                }
                // Neither side waits for the other for ever.
                prop_assert!(held > 0 || taken.available() > 0);
            }
        }

        #[test]
        fn no_count_of_the_guests_gives_more_than_its_buffer(sent: u32, buf: u32, fwd: u32) {
            let mut taken = Taken { buf_alloc: 0, sent, forwarded: 0 };
            taken.hear(buf, fwd);
            prop_assert!(taken.available() <= buf);
        }
    }
}
