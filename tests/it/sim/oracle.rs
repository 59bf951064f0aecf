//! What must be true of a simulation, by one run of the same input in which nothing happened.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use toolwarden::state::codec::agent_from_bytes;

use crate::sim::input::{CANARY, MORNINGS, morning};
use crate::sim::play::{Outcome, Plan, Said, play};
use crate::sim::receiver::{Taken, Told};
use crate::sim::world::{Broken, Met, lock};

/// What an undisturbed run says, by morning and reordering span.
static UNDISTURBED: Mutex<BTreeMap<(u64, i64), Arc<Said>>> = Mutex::new(BTreeMap::new());

fn undisturbed(number: u64, reorder_ns: i64) -> Arc<Said> {
    let mut known = UNDISTURBED.lock().unwrap_or_else(PoisonError::into_inner);
    let said = known.entry((number, reorder_ns)).or_insert_with(|| {
        let plan = Plan { reorder_ns, ..Plan::default() };
        let Outcome { said, wrongs, .. } =
            play(plan, Broken::Nothing, &morning(number, reorder_ns == 0));
        assert!(wrongs.is_empty(), "without any fault: {wrongs:?}");
        assert!(said.alerts.len() >= 6 && said.buried.len() == 1, "{:#?}", said.alerts);
        Arc::new(said)
    });
    Arc::clone(said)
}

/// What a simulation met, or what it found wrong.
pub(crate) fn judge(seed: u64, broken: Broken) -> Result<(Met, usize), String> {
    let number = seed % MORNINGS;
    let reorder_ns = if seed % 3 == 2 { 30_000_000_000 } else { 0 };
    let wanted = undisturbed(number, reorder_ns);
    let plan = Plan { seed, is_rough: true, reorder_ns, ..Plan::default() };
    let played =
        catch_unwind(AssertUnwindSafe(|| play(plan, broken, &morning(number, reorder_ns == 0))));
    let Ok(Outcome { said, mut wrongs, met, repeats, world }) = played else {
        return Err("it panicked".to_owned());
    };
    let lost = wanted.alerts.difference(&said.alerts).next();
    wrongs.extend(lost.map(|it| format!("an alert is lost: {it}")));
    let false_one = said.alerts.difference(&wanted.alerts).next();
    wrongs.extend(false_one.map(|it| {
        // The id stands in front.
        let is_same = |other: &&String| other.get(..90) == it.get(..90);
        let wanted = wanted.alerts.iter().find(is_same);
        format!("an alert that is none, or has other bytes: {it}\n  instead of {wanted:?}")
    }));
    if said.audits != wanted.audits {
        wrongs.push("changes are lost, or others".to_owned());
    }
    if said.buried != wanted.buried {
        wrongs.push("what cannot be read is not in the dead-letter topic".to_owned());
    }
    for (key, bytes) in &wanted.agents {
        if said.agents.get(key) != Some(bytes) {
            let words = difference(said.agents.get(key), bytes);
            wrongs.push(format!("an agent is known otherwise: {words}"));
        }
    }
    if said.agents.len() != wanted.agents.len() {
        wrongs.push("there are other agents".to_owned());
    }
    if said.peers != wanted.peers {
        let mut lines = said.peers.lines().zip(wanted.peers.lines()).filter(|(a, b)| a != b);
        let (found, wanted) = lines.next().unwrap_or_default();
        wrongs.push(format!("peers are known otherwise: {found} instead of {wanted}"));
    }
    let world = lock(&world);
    wrongs.extend(untold(&world.receiver));
    let again =
        world.receiver.taken.len() - world.receiver.alerts.len().min(world.receiver.taken.len());
    let joined = world.receiver.taken.iter().filter(|it| it.body.contains("\"duplicate_of\""));
    let joined = u32::try_from(joined.count()).unwrap();
    let met = Met { told_again: u32::try_from(again).unwrap(), joined, ..met };
    for ((topic, _), log) in world.logs.iter().filter(|((topic, _), _)| &**topic != "calls") {
        let has_it =
            |bytes: &Vec<u8>| bytes.windows(CANARY.len()).any(|it| it == CANARY.as_bytes());
        if log.records().any(|record| record.payload.as_ref().is_some_and(has_it)) {
            wrongs.push(format!("a secret stands in the topic {topic}"));
        }
    }
    if wrongs.is_empty() { Ok((met, repeats)) } else { Err(wrongs.join("\n  ")) }
}

/// The first words that differ between what is known and what should be.
fn difference(found: Option<&Vec<u8>>, wanted: &[u8]) -> String {
    let Some(found) = found else { return "it is not known".to_owned() };
    let words = |bytes| format!("{:#?}", agent_from_bytes(bytes, 1_000).unwrap());
    let (found, wanted) = (words(found), words(wanted));
    let mut lines = found.lines().zip(wanted.lines()).filter(|(a, b)| a != b);
    let (found, wanted) = lines.next().unwrap_or(("more or fewer lines", ""));
    format!("{} instead of {}", found.trim(), wanted.trim())
}

/// What is wrong with what the receiver was told.
fn untold(receiver: &Told) -> Vec<String> {
    let mut wrongs = Vec::new();
    let mut first: BTreeMap<&str, (usize, &Taken)> = BTreeMap::new();
    for (place, taken) in receiver.taken.iter().enumerate() {
        let Some((_, known)) = first.get(&*taken.id) else {
            first.insert(&taken.id, (place, taken));
            continue;
        };
        if known.body != taken.body {
            wrongs.push(format!("two bodies of one id: {} and {}", known.body, taken.body));
        }
        // Whoever was frozen between its note and its attempt tells what others have told meanwhile.
        if !taken.is_marked && known.is_orderly && taken.is_orderly {
            wrongs.push(format!("told again without a word on that: {}", taken.body));
        }
    }
    let mut last: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (id, _, incident) in &receiver.alerts {
        let Some((place, _)) = first.remove(&**id) else {
            wrongs.push(format!("nobody was told of {id}"));
            continue;
        };
        let before = last.insert(incident, (place, id));
        if let Some((_, overtaken)) = before.filter(|(before, _)| *before > place) {
            wrongs.push(format!("{id} was told before {overtaken}, which is older"));
        }
    }
    wrongs.extend(first.keys().map(|id| format!("{id} was told and is no alert")));
    wrongs
}
