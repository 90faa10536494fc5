//! What a queue does, operation by operation.

use super::*;
use crate::broker::fixture::{Fixture, name};
use crate::broker::queue::{BrowseRequest, ClaimRequest, Deletion};
use crate::broker::{NewMessage, PullRequest};
use crate::domain::subscription::GroupId;
use crate::domain::topic::Retention;
use crate::domain::{Offset, ProducerId};

const MINUTE: Duration = Duration::from_secs(60);

struct World {
    fixture: Fixture,
    project: ProjectId,
    queue: Queue,
}

impl World {
    async fn new() -> Self {
        Self::with(DeadLetterPolicy::default()).await
    }

    async fn with(policy: DeadLetterPolicy) -> Self {
        let fixture = Fixture::new().await;
        let project = fixture.project().await;
        let (queue, made) = make(&fixture.broker, project, "jobs", policy).await;
        assert!(made);
        Self { fixture, project, queue }
    }

    fn broker(&self) -> &Broker {
        &self.fixture.broker
    }

    /// Posts messages with these delays and ttls in seconds, by producer 1.
    async fn post(&self, times: &[(u64, u64)]) {
        let mut batch = self.broker().batch();
        for (delay, ttl) in times {
            let seconds = |of: u64| (of > 0).then(|| Duration::from_secs(of));
            let (delay, ttl) = (seconds(*delay), seconds(*ttl));
            batch
                .push(&NewMessage { payload: b"1", producer: ProducerId(1), delay, ttl, ..NewMessage::default() })
                .unwrap();
        }
        self.broker().publish(&self.queue.topic, batch).await.unwrap();
    }

    async fn claim(&self, id: u128, messages_max: u32) -> Vec<u64> {
        let request = ClaimRequest { id: GroupId(id), messages_max, ttl: MINUTE, grace: MINUTE };
        offsets(&self.broker().claim(&self.queue, request).await.unwrap())
    }

    async fn list(&self, request: BrowseRequest) -> Vec<u64> {
        let request = BrowseRequest { messages_max: 10, ..request };
        offsets(&self.broker().browse_queue(&self.queue, request).await.unwrap())
    }

    async fn figures(&self) -> (u64, u64, Option<u64>, Option<u64>) {
        let figures = self.broker().queue_statistics(&self.queue).await.unwrap();
        let offset = |of: &Option<crate::domain::message::Published>| of.as_ref().map(|message| message.offset.0);
        (figures.claimed, figures.free, offset(&figures.oldest), offset(&figures.newest))
    }
}

async fn make(broker: &Broker, project: ProjectId, called: &str, policy: DeadLetterPolicy) -> (Queue, bool) {
    let new = NewTopic { name: name(called), retention: Retention::default(), schema: None, created_by: None };
    broker.create_queue(project, new, Bytes::from_static(b"{}"), policy).await.unwrap()
}

fn offsets(messages: &[QueueMessage]) -> Vec<u64> {
    messages.iter().map(|message| message.published.offset.0).collect()
}

fn all() -> BrowseRequest {
    BrowseRequest { claimed: true, delayed: true, ..BrowseRequest::default() }
}

#[tokio::test(start_paused = true)]
async fn a_queue_made_twice_stays_as_it_is_and_one_made_anew_is_empty() {
    let world = World::new().await;
    world.post(&[(0, 0)]).await;
    let (again, made) = make(world.broker(), world.project, "jobs", DeadLetterPolicy::default()).await;
    assert!(!made && again.topic.id == world.queue.topic.id);
    assert!(world.broker().delete_queue(world.project, &name("jobs")).await.unwrap());
    assert!(!world.broker().delete_queue(world.project, &name("jobs")).await.unwrap());
    assert!(world.broker().queue(world.project, &name("jobs")).await.is_err());
    let (queue, made) = make(world.broker(), world.project, "jobs", DeadLetterPolicy::default()).await;
    let world = World { queue, ..world };
    assert_eq!((made, world.figures().await), (true, (0, 0, None, None)));
}

