//! The built-in scenarios: an invented company, a fleet of any size, plain load.

use crate::event::Timestamp;
use crate::generate::anomaly::{Anomaly, Planted};
use crate::generate::scenario::{Pace, Product, Scenario, Shape, Tool, Traffic, Upgrade, Work};

/// Monday, 2 March 2026, midnight UTC.
const MONDAY: Timestamp = Timestamp::from_secs(1_772_409_600);

impl Scenario {
    /// The names [`Scenario::named`] knows.
    pub const NAMES: [&'static str; 2] = ["working-day", "quiet-day"];

    /// A built-in scenario by its name.
    #[must_use]
    pub fn named(name: &str, seed: u64) -> Option<Self> {
        match name {
            "working-day" => Some(Self::working_day(seed)),
            "quiet-day" => Some(Self::quiet_day(seed)),
            _ => None,
        }
    }

    /// Two weeks of a small company, Acme, and of its neighbour Harbour: 16 agents in 5 products,
    /// 10 working days, about 215,000 calls. On the last day four anomalies are planted.
    #[must_use]
    pub fn working_day(seed: u64) -> Self {
        let plant = |kind, agent: &str, minute| Planted {
            kind,
            tenant_id: "acme".to_owned(),
            agent_id: agent.to_owned(),
            day: 11,
            minute,
        };
        let planted = vec![
            plant(Anomaly::OffHours, "code-assistant@dana", 2 * 60 + 10),
            plant(Anomaly::NewTools, "research-agent@risk", 10 * 60 + 20),
            plant(Anomaly::RunawayLoop, "code-assistant@bela", 13 * 60 + 5),
            plant(Anomaly::RateBurst, "billing-agent@payouts", 15 * 60 + 40),
        ];
        Self { planted, ..Self::quiet_day(seed) }
    }

    /// The same company and the same natural behaviour with nothing planted.
    #[must_use]
    pub fn quiet_day(seed: u64) -> Self {
        let products = vec![
            code_assistant("acme", &["anna", "bela", "chidi", "dana"]),
            support_agent("acme", &["eu-1", "eu-2", "us-1"]),
            billing_agent("acme", &["main", "payouts", "refunds"]),
            research_agent("acme", &["market", "news", "risk"]),
            ops_agent("harbour", &["north", "south", "yard"]),
        ];
        Self {
            seed,
            start: MONDAY,
            days: 12,
            traffic: Traffic::Products(products),
            planted: Vec::new(),
        }
    }

    /// Load for measuring throughput: `calls` calls of `agents` agents with ten tools each, in
    /// random order over one hour, about 404 bytes an event.
    #[must_use]
    pub const fn bench(agents: u32, calls: u64, seed: u64) -> Self {
        Self {
            seed,
            start: MONDAY,
            days: 1,
            traffic: Traffic::Uniform { agents, calls },
            planted: Vec::new(),
        }
    }

    /// A fleet of `agents` agents over `days` calendar days, half at work in sessions and half as
    /// services, in groups of at most four peers; nothing planted.
    #[must_use]
    pub fn company(agents: u32, days: u32, seed: u64) -> Self {
        let products = (0..agents.div_ceil(4))
            .map(|group| {
                let names: Vec<String> = (group * 4..agents.min(group * 4 + 4))
                    .map(|agent| format!("{agent:04}"))
                    .collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let tenant = if group % 8 < 4 { "acme" } else { "harbour" };
                let product = match group % 4 {
                    0 => code_assistant(tenant, &names),
                    1 => billing_agent(tenant, &names),
                    2 => research_agent(tenant, &names),
                    _ => ops_agent(tenant, &names),
                };
                smaller(product, group)
            })
            .collect();
        Self {
            seed,
            start: MONDAY,
            days,
            traffic: Traffic::Products(products),
            planted: Vec::new(),
        }
    }

    /// The same scenario with one more anomaly planted.
    #[must_use]
    pub fn with(mut self, planted: Planted) -> Self {
        self.planted.push(planted);
        self
    }
}

/// A product of a fleet: a third of the work, and a name of its own.
fn smaller(mut product: Product, group: u32) -> Product {
    product.name = format!("{}-{group}", product.name);
    match &mut product.work {
        Work::Sessions { calls, .. } => *calls /= 3.0,
        Work::Jobs { an_hour, .. } => *an_hour /= 3.0,
    }
    product
}

fn code_assistant(tenant: &str, instances: &[&str]) -> Product {
    let tools = vec![
        reads("read_file", None, Shape::ReadFile, 0.30, (60.0, 4_000.0)),
        acts("edit_file", None, Shape::EditFile, 0.20, (90.0, 300.0)),
        acts("run_command", None, Shape::Command, 0.16, (2_500.0, 1_800.0)),
        reads("search_code", None, Shape::Query, 0.14, (250.0, 1_500.0)),
        reads("list_files", None, Shape::Query, 0.06, (80.0, 900.0)),
        acts("update_todos", None, Shape::Update, 0.05, (20.0, 120.0)),
        reads("get_page", Some("web"), Shape::Url, 0.05, (900.0, 20_000.0)),
        acts("create_change", Some("forge"), Shape::Update, 0.04, (700.0, 600.0)),
    ];
    Product {
        occasional: vec![
            reads("read_image", None, Shape::ReadFile, 1.0, (120.0, 40_000.0)),
            acts("rename_file", None, Shape::EditFile, 1.0, (40.0, 100.0)),
            reads("get_issue", Some("tracker"), Shape::Record, 1.0, (300.0, 2_000.0)),
        ],
        upgrade: Some(Upgrade {
            tool: acts("plan_tasks", None, Shape::Update, 0.06, (30.0, 200.0)),
            first_day: 3,
        }),
        deploy_day: Some(7),
        days_off: 0.06,
        ..product(
            tenant,
            "code-assistant",
            instances,
            Work::Sessions { a_day: 7, calls: 110.0 },
            tools,
        )
    }
}

fn support_agent(tenant: &str, instances: &[&str]) -> Product {
    let tools = vec![
        reads("get_ticket", Some("helpdesk"), Shape::Record, 0.26, (120.0, 1_800.0)),
        reads("search_handbook", Some("handbook"), Shape::Query, 0.20, (350.0, 3_000.0)),
        reads("get_customer", Some("crm"), Shape::Record, 0.13, (150.0, 900.0)),
        reads("get_order", Some("shop"), Shape::Record, 0.12, (180.0, 1_100.0)),
        acts("send_reply", Some("helpdesk"), Shape::Message, 0.12, (240.0, 150.0)),
        acts("update_ticket", Some("helpdesk"), Shape::Update, 0.10, (160.0, 200.0)),
        acts("add_note", Some("helpdesk"), Shape::Update, 0.05, (110.0, 90.0)),
        acts("issue_refund", Some("shop"), Shape::Payment, 0.02, (420.0, 250.0)),
    ];
    let work = Work::Jobs { an_hour: 38.0, calls: 7.0 };
    Product {
        occasional: vec![reads("get_parcel", Some("carrier"), Shape::Record, 1.0, (600.0, 700.0))],
        deploy_day: Some(4),
        ..product(tenant, "support-agent", instances, work, tools)
    }
}

fn billing_agent(tenant: &str, instances: &[&str]) -> Product {
    let tools = vec![
        reads("get_invoice", Some("ledger"), Shape::Record, 0.28, (140.0, 1_400.0)),
        reads("list_payments", Some("ledger"), Shape::Query, 0.16, (260.0, 2_600.0)),
        reads("get_account", Some("ledger"), Shape::Record, 0.14, (130.0, 800.0)),
        acts("post_entry", Some("ledger"), Shape::Update, 0.14, (190.0, 200.0)),
        acts("transfer", Some("payments"), Shape::Payment, 0.12, (650.0, 300.0)),
        acts("create_invoice", Some("ledger"), Shape::Update, 0.09, (280.0, 500.0)),
        acts("send_statement", Some("mail"), Shape::Message, 0.07, (310.0, 120.0)),
    ];
    let work = Work::Jobs { an_hour: 24.0, calls: 6.0 };
    Product {
        occasional: vec![reads("get_tax_rate", Some("tax"), Shape::Record, 1.0, (500.0, 200.0))],
        ..product(tenant, "billing-agent", instances, work, tools)
    }
}

fn research_agent(tenant: &str, instances: &[&str]) -> Product {
    let tools = vec![
        reads("search_web", Some("web"), Shape::Query, 0.28, (800.0, 6_000.0)),
        reads("get_page", Some("web"), Shape::Url, 0.26, (1_100.0, 24_000.0)),
        reads("read_document", Some("archive"), Shape::ReadFile, 0.14, (200.0, 9_000.0)),
        reads("get_quote", Some("markets"), Shape::Record, 0.12, (180.0, 300.0)),
        acts("write_note", None, Shape::Update, 0.10, (60.0, 150.0)),
        acts("save_source", Some("archive"), Shape::Update, 0.07, (140.0, 120.0)),
        acts("send_digest", Some("mail"), Shape::Message, 0.03, (300.0, 100.0)),
    ];
    let mut product = Product {
        occasional: vec![reads(
            "get_filing",
            Some("registry"),
            Shape::Record,
            1.0,
            (900.0, 8_000.0),
        )],
        days_off: 0.04,
        ..product(
            tenant,
            "research-agent",
            instances,
            Work::Sessions { a_day: 6, calls: 80.0 },
            tools,
        )
    };
    product.pace.burst = 0.04;
    product.pace.burst_max = 24;
    product
}

fn ops_agent(tenant: &str, instances: &[&str]) -> Product {
    let tools = vec![
        reads("get_metrics", Some("fleet"), Shape::Host, 0.34, (90.0, 2_400.0)),
        reads("read_logs", Some("fleet"), Shape::Host, 0.24, (300.0, 12_000.0)),
        reads("list_alarms", Some("fleet"), Shape::Query, 0.18, (110.0, 700.0)),
        acts("update_incident", Some("pager"), Shape::Update, 0.12, (150.0, 200.0)),
        acts("restart_unit", Some("fleet"), Shape::Host, 0.07, (1_800.0, 150.0)),
        acts("send_notice", Some("pager"), Shape::Message, 0.05, (220.0, 90.0)),
    ];
    let mut hours = [1.0; 24];
    if let Some(night) = hours.get_mut(..6) {
        night.fill(0.7);
    }
    Product {
        hours,
        weekend: 0.8,
        ..product(tenant, "ops-agent", instances, Work::Jobs { an_hour: 11.0, calls: 5.0 }, tools)
    }
}

/// A product with the habits most of them share.
fn product(tenant: &str, name: &str, instances: &[&str], work: Work, tools: Vec<Tool>) -> Product {
    Product {
        tenant_id: tenant.to_owned(),
        name: name.to_owned(),
        instances: instances.iter().map(|instance| (*instance).to_owned()).collect(),
        version: 14,
        hours: office_hours(),
        weekend: 0.0,
        days_off: 0.0,
        work,
        pace: Pace { gap_secs: 4.5, gap_sigma: 0.75, burst: 0.01, burst_max: 8 },
        tools,
        occasional: Vec::new(),
        upgrade: None,
        deploy_day: None,
        error_rate: 0.03,
    }
}

/// Eight to seven with a quiet start, a lunch and an evening that runs out.
fn office_hours() -> [f64; 24] {
    let mut hours = [0.0; 24];
    let day = [0.6, 1.0, 1.1, 1.0, 0.7, 0.9, 1.1, 1.0, 0.9, 0.6, 0.3];
    for (weight, hour) in hours.iter_mut().skip(8).zip(day) {
        *weight = hour;
    }
    hours
}

fn reads(name: &str, server: Option<&str>, shape: Shape, weight: f64, size: (f64, f64)) -> Tool {
    tool(name, server, shape, weight, size)
}

fn acts(name: &str, server: Option<&str>, shape: Shape, weight: f64, size: (f64, f64)) -> Tool {
    Tool { acting: true, ..tool(name, server, shape, weight, size) }
}

/// `size` is the median duration in milliseconds and the median result in bytes.
fn tool(name: &str, server: Option<&str>, shape: Shape, weight: f64, size: (f64, f64)) -> Tool {
    Tool {
        name: name.to_owned(),
        server: server.map(str::to_owned),
        acting: false,
        weight,
        arguments: shape,
        duration_ms: size.0,
        bytes_out: size.1,
    }
}
