//! Who asks the broker where partitions end, so that polling goes on without the answer.
//!
//! A question takes two round trips, and as long as may be while nothing answers. There is one
//! question a partition at a time, so what is held is bounded by the partitions of the topics.

use std::collections::BTreeMap;

use crate::kafka::TopicPartition;
use crate::kafka::background::Background;

/// Where a partition begins and ends, and what its group has committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The oldest offset there is.
    pub(crate) low: i64,
    /// The offset that the next record gets.
    pub(crate) high: i64,
    /// What is committed, if anything is.
    pub(crate) committed: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
enum Question {
    /// Nobody has asked the broker yet. Whether it is to be asked for the commit, too.
    Open(bool),
    /// The thread asks it.
    Asked,
    /// What the broker said; `None` if it did not answer.
    Answered(Option<Ends>),
}

#[derive(Debug, Default)]
struct Slot(BTreeMap<TopicPartition, Question>);

impl Slot {
    /// Takes the first question that nobody has asked the broker: what it is about.
    fn next(&mut self) -> Option<(TopicPartition, bool)> {
        let mut questions = self.0.iter_mut();
        questions.find_map(|(partition, question)| {
            let Question::Open(with_commit) = *question else { return None };
            *question = Question::Asked;
            Some((partition.clone(), with_commit))
        })
    }

    /// What the broker said.
    fn answer(&mut self, partition: &TopicPartition, ends: Option<Ends>) {
        // Whoever has asked again meanwhile wants to know what is true since then.
        if let Some(it @ Question::Asked) = self.0.get_mut(partition) {
            *it = Question::Answered(ends);
        }
    }
}

/// The thread of one consumer that asks; it ends when dropped, after the question under way.
#[derive(Debug)]
pub(crate) struct EndAsker(Background<Slot>);

impl EndAsker {
    /// A thread that calls `ask` for each partition somebody wants to know of; its second argument
    /// is whether the commit is wanted, too, which another broker may know.
    pub(crate) fn start(
        ask: impl Fn(&TopicPartition, bool) -> Option<Ends> + Send + 'static,
    ) -> std::io::Result<Self> {
        Background::start(
            "end-asker",
            Slot::next,
            move |(partition, with_commit)| ask(partition, *with_commit),
            |slot, (partition, _), ends| slot.answer(&partition, ends),
        )
        .map(Self)
    }

    /// Asks where `partition` ends; an earlier answer is forgotten.
    pub(crate) fn ask(&self, partition: &TopicPartition, with_commit: bool) {
        self.0.change(|slot| slot.0.insert(partition.clone(), Question::Open(with_commit)));
    }

    /// The answer to the last question about `partition`; `None` until it has come.
    pub(crate) fn answer(&self, partition: &TopicPartition) -> Option<Ends> {
        match self.0.read(|slot| slot.0.get(partition).copied())? {
            Question::Answered(ends) => ends,
            Question::Open(_) | Question::Asked => None,
        }
    }

    /// Ends the thread, after the question under way.
    pub(crate) fn end(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn partition(number: i32) -> TopicPartition {
        TopicPartition { topic: "calls".into(), partition: number }
    }

    fn ends(high: i64) -> Ends {
        Ends { low: 0, high, committed: None }
    }

    #[test]
    fn an_answer_to_an_earlier_question_is_none_to_a_later_one() {
        let (asked, asks) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let asker = EndAsker::start(move |partition, with_commit| {
            asked.send((partition.partition, with_commit)).unwrap();
            answers.recv().unwrap()
        });
        let mut asker = asker.unwrap();
        asker.ask(&partition(1), false);
        assert_eq!(asks.recv().unwrap(), (1, false));
        // Asked again, and another one, while the broker does not answer.
        asker.ask(&partition(1), false);
        asker.ask(&partition(2), true);
        assert_eq!(asker.answer(&partition(1)), None);
        answer.send(Some(ends(10))).unwrap();
        assert_eq!(asks.recv().unwrap(), (1, false), "the question that is still open");
        assert_eq!(asker.answer(&partition(1)), None, "it may have grown since");
        answer.send(Some(ends(11))).unwrap();
        assert_eq!(asks.recv().unwrap(), (2, true));
        assert_eq!(asker.answer(&partition(1)), Some(ends(11)));
        answer.send(None).unwrap();
        asker.end();
        assert_eq!(asker.answer(&partition(2)), None, "the broker did not answer");
    }
}
