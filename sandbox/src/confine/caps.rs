//! Capabilities: all five sets empty, and locked so.

use super::ConfineError;
use caps::{CapSet, Capability};
use rustix::thread::{CapabilitiesSecureBits, set_capabilities_secure_bits};

/// The five sets as /proc/self/status names them.
const STATUS_LINES: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

/// What a command may keep that sets itself apart from what it starts ([`crate::plan::Apart`]).
const FOR_APART: [Capability; 2] = [Capability::CAP_SETUID, Capability::CAP_SETGID];

/// Before the change of user, while CAP_SETPCAP is still there: empties the bounding set and locks
/// the rule that a uid of 0 brings capabilities back.
pub fn drop_bounding() -> Result<(), ConfineError> {
    lock()?;
    empty_bounding()
}

/// The same for a command that sets itself apart: the change of user leaves the permitted set as it is, for
/// [`keep_for_apart`].
pub fn drop_bounding_before_apart() -> Result<(), ConfineError> {
    // What is not in the bounding set cannot be made inheritable, nor so ambient.
    for capability in FOR_APART {
        raise(CapSet::Inheritable, capability)?;
    }
    secure(CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::KEEP_CAPS)?;
    empty_bounding()
}

/// After the change of user: CAP_SETUID and CAP_SETGID stay, as ambient ones, which is how they outlive the exec of a
/// program that is not set-uid; all else is emptied and locked, and looked at, as by [`drop_all`].
pub fn keep_for_apart() -> Result<(), ConfineError> {
    for capability in FOR_APART {
        raise(CapSet::Ambient, capability)?;
    }
    // To set securebits takes CAP_SETPCAP, which the change of user has left permitted and not effective.
    raise(CapSet::Effective, Capability::CAP_SETPCAP)?;
    lock()?;
    let kept = FOR_APART.into_iter().collect();
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept)
            .map_err(|e| ConfineError::Caps(format!("the {set:?} set could not be set: {e}")))?;
    }
    let mask = FOR_APART.iter().fold(0u64, |mask, capability| mask | capability.bitmask());
    expect(|set| if set == "CapBnd" { 0 } else { mask })
}

fn raise(set: CapSet, capability: Capability) -> Result<(), ConfineError> {
    caps::raise(None, set, capability)
        .map_err(|e| ConfineError::Caps(format!("{capability} could not be put into the {set:?} set: {e}")))
}

fn secure(bits: CapabilitiesSecureBits) -> Result<(), ConfineError> {
    set_capabilities_secure_bits(bits).map_err(|e| ConfineError::Caps(format!("the securebits could not be set: {e}")))
}

/// No rule by which capabilities come back can be switched on again.
fn lock() -> Result<(), ConfineError> {
    secure(
        CapabilitiesSecureBits::NO_ROOT
            | CapabilitiesSecureBits::NO_ROOT_LOCKED
            | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
            | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED,
    )
}

fn empty_bounding() -> Result<(), ConfineError> {
    caps::clear(None, CapSet::Bounding)
        .map_err(|e| ConfineError::Caps(format!("the bounding set could not be emptied: {e}")))
}

/// After the change of user: empties the other sets and looks in /proc that all five are zero. The
/// caps crate knows capabilities 0 to 40 only; a newer one would be left behind, so the look is not
/// a formality.
pub fn drop_all() -> Result<(), ConfineError> {
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).map_err(|e| ConfineError::Caps(format!("the {set:?} set could not be emptied: {e}")))?;
    }
    expect(|_| 0)
}

/// Looks in /proc whether each set is the one that it has to be.
fn expect(wanted: impl Fn(&str) -> u64) -> Result<(), ConfineError> {
    let status = std::fs::read_to_string("/proc/self/status")
        .map_err(|e| ConfineError::Caps(format!("/proc/self/status could not be read: {e}")))?;
    match first_other(&status, wanted) {
        None => Ok(()),
        Some(line) => Err(ConfineError::Caps(format!("a set is not what it has to be: {line}"))),
    }
}

/// The first capability line of a status text that is missing or not what is wanted of its set.
fn first_other(status: &str, wanted: impl Fn(&str) -> u64) -> Option<String> {
    STATUS_LINES.into_iter().find_map(|name| {
        let line = status.lines().find(|l| l.starts_with(&format!("{name}:")));
        match line.and_then(|l| l.split_once(':')) {
            Some((_, value)) if u64::from_str_radix(value.trim(), 16) == Ok(wanted(name)) => None,
            Some(_) => line.map(str::to_string),
            None => Some(format!("{name} is not listed")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::first_other;

    const EMPTY: &str = "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n";

    #[test]
    fn a_capability_left_in_any_set_is_seen() {
        assert_eq!(first_other(EMPTY, |_| 0), None);
        for set in super::STATUS_LINES {
            let left = EMPTY.replace(&format!("{set}:\t0000000000000000"), &format!("{set}:\t0000020000000000"));
            assert!(first_other(&left, |_| 0).is_some_and(|l| l.starts_with(set)), "{set}");
            assert_eq!(first_other(&left, |name| if name == set { 1 << 41 } else { 0 }), None, "{set}");
        }
        assert_eq!(first_other("", |_| 0), Some("CapInh is not listed".into()));
        assert!(first_other("CapInh:\t\n", |_| 0).is_some());
    }
}
