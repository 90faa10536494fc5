//! Angelia: topics and subscriptions over one durable message log, spoken to in several wire dialects.
//!
//! The map. Arrows point at what a layer may use; a test holds them:
//!
//! ```text
//! main → cli                      cli → the public HTTP API, config, server (start, control socket, keys), storage (inspect)
//! server → everything below       config → domain, telemetry
//! api/x → broker, auth, domain (types), telemetry          api/x never → api/y
//! delivery → broker, domain, telemetry
//! broker → domain, storage (trait), validation, clock, telemetry
//! auth → broker (documents), domain     validation → domain     storage/* → storage (trait), clock, telemetry
//! domain → std, bytes
//! ```
//!
//! - [`domain`] is pure: what a topic, a subscription, a lease mean. Deterministic, no I/O, `now` is an argument.
//! - [`storage`] keeps bytes under offsets and bytes under keys, with compare-and-append and compare-and-set.
//! - [`validation`] holds messages against schemas.
//! - [`broker`] drives the domain over a store: the operations that every dialect translates to.
//! - [`delivery`] pushes messages to endpoints, as a consumer like any other.
//! - [`server`] puts the parts together from a [`config`], and takes them apart again; [`cli`] is how people reach it.
//! - [`api`] holds the dialects: parse, one broker call, render.
#![forbid(unsafe_code)]

pub mod api;
pub mod auth;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod domain;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod server;
pub mod storage;
pub mod telemetry;
pub mod validation;
