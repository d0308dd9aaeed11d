//! Goes to where a document's rows stand. Pure.

use std::ops::ControlFlow;

use wildmatch::WildMatch;

use super::{filler::Step, place, tree::Node};
use crate::point::Text;

/// A row and where it stands.
pub(super) struct Standing<'n, 'a, 's> {
    pub node: &'n Node<'a>,
    /// The objects that it is in, from the document's top.
    pub outer: &'s [&'n Node<'a>],
    /// The names that `*` has met.
    pub keys: &'s [&'n str],
    /// Its number in the array that it is in.
    pub index: usize,
    /// The way to it.
    pub trail: &'s [Step],
}

/// Goes through a document.
pub(super) struct Finder<'n, 'a, 'f> {
    /// The way so far.
    pub trail: Vec<Step>,
    outer: Vec<&'n Node<'a>>,
    keys: Vec<&'n str>,
    index: usize,
    /// How many rows it has come to.
    pub count: usize,
    /// Rows that are left out, by their path from the top (`$.version`) or by their name (`^.ts`).
    ignored: &'f [WildMatch],
    each: &'f mut Each<'n, 'a, 'f>,
}

/// What is done with each row; no more of them after a break.
type Each<'n, 'a, 'f> = dyn FnMut(&Standing<'n, 'a, '_>) -> ControlFlow<()> + 'f;

impl<'n, 'a, 'f> Finder<'n, 'a, 'f> {
    /// At the top of a document, which is the element of that number where the payload is an array.
    pub fn new(element: Option<usize>, ignored: &'f [WildMatch], each: &'f mut Each<'n, 'a, 'f>) -> Self {
        let trail = element.map(Step::Index).into_iter().collect();
        Self { trail, outer: Vec::new(), keys: Vec::new(), index: element.unwrap_or(0), count: 0, ignored, each }
    }

    /// Goes on from a node. Where no step is left it is a row, or each of its elements where it is an
    /// array that `spreads`.
    pub fn go(&mut self, node: &'n Node<'a>, steps: &[place::Step], spreads: bool) -> ControlFlow<()> {
        let Some((step, rest)) = steps.split_first() else {
            return match node {
                Node::List(list) if spreads => self.elements(list, &[]),
                node => self.arrive(node),
            };
        };
        match (step, node) {
            (place::Step::Names(names), node) => self.names(node, names, rest),
            (place::Step::Elements, Node::List(list)) => self.elements(list, rest),
            // One that is not in an array is an array of one.
            (place::Step::Elements, Node::Object(_)) => self.go(node, rest, false),
            (place::Step::Members, Node::Object(own)) => {
                own.iter().try_for_each(|(name, member)| self.member(node, name, member, rest))
            }
            (_, node) => {
                // What says nothing is found all the same.
                self.count += usize::from(node.is_nothing());
                ControlFlow::Continue(())
            }
        }
    }

    /// Whether the row that the trail leads to is left out.
    fn ignores(&self, name: &str) -> bool {
        if self.ignored.is_empty() {
            return false;
        }
        let (path, at_parent) = (path(&self.trail), format!("^.{name}"));
        self.ignored.iter().any(|pattern| pattern.matches(&path) || pattern.matches(&at_parent))
    }

    fn arrive(&mut self, node: &'n Node<'a>) -> ControlFlow<()> {
        self.count += 1;
        let Self { outer, keys, trail, index, .. } = self;
        (self.each)(&Standing { node, outer, keys, index: *index, trail })
    }

    fn names(&mut self, node: &'n Node<'a>, names: &[Text], rest: &[place::Step]) -> ControlFlow<()> {
        let (outer, trail) = (self.outer.len(), self.trail.len());
        // Of several members of one name each is looked into.
        for way in node.ways(names) {
            self.outer.push(node);
            self.outer.extend(way[..way.len() - 1].iter().copied());
            self.trail.extend(names.iter().cloned().map(Step::Name));
            let flow = self.go(way[way.len() - 1], rest, true);
            self.outer.truncate(outer);
            self.trail.truncate(trail);
            flow?;
        }
        ControlFlow::Continue(())
    }

    fn elements(&mut self, list: &'n [Node<'a>], rest: &[place::Step]) -> ControlFlow<()> {
        self.count += usize::from(list.is_empty());
        let before = self.index;
        for (index, element) in list.iter().enumerate() {
            self.index = index;
            self.trail.push(Step::Index(index));
            let flow = self.go(element, rest, false);
            self.trail.pop();
            flow?;
        }
        self.index = before;
        ControlFlow::Continue(())
    }

    fn member(
        &mut self,
        object: &'n Node<'a>,
        name: &'n str,
        member: &'n Node<'a>,
        rest: &[place::Step],
    ) -> ControlFlow<()> {
        self.trail.push(Step::Name(name.into()));
        if self.ignores(name) {
            self.trail.pop();
            return ControlFlow::Continue(());
        }
        self.outer.push(object);
        self.keys.push(name);
        let flow = self.go(member, rest, false);
        self.keys.pop();
        self.outer.pop();
        self.trail.pop();
        flow
    }
}

/// The path from the document's top, without the numbers of elements.
fn path(trail: &[Step]) -> String {
    let names = trail.iter().filter_map(|step| match step {
        Step::Name(name) => Some(name.as_str()),
        Step::Index(_) => None,
    });
    std::iter::once("$").chain(names).collect::<Vec<_>>().join(".")
}
