//! What one version has written, another one reads, or refuses in words. Row 41.
//!
//! `fixtures/state/format-N.records` is a partition of the state topic as format N wrote it, and
//! `format-N.txt` what comes back of it. Once a release has written format N they are not written anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use toolwarden::pipeline::journal::StateRecord;
use toolwarden::state::changelog::{Restored, Restoring};
use toolwarden::state::codec::FORMAT;

use crate::foreign::{go, owner};
use crate::order::history;
use crate::support::repository;

/// Calls that the fixture reflects.
const CALLS: usize = 400;

fn file(format: u16, end: &str) -> PathBuf {
    repository(&format!("fixtures/state/format-{format}.{end}"))
}

/// A partition as this version writes it, in three flushes.
fn written() -> Vec<StateRecord> {
    let (_shared, mut judge) = owner(&BTreeMap::new(), 1);
    let parts = [CALLS / 2, CALLS - 20, CALLS];
    parts.into_iter().flat_map(|to| go(&mut judge, history(), to)).collect()
}

/// Keys and values one after the other, each behind its length.
fn packed(records: &[StateRecord]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut push = |part: &[u8]| {
        bytes.extend(u32::try_from(part.len()).unwrap().to_le_bytes());
        bytes.extend(part);
    };
    for (key, value) in records {
        push(key);
        push(value.as_deref().unwrap_or_default());
    }
    bytes
}

/// The records that [`packed`] wrote; an empty value is a deletion.
fn unpacked(mut bytes: &[u8]) -> Vec<StateRecord> {
    let mut next = || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at(usize::try_from(u32::from_le_bytes(*length)).unwrap());
        bytes = rest;
        Some(part.to_vec())
    };
    let mut records = Vec::new();
    while let Some((key, value)) = next().and_then(|key| Some((key, next()?))) {
        records.push((key, (!value.is_empty()).then_some(value)));
    }
    records
}

fn restored(records: &[StateRecord]) -> Restored {
    let mut restoring = Restoring::new(Arc::from("calls"), 1_000);
    records.iter().for_each(|(key, value)| restoring.take(key, value.as_deref()));
    restoring.finish()
}

/// What came back, in words that do not depend on how a state is laid out.
fn said(restored: &Restored) -> String {
    let marker = restored.marker.as_ref().unwrap();
    let mut text = format!(
        "cut {:?}, flush {}, watermark {:?}, agents {}, refused {}, missing {}\n",
        marker.reached.next_offset,
        marker.stamp.flush,
        marker.reached.watermark.map(|time| time.to_string()),
        restored.agents.len(),
        restored.refused,
        restored.missing,
    );
    for agent in &restored.agents {
        let state = &agent.state;
        let (calls, newest) = (state.calls(), state.newest());
        writeln!(text, "{}/{}: {calls} calls, {newest}", state.tenant_id, state.agent_id).unwrap();
    }
    for (epoch, groups) in &restored.taught {
        writeln!(text, "epoch {epoch}: {} groups", groups.len()).unwrap();
    }
    text
}

#[test]
fn row_41_what_every_format_so_far_has_written_is_read() {
    if std::env::var_os("TOOLWARDEN_BLESS").is_some() {
        let records = written();
        std::fs::write(file(FORMAT, "records"), packed(&records)).unwrap();
        std::fs::write(file(FORMAT, "txt"), said(&restored(&records))).unwrap();
    }
    for format in 1..=FORMAT {
        let bytes = std::fs::read(file(format, "records")).unwrap();
        let restored = restored(&unpacked(&bytes));
        let words = restored.first_refused.clone().unwrap_or_default();
        assert_eq!(restored.refused, 0, "format {format}: {words}");
        let expected = std::fs::read_to_string(file(format, "txt")).unwrap();
        assert_eq!(said(&restored), expected, "format {format}");
        assert!(restored.agents.len() > 1 && !restored.taught.is_empty());
    }
}

/// The records as the next format would mark them; this version cannot know what is in them.
fn of_next_format(records: &[StateRecord]) -> Vec<StateRecord> {
    let mut records = records.to_vec();
    for bytes in records.iter_mut().filter_map(|(_, value)| value.as_mut()) {
        bytes[4..6].copy_from_slice(&(FORMAT + 1).to_le_bytes());
    }
    records
}

#[test]
fn row_41_what_a_newer_version_wrote_is_refused_in_words_and_what_was_there_before_is_read() {
    let old = written();
    let newer = of_next_format(&old);
    let both = restored(&[old.clone(), newer.clone()].concat());
    assert_eq!(
        said(&both).split_once("refused").unwrap().0,
        said(&restored(&old)).split_once("refused").unwrap().0
    );
    let refused = newer.iter().filter(|(_, value)| value.is_some()).count();
    assert_eq!(both.refused, u64::try_from(refused).unwrap());
    let words = both.first_refused.as_deref().unwrap();
    assert!(words.contains("written by a newer toolwarden"), "{words}");
    // They are left as they are, in case that version comes back.
    assert_eq!((both.stale.len(), both.missing), (0, 0));
    // And it does: what this version wrote meanwhile, it reads.
    assert_eq!(
        said(&restored(&old)),
        said(&restored(&[newer, old].concat())).replace(&format!("refused {refused}"), "refused 0")
    );
}

#[test]
fn row_41_nothing_but_records_of_a_newer_version_is_an_empty_partition_that_says_so() {
    let alone = restored(&of_next_format(&written()));
    assert!(alone.marker.is_none() && alone.agents.is_empty());
    assert!(alone.refused > 0 && alone.first_refused.is_some());
}
