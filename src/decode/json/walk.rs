//! Rows that stand somewhere in a document: `rows`, `name` and `value`, `zip`, `step`. Pure.

use std::{ops::ControlFlow, time::Duration};

use hashbrown::{HashMap, HashSet};
use wildmatch::WildMatch;

use super::{
    filler::{Filler, Step},
    find::{Finder, Standing},
    place::{self, Place},
    tree::Node,
};
use crate::{
    decode::{
        DecodeError, Decoded, FaultKind, Resolved,
        faults::Fault,
        members::{Members, Treatment, is_outside},
        names::short,
        row::PerRow,
        value::Scalar,
    },
    names::folded,
    point::{MAX_FIELDS, Row, Text, Timestamp},
    settings::Source,
};

/// A key at fault, and what is wrong with it.
type Mistake = (&'static str, String);

/// Where a source's rows stand, and what belongs to each.
#[derive(Debug)]
pub(super) struct Walk {
    /// As it is written.
    rows: String,
    steps: Vec<place::Step>,
    zip: Vec<Place>,
    pair: Option<Pair>,
    /// Members outside the rows that belong to each.
    outside: Vec<Place>,
    /// Rows that are left out, by their path or name.
    ignored: Vec<WildMatch>,
    step: Option<Duration>,
    per_row: PerRow,
}

/// A member that names a field, and one that is its value.
#[derive(Debug)]
struct Pair {
    /// None where the row's key is the name.
    name: Option<Place>,
    value: Place,
    /// What becomes of the fields that are named.
    members: Members,
}

impl Walk {
    /// By a source's settings; none where its rows stand at the document's top.
    pub fn of(source: &Source, per_row: PerRow) -> Result<Option<Self>, Mistake> {
        if place::is_without_rows(source) {
            return Ok(None);
        }
        let rows = source.rows.clone().unwrap_or_default();
        let steps = source.rows.as_deref().map_or(Ok(Vec::new()), place::steps).map_err(|what| ("rows", what))?;
        let pair = match (&source.name, &source.value) {
            (Some(name), Some(value)) => Some(Pair {
                name: (name != "{key}").then(|| Place::of(name)),
                value: Place::of(value),
                members: Members::of(&Source { symbols: Vec::new(), timestamp: None, ..source.clone() }),
            }),
            (None, None) => None,
            (Some(_), None) => return Err(("value", "name needs it: the member that is the field's value".into())),
            (None, Some(_)) => return Err(("name", "value needs it: the member that names the field".into())),
        };
        let zip: Vec<Place> = source.zip.iter().map(|path| Place::of(path)).collect();
        if zip.len() == 1 {
            return Err(("zip", "one array is not side by side with any; name at least two, or use rows".into()));
        }
        if zip.iter().any(|place| !place.is_inside()) {
            return Err(("zip", "its arrays stand in the row; use rows to say where that is".into()));
        }
        if pair.is_some() && !zip.is_empty() {
            return Err((
                "zip",
                "it makes a row of each element, and name and value a field; use one of the two".into(),
            ));
        }
        let step = source.timestamp.as_ref().and_then(|time| time.step);
        let ignored = source.ignore.iter().filter(|pattern| is_outside(pattern));
        let ignored = ignored.map(|pattern| WildMatch::new(pattern)).collect();
        Ok(Some(Self { rows, steps, zip, pair, outside: outside(source), ignored, step, per_row }))
    }

    /// Appends the document's rows to `out`, and says whether a number may have been rounded.
    pub fn read(
        &mut self,
        document: &[u8],
        members: &mut Members,
        topic: &Resolved,
        out: &mut Decoded,
        is_repaired: bool,
    ) -> Result<bool, DecodeError> {
        let parsed = serde_json::from_slice::<Node<'_>>(document);
        let top = parsed.map_err(|error| DecodeError::new("$", format!("invalid JSON: {error}")))?;
        let mut filler = Filler::new(members, out, is_repaired);
        match &top {
            Node::List(list) if self.steps.first() != Some(&place::Step::Elements) => {
                for (index, element) in list.iter().enumerate() {
                    self.document(element, Some(index), topic, &mut filler)?;
                }
            }
            top => self.document(top, None, topic, &mut filler)?,
        }
        let is_rounded = filler.is_rounded;
        if self.pair.is_some() {
            merge(out);
        }
        Ok(is_rounded)
    }

    fn document<'n, 'a>(
        &mut self,
        top: &'n Node<'a>,
        element: Option<usize>,
        topic: &Resolved,
        filler: &mut Filler<'_>,
    ) -> Result<(), DecodeError> {
        let (steps, ignored) = (std::mem::take(&mut self.steps), std::mem::take(&mut self.ignored));
        let (mut error, mut known) = (None, Outside::default());
        let mut each = |standing: &Standing<'n, 'a, '_>| {
            filler.steps.clear();
            filler.steps.extend_from_slice(standing.trail);
            let outside = known.of(&self.outside, standing);
            match self.row(standing, outside, topic, filler) {
                Ok(()) => ControlFlow::Continue(()),
                Err(reason) => {
                    error = Some(DecodeError { place: filler.row_place(), reason });
                    ControlFlow::Break(())
                }
            }
        };
        let mut finder = Finder::new(element, &ignored, &mut each);
        let _ = finder.go(top, &steps, element.is_none());
        let count = finder.count;
        (self.steps, self.ignored) = (steps, ignored);
        if let Some(error) = error {
            return Err(error);
        }
        if count == 0 && !top.is_nothing() {
            filler.steps = element.map(Step::Index).into_iter().collect();
            let reason = format!("rows = {:?} leads to nothing in it", short(&self.rows));
            filler.fault("rows", reason);
        }
        Ok(())
    }

    fn row(
        &mut self,
        standing: &Standing<'_, '_, '_>,
        outside: &[(Text, &Node<'_>)],
        topic: &Resolved,
        filler: &mut Filler<'_>,
    ) -> Result<(), String> {
        if standing.node.is_nothing() {
            return Ok(());
        }
        if outside.iter().any(|(_, node)| std::ptr::eq(*node, standing.node)) {
            return Ok(());
        }
        if self.zip.is_empty() {
            return self.one_row(standing, outside, &[], topic, filler);
        }
        let Some(arrays) = self.arrays(standing, filler) else { return Ok(()) };
        let shortest = arrays.iter().map(|array| array.len()).min().unwrap_or(0);
        for index in 0..shortest {
            self.one_row(&Standing { index, ..*standing }, outside, &arrays, topic, filler)?;
        }
        Ok(())
    }

    /// The arrays that stand side by side; none where one is missing. That they differ in length is a
    /// fault.
    fn arrays<'n, 'a>(&self, standing: &Standing<'n, 'a, '_>, filler: &mut Filler<'_>) -> Option<Vec<&'n [Node<'a>]>> {
        let found = |place: &Place| match place.find(standing.node, standing.outer) {
            Some(Node::List(list)) => Some(list.as_slice()),
            _ => None,
        };
        let arrays: Vec<Option<&[Node<'_>]>> = self.zip.iter().map(found).collect();
        let is_even = arrays.iter().all(|array| array.map(<[_]>::len) == arrays[0].map(<[_]>::len));
        let all: Option<Vec<_>> = arrays.iter().copied().collect();
        if !is_even || all.is_none() {
            let of = |(place, array): (&Place, Option<&[Node<'_>]>)| match array {
                Some(list) => format!("{} has {} elements", place.path, list.len()),
                None => format!("{} is no array", place.path),
            };
            let reason = self.zip.iter().zip(arrays).map(of).collect::<Vec<_>>().join(", ");
            let reason = format!("zip needs arrays of one length, and {reason}; what has no partner is left out");
            filler.fault("zip", reason);
        }
        all
    }

    /// One row; where arrays are zipped, that of its element of each.
    fn one_row(
        &mut self,
        standing: &Standing<'_, '_, '_>,
        outside: &[(Text, &Node<'_>)],
        arrays: &[&[Node<'_>]],
        topic: &Resolved,
        filler: &mut Filler<'_>,
    ) -> Result<(), String> {
        for (place, node) in outside {
            filler.member(place, node, &[]);
        }
        for (place, array) in self.zip.iter().zip(arrays) {
            filler.member(&place.path, &array[standing.index], &[]);
        }
        match (&mut self.pair, standing.node) {
            (Some(pair), node) => pair.fill(node, standing, filler),
            (None, Node::Object(members)) => {
                for (name, node) in members {
                    filler.member(name, node, arrays);
                }
            }
            (None, Node::List(list)) => {
                for (index, node) in list.iter().enumerate() {
                    filler.member(&index.to_string(), node, arrays);
                }
            }
            (None, value) => filler.member(&topic.field, value, &[]),
        }
        if !filler.row.fields.is_empty()
            && let Err(reason) = self.per_row.give(&mut filler.row, topic, |name| standing.told(name), filler.out)
        {
            filler.row.fields.clear();
            filler.fault("key", reason);
        }
        let rows = filler.out.rows.len();
        filler.end_row()?;
        if let (Some(step), Some(row)) = (self.step, filler.out.rows.get_mut(rows)) {
            later(row, step, standing.index);
        }
        Ok(())
    }
}

impl<'n> Standing<'n, '_, '_> {
    /// What the row tells of itself.
    fn told(&self, name: &str) -> Option<&'n str> {
        match name.strip_prefix("key")? {
            "" => self.keys.last().copied(),
            number => self.keys.get(number.parse::<usize>().ok()?.checked_sub(1)?).copied(),
        }
    }
}

impl Pair {
    /// The field that the row is, and who and when it is.
    fn fill(&mut self, node: &Node<'_>, standing: &Standing<'_, '_, '_>, filler: &mut Filler<'_>) {
        if let Node::Object(members) = node {
            for (name, node) in members {
                filler.identify(name.as_ref().into(), node);
            }
        }
        let name = match &self.name {
            None => standing.keys.last().map(|key| Text::from(*key)),
            Some(place) => place.find(node, standing.outer).and_then(Node::scalar).map(Scalar::to_text),
        };
        // What has no members is the value itself, where its key is the name.
        let is_bare = node.scalar().is_some();
        let value = if is_bare && self.name.is_none() { Some(node) } else { self.value.find(node, standing.outer) };
        if !matches!(node, Node::Object(_)) && value.is_none() {
            let reason = "it is no object, and one with a name and a value is expected";
            filler.leave_out(FaultKind::Shape, reason.into());
            return;
        }
        let (Some(name), Some(value)) = (name.filter(|name| !name.is_empty()), value) else {
            let has_value = value.is_some_and(|value| !value.is_nothing());
            if has_value {
                let place = self.name.as_ref().map_or("{key}", |place| &place.path);
                filler.leave_out(FaultKind::Shape, format!("it has a value, and no name at {place:?}"));
            }
            return;
        };
        self.members.take_the_place_of(filler.members);
        filler.member(&name, value, &[]);
        self.members.take_the_place_of(filler.members);
    }
}

impl Filler<'_> {
    /// A member of the row, of whatever shape, without those arrays.
    fn member(&mut self, path: &str, node: &Node<'_>, without: &[&[Node<'_>]]) {
        self.path.clear();
        self.path.push_str(if path.is_empty() { "_" } else { path });
        self.node(node, without);
        self.path.clear();
    }

    fn node(&mut self, node: &Node<'_>, without: &[&[Node<'_>]]) {
        match node {
            Node::List(list) if without.iter().any(|array| std::ptr::eq(*array, list.as_slice())) => {}
            Node::Object(members) if self.descends() => {
                self.enter(false);
                let base = self.path.len();
                for (name, node) in members {
                    self.path.push_str(if name.is_empty() { "_" } else { name });
                    self.node(node, without);
                    self.path.truncate(base);
                }
                self.joints.pop();
            }
            Node::List(list) if self.descends() => {
                self.enter(true);
                let base = self.path.len();
                for (index, node) in list.iter().enumerate() {
                    self.path.push_str(&index.to_string());
                    self.node(node, without);
                    self.path.truncate(base);
                }
                self.joints.pop();
            }
            node => {
                if let Some(value) = node.scalar() {
                    self.put(value);
                }
            }
        }
    }

    /// Takes note that something of the payload is no row.
    fn fault(&mut self, member: &str, reason: String) {
        let error = DecodeError { place: self.row_place(), reason };
        self.out.faults.push(Fault { row: None, member: member.into(), kind: FaultKind::Shape, error });
    }

    /// A member beside name and value: it counts where it is a time or a symbol.
    fn identify(&mut self, path: Text, node: &Node<'_>) {
        if let Node::Object(members) = node {
            for (name, node) in members {
                self.identify(format!("{path}.{name}").into(), node);
            }
            return;
        }
        let is_wanted = matches!(self.members.treatment(&path), Treatment::Time(_) | Treatment::Symbol(_));
        if let Some(value) = node.scalar().filter(|_| is_wanted) {
            self.path = path;
            self.put(value);
            self.path.clear();
        }
    }
}

/// Members outside its rows that a source names.
fn outside(source: &Source) -> Vec<Place> {
    let time = source.timestamp.iter().map(|time| &time.field);
    let named = time
        .chain(&source.symbols)
        .chain(source.fields.keys())
        .chain(source.rename.keys())
        .chain(source.scale.keys())
        .chain(source.only.iter().filter(|only| !only.contains(['*', '?'])));
    let mut places: Vec<Place> = named.filter(|path| is_outside(path)).map(|path| Place::of(path)).collect();
    places.sort_by(|a, b| a.path.cmp(&b.path));
    places.dedup();
    places
}

/// Moves a row's time on by so many steps. One without a time stays a row of its own beside those of
/// its block.
fn later(row: &mut Row, step: Duration, index: usize) {
    match &mut row.time {
        Some(Timestamp(nanos)) => {
            let nanos_on = step.as_nanos().saturating_mul(index as u128);
            *nanos = nanos.saturating_add(i64::try_from(nanos_on).unwrap_or(i64::MAX));
        }
        None => row.apart = true,
    }
}

/// A table, a time and symbols.
type Moment = (u16, Option<Timestamp>, Vec<(Text, Text)>);

/// Makes one row of those of a moment and symbols, unless they name a field twice, or too many.
fn merge(out: &mut Decoded) {
    let rows = std::mem::take(&mut out.rows);
    let mut first: HashMap<Moment, usize> = HashMap::new();
    let mut named: HashSet<(usize, Text)> = HashSet::new();
    let mut places = Vec::with_capacity(rows.len());
    for row in rows {
        let moment = (row.table, row.time, row.symbols.clone());
        let key = |at: usize, name: &Text| (at, Text::from(folded(name)));
        let joins = |at: &usize| {
            let has_room = out.rows[*at].fields.len() + row.fields.len() <= MAX_FIELDS;
            has_room && row.fields.iter().all(|(name, _)| !named.contains(&key(*at, name)))
        };
        // Rows of a block that have no time stay apart.
        let at = first.get(&moment).copied().filter(|_| !row.apart).filter(joins);
        let at = at.unwrap_or(out.rows.len());
        named.extend(row.fields.iter().map(|(name, _)| key(at, name)));
        places.push(at);
        if let Some(known) = out.rows.get_mut(at) {
            known.notes.join(row.notes);
            known.fields.extend(row.fields);
        } else {
            first.insert(moment, at);
            out.rows.push(row);
        }
    }
    out.faults.renumber(|row| places.get(row).copied().unwrap_or(row));
}

/// What stands outside the rows of one object: looked for once for all of them.
#[derive(Default)]
struct Outside<'n, 'a> {
    /// The object that they are in.
    parent: Option<&'n Node<'a>>,
    found: Vec<(Text, &'n Node<'a>)>,
}

impl<'n, 'a> Outside<'n, 'a> {
    fn of(&mut self, places: &[Place], standing: &Standing<'n, 'a, '_>) -> &[(Text, &'n Node<'a>)] {
        let parent = standing.outer.last().copied();
        let is_known = match (self.parent, parent) {
            (Some(known), Some(parent)) => std::ptr::eq(known, parent),
            _ => false,
        };
        if !is_known {
            let found = |place: &Place| Some((place.path.clone(), place.find(standing.node, standing.outer)?));
            self.found = places.iter().filter_map(found).collect();
            self.parent = parent;
        }
        &self.found
    }
}
