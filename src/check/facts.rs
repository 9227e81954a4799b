//! Reading what the kernel says of itself, and the two kinds of remedy that most findings have.

use std::path::Path;

/// The text of a file without the white space around it; `None` where it is not there or not for us.
pub fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_string())
}

/// A number alone in a file.
pub fn number(path: impl AsRef<Path>) -> Option<u64> {
    read(path)?.parse().ok()
}

/// The value of a boot parameter; of one that is given several times the last, which is the one that counts.
pub fn boot_parameter<'a>(cmdline: &'a str, name: &str) -> Option<&'a str> {
    let mut words = cmdline.split_ascii_whitespace().rev();
    words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// The two first numbers of a version: of `git version 2.39.5`, of `6.1.0-18-amd64`, of `GNU Make 4.3`.
pub fn version(text: &str) -> Option<(u32, u32)> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let mut numbers = text[start..].split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// How to put a boot parameter in place.
pub fn boot_with(parameter: &str) -> String {
    format!(
        "boot with {parameter} (Debian, Ubuntu: into GRUB_CMDLINE_LINUX of /etc/default/grub, `update-grub`, reboot)"
    )
}

/// How to set a kernel parameter, now and for good.
pub fn sysctl(name: &str, value: &str) -> String {
    format!("`sysctl -w {name}={value}`, and to keep it `echo {name}={value} >>/etc/sysctl.d/60-ostest-sandbox.conf`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_boot_parameter_of_a_name_counts() {
        let line = "root=/dev/sda1 lsm=yama,apparmor quiet lsm=landlock notlsm=x lsm";
        assert_eq!(boot_parameter(line, "lsm"), Some("landlock"));
        assert_eq!(boot_parameter(line, "root"), Some("/dev/sda1"));
        assert_eq!(boot_parameter(line, "quiet"), None);
    }

    #[test]
    fn versions_are_found_in_what_programs_say() {
        assert_eq!(version("git version 2.39.5"), Some((2, 39)));
        assert_eq!(version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(version("6.18-rc3"), Some((6, 18)));
        assert_eq!(version("GNU Make 4.3"), Some((4, 3)));
        assert_eq!(version("none"), None);
        assert_eq!(version("99999999999.1"), None);
    }
}
