//! Who an agent's peers are: by configuration, by the records, by its id, or by the tools it uses.
//!
//! Decided at the agent's first call and after that only with the first call of a day, so that it
//! does not depend on when anybody looked. What the operator says counts at once. A group that
//! records declare is changed when two active days begin with the same new one, a week apart at
//! least. Agents whose id names no product, and that nothing declares, are grouped by the tools
//! they used on several of their first whole active days: with a product that ships with them, or
//! with another such agent of the tenant that uses the same ones. Tools in quarantine or part of an
//! alert do not count, and nothing changes while an episode is open: an attack moves no agent.
//! What an agent taught before stays where it was taught.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::alert::{PeerBasis, PeerGroup};
use crate::baseline::identity::{hash_texts, short, tool_hash};
use crate::baseline::kinds::ToolSketch;
use crate::baseline::peers::{Fact, GroupKey};
use crate::detect::agent::AgentState;
use crate::detect::{Context, Moment, Verdict};
use crate::event::ToolCall;
use crate::policy::Catalogue;

/// Whole active days before tools say who an agent is.
const INFERRED_AFTER_DAYS: u32 = 3;

/// Days between two changes of a group that nobody configured, and two attempts to infer one.
const DAYS_BETWEEN: i32 = 7;

/// Peers with which an inferred group is good enough.
const PEERS_ENOUGH: u64 = 2;

/// Tools of a product that an agent must use, and their least share of all it uses, in tenths.
const OF_PRODUCT: (usize, usize) = (4, 7);

/// The group of an agent where that is not the one its id names, or is being inferred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grouping {
    /// The group's name; empty for the one that the id names.
    name: Box<str>,
    pub(crate) basis: PeerBasis,
    /// Since which epoch hour the agent is one of it.
    pub(crate) since_hour: i64,
    /// The day of the last change, or of the last attempt to infer it.
    decided_day: i32,
    /// A group that records declared when the last day began, and that is not the agent's.
    declared: u32,
}

impl Grouping {
    fn is_called(&self, name: &str, agent_id: &str) -> bool {
        let own = if self.name.is_empty() { product(agent_id) } else { &self.name };
        own == name
    }

    /// Bytes on the heap.
    pub(crate) const fn heap_bytes(&self) -> usize {
        self.name.len()
    }
}

/// A group that an agent should be in.
struct Wish<'a> {
    name: &'a str,
    basis: PeerBasis,
}

impl AgentState {
    /// The name of the agent's group.
    pub(crate) fn group_name(&self) -> &str {
        let named = self.rare.grouping().map(|grouping| &*grouping.name);
        named.filter(|name| !name.is_empty()).unwrap_or_else(|| product(&self.agent_id))
    }

    /// What an alert says of the agent's group.
    pub(crate) fn peer_group(&self) -> PeerGroup {
        let basis = self.rare.grouping().map_or(PeerBasis::Id, |grouping| grouping.basis);
        PeerGroup { name: self.group_name().to_owned(), basis }
    }
}

