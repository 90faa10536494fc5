//! What a subscription does, rule by rule; then against a naive model, exhaustively in small worlds, and on nonsense.

mod cumulative;
mod dead_letter;
mod delivery;
mod leases;
mod lifetime;
mod model;
mod random;
mod settle;
mod small_worlds;
mod total;
mod worker;
