//! States as bytes: exact, and never trusted.

use std::sync::OnceLock;

use proptest::prelude::*;
use toolwarden::baseline::peers::{Fact, Group, GroupKey, GroupSummary, Peers};
use toolwarden::config::{RuleSource, load_rules};
use toolwarden::detect::{AgentState, Context, observe, tick};
use toolwarden::event::{
    Arguments, Operation, Position, Shown, Status, Target, TargetKind, Timestamp, ToolCall,
};
use toolwarden::policy::Rules;
use toolwarden::state::codec::{
    Envelope, FORMAT, Kind, StateError, agent_from_bytes, agent_to_bytes, open, seal,
};

/// 2026-01-05T00:00:00Z, a Monday.
const MONDAY: i64 = 1_767_571_200;

/// What an agent remembers at most, as shipped.
const TOOLS_MAX: usize = 64;

fn rules() -> &'static Rules {
    static RULES: OnceLock<Rules> = OnceLock::new();
    RULES.get_or_init(|| load_rules(&RuleSource::default()).unwrap().rules)
}

/// One drawn call: how long after the one before, tool, arguments, session, how it ended.
#[derive(Clone, Debug)]
struct Drawn {
    after_ms: i64,
    tool: u8,
    digest: u8,
    session: u8,
    status: u8,
    bytes: u32,
    targets: Vec<u8>,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let gaps = prop_oneof![
        8 => 0_i64..20_000,
        2 => 60_000_i64..4_000_000,
        1 => 8_000_000_i64..90_000_000,
        1 => -40_000_i64..0,
    ];
    let targets = prop::collection::vec(0_u8..12, 0..3);
    (gaps, 0_u8..14, 0_u8..5, 0_u8..4, 0_u8..8, 0_u32..100_000, targets).prop_map(
        |(after_ms, tool, digest, session, status, bytes, targets)| Drawn {
            after_ms,
            tool,
            digest,
            session,
            status,
            bytes,
            targets,
        },
    )
}

fn target(n: u8) -> Target {
    let kinds = [TargetKind::Email, TargetKind::Host, TargetKind::Path, TargetKind::Command];
    Target {
        kind: kinds[usize::from(n % 4)],
        key: u32::from(n % 3),
        value: u64::from(n) + 1,
        domain: u64::from(n % 2),
        is_whole: !n.is_multiple_of(5),
        near: [u32::from(n % 6), 0],
        stem: u32::from(n % 7),
        shown: Shown::new(&format!("target-{n}")),
        ..Target::default()
    }
}

fn calls(drawn: &[Drawn]) -> Vec<ToolCall<'static>> {
    let mut millis = MONDAY * 1_000 + 36_000_000;
    (0_i64..)
        .zip(drawn)
        .map(|(n, drawn)| {
            millis += drawn.after_ms;
            ToolCall {
                position: Position { topic: "calls", partition: 0, offset: n, index: 0 },
                time: Timestamp::from_millis(millis),
                tenant_id: "acme".into(),
                agent_id: "helper@1".into(),
                agent_version: (drawn.tool % 2 == 0).then(|| "v1".into()),
                session_id: format!("session-{}", drawn.session).into(),
                call_id: format!("call-{n}").into(),
                tool_name: format!("tool-{}", drawn.tool).into(),
                tool_server: (drawn.tool > 9).then(|| "server".into()),
                operation: if drawn.tool % 3 == 0 { Operation::Read } else { Operation::Write },
                arguments: Arguments {
                    digest: u64::from(drawn.digest),
                    bytes: u64::from(drawn.bytes),
                    shape: u32::from(drawn.digest % 3),
                },
                targets: drawn.targets.iter().map(|n| target(*n)).collect::<Vec<_>>().into(),
                words: vec![u32::from(drawn.digest) + 1].into(),
                parent_agent_id: (drawn.session == 3).then(|| "root".into()),
                status: match drawn.status {
                    0 | 1 => Status::Error,
                    2 => Status::Denied,
                    _ => Status::Ok,
                },
                duration_ms: Some(u64::from(drawn.bytes % 3_000)),
                bytes_out: Some(u64::from(drawn.bytes)),
                ..ToolCall::default()
            }
        })
        .collect()
}

/// An agent at work, and what its group has learned from it.
#[derive(Clone)]
struct World {
    state: AgentState,
    peers: Peers,
    taught: GroupSummary,
}

