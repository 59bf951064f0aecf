//! What a tool does to the world, read from its name. A guess by verb, not a look at its arguments.

use crate::event::Operation;

/// Verbs and what they do; the first that a name starts with decides, so `taskget`, which only
/// looks, stands before `task`, which starts an agent.
const VERBS: [(&str, Operation); 58] = [
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
    ("delete", Operation::Delete),
    ("remove", Operation::Delete),
    ("drop", Operation::Delete),
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
    ("bash", Operation::Execute),
    ("run", Operation::Execute),
    ("exec", Operation::Execute),
    ("shell", Operation::Execute),
    ("execute", Operation::Execute),
    ("task", Operation::Execute),
    ("spawn", Operation::Execute),
    ("login", Operation::Auth),
    ("auth", Operation::Auth),
    ("token", Operation::Auth),
    ("signin", Operation::Auth),
];

/// The operation of a tool, from the verb its name starts with after the last `__`.
///
/// Upper and lower case are alike; a name that starts with no known verb is
/// [`Operation::Unknown`], which is judged as acting.
#[must_use]
pub fn operation_of(tool_name: &str) -> Operation {
    let name = tool_name.as_bytes();
    let start = name.windows(2).rposition(|pair| pair == b"__").map_or(0, |at| at + 2);
    let name = name.get(start..).unwrap_or_default();
    let Some(first) = name.first().map(u8::to_ascii_lowercase) else {
        return Operation::Unknown;
    };
    let starts_with = |verb: &str| {
        verb.as_bytes().first() == Some(&first)
            && name.get(..verb.len()).is_some_and(|head| head.eq_ignore_ascii_case(verb.as_bytes()))
    };
    VERBS
        .iter()
        .find(|(verb, _)| starts_with(verb))
        .map_or(Operation::Unknown, |(_, operation)| *operation)
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
