//! What a tool does to the world, read from its name. A guess by verb, not a look at its arguments.

use crate::event::Operation;

/// Verbs and what they do; the first that a name starts with decides, so `taskget`, which only
/// looks, stands before `task`, which starts an agent.
const VERBS: [(&str, Operation); 127] = [
    ("checkout", Operation::Write),
    ("read", Operation::Read),
    ("get", Operation::Read),
    ("list", Operation::Read),
    ("search", Operation::Read),
    ("find", Operation::Read),
    ("view", Operation::Read),
    ("fetch", Operation::Read),
    ("query", Operation::Read),
    ("grep", Operation::Read),
    ("glob", Operation::Read),
    ("ls", Operation::Read),
    ("show", Operation::Read),
    ("describe", Operation::Read),
    ("look", Operation::Read),
    ("inspect", Operation::Read),
    ("resolve", Operation::Read),
    ("extract", Operation::Read),
    ("open", Operation::Read),
    ("webfetch", Operation::Read),
    ("websearch", Operation::Read),
    ("taskoutput", Operation::Read),
    ("taskget", Operation::Read),
    ("tasklist", Operation::Read),
    ("browse", Operation::Read),
    ("visit", Operation::Read),
    ("navigate", Operation::Read),
    ("scroll", Operation::Read),
    ("screenshot", Operation::Read),
    ("check", Operation::Read),
    ("verify", Operation::Read),
    ("count", Operation::Read),
    ("compare", Operation::Read),
    ("calculate", Operation::Read),
    ("summarize", Operation::Read),
    ("summarise", Operation::Read),
    ("load", Operation::Read),
    ("access", Operation::Read),
    ("retrieve", Operation::Read),
    ("download", Operation::Read),
    ("lookup", Operation::Read),
    ("preview", Operation::Read),
    ("validate", Operation::Read),
    ("delete", Operation::Delete),
    ("remove", Operation::Delete),
    ("drop", Operation::Delete),
    ("revoke", Operation::Delete),
    ("write", Operation::Write),
    ("create", Operation::Write),
    ("update", Operation::Write),
    ("edit", Operation::Write),
    ("send", Operation::Write),
    ("post", Operation::Write),
    ("put", Operation::Write),
    ("pay", Operation::Write),
    ("transfer", Operation::Write),
    ("set", Operation::Write),
    ("add", Operation::Write),
    ("insert", Operation::Write),
    ("upload", Operation::Write),
    ("push", Operation::Write),
    ("multiedit", Operation::Write),
    ("notebookedit", Operation::Write),
    ("todowrite", Operation::Write),
    ("rename", Operation::Write),
    ("move", Operation::Write),
    ("reply", Operation::Write),
    ("publish", Operation::Write),
    ("schedule", Operation::Write),
    ("reschedule", Operation::Write),
    ("book", Operation::Write),
    ("reserve", Operation::Write),
    ("share", Operation::Write),
    ("invite", Operation::Write),
    ("submit", Operation::Write),
    ("patch", Operation::Write),
    ("cancel", Operation::Write),
    ("change", Operation::Write),
    ("modify", Operation::Write),
    ("reset", Operation::Write),
    ("grant", Operation::Write),
    ("merge", Operation::Write),
    ("copy", Operation::Write),
    ("input", Operation::Write),
    ("fill", Operation::Write),
    ("click", Operation::Write),
    ("type", Operation::Write),
    ("buy", Operation::Write),
    ("purchase", Operation::Write),
    ("order", Operation::Write),
    ("refund", Operation::Write),
    ("forward", Operation::Write),
    ("append", Operation::Write),
    ("approve", Operation::Write),
    ("reject", Operation::Write),
    ("assign", Operation::Write),
    ("close", Operation::Write),
    ("comment", Operation::Write),
    ("commit", Operation::Write),
    ("register", Operation::Write),
    ("donate", Operation::Write),
    ("withdraw", Operation::Write),
    ("subscribe", Operation::Write),
    ("unsubscribe", Operation::Write),
    ("enable", Operation::Write),
    ("disable", Operation::Write),
    ("save", Operation::Write),
    ("store", Operation::Write),
    ("notify", Operation::Write),
    ("bash", Operation::Execute),
    ("run", Operation::Execute),
    ("exec", Operation::Execute),
    ("shell", Operation::Execute),
    ("execute", Operation::Execute),
    ("task", Operation::Execute),
    ("spawn", Operation::Execute),
    ("install", Operation::Execute),
    ("deploy", Operation::Execute),
    ("start", Operation::Execute),
    ("stop", Operation::Execute),
    ("restart", Operation::Execute),
    ("kill", Operation::Execute),
    ("invoke", Operation::Execute),
    ("login", Operation::Auth),
    ("auth", Operation::Auth),
    ("token", Operation::Auth),
    ("signin", Operation::Auth),
];

