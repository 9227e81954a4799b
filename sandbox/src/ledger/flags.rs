//! Which bits of an allocation's flags (gfp_t) say that a page is not to be booked. They differ from kernel to kernel.
//!
//! Since Linux 6.10 the kernel's types have their numbers. Before that they stand in what tracefs says of the tracepoint, which
//! gives each flag its name when it prints one.

use super::btf::Found;
use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use std::io::{self, Read};

/// Pages that are not booked: of these whoever touches them first is charged, or nobody has to be, since the kernel moves or takes
/// them back as it likes: caches of directories and inodes, the largest part of what is charged by the object, and not by the page.
const NAMES: [&str; 3] = ["MOVABLE", "RECLAIMABLE", "ACCOUNT"];

/// All of them in one word.
///
/// # Errors
/// In words, where the kernel does not say which they are.
pub fn passed_over(found: &Found) -> Result<u32, String> {
    let bits: Option<Vec<u32>> =
        NAMES.iter().map(|name| found.bits.get(&format!("___GFP_{name}_BIT")).copied()).collect();
    if let Some(bits) = bits {
        return bits
            .iter()
            .try_fold(0, |all, bit| Some(all | 1u32.checked_shl(*bit)?))
            .ok_or_else(|| "a flag of gfp_t is none".into());
    }
    let text = format_of_tracepoint()
        .map_err(|error| format!("the tracepoint's format in tracefs cannot be read: {error}"))?;
    named_in(&text).ok_or_else(|| "the tracepoint's format does not name the flags of an allocation".into())
}

/// From a mount of our own that is nowhere in the tree: the host need not have one.
fn format_of_tracepoint() -> io::Result<String> {
    let context = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let file = openat(&mount, "events/kmem/mm_page_alloc/format", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    std::fs::File::from(file).take(1 << 20).read_to_string(&mut text)?;
    Ok(text)
}

/// `…, {( unsigned long)(( gfp_t)0x400000u), "__GFP_ACCOUNT"}, …`, or the same as `1UL << 22`, in many parentheses.
fn named_in(text: &str) -> Option<u32> {
    NAMES.iter().try_fold(0, |all, name| {
        let (before, _) = text.split_once(&format!(", \"__GFP_{name}\""))?;
        let (_, value) = before.rsplit_once('{')?;
        let plain: String = value.replace("unsigned long", "").replace("gfp_t", "");
        let plain: String = plain.chars().filter(|c| !"() \t".contains(*c)).collect();
        Some(all | number(&plain)?)
    })
}

/// One that is a single bit: `0x400000u`, `1UL<<22`.
fn number(text: &str) -> Option<u32> {
    let end = |text: &str| text.trim_end_matches(['u', 'U', 'l', 'L']).to_owned();
    let value = match text.split_once("<<") {
        Some((one, bits)) => end(one).parse::<u32>().ok()?.checked_shl(end(bits).parse().ok()?)?,
        None => u32::from_str_radix(&end(text.strip_prefix("0x")?), 16).ok()?,
    };
    value.is_power_of_two().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux 6.1 and 6.12, in part.
    const OLD: &str = "{( unsigned long)(((( gfp_t)(( gfp_t)0x400u|( gfp_t)0x800u)) | (( gfp_t)0x400000u)), \"GFP_KERNEL_ACCOUNT\"}, \
        {( unsigned long)(( gfp_t)0x08u), \"__GFP_MOVABLE\"}, {( unsigned long)(( gfp_t)0x10u), \"__GFP_RECLAIMABLE\"}, \
        {( unsigned long)(( gfp_t)0x400000u), \"__GFP_ACCOUNT\"}";
    const NEW: &str = "{( unsigned long)(( gfp_t)((((1UL))) << (3))), \"__GFP_MOVABLE\"}, \
        {( unsigned long)(( gfp_t)((((1UL))) << (4))), \"__GFP_RECLAIMABLE\"}, \
        {( unsigned long)(( gfp_t)((((1UL))) << (22))), \"__GFP_ACCOUNT\"}";

    #[test]
    fn both_ways_of_writing_a_flag_are_read() {
        assert_eq!((named_in(OLD), named_in(NEW)), (Some(0x40_0018), Some(0x40_0018)));
        assert_eq!(named_in(&NEW.replace("__GFP_MOVABLE", "__GFP_OTHER")), None);
        assert_eq!(named_in(&OLD.replace("0x08u", "0x0cu")), None, "two bits are no flag");
    }

    #[test]
    fn the_types_go_first() {
        let bits = [("___GFP_MOVABLE_BIT", 1), ("___GFP_RECLAIMABLE_BIT", 2), ("___GFP_ACCOUNT_BIT", 5)];
        let found = Found { bits: bits.map(|(name, bit)| (name.into(), bit)).into(), ..Found::default() };
        assert_eq!(passed_over(&found), Ok(0b10_0110));
    }
}
