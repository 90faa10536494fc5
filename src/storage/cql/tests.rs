//! The contract against a real server, and what is peculiar to this engine: rolls, parts, doubts, migrations.
//!
//! These tests need a cluster, `ANGELIA_TEST_CQL=host[:port][,…]`; `cargo xtask test cassandra` starts one for them.

mod scene;

use super::super::contract::{self, ALL, batch, batches, bounds, contract_suite, fresh_log, made, read_all};
use super::super::differential_tests::agrees_with_memory;
use super::super::{Append, Created, Key, Nonce, Offset, Position, Purpose, Read, Store, StoreError, Version};
use super::*;
use scene::{Counts, Scene};

contract_suite!(
    #[ignore = "needs a cluster: cargo xtask test cassandra"]
    cluster,
    async { Scene::begin().await.subject(Roll::default()).await }
);

// Every third batch begins a new segment, so that all of the contract is met at and across their borders.
contract_suite!(
    #[ignore = "needs a cluster: cargo xtask test cassandra"]
    cluster_of_tiny_segments,
    async { Scene::begin().await.subject(Roll { batches: 3, ..Roll::default() }).await }
);
