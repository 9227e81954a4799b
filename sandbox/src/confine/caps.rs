//! Capabilities: all five sets empty, and locked so.

use super::ConfineError;
use caps::CapSet;
use rustix::thread::{CapabilitiesSecureBits, set_capabilities_secure_bits};

/// The five sets as /proc/self/status names them.
const STATUS_LINES: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

/// Before the change of user, while CAP_SETPCAP is still there: empties the bounding set and locks
/// the rule that a uid of 0 brings capabilities back.
pub fn drop_bounding() -> Result<(), ConfineError> {
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    set_capabilities_secure_bits(bits)
        .map_err(|e| ConfineError::Caps(format!("the securebits could not be set: {e}")))?;
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
    let status = std::fs::read_to_string("/proc/self/status")
        .map_err(|e| ConfineError::Caps(format!("/proc/self/status could not be read: {e}")))?;
    match first_left(&status) {
        None => Ok(()),
        Some(line) => Err(ConfineError::Caps(format!("not all sets are empty: {line}"))),
    }
}

/// The first capability line of a status text that is missing or not zero.
fn first_left(status: &str) -> Option<String> {
    STATUS_LINES.into_iter().find_map(|name| {
        let line = status.lines().find(|l| l.starts_with(&format!("{name}:")));
        match line.and_then(|l| l.split_once(':')) {
            Some((_, value)) if !value.trim().is_empty() && value.trim().bytes().all(|b| b == b'0') => None,
            Some(_) => line.map(str::to_string),
            None => Some(format!("{name} is not listed")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::first_left;

    const EMPTY: &str = "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n";

    #[test]
    fn a_capability_left_in_any_set_is_seen() {
        assert_eq!(first_left(EMPTY), None);
        for set in super::STATUS_LINES {
            let left = EMPTY.replace(&format!("{set}:\t0000000000000000"), &format!("{set}:\t0000020000000000"));
            assert!(first_left(&left).is_some_and(|l| l.starts_with(set)), "{set}");
        }
        assert_eq!(first_left(""), Some("CapInh is not listed".into()));
    }
}