/// Decides about the agent's group, if `call`, not yet counted, is its first or the first of a day.
pub(crate) fn settle(
    context: &Context<'_>,
    state: &mut AgentState,
    (call, moment): (&ToolCall<'_>, Moment),
    verdict: &mut Verdict,
) {
    let is_first = state.history.calls == 0;
    if !is_first && moment.day <= state.history.today() {
        return;
    }
    let configured = context.rules.groups.of(&call.tenant_id, &call.agent_id);
    if let Some(name) = configured {
        return change(state, &Wish { name, basis: PeerBasis::Configured }, call, verdict);
    }
    if let Some(name) = call.agent_group.as_deref() {
        return declare(state, name, call, verdict);
    }
    let basis = state.rare.grouping().map(|grouping| grouping.basis);
    match basis {
        // The operator took the group back.
        Some(PeerBasis::Configured) => {
            let name = product(&call.agent_id);
            change(state, &Wish { name, basis: PeerBasis::Id }, call, verdict);
        }
        // Some records declare it and some do not.
        Some(PeerBasis::Declared) => {}
        Some(PeerBasis::Id | PeerBasis::Inferred) | None => {
            if product(&call.agent_id) == call.agent_id && is_due(context, state, call) {
                infer(context, state, call, verdict);
            }
        }
    }
}

/// A group that the records declare: at once with the first call, later when two days begin with it.
fn declare(state: &mut AgentState, name: &str, call: &ToolCall<'_>, verdict: &mut Verdict) {
    let wish = Wish { name, basis: PeerBasis::Declared };
    if state.history.calls == 0 {
        return change(state, &wish, call, verdict);
    }
    let hash = short(hash_texts(&[name])).max(1);
    let since = state.since.hour();
    if state.rare.grouping().is_none() {
        let by_id = Wish { name: product(&call.agent_id), basis: PeerBasis::Id };
        let undecided = Grouping { decided_day: i32::MIN, ..grouping(since, &by_id, call) };
        state.rare.set_grouping(undecided);
    }
    let Some(known) = state.rare.grouping_mut() else { return };
    let is_of_records = known.basis == PeerBasis::Declared;
    let is_time = !is_of_records || day_of(call) >= known.decided_day.saturating_add(DAYS_BETWEEN);
    if is_of_records && known.is_called(name, &call.agent_id) {
        known.declared = 0;
    } else if known.declared == hash && is_time {
        change(state, &wish, call, verdict);
    } else {
        known.declared = hash;
    }
}

/// Whether it is time to look at the agent's tools.
fn is_due(context: &Context<'_>, state: &AgentState, call: &ToolCall<'_>) -> bool {
    // The day that ends with this call is not counted yet.
    let days = state.history.days.saturating_add(1);
    let last = state.rare.grouping().map(|grouping| grouping.decided_day);
    let is_time = last.is_none_or(|last| day_of(call) >= last.saturating_add(DAYS_BETWEEN));
    days >= INFERRED_AFTER_DAYS
        && is_time
        && state.open.is_empty()
        && state.peer_count(context.peers) < PEERS_ENOUGH
}

fn infer(
    context: &Context<'_>,
    state: &mut AgentState,
    call: &ToolCall<'_>,
    verdict: &mut Verdict,
) {
    let tools: Vec<u64> = state.tools.usual().collect();
    let mut inferred = product_of(context, &tools).map(|list| list.name().to_owned());
    if inferred.is_none()
        && let Some(sketch) = ToolSketch::of(&tools)
    {
        let tenant = context.peers.group(GroupKey::of_tenant(&state.tenant_id));
        let own = &*state.agent_id;
        let like = tenant.and_then(|tenant| tenant.kinds().like(&sketch));
        match like {
            Some(name) if name < own => inferred = Some(name.to_owned()),
            // It is the first of its kind itself, and others join it.
            Some(name) if name == own => {}
            _ => verdict.tenant_facts.push(Fact::Kind { name: Arc::from(own), sketch }),
        }
    }
    let name = inferred.unwrap_or_else(|| state.group_name().to_owned());
    let basis = if name == product(&call.agent_id) { PeerBasis::Id } else { PeerBasis::Inferred };
    change(state, &Wish { name: &name, basis }, call, verdict);
    if let Some(grouping) = state.rare.grouping_mut() {
        grouping.decided_day = day_of(call);
    }
}

/// The product that ships with most of the tools, if one ships with nearly all of them.
fn product_of<'a>(context: &Context<'a>, tools: &[u64]) -> Option<&'a Catalogue> {
    let used = |list: &Catalogue| {
        list.tools().filter(|tool| tools.contains(&tool_hash(None, tool))).count()
    };
    let best = context.rules.catalogues.all().map(|list| (used(list), list)).rev();
    // Of several the first one, which is the last one here.
    let (used, list) = best.max_by_key(|(used, _)| *used)?;
    (used >= OF_PRODUCT.0 && used * 10 >= tools.len() * OF_PRODUCT.1).then_some(list)
}

fn change(state: &mut AgentState, wish: &Wish<'_>, call: &ToolCall<'_>, verdict: &mut Verdict) {
    let key = GroupKey::of(&state.tenant_id, wish.name);
    let is_by_id = wish.name == product(&state.agent_id);
    if key == state.group
        && state.rare.grouping().is_none()
        && is_by_id
        && wish.basis == PeerBasis::Id
    {
        // An agent that is on its own, and was looked at.
        state.rare.set_grouping(grouping(state.since.hour(), wish, call));
        return;
    }
    let known = state.rare.grouping();
    let has_name = state.group_name() == wish.name;
    if has_name && known.is_some_and(|known| known.basis == wish.basis && known.declared == 0) {
        return;
    }
    let since = if key == state.group {
        known.map_or(state.since.hour(), |known| known.since_hour)
    } else {
        call.time.hour()
    };
    if key != state.group {
        leave(state, key, call, verdict);
    }
    state.rare.set_grouping(grouping(since, wish, call));
}

fn grouping(since_hour: i64, wish: &Wish<'_>, call: &ToolCall<'_>) -> Grouping {
    let is_by_id = wish.name == product(&call.agent_id);
    let name = if is_by_id { "" } else { wish.name };
    let decided_day = day_of(call);
    Grouping { name: name.into(), basis: wish.basis, since_hour, decided_day, declared: 0 }
}

/// Goes to another group. What was taught so far is the former group's; the new one hears that
/// there is one more agent, and what tools it knows.
fn leave(state: &mut AgentState, key: GroupKey, call: &ToolCall<'_>, verdict: &mut Verdict) {
    let former = std::mem::replace(&mut state.group, key);
    if state.history.calls == 0 {
        return;
    }
    verdict.left = Some((former, std::mem::take(&mut verdict.facts)));
    verdict.facts.push(Fact::Agent);
    let (agent, hour) = (state.agent, call.time.hour());
    let told = state.tools.usual().map(|tool| Fact::Tool { tool, agent, hour, began: false });
    verdict.facts.extend(told);
}

/// The product that an agent's id names; the whole id where it names none.
pub(crate) fn product(agent_id: &str) -> &str {
    let parts = agent_id.split_once('@').or_else(|| agent_id.rsplit_once('/'));
    parts.map_or(agent_id, |(product, _)| product)
}

fn day_of(call: &ToolCall<'_>) -> i32 {
    i32::try_from(call.time.day()).unwrap_or(0)
}
