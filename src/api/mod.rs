//! The dialects: each translates its own paths, bodies and error texts to the broker's operations and back. No dialect knows another;
//! what all of them need of HTTP stands here.

pub mod ams;
mod body;
pub mod connection;
pub mod ops;
mod room;
mod route_metrics;
pub mod zaqar;

pub(crate) use body::{Unread, finish, read_body};
pub(crate) use connection::{client_gone, hang_up};
pub(crate) use room::{LARGEST, LEAST, Large, Room, SMALL, Share};
pub(crate) use route_metrics::RouteMetrics;
