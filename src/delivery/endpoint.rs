//! What all deliveries to one endpoint share: how many may be under way, and a circuit that opens when it keeps failing, so that an
//! endpoint that is down or slow costs others nothing. Sends nothing, reads no clock.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Semaphore;

/// So many failures in a row open the circuit.
const FAILURES_MAX: u32 = 10;
/// How long it stays open at first; each probe that fails doubles that.
const OPEN_FIRST: Duration = Duration::from_secs(5);
const OPEN_MOST: Duration = Duration::from_secs(60);

/// Whether an endpoint is worth a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Circuit {
    /// Failures in a row.
    failures: u32,
    /// How often it opened since the last success.
    openings: u32,
    /// Nothing is sent before this, in monotonic time; none while it is closed.
    open_until: Option<Duration>,
}

/// A circuit's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CircuitState {
    /// Deliveries go.
    Closed,
    /// It has been open long enough: one delivery shows whether it closes.
    Probing,
    /// Nothing is sent.
    Open,
}

impl Circuit {
    /// How long nothing may be sent; none when something may.
    #[must_use]
    pub(super) fn wait(&self, now: Duration) -> Option<Duration> {
        self.open_until.and_then(|until| until.checked_sub(now)).filter(|wait| !wait.is_zero())
    }

    /// Asks to send; how long to wait instead if it may not be now. Who may send while the circuit is not closed is the probe: others
    /// wait until it has ended or `probe` is over.
    ///
    /// # Errors
    /// The wait.
    pub(super) fn admit(&mut self, now: Duration, probe: Duration) -> Result<(), Duration> {
        if let Some(wait) = self.wait(now) {
            return Err(wait);
        }
        if self.open_until.is_some() {
            self.open_until = Some(now.saturating_add(probe));
        }
        Ok(())
    }

    /// Notes how a delivery ended.
    pub(super) fn note(&mut self, well: bool, now: Duration) {
        if well {
            *self = Self::default();
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_MAX {
            let pause = OPEN_FIRST.saturating_mul(1 << self.openings.min(8)).min(OPEN_MOST);
            self.openings = self.openings.saturating_add(1);
            self.open_until = Some(now.saturating_add(pause));
        }
    }

    /// How it stands.
    #[must_use]
    pub(super) fn state(&self, now: Duration) -> CircuitState {
        match self.open_until {
            None => CircuitState::Closed,
            Some(until) if now < until => CircuitState::Open,
            Some(_) => CircuitState::Probing,
        }
    }
}

/// An endpoint that something is sent to.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// Its circuit.
    pub(super) circuit: Mutex<Circuit>,
    /// Deliveries to it that may be under way.
    pub(super) room: Semaphore,
}

/// The endpoints in use, by their text. An endpoint is forgotten with the last who holds it.
#[derive(Debug)]
pub(super) struct Endpoints {
    known: Mutex<HashMap<String, Weak<Endpoint>>>,
    room: usize,
}

impl Endpoints {
    /// None so far; each will take so many deliveries at a time.
    #[must_use]
    pub(super) fn new(room: usize) -> Self {
        Self { known: Mutex::default(), room: room.max(1) }
    }

    /// The endpoint of this text. O(1), now and then O(endpoints).
    #[must_use]
    pub(super) fn find(&self, text: &str) -> Arc<Endpoint> {
        let mut known = self.known.lock();
        if let Some(endpoint) = known.get(text).and_then(Weak::upgrade) {
            return endpoint;
        }
        if known.len() == known.capacity() {
            known.retain(|_, endpoint| endpoint.strong_count() > 0);
        }
        let endpoint = Arc::new(Endpoint { circuit: Mutex::default(), room: Semaphore::new(self.room) });
        known.insert(text.to_owned(), Arc::downgrade(&endpoint));
        endpoint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_circuit_opens_after_failures_in_a_row_and_closes_with_one_success() {
        let mut circuit = Circuit::default();
        for _ in 0..FAILURES_MAX - 1 {
            circuit.note(false, at(0));
        }
        circuit.note(true, at(0));
        for _ in 0..FAILURES_MAX {
            assert_eq!(circuit.admit(at(1), PROBE), Ok(()));
            circuit.note(false, at(1));
        }
        assert_eq!((circuit.state(at(1)), circuit.admit(at(2), PROBE)), (CircuitState::Open, Err(at(4))));
        assert_eq!((circuit.state(at(6)), circuit.admit(at(6), PROBE)), (CircuitState::Probing, Ok(())));
        assert_eq!(circuit.admit(at(7), PROBE), Err(at(29)), "one probe at a time");
        circuit.note(true, at(8));
        assert_eq!((circuit.state(at(8)), circuit.admit(at(8), PROBE)), (CircuitState::Closed, Ok(())));
    }

    #[test]
    fn each_failed_probe_keeps_the_circuit_open_longer() {
        let mut circuit = Circuit::default();
        (0..FAILURES_MAX).for_each(|_| circuit.note(false, at(0)));
        let mut now = Duration::ZERO;
        let waits: Vec<u64> = (0..6)
            .map(|_| {
                let wait = circuit.admit(now, PROBE).unwrap_err();
                now += wait;
                circuit.admit(now, PROBE).unwrap();
                circuit.note(false, now);
                wait.as_secs()
            })
            .collect();
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
    }

    #[test]
    fn a_probe_that_nobody_ended_does_not_keep_the_circuit_open_for_ever() {
        let mut circuit = Circuit::default();
        (0..FAILURES_MAX).for_each(|_| circuit.note(false, at(0)));
        assert_eq!(circuit.admit(at(5), PROBE), Ok(()));
        assert_eq!(circuit.admit(at(35), PROBE), Ok(()));
    }

    #[test]
    fn an_endpoint_is_shared_while_it_is_held_and_forgotten_after() {
        let endpoints = Endpoints::new(1);
        let one = endpoints.find("a");
        assert!(Arc::ptr_eq(&one, &endpoints.find("a")) && !Arc::ptr_eq(&one, &endpoints.find("b")));
        for name in 0..1_000 {
            drop(endpoints.find(&name.to_string()));
        }
        assert!(endpoints.known.lock().len() < 100);
        assert!(Arc::ptr_eq(&one, &endpoints.find("a")));
    }
}
