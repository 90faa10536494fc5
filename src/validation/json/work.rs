//! How much checking a document may cost, told from the schema alone: so that no schema and no document can keep a processor busy for
//! long, however they refer to each other.
//!
//! A part may hand the same value on to other parts (`$ref`, `allOf` and their like) and a value inside to others again. Along one
//! branch of a document of depth d that adds up to at most [`Work::at`]`(d)` looks, and a document of n values has no more than n
//! such branches.

/// The deepest document that is read.
pub(super) const DEPTH_MAX: usize = 128;
/// Most looks at one value of a document.
const SAME_MAX: u64 = 10_000;
/// Most looks that checking one document may take: about a second.
const BUDGET: u64 = 10_000_000;

/// A part of a schema, as far as it costs anything. Parts are named by their place in one list.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    /// Looks that it takes by itself.
    pub(super) weight: u64,
    /// Parts that look at the same value.
    pub(super) same: Vec<usize>,
    /// Parts of which at most one looks at a value inside.
    pub(super) named: Vec<usize>,
    /// Parts that may all look at a value inside.
    pub(super) every: Vec<usize>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Work {
    /// By depth; the last one is that of all deeper ones.
    looks: Vec<u64>,
}

impl Work {
    /// Adds up. O(parts × [`DEPTH_MAX`]).
    ///
    /// # Errors
    /// When parts refer to each other without end, or too often.
    pub(super) fn of(parts: &[Part]) -> Result<Self, String> {
        let order = order(parts)?;
        let mut below = vec![0_u64; parts.len()];
        let mut looks: Vec<u64> = Vec::new();
        for _ in 0..=DEPTH_MAX {
            let mut now = vec![0_u64; parts.len()];
            for own in &order {
                let Some(part) = parts.get(*own) else { continue };
                let get = |list: &[u64], at: &usize| list.get(*at).copied().unwrap_or_default();
                let same = part.same.iter().fold(part.weight, |sum, at| sum.saturating_add(get(&now, at)));
                let named = part.named.iter().map(|at| get(&below, at)).max().unwrap_or_default();
                let inside = part.every.iter().fold(named, |sum, at| sum.saturating_add(get(&below, at)));
                if let Some(slot) = now.get_mut(*own) {
                    *slot = same.saturating_add(inside);
                }
            }
            looks.push(now.first().copied().unwrap_or_default());
            if now == below {
                break;
            }
            below = now;
        }
        if looks.first().is_some_and(|looks| *looks > SAME_MAX) {
            return Err("schema refers to its parts too often".to_owned());
        }
        Ok(Self { looks })
    }

    /// Most looks at a document of one branch of this depth.
    fn at(&self, depth: usize) -> u64 {
        self.looks.get(depth).or(self.looks.last()).copied().unwrap_or_default()
    }

    /// Whether checking a document of so many bytes is surely a matter of moments.
    pub(super) fn is_small(&self, bytes: usize) -> bool {
        self.at(DEPTH_MAX).saturating_mul(bytes as u64) <= BUDGET / 20
    }

    /// Whether checking this JSON text stays within the budget. O(length), and only for what could exceed it.
    pub(super) fn allows(&self, text: &[u8]) -> bool {
        // A value takes at least two bytes with its comma.
        if self.at(DEPTH_MAX).saturating_mul(text.len() as u64 / 2 + 1) <= BUDGET {
            return true;
        }
        let (values, depth) = extent(text);
        self.at(depth).saturating_mul(values) <= BUDGET
    }
}

/// How many values a JSON text has at most, and how deep they stand.
fn extent(text: &[u8]) -> (u64, usize) {
    let (mut values, mut depth, mut deepest) = (1_u64, 0_usize, 0_usize);
    let (mut inside, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            _ if inside => {}
            b'{' | b'[' => {
                (depth, values) = (depth + 1, values + 1);
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
    }
    (values, deepest)
}

/// The parts so that each comes after those that look at the same value for it.
fn order(parts: &[Part]) -> Result<Vec<usize>, String> {
    /// How far a part has come.
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; parts.len()];
    let mut order = Vec::with_capacity(parts.len());
    // Without recursion: references may form long chains.
    for root in 0..parts.len() {
        let mut stack = vec![(root, 0)];
        while let Some((own, next)) = stack.pop() {
            let mark = marks.get(own).copied().unwrap_or(Mark::Done);
            match (mark, next) {
                (Mark::Done, _) => continue,
                (Mark::Open, 0) => return Err("schema refers to itself without end".to_owned()),
                _ => {}
            }
            let following = parts.get(own).and_then(|part| part.same.get(next));
            if let Some(mark) = marks.get_mut(own) {
                *mark = if following.is_some() { Mark::Open } else { Mark::Done };
            }
            match following {
                Some(child) => stack.extend([(own, next + 1), (*child, 0)]),
                None => order.push(own),
            }
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_refers_to_itself_and_costs_one_look_a_level() {
        let list = Part { weight: 1, named: vec![0], ..Part::default() };
        let work = Work::of(&[list]).unwrap();
        assert_eq!((work.at(0), work.at(7)), (1, 8));
    }

    #[test]
    fn what_doubles_at_each_level_bounds_the_depth_of_documents() {
        let twice = Part { weight: 1, every: vec![0, 0], ..Part::default() };
        let work = Work::of(&[twice]).unwrap();
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(work.allows(&nested(8)));
        assert!(!work.allows(&nested(40)));
    }

    #[test]
    fn parts_that_mean_each_other_are_refused() {
        let to = |at: usize| Part { weight: 1, same: vec![at], ..Part::default() };
        assert!(Work::of(&[to(1), to(2), to(0)]).is_err());
        assert!(Work::of(&[to(0)]).is_err());
        assert!(Work::of(&[to(1), to(2), Part::default()]).is_ok());
    }

    #[test]
    fn doubling_without_going_deeper_is_refused() {
        let double = |at: usize| Part { weight: 1, same: vec![at + 1, at + 1], ..Part::default() };
        let mut parts: Vec<Part> = (0..40).map(double).collect();
        parts.push(Part::default());
        assert!(Work::of(&parts).is_err());
    }

    #[test]
    fn values_in_strings_do_not_count() {
        assert_eq!(extent(br#"{"a":[1,"[{,\"",{}]}"#), (6, 3));
    }
}
