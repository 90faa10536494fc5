//! A connection's life: hears messages, answers pings, asks a silent client whether it is there, and ends with those that are gone, take
//! nothing, or are not understood.

use super::frames::{self, Event, Kind, Reader, Wrong};
use super::outbox::{Outbox, Outgoing};
use crate::api::{Room, SMALL, Share, hang_up};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, Payload};
use futures_util::StreamExt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, Sleep};

/// While more waits for a client than this, nothing more of what it sends is heard, and nothing should be sent that it did not ask for.
const UNTAKEN_BYTES: usize = 64 << 10;

/// What a connection may take.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// Largest message of a client.
    pub(crate) bytes_max: usize,
    /// Longest time between the first and the last byte of one.
    pub(crate) time_max: Duration,
    /// After so long a silence a client is asked whether it is there, and after as long again it is gone; so is one that takes nothing for
    /// as long.
    pub(crate) silence: Duration,
    /// For what comes.
    pub(crate) incoming: Arc<Room>,
    /// For what waits to be taken.
    pub(crate) outgoing: Arc<Room>,
}

/// What a client says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) bytes: Bytes,
}

/// What happens on a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    /// The client said something.
    Message(Message),
    /// It has taken so much that there is room again.
    Room,
}

/// One connection, as long as it lasts.
pub(crate) struct Line {
    request: HttpRequest,
    payload: Payload,
    bounds: Bounds,
    reader: Reader,
    /// Of the room for what comes: what is held of an unfinished message.
    share: Share,
    /// When an unfinished message is too late.
    late: Option<Pin<Box<Sleep>>>,
    outbox: Outbox,
    tick: Interval,
    /// Ticks since anything came.
    silent: u8,
    /// How much had been taken at the last tick, if more waited.
    taken: Option<u64>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("outbox", &self.outbox).finish_non_exhaustive()
    }
}

/// What ends a line from our side: the standard's code, and why.
struct End(u16, &'static str);

impl From<Wrong> for End {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::TooLarge => Self(1009, "The message is too large."),
            Wrong::Malformed => Self(1002, "This is against the standard."),
        }
    }
}

/// What a line waits for.
enum Woken {
    /// The client sent something, or nothing more will come.
    Came(Option<Bytes>),
    Taken,
    Late,
    Tick,
}

impl Line {
    pub(super) fn new(request: &HttpRequest, payload: Payload, bounds: Bounds) -> (Self, Outgoing) {
        let outbox = Outbox::default();
        let outgoing = Outgoing(outbox.clone());
        let mut tick = tokio::time::interval(bounds.silence);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.reset();
        let line = Self {
            request: request.clone(),
            payload,
            reader: Reader::new(bounds.bytes_max),
            share: bounds.incoming.share(),
            late: None,
            outbox,
            tick,
            silent: 0,
            taken: None,
            bounds,
        };
        (line, outgoing)
    }

    /// What happens next; none when the connection has ended. While there is no room it hears nothing. Harmless to drop.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        loop {
            let hears = self.has_room();
            match if hears { self.reader.next() } else { Ok(None) } {
                Ok(None) => {}
                Ok(Some(Event::Message(kind, bytes))) => {
                    self.late = None;
                    return Some(Heard::Message(Message { kind, bytes }));
                }
                Ok(Some(Event::Ping(payload))) => {
                    self.outbox.push(frames::pong(&payload), None);
                    continue;
                }
                Ok(Some(Event::Pong)) => continue,
                Ok(Some(Event::Close(code))) => {
                    self.close(code.unwrap_or(1000), "");
                    return None;
                }
                Err(wrong) => return self.end(wrong.into()),
            }
            self.settle(hears);
            match self.woken(hears).await {
                Woken::Came(Some(bytes)) => {
                    self.silent = 0;
                    if !self.share.grow_to(self.reader.held() + bytes.len()) {
                        return self.end(End(1013, "Too much is on its way to the service; try again later."));
                    }
                    self.reader.push(&bytes);
                }
                Woken::Taken if self.outbox.is_gone() => return None,
                Woken::Taken if !hears && self.has_room() => return Some(Heard::Room),
                Woken::Taken => {}
                Woken::Tick if self.is_alive(hears) => {}
                Woken::Late => return self.end(End(1008, "The message came too slowly.")),
                Woken::Came(None) | Woken::Tick => {
                    self.cut();
                    return None;
                }
            }
        }
    }

    async fn woken(&mut self, hears: bool) -> Woken {
        let Self { payload, outbox, late, tick, .. } = self;
        let late = async {
            match late {
                Some(late) => late.as_mut().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            came = payload.next(), if hears => Woken::Came(came.and_then(Result::ok)),
            () = outbox.changed() => Woken::Taken,
            () = late => Woken::Late,
            _ = tick.tick() => Woken::Tick,
        }
    }

    /// Notes how it stands with the message that is coming: gives room back, or begins to count its time.
    fn settle(&mut self, hears: bool) {
        if self.reader.held() == 0 {
            self.late = None;
            self.share = self.bounds.incoming.share();
        } else if !hears {
            // Its time goes on when it is heard again.
            self.late = None;
        } else if self.late.is_none() {
            self.late = Some(Box::pin(tokio::time::sleep(self.bounds.time_max)));
        }
    }

    /// Whether there is a sign of life since the last tick, or one is only just asked for.
    fn is_alive(&mut self, hears: bool) -> bool {
        let taken = Some(self.outbox.taken()).filter(|_| self.outbox.bytes() > 0);
        let before = std::mem::replace(&mut self.taken, taken);
        if taken.is_some() {
            return taken != before;
        }
        if hears {
            self.silent = self.silent.saturating_add(1);
        }
        if self.silent == 1 {
            self.outbox.push(frames::ping(), None);
        }
        self.silent < 2
    }

    /// Sends a message; it waits its turn.
    pub(crate) fn send(&self, message: Message) {
        let Message { kind, bytes } = message;
        let share = (bytes.len() > SMALL).then(|| {
            let mut share = self.bounds.outgoing.share();
            share.add(bytes.len());
            share
        });
        self.outbox.push(frames::message_head(kind, bytes.len()), None);
        self.outbox.push(bytes, share);
    }

    /// Whether the client takes what it gets.
    pub(crate) fn has_room(&self) -> bool {
        self.outbox.bytes() < UNTAKEN_BYTES
    }

    fn end(&self, End(code, reason): End) -> Option<Heard> {
        tracing::info!(code, reason, "a websocket is closed");
        self.close(code, reason);
        None
    }

    /// Says farewell, and hangs up once it had time to leave.
    pub(crate) fn close(&self, code: u16, reason: &str) {
        self.outbox.push(frames::close(code, reason), None);
        self.cut();
    }

    /// Hangs up.
    fn cut(&self) {
        self.outbox.close();
        hang_up(&self.request);
    }
}
