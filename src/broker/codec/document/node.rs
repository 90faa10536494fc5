//! The stored form of a node's heartbeat. Tags are frozen.

use super::Record;
use super::fields::{FieldReader, Fields, damaged};
use crate::domain::Result;
use crate::domain::membership::Heartbeat;
use crate::domain::subscription::NodeId;

impl Record for Heartbeat {
    const KIND: u8 = 40;
    const WHAT: &'static str = "a node's heartbeat";

    fn write(&self, fields: &mut Fields) {
        fields.u128(1, self.node.0).u64(2, self.beat).u64(3, self.at.0).u8(4, u8::from(self.leaving));
        fields.text(5, &self.address);
    }

    fn read(fields: &mut FieldReader<'_>) -> Result<Self> {
        Ok(Self {
            node: NodeId(fields.required(1)?.u128()?),
            beat: fields.required(2)?.u64()?,
            at: fields.required(3)?.timestamp()?,
            leaving: match fields.required(4)?.u8()? {
                0 => false,
                1 => true,
                other => return Err(damaged(format!("{other} is neither yes nor no"))),
            },
            address: fields.required(5)?.text()?.to_owned(),
        })
    }
}
