//! One look at the guest for all who ask it the same at the same time.
//!
//! An answer must be as new as its question. So who asks while a look is under way does not get
//! that one's answer but the next one's, which begins when it has ended and is for all who asked
//! until then. Under load a guest is asked once for many clients, and one at a time.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};
use parking_lot::Mutex;

use super::answer::Refusal;

/// A body, or why there is none.
pub(super) type Body = Result<Bytes, Refusal>;
type Look = Shared<BoxFuture<'static, Body>>;

/// The looks that are under way or to come, by what is asked.
#[derive(Default)]
pub(super) struct Together(Mutex<HashMap<String, Next>>);

/// The last one of its kind. Only those who wait for it keep it alive, and make it go on.
struct Next {
    look: WeakShared<BoxFuture<'static, Body>>,
    begun: Arc<AtomicBool>,
}

impl Together {
    /// The answer to a question of now. `look` is called at most once, when nobody else's answer
    /// is new enough.
    pub(super) async fn ask(
        &self,
        question: String,
        look: impl FnOnce() -> BoxFuture<'static, Body> + Send + 'static,
    ) -> Body {
        self.join(question, look).await
    }

    fn join(
        &self,
        question: String,
        look: impl FnOnce() -> BoxFuture<'static, Body> + Send + 'static,
    ) -> Look {
        let mut all = self.0.lock();
        all.retain(|_, next| next.look.upgrade().is_some());
        let last = all.get(&question);
        let last = last.and_then(|next| Some((next.look.upgrade()?, next.begun.clone())));
        let before = match last {
            Some((look, begun)) if !begun.load(Ordering::SeqCst) => return look,
            Some((look, _)) => Some(look),
            None => None,
        };
        let begun = Arc::new(AtomicBool::new(false));
        let begins = begun.clone();
        let look = async move {
            if let Some(before) = before {
                // Its answer is for others.
                let _ = before.await;
            }
            begins.store(true, Ordering::SeqCst);
            look().await
        };
        let look = look.boxed().shared();
        if let Some(weak) = look.downgrade() {
            all.insert(question, Next { look: weak, begun });
        }
        look
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Semaphore;

    use super::*;

    /// Looks that end one by one when they are let, each with its number.
    #[derive(Clone)]
    struct Guest(Arc<(AtomicUsize, Semaphore)>);

    impl Guest {
        fn new() -> Self {
            Self(Arc::new((AtomicUsize::default(), Semaphore::new(0))))
        }

        fn look(&self) -> impl FnOnce() -> BoxFuture<'static, Body> + Send + 'static {
            let guest = self.clone();
            move || {
                async move {
                    let number = guest.0.0.fetch_add(1, Ordering::SeqCst);
                    guest.0.1.acquire().await.expect("open").forget();
                    Ok(Bytes::from(number.to_string()))
                }
                .boxed()
            }
        }

        fn looks(&self) -> usize {
            self.0.0.load(Ordering::SeqCst)
        }
    }

    fn number(body: Option<Body>) -> Option<String> {
        body.map(|body| String::from_utf8_lossy(&body.expect("an answer")).into_owned())
    }

    #[tokio::test]
    async fn who_asks_during_a_look_shares_the_next_one() {
        let (together, guest) = (Together::default(), Guest::new());
        let mut first = together.join("q".into(), guest.look());
        assert_eq!(number((&mut first).now_or_never()), None);
        let mut later: Vec<_> = (0..5).map(|_| together.join("q".into(), guest.look())).collect();
        let mut other = together.join("other".into(), guest.look());
        assert_eq!(number((&mut other).now_or_never()), None);
        assert!(later.iter_mut().all(|look| look.now_or_never().is_none()));
        assert_eq!(guest.looks(), 2);
        guest.0.1.add_permits(3);
        assert_eq!(number(Some(first.await)).as_deref(), Some("0"));
        for look in later {
            assert_eq!(number(Some(look.await)).as_deref(), Some("2"));
        }
        assert_eq!(number(Some(other.await)).as_deref(), Some("1"));
        assert_eq!(guest.looks(), 3);
    }

    #[tokio::test]
    async fn a_look_goes_on_as_long_as_somebody_waits_and_leaves_nothing() {
        let (together, guest) = (Together::default(), Guest::new());
        let mut first = together.join("q".into(), guest.look());
        assert!((&mut first).now_or_never().is_none());
        let second = together.join("q".into(), guest.look());
        // Who began it hangs up.
        drop(first);
        guest.0.1.add_permits(2);
        assert_eq!(number(Some(second.await)).as_deref(), Some("1"));
        // Nobody waits any more: this one is asked anew, and the one before is forgotten.
        let again = together.ask("r".into(), guest.look());
        guest.0.1.add_permits(1);
        assert_eq!(number(Some(again.await)).as_deref(), Some("2"));
        drop(together.join("s".into(), guest.look()));
        let last = together.join("t".into(), guest.look());
        assert_eq!(together.0.lock().len(), 1);
        drop(last);
    }
}