impl World {
    fn new(call: &ToolCall<'_>) -> Self {
        let state = AgentState::new(call);
        Self { state, peers: Peers::default(), taught: GroupSummary::default() }
    }

    /// Judges calls and gives the alerts as they would be written.
    fn judge(&mut self, calls: &[ToolCall<'_>]) -> Vec<String> {
        let mut told = Vec::new();
        for (n, call) in calls.iter().enumerate() {
            let context = Context::new(rules(), &self.peers);
            let verdict = observe(&context, &mut self.state, call);
            told.extend(verdict.alerts.iter().map(toolwarden::alert::Alert::to_json));
            verdict.facts.into_iter().for_each(|fact| self.learn(fact));
            if n % 40 == 39 {
                let taught = std::mem::take(&mut self.taught);
                let epoch = self.peers.epoch + 1;
                self.peers = self.peers.with_epoch(epoch, [(self.state.group, &taught)]);
            }
        }
        told
    }

    /// Lets everything run out.
    fn end(&mut self) -> Vec<String> {
        let context = Context::new(rules(), &self.peers);
        let end = self.state.newest().plus_secs(1_000_000);
        let alerts = tick(&context, &mut self.state, end).alerts;
        alerts.iter().map(toolwarden::alert::Alert::to_json).collect()
    }

    fn learn(&mut self, fact: Fact) {
        self.taught.add(fact);
    }
}

/// The knowledge of every group, written and read.
fn rewritten(peers: &Peers) -> Peers {
    let nothing = Peers::default();
    let groups = peers.changed_since(&nothing).map(|(key, group)| {
        let bytes = seal(Kind::Group, &(key, group)).unwrap();
        open::<(GroupKey, Group)>(Kind::Group, &bytes).unwrap()
    });
    nothing.with_groups(peers.epoch, groups)
}

/// A state with everything in it: a loop and a flood under way, sessions, bursts, failures.
fn busy() -> AgentState {
    let day = |n: i64| Drawn {
        after_ms: if n % 120 == 119 { 60_000_000 } else { 200_000 },
        tool: u8::try_from(n % 7).unwrap(),
        digest: u8::try_from(n % 5).unwrap(),
        session: u8::try_from(n % 4).unwrap(),
        status: 7,
        bytes: u32::try_from(n * 37 % 900).unwrap(),
        targets: vec![u8::try_from(n % 12).unwrap()],
    };
    let mut all: Vec<Drawn> = (0..600).map(day).collect();
    all.extend((0..80).map(|n| Drawn {
        after_ms: 300,
        tool: 8 + u8::try_from(n % 6).unwrap(),
        digest: 1,
        session: 1,
        status: 0,
        bytes: 90_000,
        targets: vec![3, 9],
    }));
    let calls = calls(&all);
    let mut world = World::new(&calls[0]);
    let told = world.judge(&calls);
    assert!(!told.is_empty() && world.state.open_episodes() > 0);
    world.state
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_state_that_was_written_and_read_is_the_same_and_judges_the_same(
        drawn in prop::collection::vec(drawn(), 2..260),
        at in 0.0_f64..1.0,
    ) {
        let calls = calls(&drawn);
        #[expect(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_precision_loss,
            clippy::cast_sign_loss, reason = "a test")]
        let split = (at * calls.len() as f64) as usize;
        let mut world = World::new(&calls[0]);
        world.judge(&calls[..split]);
        let bytes = agent_to_bytes(&world.state).unwrap();
        let mut again = World {
            state: agent_from_bytes(&bytes, TOOLS_MAX).unwrap(),
            peers: rewritten(&world.peers),
            taught: world.taught.clone(),
        };
        prop_assert_eq!(&again.state, &world.state);
        prop_assert_eq!(&again.peers, &world.peers);
        prop_assert_eq!(agent_to_bytes(&again.state).unwrap(), bytes);
        prop_assert_eq!(again.judge(&calls[split..]), world.judge(&calls[split..]));
        prop_assert_eq!(again.end(), world.end());
        prop_assert_eq!(again.state, world.state);
    }

    #[test]
    fn changed_bytes_are_refused_in_words_and_never_taken(
        place in any::<prop::sample::Index>(),
        bit in 0_u8..8,
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = busy_bytes();
        let mut flipped = whole.to_vec();
        flipped[place.index(whole.len())] ^= 1 << bit;
        prop_assert!(agent_from_bytes(&flipped, TOOLS_MAX).is_err());
        let cut = &whole[..cut.index(whole.len())];
        prop_assert!(matches!(agent_from_bytes(cut, TOOLS_MAX), Err(StateError::Truncated)));
    }

    #[test]
    fn content_that_no_state_has_is_refused_behind_a_good_checksum(
        place in any::<prop::sample::Index>(),
        with in prop::collection::vec(any::<u8>(), 1..12),
    ) {
        let mut bytes = busy_bytes().to_vec();
        let end = bytes.len() - 4;
        for (at, byte) in (12 + place.index(end - 12)..end).zip(with) {
            bytes[at] = byte;
        }
        let sum = crc32fast::hash(&bytes[..end]).to_le_bytes();
        bytes[end..].copy_from_slice(&sum);
        // It may still be a state; then it is one within every bound, which judges without a panic.
        if let Ok(state) = agent_from_bytes(&bytes, TOOLS_MAX) {
            prop_assert!(state.mistake(TOOLS_MAX).is_none());
        }
    }

    #[test]
    fn any_bytes_at_all_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(agent_from_bytes(&bytes, TOOLS_MAX).is_err());
        let mut ours = b"twst".to_vec();
        ours.extend(FORMAT.to_le_bytes());
        ours.extend(&bytes);
        prop_assert!(agent_from_bytes(&ours, TOOLS_MAX).is_err());
    }
}