/// The operation of a tool, from the verb its name starts with after the last `__`, or else from
/// the first of its words that is a verb.
///
/// Upper and lower case are alike; a name without a known verb is [`Operation::Unknown`], which is
/// judged as acting.
#[must_use]
pub fn operation_of(tool_name: &str) -> Operation {
    let name = tool_name.as_bytes();
    let start = name.windows(2).rposition(|pair| pair == b"__").map_or(0, |at| at + 2);
    let name = name.get(start..).unwrap_or_default();
    let first = name.first().map(u8::to_ascii_lowercase);
    let starts_with = |verb: &str| {
        // Most verbs are told apart by their first letter.
        verb.bytes().next() == first
            && name.get(..verb.len()).is_some_and(|it| it.eq_ignore_ascii_case(verb.as_bytes()))
    };
    let known = VERBS.iter().find(|(verb, _)| starts_with(verb)).or_else(|| {
        let is = |word: &[u8], verb: &str| word.eq_ignore_ascii_case(verb.as_bytes());
        words(name).find_map(|word| VERBS.iter().find(|(verb, _)| is(word, verb)))
    });
    known.map_or(Operation::Unknown, |(_, operation)| *operation)
}

/// The words of a name: `issue_create`, `issues.create` and `issueCreate` have two each.
fn words(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.split(|byte| !byte.is_ascii_alphanumeric())
        .flat_map(|part| part.chunk_by(|a, b| !(a.is_ascii_lowercase() && b.is_ascii_uppercase())))
}

/// The operation a record declares, in the words of the canonical event.
pub(super) fn declared(word: &str) -> Operation {
    let words = [
        ("read", Operation::Read),
        ("write", Operation::Write),
        ("delete", Operation::Delete),
        ("execute", Operation::Execute),
        ("auth", Operation::Auth),
    ];
    words
        .iter()
        .find(|(known, _)| word.eq_ignore_ascii_case(known))
        .map_or(Operation::Unknown, |(_, operation)| *operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verb_after_the_server_decides() {
        let check = |name: &str, expected: Operation| {
            assert_eq!(operation_of(name), expected, "{name}");
        };
        check("Read", Operation::Read);
        check("WebSearch", Operation::Read);
        check("get_webpage", Operation::Read);
        check("mcp__github__list_issues", Operation::Read);
        check("mcp__github__create_issue", Operation::Write);
        check("mcp__read_only__delete_row", Operation::Delete);
        check("removeUser", Operation::Delete);
        check("TodoWrite", Operation::Write);
        check("send_money", Operation::Write);
        check("Task", Operation::Execute);
        check("TaskOutput", Operation::Read);
        check("Bash", Operation::Execute);
        check("login", Operation::Auth);
        check("payments.transfer", Operation::Write);
        check("checkout_cart", Operation::Write);
        check("check_inbox", Operation::Read);
        check("browse", Operation::Read);
        check("issue_create", Operation::Write);
        check("calendar.events.delete", Operation::Delete);
        check("pageOpen", Operation::Read);
        check("frobnicate", Operation::Unknown);
        check("ünïcode", Operation::Unknown);
        check("", Operation::Unknown);
        check("mcp__server__", Operation::Unknown);
    }

    #[test]
    fn an_unknown_declaration_falls_back_to_the_name() {
        assert_eq!(declared("DELETE"), Operation::Delete);
        assert_eq!(declared("sing"), Operation::Unknown);
    }
}