#[tokio::test(start_paused = true)]
async fn a_topic_becomes_a_queue_with_all_that_it_keeps_and_its_subscribers_get_what_the_queue_deletes() {
    let world = World::new().await;
    let topic = world.fixture.topic_in(world.project, "records").await;
    let line = world.fixture.subscription(&topic, AckMode::Cumulative).await;
    crate::broker::fixture::publish(world.broker(), &topic, &["a", "b"]).await.unwrap();
    let queue = world.broker().queue(world.project, &topic.name).await.unwrap();
    let world = World { queue, ..world };
    assert_eq!(world.list(BrowseRequest::default()).await, [0, 1]);
    assert_eq!(offsets(&world.broker().pop(&world.queue, 5).await.unwrap()), [0, 1]);
    let pull = PullRequest { messages_max: 5, ..PullRequest::default() };
    assert_eq!(world.broker().pull(&line, pull).await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_shown_renewed_released_and_ends_at_its_deadline() {
    let world = World::new().await;
    world.post(&[(0, 600), (0, 600), (0, 600)]).await;
    assert_eq!(world.claim(7, 2).await, [0, 1]);
    assert_eq!(world.claim(8, 2).await, [2]);
    assert_eq!(world.claim(9, 2).await, [0_u64; 0]);
    tokio::time::sleep(MINUTE / 2).await;
    let claim = world.broker().claimed(&world.queue, GroupId(7)).await.unwrap().unwrap();
    assert_eq!((offsets(&claim.messages), claim.until.since(claim.since)), (vec![0, 1], MINUTE));
    assert!(world.broker().renew_claim(&world.queue, GroupId(7), MINUTE * 2, MINUTE).await.unwrap());
    let renewed = world.broker().claimed(&world.queue, GroupId(7)).await.unwrap().unwrap();
    assert!(renewed.since >= claim.since.plus(MINUTE / 2) && renewed.until.since(renewed.since) == MINUTE * 2);
    world.broker().release_claim(&world.queue, GroupId(8)).await.unwrap();
    assert_eq!(world.broker().claimed(&world.queue, GroupId(8)).await.unwrap(), None);
    assert_eq!(world.figures().await, (2, 1, Some(0), Some(2)));
    tokio::time::sleep(MINUTE * 3).await;
    assert!(!world.broker().renew_claim(&world.queue, GroupId(7), MINUTE, MINUTE).await.unwrap());
    assert_eq!(world.claim(10, 5).await, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_claimed_message_is_deleted_by_its_claim_alone_but_in_bulk_by_anybody() {
    let world = World::new().await;
    world.post(&[(0, 0); 4]).await;
    world.claim(7, 2).await;
    let delete = async |at: u64, claim: Option<u128>| {
        world.broker().delete_message(&world.queue, Offset(at), claim.map(GroupId)).await.unwrap()
    };
    assert_eq!(delete(0, None).await, Deletion::Claimed);
    assert_eq!(delete(0, Some(8)).await, Deletion::NoSuchClaim);
    assert_eq!(delete(2, Some(7)).await, Deletion::NotClaimed);
    assert_eq!(delete(0, Some(7)).await, Deletion::Done);
    assert_eq!(delete(0, None).await, Deletion::Done, "it is gone");
    assert_eq!(delete(99, None).await, Deletion::Done, "it never was");
    assert_eq!(delete(3, None).await, Deletion::Done);
    assert_eq!(world.figures().await, (1, 1, Some(1), Some(2)));
    world.broker().delete_messages(&world.queue, &[Offset(1), Offset(77)]).await.unwrap();
    assert_eq!(world.figures().await, (0, 1, Some(2), Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_list_leaves_out_what_is_claimed_delayed_expired_or_its_own_as_asked() {
    let world = World::new().await;
    world.post(&[(0, 600), (0, 5), (20, 600), (0, 600)]).await;
    world.claim(7, 1).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(world.list(BrowseRequest::default()).await, [3]);
    assert_eq!(world.list(BrowseRequest { claimed: true, ..BrowseRequest::default() }).await, [0, 3]);
    assert_eq!(world.list(all()).await, [0, 2, 3]);
    assert_eq!(world.list(BrowseRequest { from: Offset(1), ..all() }).await, [2, 3]);
    assert_eq!(world.list(BrowseRequest { except_producer: Some(ProducerId(1)), ..all() }).await, [0_u64; 0]);
    assert_eq!(world.figures().await, (1, 2, Some(0), Some(3)));
    let seen = world.broker().messages_at(&world.queue, &[Offset(3), Offset(1), Offset(0), Offset(9)]).await.unwrap();
    assert_eq!((offsets(&seen), seen[1].claim), (vec![3, 0], Some(GroupId(7))));
}

#[tokio::test(start_paused = true)]
async fn a_claim_makes_short_lives_longer_and_never_shorter() {
    for (ttl, grace, lives) in [(777, 23, 800), (121, 22, 143), (60, 30, 120)] {
        let world = World::new().await;
        world.post(&[(0, 120)]).await;
        let (ttl, grace) = (Duration::from_secs(ttl), Duration::from_secs(grace));
        let request = ClaimRequest { id: GroupId(1), messages_max: 1, ttl, grace };
        let claimed = world.broker().claim(&world.queue, request).await.unwrap().remove(0);
        assert_eq!(claimed.end.since(claimed.published.at).as_secs(), lives);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_claimed_too_often_goes_to_the_other_queue_and_begins_a_new_life() {
    let (max_attempts, ttl) = (Some(2), Some(MINUTE * 5));
    let world = World::with(DeadLetterPolicy { max_attempts, topic: Some(name("dead")), ttl }).await;
    let (dead, _) = make(world.broker(), world.project, "dead", DeadLetterPolicy::default()).await;
    world.post(&[(0, 86_400)]).await;
    for id in 1..=2 {
        assert_eq!(world.claim(id, 1).await, [0]);
        tokio::time::sleep(MINUTE + Duration::from_secs(1)).await;
    }
    assert_eq!(world.claim(3, 1).await, [0_u64; 0]);
    let moved = World { queue: dead, ..world };
    let mut found = Vec::new();
    for _ in 0..100 {
        found = moved.broker().browse_queue(&moved.queue, BrowseRequest { messages_max: 5, ..all() }).await.unwrap();
        if !found.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(offsets(&found), [0]);
    assert_eq!((found[0].claim, found[0].end.since(found[0].published.at)), (None, MINUTE * 5));
}
