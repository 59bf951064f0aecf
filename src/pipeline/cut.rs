//! Smaller records in the place of those that the cluster finds too large.

use crate::alert::Alert;
use crate::kafka::OutgoingRecord;

/// An alert with less around what it says, under the same id, and marked.
#[must_use]
pub fn alert(record: &OutgoingRecord) -> Option<OutgoingRecord> {
    let alert: Alert = serde_json::from_slice(record.payload.as_deref()?).ok()?;
    let cut = alert.cut()?;
    Some(OutgoingRecord { payload: Some(cut.to_json().into_bytes()), ..record.clone() })
}

/// The header of a dead letter that says how long its record was.
const ORIGINAL_BYTES: &str = "toolwarden-original-bytes";

/// A dead letter with a quarter of the bytes, and then without a key, which says how many there were.
#[must_use]
pub fn letter(record: &OutgoingRecord) -> Option<OutgoingRecord> {
    let payload = record.payload.as_deref().unwrap_or_default();
    let mut smaller = record.clone();
    if payload.is_empty() {
        return (!std::mem::take(&mut smaller.key).is_empty()).then_some(smaller);
    }
    if !record.headers.iter().any(|(name, _)| *name == ORIGINAL_BYTES) {
        smaller.headers.push((ORIGINAL_BYTES, payload.len().to_string()));
    }
    smaller.payload = payload.get(..payload.len() / 4).map(<[u8]>::to_vec);
    Some(smaller)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_is_cut_until_only_its_headers_are_left_and_says_how_long_it_was() {
        let first = OutgoingRecord {
            key: b"k".to_vec(),
            payload: Some(vec![b'x'; 1_000]),
            ..OutgoingRecord::default()
        };
        let letters: Vec<_> = std::iter::successors(Some(first), letter).collect();
        let sizes: Vec<usize> =
            letters.iter().map(|it| it.payload.as_ref().unwrap().len()).collect();
        assert_eq!(sizes, [1_000, 250, 62, 15, 3, 0, 0]);
        let last = letters.last().unwrap();
        assert!(last.key.is_empty());
        assert_eq!(last.headers, [(ORIGINAL_BYTES, "1000".to_owned())]);
    }

    #[test]
    fn what_is_no_alert_is_not_cut() {
        let record = OutgoingRecord { payload: Some(b"{}".to_vec()), ..OutgoingRecord::default() };
        assert!(alert(&record).is_none());
    }
}
