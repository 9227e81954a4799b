//! Conditions on a system call's arguments, and what they become in a filter.
//!
//! A rule is written as any-of a list of all-of lists. Because each [`Condition`] can be negated
//! exactly, the opposite of a rule is a rule again: that is how "allowed like this, otherwise
//! EPERM" needs to be written only once.

/// Any of these lists, of which all must hold.
pub type AnyOf = Vec<Vec<Condition>>;

/// How much of an argument the kernel looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Width {
    /// The lower 32 bits. Right for every `int` and `unsigned int`: the kernel throws the upper
    /// half away, so a filter that compares it can be talked past with garbage (CVE-2019-10063).
    Dword,
    /// All 64 bits. Right for `unsigned long`.
    Qword,
}

impl Width {
    /// The largest value of this width.
    pub fn max(self) -> u64 {
        match self {
            Width::Dword => u64::from(u32::MAX),
            Width::Qword => u64::MAX,
        }
    }
}

/// A test of one argument: whether it, masked, is one of some values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, from 0.
    pub index: u8,
    /// How much of it.
    pub width: Width,
    /// The bits that count; `None` where all do.
    pub mask: Option<u64>,
    /// The values; never empty.
    pub values: Vec<u64>,
    /// Whether it must be none of the values.
    pub negated: bool,
}

/// A comparison that a filter can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Atom {
    /// Which argument, from 0.
    pub index: u8,
    /// How much of it.
    pub width: Width,
    /// What is compared.
    pub test: Test,
}

/// The kinds of comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// Equal.
    Eq(u64),
    /// Not equal.
    Ne(u64),
    /// Equal in the bits of the mask (first), which are those of the value (second).
    MaskedEq(u64, u64),
}

/// Masks of more bits are not enumerated: 16 comparisons are the most that a negation may become.
const ENUMERATED_BITS: u32 = 4;

impl Condition {
    /// Says what is wrong with the condition, if anything is: it could never, or would always, hold.
    pub fn check(&self) -> Result<(), String> {
        if self.index > 5 {
            return Err(format!("there is no argument {}: they are 0 to 5", self.index));
        }
        if self.values.is_empty() {
            return Err("there is no value to compare with".into());
        }
        let mask = self.mask.unwrap_or(self.width.max());
        if mask == 0 || mask > self.width.max() {
            return Err(format!("the mask {mask:#x} does not fit {:?}", self.width));
        }
        if let Some(value) = self.values.iter().find(|value| **value & !mask != 0) {
            return Err(format!("{value:#x} has bits that are not looked at"));
        }
        if self.mask.is_some() && self.values.len() > 1 && mask.count_ones() > ENUMERATED_BITS {
            return Err(format!("several values under a mask of more than {ENUMERATED_BITS} bits cannot be negated"));
        }
        Ok(())
    }

    /// Whether it holds for these arguments.
    fn holds(&self, args: &[u64; 6]) -> bool {
        let value = args[usize::from(self.index)] & self.mask.unwrap_or(u64::MAX) & self.width.max();
        self.values.contains(&value) != self.negated
    }

    /// The opposite.
    fn not(&self) -> Condition {
        Condition { negated: !self.negated, ..self.clone() }
    }

    /// The same as any-of lists of all-of comparisons.
    fn lower(&self) -> Vec<Vec<Atom>> {
        let atom = |test| Atom { index: self.index, width: self.width, test };
        let each = |tests: Vec<Test>| tests.into_iter().map(|test| vec![atom(test)]).collect();
        let values = self.values.iter().copied();
        match (self.negated, self.mask) {
            (false, None) => each(values.map(Test::Eq).collect()),
            (false, Some(mask)) => each(values.map(|v| Test::MaskedEq(mask, v)).collect()),
            (true, None) => vec![values.map(|v| atom(Test::Ne(v))).collect()],
            // There is no "masked and not equal" to compare with. Of one value: some bit differs.
            (true, Some(mask)) if self.values.len() == 1 => {
                each(bits(mask).map(|bit| Test::MaskedEq(bit, !self.values[0] & bit)).collect())
            }
            // Of several: it is one of the other values that the masked bits can have.
            (true, Some(mask)) => each(
                submasks(mask)
                    .filter(|value| !self.values.contains(value))
                    .map(|value| Test::MaskedEq(mask, value))
                    .collect(),
            ),
        }
    }
}

/// The single bits of a mask.
fn bits(mask: u64) -> impl Iterator<Item = u64> {
    (0..u64::BITS).map(|shift| 1u64 << shift).filter(move |bit| mask & bit != 0)
}

/// Every value whose bits lie in the mask.
fn submasks(mask: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(mask), move |value| (*value != 0).then(|| (value - 1) & mask))
}

/// Whether a rule matches these arguments: what the filter that it becomes decides in the kernel.
pub fn matches(rule: &AnyOf, args: &[u64; 6]) -> bool {
    rule.iter().any(|all| all.iter().all(|condition| condition.holds(args)))
}

/// What a filter compares to match exactly when the rule does.
pub fn lower(rule: &AnyOf) -> Vec<Vec<Atom>> {
    rule.iter().flat_map(|all| product(all.iter().map(Condition::lower))).collect()
}

/// The rule that matches exactly when this one does not (De Morgan).
pub fn complement(rule: &AnyOf) -> AnyOf {
    product(rule.iter().map(|all| all.iter().map(|condition| vec![condition.not()]).collect::<Vec<_>>()))
}

/// All-of several any-of lists, as one any-of list: every way to take one from each.
fn product<T: Clone>(factors: impl Iterator<Item = Vec<Vec<T>>>) -> Vec<Vec<T>> {
    factors.fold(vec![vec![]], |done, factor| {
        done.iter().flat_map(|left| factor.iter().map(move |right| [&left[..], right].concat())).collect()
    })
}
