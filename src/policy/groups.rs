//! Which agents are peers because the operator says so.
//!
//! Patterns of tenant and agent with `*` for any text; the first that matches decides.

/// Agents that belong to one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPattern {
    /// The tenants, `*` for any text.
    pub tenant: String,
    /// The agents, likewise.
    pub agent: String,
    /// The group's name.
    pub group: String,
}

/// The groups that the operator named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups(Vec<GroupPattern>);

impl Groups {
    /// The groups of these patterns, the first one that matches decides.
    #[must_use]
    pub const fn new(patterns: Vec<GroupPattern>) -> Self {
        Self(patterns)
    }

    /// The group of an agent, if the operator named one.
    #[must_use]
    pub fn of(&self, tenant_id: &str, agent_id: &str) -> Option<&str> {
        let is_it = |pattern: &&GroupPattern| {
            matches(&pattern.tenant, tenant_id) && matches(&pattern.agent, agent_id)
        };
        self.0.iter().find(is_it).map(|pattern| pattern.group.as_str())
    }
}

/// Whether a text matches a pattern in which `*` stands for any text, the empty one included.
#[must_use]
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(head) else { return false };
    let mut parts = rest.split('*').peekable();
    // The first place is always the best one, except for the last part, which must end the text.
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        match left.split_once(part) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("billing-*", "billing-7", true),
            ("billing-*", "shipping-7", false),
            ("*-eu", "a-eu-eu", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1c", false),
            ("a*a", "a", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_pattern_that_matches_decides() {
        let pattern = |tenant: &str, agent: &str, group: &str| GroupPattern {
            tenant: tenant.to_owned(),
            agent: agent.to_owned(),
            group: group.to_owned(),
        };
        let groups =
            Groups::new(vec![pattern("acme", "pay-*", "payments"), pattern("*", "*", "everybody")]);
        assert_eq!(groups.of("acme", "pay-1"), Some("payments"));
        assert_eq!(groups.of("other", "pay-1"), Some("everybody"));
        assert_eq!(Groups::default().of("acme", "pay-1"), None);
    }

    proptest! {
        #[test]
        fn no_pattern_of_stars_takes_long_or_breaks(pattern in "[a*]{0,40}", text in "[ab]{0,60}") {
            let squeezed = pattern.replace("**", "*");
            prop_assert_eq!(matches(&pattern, &text), matches(&squeezed, &text));
        }
    }
}
