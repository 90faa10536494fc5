//! How often somebody must be woken for one publish: the request's own task, and the threads of the process.
//!
//! On busy cores each of these costs a scheduling slice, which is more than everything else in a publish.

use crate::{ALONE, PUBLISH, World, application, messages};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Wakes another waker, and counts.
#[derive(Debug)]
struct Counting {
    wakes: AtomicU64,
    behind: Waker,
}

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        self.behind.wake_by_ref();
    }
}

/// What a future gives, and how often it was woken on the way.
async fn woken<F: Future>(future: F) -> (F::Output, u64) {
    let mut future = pin!(future);
    let mut counting: Option<Arc<Counting>> = None;
    std::future::poll_fn(move |context| {
        let counting = counting
            .get_or_insert_with(|| Arc::new(Counting { wakes: AtomicU64::new(0), behind: context.waker().clone() }));
        match future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(counting)))) {
            Poll::Ready(output) => Poll::Ready((output, counting.wakes.load(Ordering::Relaxed))),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// How often the threads of this process have gone to sleep of themselves so far; none where the system does not tell.
fn sleeps() -> Option<u64> {
    let mut total = 0;
    for thread in std::fs::read_dir("/proc/self/task").ok()? {
        // A thread that has ended meanwhile counts no more.
        let Ok(status) = std::fs::read_to_string(thread.ok()?.path().join("status")) else { continue };
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        total += line.trim().parse::<u64>().ok()?;
    }
    Some(total)
}

#[actix_web::test]
async fn a_publish_is_woken_once_by_the_thread_that_synced_it() {
    let _alone = ALONE.lock().await;
    let world = World::new().await;
    let call = application(&world).await;
    call("POST", PUBLISH, messages(1, 0)).await;
    let mut most = 0;
    for _ in 0..50 {
        let (_, wakes) = woken(call("POST", PUBLISH, messages(1, 0))).await;
        most = most.max(wakes);
    }
    println!("wake-ups of a publish's task: at most {most}");
    assert!(most <= 1, "{most} wake-ups");
    world.store.close().await.unwrap();
}

#[actix_web::test]
async fn a_publish_puts_two_threads_to_sleep_once_each() {
    const PUBLISHES: u64 = 200;
    let _alone = ALONE.lock().await;
    let world = World::new().await;
    let call = application(&world).await;
    call("POST", PUBLISH, messages(1, 0)).await;
    let (before, work) = (sleeps(), world.disk.counts.now());
    for _ in 0..PUBLISHES {
        call("POST", PUBLISH, messages(1, 0)).await;
    }
    let (after, work) = (sleeps(), world.disk.counts.since(work));
    world.store.close().await.unwrap();
    let Some((before, after)) = before.zip(after) else { return };
    // The disk in memory sleeps for each sync, as a thread does that waits for a real one.
    let sleeps = after - before - work.syncs;
    println!("sleeps of threads beside the disk's, for {PUBLISHES} publishes: {sleeps}");
    // The thread that serves waits for the answer, the thread that syncs waits for the next request. A tenth for what else runs.
    assert!(sleeps * 10 <= PUBLISHES * 22, "{sleeps} sleeps for {PUBLISHES} publishes");
}
