//! What may be committed: the offsets whose records have not all arrived where they were sent.
//!
//! A record on its way carries a [`Ticket`] of the source offset that caused it, and a [`Ledger`]
//! tells the lowest offset that is still open: nothing from there on may be committed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::kafka::context::lock;

/// The open offsets of one source partition.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<BTreeMap<i64, u32>>>);

impl Ledger {
    /// A ticket for one record that `offset` caused.
    pub fn ticket(&self, offset: i64) -> Ticket {
        *lock(&self.0).entry(offset).or_default() += 1;
        Ticket { ledger: self.clone(), offset, receipts: None }
    }

    /// Records that have not arrived.
    #[must_use]
    pub fn len(&self) -> usize {
        let open = lock(&self.0);
        open.values().map(|count| usize::try_from(*count).unwrap_or(usize::MAX)).sum()
    }

    /// Whether every record has arrived.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    /// The lowest offset whose records have not all arrived.
    #[must_use]
    pub fn lowest_open(&self) -> Option<i64> {
        lock(&self.0).keys().next().copied()
    }
}

/// Where the records of one writer stand in the topic they went to, and whether the writer still has
/// the right to write: without it, what the broker has refused is dropped and not sent again.
#[derive(Clone, Debug, Default)]
pub struct Receipts(Arc<Mutex<Receipt>>);

#[derive(Debug, Default)]
struct Receipt {
    written: Vec<i64>,
    void: bool,
}

impl Receipts {
    /// A ticket for one record, whose offset is noted when it has arrived.
    pub fn ticket(&self, ledger: &Ledger, offset: i64) -> Ticket {
        Ticket { receipts: Some(self.clone()), ..ledger.ticket(offset) }
    }

    /// The offsets of the records that have arrived since this was asked last.
    #[must_use]
    pub fn take(&self) -> Vec<i64> {
        std::mem::take(&mut lock(&self.0).written)
    }

    /// Nothing more may be written.
    pub fn void(&self) {
        lock(&self.0).void = true;
    }
}

/// One record's claim on the source offset that caused it.
///
/// Dropping it settles nothing: what never arrived must stay open.
#[derive(Debug)]
#[must_use]
pub struct Ticket {
    ledger: Ledger,
    offset: i64,
    receipts: Option<Receipts>,
}

impl Ticket {
    /// The record has arrived, and stands at `offset` of its partition.
    pub fn settle_at(self, offset: i64) {
        if let Some(receipts) = &self.receipts {
            lock(&receipts.0).written.push(offset);
        }
        self.settle();
    }

    /// Whether whoever sent the record has lost the right to.
    pub(super) fn is_void(&self) -> bool {
        self.receipts.as_ref().is_some_and(|receipts| lock(&receipts.0).void)
    }

    /// The record has arrived.
    pub fn settle(self) {
        let mut open = lock(&self.ledger.0);
        if let Some(count) = open.get_mut(&self.offset) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.offset);
            }
        }
    }
}
