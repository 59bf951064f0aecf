//! YAML text to a tree of nodes that know where they stand.
//!
//! Bounded against hostile files: size, depth and the number of nodes after aliases are filled in.
//! What the scalars mean is decided in `document`.

use std::collections::BTreeMap;
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::config::problem::Code;

/// The largest file read, in bytes.
pub(super) const BYTES_MAX: usize = 1 << 20;

/// How deep mappings and lists may stand in each other.
pub(super) const DEPTH_MAX: usize = 64;

/// How many brackets may be open at once before the text is not even scanned: the scanner takes
/// time with the square of it.
const OPEN_MAX: usize = 1_000;

/// Nodes of a file after aliases are filled in.
pub(super) const NODES_MAX: usize = 100_000;

/// A stretch of the file: lines and columns count from 1, the end is exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) end_line: usize,
    pub(super) end_column: usize,
}

impl Place {
    /// Whether the character at `line` and `column` lies in it.
    pub(super) fn covers(self, line: usize, column: usize) -> bool {
        (self.line, self.column) <= (line, column)
            && (line, column) < (self.end_line, self.end_column)
    }
}

impl From<Span> for Place {
    fn from(span: Span) -> Self {
        Self {
            line: span.start.line(),
            column: span.start.col() + 1,
            end_line: span.end.line(),
            end_column: span.end.col() + 1,
        }
    }
}

impl From<Marker> for Place {
    fn from(marker: Marker) -> Self {
        Span::empty(marker).into()
    }
}

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it stands.
    pub(super) place: Place,
    /// What it holds.
    pub(super) data: Data,
    /// Nodes in it, itself included.
    size: usize,
    /// Levels in it, itself included.
    depth: usize,
}

/// What a node holds.
#[derive(Debug)]
pub(super) enum Data {
    /// A scalar; `plain` when it is neither quoted nor a block nor tagged as text.
    Scalar { text: String, plain: bool },
    /// A list.
    Sequence(Vec<Rc<Node>>),
    /// A mapping, in the order of the file, duplicates included.
    Mapping(Vec<(Rc<Node>, Rc<Node>)>),
}

/// Why a text has no tree.
#[derive(Debug)]
pub(super) struct TreeError {
    pub(super) code: Code,
    pub(super) place: Place,
    pub(super) message: String,
}

impl From<ScanError> for TreeError {
    fn from(error: ScanError) -> Self {
        let place = Place::from(*error.marker());
        Self { code: Code::Syntax, place, message: format!("not YAML: {}", error.info()) }
    }
}

/// Reads one document; `None` for an empty file.
pub(super) fn parse(text: &str) -> Result<Option<Rc<Node>>, TreeError> {
    if text.len() > BYTES_MAX {
        let message = format!("the file has {} bytes; at most {BYTES_MAX} are read", text.len());
        return Err(TreeError { code: Code::TooLarge, place: Place::default(), message });
    }
    if let Some(place) = too_many_open(text) {
        let message = format!("more than {OPEN_MAX} brackets are open here");
        return Err(TreeError { code: Code::TooLarge, place, message });
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        let (event, span) = event?;
        builder.on_event(event, span)?;
    }
    Ok(builder.root)
}

/// Where too many brackets are open, counted roughly: those in texts and comments count too.
fn too_many_open(text: &str) -> Option<Place> {
    let mut open = 0_usize;
    for (at, line) in text.lines().enumerate() {
        for (column, c) in line.chars().enumerate() {
            match c {
                '[' | '{' => open += 1,
                ']' | '}' => open = open.saturating_sub(1),
                _ => {}
            }
            if open > OPEN_MAX {
                let (line, column) = (at + 1, column + 1);
                return Some(Place { line, column, end_line: line, end_column: column });
            }
        }
    }
    None
}

/// A collection whose end has not come yet.
enum Open {
    Sequence {
        place: Place,
        anchor: usize,
        items: Vec<Rc<Node>>,
    },
    Mapping {
        place: Place,
        anchor: usize,
        entries: Vec<(Rc<Node>, Rc<Node>)>,
        key: Option<Rc<Node>>,
    },
}