fn busy_bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| agent_to_bytes(&busy()).unwrap())
}

fn refused(bytes: &[u8]) -> String {
    agent_from_bytes(bytes, TOOLS_MAX).unwrap_err().to_string()
}

#[test]
fn every_refusal_says_what_to_do() {
    let whole = busy_bytes();
    let with = |place: usize, byte: u8| {
        let mut bytes = whole.to_vec();
        bytes[place] = byte;
        refused(&bytes)
    };
    assert!(with(0, b'x').contains("`baseline export`"), "{}", with(0, b'x'));
    assert!(with(5, 1).contains("newer toolwarden (format 257"), "{}", with(5, 1));
    assert!(with(4, 0).contains("older toolwarden (format 0"), "{}", with(4, 0));
    assert!(with(40, whole[40] ^ 1).contains("checksum"), "{}", with(40, whole[40] ^ 1));
    assert!(with(6, 4).contains("damaged"), "{}", with(6, 4));
    assert!(refused(&whole[..50]).contains("cut short"));
    assert!(refused(&[]).contains("cut short"));
    let group = seal(Kind::Group, &(GroupKey(1), Group::default())).unwrap();
    assert!(refused(&group).contains("found a group where an agent belongs"));
    let newer = seal(Kind::Agent, &(busy(), 7_u8)).unwrap();
    assert!(refused(&newer).contains("bytes are left over"));
}

#[test]
fn a_length_that_is_announced_is_not_believed() {
    // 512 KiB announced, none there.
    let mut bytes = busy_bytes()[..8].to_vec();
    bytes.extend((500_u32 << 10).to_le_bytes());
    assert!(matches!(agent_from_bytes(&bytes, TOOLS_MAX), Err(StateError::Truncated)));
    bytes.truncate(8);
    bytes.extend(u32::MAX.to_le_bytes());
    assert!(refused(&bytes).contains("4294967295 bytes, more than it may"));
    // A list of 2^40 things, of which none follows.
    let many = seal(Kind::Agent, &(1_u64 << 40)).unwrap();
    assert!(matches!(agent_from_bytes(&many, TOOLS_MAX), Err(StateError::Unfit { .. })));
}

#[test]
fn a_state_beyond_the_limits_is_not_taken() {
    let bytes = busy_bytes();
    let words = agent_from_bytes(bytes, 3).unwrap_err().to_string();
    assert!(words.contains("limits.tools_per_agent"), "{words}");
    assert!(agent_from_bytes(bytes, TOOLS_MAX).is_ok());
}

#[test]
fn a_state_is_small_when_written() {
    assert!(busy_bytes().len() < 64 << 10, "{}", busy_bytes().len());
}

#[test]
fn envelopes_follow_each_other_and_end() {
    let mut bytes = busy_bytes().to_vec();
    bytes.extend_from_slice(busy_bytes());
    let mut input = bytes.as_slice();
    for _ in 0..2 {
        let envelope = Envelope::read(&mut input).unwrap().unwrap();
        assert_eq!(envelope.take::<AgentState>(Kind::Agent).unwrap(), busy());
    }
    assert!(Envelope::read(&mut input).unwrap().is_none());
}
