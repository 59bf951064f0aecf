//! Load without habits, for measuring throughput: cheap to draw, about 404 bytes an event.

use fastrand::Rng;

use crate::event::{HOUR_NS, Status, Timestamp};
use crate::generate::draw;
use crate::generate::event::{Arguments, Event};
use crate::generate::stream::call_id;

/// Agents of one product.
const GROUP: u32 = 400;
/// Tools an agent uses.
const TOOLS_EACH: u32 = 10;
/// The tools there are: server, name. Every other one acts.
const TOOLS: [(&str, &str); 20] = [
    ("files", "read_document"),
    ("files", "write_document"),
    ("crm", "get_customer"),
    ("crm", "update_customer"),
    ("shop", "list_orders"),
    ("shop", "create_order"),
    ("mail", "search_mail"),
    ("mail", "send_mail"),
    ("ledger", "get_invoice"),
    ("ledger", "post_entry"),
    ("stock", "list_items"),
    ("stock", "reserve_item"),
    ("fleet", "get_vehicle"),
    ("fleet", "assign_vehicle"),
    ("calendar", "list_events"),
    ("calendar", "create_event"),
    ("search", "search_web"),
    ("tasks", "create_task"),
    ("metrics", "get_series"),
    ("jobs", "start_job"),
];

/// The calls, made one by one.
#[derive(Debug)]
pub(crate) struct Uniform {
    seed: u64,
    start: Timestamp,
    rng: Rng,
    agents: u32,
    calls: u64,
    made: u64,
}

impl Uniform {
    pub(crate) fn new(seed: u64, start: Timestamp, agents: u32, calls: u64) -> Self {
        let rng = draw::rng(seed, &[0]);
        Self { seed, start, rng, agents: agents.max(1), calls, made: 0 }
    }

    /// The time of call number `index`: evenly spaced over the hour.
    fn time(&self, index: u64) -> Timestamp {
        let nanos = i128::from(HOUR_NS) * i128::from(index) / i128::from(self.calls.max(1));
        let nanos = i64::try_from(nanos).unwrap_or(HOUR_NS);
        Timestamp::from_nanos(self.start.as_nanos().saturating_add(nanos))
    }
}

impl Iterator for Uniform {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.made >= self.calls {
            return None;
        }
        let number = self.made;
        self.made += 1;
        let agent = self.rng.u32(..self.agents);
        let group = agent / GROUP;
        // Of two draws the smaller: some tools are used far more than others.
        let rank = self.rng.u32(..TOOLS_EACH).min(self.rng.u32(..TOOLS_EACH));
        let count = u32::try_from(TOOLS.len()).unwrap_or(1);
        let tool = usize::try_from((group + rank) % count).unwrap_or(0);
        let (server, name) = TOOLS.get(tool).copied().unwrap_or_default();
        let size = self.rng.u64(..4_096);
        Some(Event {
            time: self.time(number),
            tenant_id: format!("tenant-{:02}", group % 8),
            agent_id: format!("assistant-{group:03}@{agent:06}"),
            agent_version: None,
            session_id: format!("{:016x}", draw::mix(self.seed ^ u64::from(agent))),
            call_id: call_id(self.seed, number),
            tool_name: name.to_owned(),
            tool_server: Some(server.to_owned()),
            arguments: Arguments::default()
                .text("id", format!("rec-{:08}", self.rng.u32(..100_000_000)))
                .text("path", format!("projects/harbour/{:04}/notes.md", self.rng.u32(..10_000)))
                .text("query", "all open parcels of the last week, by carrier, newest")
                .number("limit", 50),
            status: if self.rng.u32(..50) == 0 { Status::Error } else { Status::Ok },
            duration_ms: 20 + size / 4,
            bytes_out: 200 + size,
        })
    }
}
