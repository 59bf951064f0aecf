//! Whether a scenario read from a file can be drawn, said before anything is.

use crate::generate::scenario::{Product, Scenario, Tool, Traffic, Work};

/// The most calendar days of a scenario.
const DAYS_MAX: u32 = 3_660;
/// The most calls an agent may be asked to make in a session, or jobs it may be given in an hour.
const WORK_MAX: f64 = 100_000.0;

/// Why a scenario cannot be drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// The time does not fit.
    #[error("`days` is {0}: give 1 to 3660")]
    Days(u32),
    /// The scenario would not begin with a day.
    #[error("`start` must be midnight UTC, such as 2026-03-02T00:00:00Z")]
    Start,
    /// There would be no calls at all.
    #[error("nobody makes calls: give at least one product with one instance, or one agent")]
    Nobody,
    /// A product that cannot work.
    #[error("product `{product}`: {problem}")]
    Product {
        /// The product.
        product: String,
        /// What is wrong, and what would be right.
        problem: &'static str,
    },
    /// Two products would share their agents.
    #[error("product `{0}` stands twice in its tenant, or lists an instance twice: rename one")]
    Twice(String),
    /// An anomaly for which there is no place.
    #[error(
        "planted anomaly {0} (counted from 0) needs a known agent, a day of the scenario, a minute \
         below 1440, and a day on which nothing else is planted on that agent"
    )]
    Planted(usize),
}

impl Scenario {
    /// Checks that the scenario can be drawn. The built-in ones can.
    ///
    /// # Errors
    ///
    /// Says the first thing that is wrong.
    pub fn check(&self) -> Result<(), ScenarioError> {
        if !(1..=DAYS_MAX).contains(&self.days) {
            return Err(ScenarioError::Days(self.days));
        }
        if self.start != crate::event::Timestamp::from_secs(self.start.day().saturating_mul(86_400))
        {
            return Err(ScenarioError::Start);
        }
        let products = match &self.traffic {
            Traffic::Uniform { agents: 0, .. } => return Err(ScenarioError::Nobody),
            Traffic::Uniform { .. } => &[][..],
            Traffic::Products(products) => {
                if !products.iter().any(|product| !product.instances.is_empty()) {
                    return Err(ScenarioError::Nobody);
                }
                products
            }
        };
        check_names(products)?;
        for product in products {
            check_product(product).map_err(|problem| ScenarioError::Product {
                product: product.name.clone(),
                problem,
            })?;
        }
        self.check_planted(products)
    }

    fn check_planted(&self, products: &[Product]) -> Result<(), ScenarioError> {
        let known = |tenant: &str, agent: &str| {
            products.iter().any(|product| {
                product.tenant_id == tenant
                    && product.instances.iter().any(|name| {
                        agent.strip_prefix(&product.name).and_then(|rest| rest.strip_prefix('@'))
                            == Some(name.as_str())
                    })
            })
        };
        let mut taken = std::collections::BTreeSet::new();
        let lost = self.planted.iter().position(|planted| {
            !taken.insert((&planted.tenant_id, &planted.agent_id, planted.day))
                || planted.day >= self.days
                || planted.minute >= 1_440
                || !known(&planted.tenant_id, &planted.agent_id)
        });
        lost.map_or(Ok(()), |number| Err(ScenarioError::Planted(number)))
    }
}

fn check_names(products: &[Product]) -> Result<(), ScenarioError> {
    let mut seen = std::collections::BTreeSet::new();
    for product in products {
        for instance in &product.instances {
            if !seen.insert((&product.tenant_id, &product.name, instance)) {
                return Err(ScenarioError::Twice(product.name.clone()));
            }
        }
    }
    Ok(())
}

