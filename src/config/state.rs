//! How what is known of agents is kept, as it is written in the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::{FriendlyDuration, FriendlySize};

/// How what is known of agents is kept.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-refused" = {
    "mac_key": "a secret does not belong in this file: write `mac_key_file: PATH` or `mac_key_env: NAME`",
}))]
#[schemars(rename = "State")]
pub(crate) struct RawState {
    /// Whether it is written to the state topic. Without it every restart and every partition that
    /// moves begins to learn anew.
    pub(crate) durable: bool,
    /// How often a partition's changes are written; as much is read again after a crash. 100ms to
    /// 10m. Where a worker has hardly any time to spare, as when a backlog is read, and that would take
    /// more than a three-hundredth of it, it is less often, down to every twenty-fourth time, but at
    /// every four hours of event time.
    pub(crate) flush_interval: FriendlyDuration,
    /// How much memory what agents taught their peers may take until it is written, in all partitions
    /// of an instance together: one whose share is full is written before its time. 16MiB to 16GiB.
    pub(crate) lessons_bytes: FriendlySize,
    /// An agent is forgotten, whatever is known of it, once it has made no call for this long in event
    /// time, noticed with the first call of a day; 14d to 3650d.
    pub(crate) forget_after: FriendlyDuration,
    /// Where there is no room, a new agent takes the place of one that is still being learned and has
    /// made no call for this long in event time, with its second call; 12h to 90d.
    pub(crate) yield_after: FriendlyDuration,
    /// A file that holds the keys of the codes (HMAC) that records of the state and the groups topic
    /// are signed with, one a line, of at least 32 characters: the first one signs, all of them are
    /// taken. A record without the code of one of them is refused. Without a key, whoever may write
    /// to these topics can plant what is known. To change the key, put the new one first; the old one may go
    /// a day after every instance has started with both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mac_key_file: Option<String>,
    /// The environment variable that holds the keys, each a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mac_key_env: Option<String>,
    /// Whether records without a code are taken, too: while a topic that is in use is signed for the
    /// first time. What is read is written anew with one.
    pub(crate) accept_unsigned: bool,
}

impl Default for RawState {
    fn default() -> Self {
        Self {
            durable: true,
            flush_interval: FriendlyDuration::secs(5),
            lessons_bytes: FriendlySize(256 << 20),
            forget_after: FriendlyDuration::secs(90 * 86_400),
            yield_after: FriendlyDuration::secs(86_400),
            mac_key_file: None,
            mac_key_env: None,
            accept_unsigned: false,
        }
    }
}