/// The tree so far.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    nodes: usize,
}

impl Builder {
    fn on_event(&mut self, event: Event<'_>, span: Span) -> Result<(), TreeError> {
        let place = Place::from(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                let message = "a second document starts here; one file holds one".to_owned();
                Err(TreeError { code: Code::Unsupported, place, message })
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Scalar(text, style, anchor, tag) => {
                let as_text = check_tag(tag.as_deref(), place)?;
                let plain = style == ScalarStyle::Plain && !as_text;
                let data = Data::Scalar { text: text.into_owned(), plain };
                self.add(Node { place, data, size: 1, depth: 1 }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref(), place)?;
                self.start(Open::Sequence { place, anchor, items: Vec::new() }, place)
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref(), place)?;
                self.start(Open::Mapping { place, anchor, entries: Vec::new(), key: None }, place)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(place),
            Event::Alias(anchor) => match self.anchors.get(&anchor).map(Rc::clone) {
                Some(node) => self.attach(node, place),
                None => {
                    let message = "this alias lies inside what it stands for".to_owned();
                    Err(TreeError { code: Code::Unsupported, place, message })
                }
            },
        }
    }

    fn start(&mut self, open: Open, place: Place) -> Result<(), TreeError> {
        self.open.push(open);
        bound(self.open.len(), 0, place)
    }

    fn end(&mut self, end: Place) -> Result<(), TreeError> {
        let close = |start: Place| Place { end_line: end.line, end_column: end.column, ..start };
        let (place, anchor, data) = match self.open.pop() {
            Some(Open::Sequence { place, anchor, items }) => (place, anchor, Data::Sequence(items)),
            Some(Open::Mapping { place, anchor, entries, .. }) => {
                (place, anchor, Data::Mapping(entries))
            }
            None => return Ok(()),
        };
        let (mut size, mut depth) = (1_usize, 0_usize);
        let mut count = |node: &Node| {
            size = size.saturating_add(node.size);
            depth = depth.max(node.depth);
        };
        match &data {
            Data::Scalar { .. } => {}
            Data::Sequence(items) => items.iter().for_each(|item| count(item)),
            Data::Mapping(entries) => entries.iter().for_each(|(key, value)| {
                count(key);
                count(value);
            }),
        }
        let depth = depth + 1;
        bound(depth, size, place)?;
        self.add(Node { place: close(place), data, size, depth }, anchor)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), TreeError> {
        let place = node.place;
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.attach(node, place)
    }

    fn attach(&mut self, node: Rc<Node>, place: Place) -> Result<(), TreeError> {
        self.nodes = self.nodes.saturating_add(1);
        bound(0, self.nodes, place)?;
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::Sequence { items, .. }) => items.push(node),
            Some(Open::Mapping { entries, key, .. }) => match key.take() {
                None => *key = Some(node),
                Some(name) => entries.push((name, node)),
            },
        }
        Ok(())
    }
}

/// Refuses what is too deep or too much.
fn bound(depth: usize, size: usize, place: Place) -> Result<(), TreeError> {
    let message = if depth > DEPTH_MAX {
        format!("nested deeper than {DEPTH_MAX} levels")
    } else if size > NODES_MAX {
        format!("more than {NODES_MAX} values once aliases are filled in")
    } else {
        return Ok(());
    };
    Err(TreeError { code: Code::TooLarge, place, message })
}

/// Whether a tag says "this is text"; other tags than those of the collections are refused.
fn check_tag(tag: Option<&Tag>, place: Place) -> Result<bool, TreeError> {
    let Some(tag) = tag else { return Ok(false) };
    match (tag.is_yaml_core_schema(), tag.suffix.as_str()) {
        (true, "str") => Ok(true),
        (true, "map" | "seq") => Ok(false),
        _ => {
            let message = "tags other than `!!str` are not supported".to_owned();
            Err(TreeError { code: Code::Unsupported, place, message })
        }
    }
}