fn check_product(product: &Product) -> Result<(), &'static str> {
    let share = |value: f64| (0.0..=1.0).contains(&value);
    let (count, calls) = match product.work {
        Work::Sessions { a_day, calls } => (f64::from(a_day), calls),
        Work::Jobs { an_hour, calls } => (an_hour, calls),
    };
    let upgrade = product.upgrade.iter().map(|upgrade| &upgrade.tool);
    let mut tools = product.tools.iter().chain(&product.occasional).chain(upgrade);
    let weight: f64 = product.tools.iter().map(|tool| tool.weight).sum();
    let rules = [
        (
            !product.tenant_id.is_empty() && !product.name.is_empty(),
            "`tenant_id` and `name` must not be empty",
        ),
        (
            product.hours.iter().all(|weight| (0.0..=100.0).contains(weight)),
            "each of `hours` must be between 0 and 100",
        ),
        (
            [product.weekend, product.days_off, product.error_rate, product.pace.burst]
                .into_iter()
                .all(share),
            "`weekend`, `days_off`, `error_rate` and `burst` must be between 0 and 1",
        ),
        (
            (0.0..=WORK_MAX).contains(&count) && (1.0..=WORK_MAX).contains(&calls),
            "`work` must be between 0 and 100000, with at least one call each",
        ),
        (
            (0.3..=86_400.0).contains(&product.pace.gap_secs)
                && (0.0..=5.0).contains(&product.pace.gap_sigma),
            "`gap_secs` must be between 0.3 and 86400, `gap_sigma` between 0 and 5",
        ),
        (
            product.version < u32::MAX && product.pace.burst_max <= 10_000,
            "`version` must leave room for the next one, `burst_max` must be at most 10000",
        ),
        (tools.all(sound), "each tool needs a `name`, and figures between 0 and 1e12"),
        (weight > 0.0, "`tools` must hold at least one tool with a `weight` above 0"),
    ];
    rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, problem)| Err(problem))
}

fn sound(tool: &Tool) -> bool {
    let figures = [tool.weight, tool.duration_ms, tool.bytes_out];
    !tool.name.is_empty() && figures.iter().all(|figure| (0.0..=1e12).contains(figure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Anomaly, Planted};

    fn products(scenario: &mut Scenario) -> &mut Vec<Product> {
        match &mut scenario.traffic {
            Traffic::Products(products) => products,
            Traffic::Uniform { .. } => panic!("not a company"),
        }
    }

    #[test]
    fn the_built_in_scenarios_can_be_drawn() {
        for scenario in [
            Scenario::working_day(1),
            Scenario::quiet_day(1),
            Scenario::company(9, 3, 1),
            Scenario::bench(10, 10, 1),
        ] {
            assert_eq!(scenario.check(), Ok(()));
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_named() {
        let broken = |change: &dyn Fn(&mut Scenario)| {
            let mut scenario = Scenario::company(4, 2, 1);
            change(&mut scenario);
            scenario.check().unwrap_err().to_string()
        };
        assert!(broken(&|s| s.days = 0).contains("1 to 3660"));
        assert!(broken(&|s| s.start = s.start.plus_secs(1)).contains("midnight"));
        assert!(broken(&|s| products(s).clear()).contains("at least one product"));
        assert!(broken(&|s| products(s)[0].error_rate = f64::NAN).contains("between 0 and 1"));
        assert!(broken(&|s| products(s)[0].tools.clear()).contains("at least one tool"));
        assert!(broken(&|s| products(s)[0].pace.gap_secs = 0.0).contains("gap_secs"));
        let twin = |s: &mut Scenario| {
            let twin = products(s)[0].clone();
            products(s).push(twin);
        };
        assert!(broken(&twin).contains("twice"));
        let stranger = |s: &mut Scenario| {
            s.planted.push(Planted {
                kind: Anomaly::Silence,
                tenant_id: "acme".to_owned(),
                agent_id: "nobody@home".to_owned(),
                day: 0,
                minute: 0,
            });
        };
        assert!(broken(&stranger).contains("anomaly 0"));
    }
}
