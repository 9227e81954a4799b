//! Sizes and durations as people write them.

use std::time::Duration;

/// Longest duration that is taken.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Parses `512M`: a whole number with an optional K, M, G or T (powers of 1024; `KiB`, `MB` and lower case are
/// accepted and mean the same), in bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = trimmed.split_at(digits);
    let shift = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => {
            return Err(format!("{text:?} is no size: write a whole number with K, M or G, such as 512M"));
        }
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("{text:?} is no size: write a whole number with K, M or G, such as 512M"))?;
    match number.checked_shl(shift).filter(|n| n >> shift == number) {
        Some(0) => Err(format!("{text:?} is no size: a limit of zero would let nothing start")),
        Some(bytes) => Ok(bytes),
        None => Err(format!("{text:?} is larger than any machine's memory")),
    }
}

/// Bytes as a person reads them: `512.0 MiB`.
pub fn show_bytes(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (name, shift) in UNITS {
        if bytes >> shift > 0 {
            return format!("{:.1} {name}", bytes as f64 / (1u64 << shift) as f64);
        }
    }
    format!("{bytes} bytes")
}

/// Parses a duration: a bare number is seconds (`600`, `0.5`), otherwise as in `10m`, `1h 30m`, `500ms`.
/// Longer than a hundred years is an error: clocks cannot add what a number of 64 bits can say.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write seconds (600) or 10m, 1h 30m, 500ms");
    let duration = match text.trim().parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?,
        Err(_) => humantime::parse_duration(text.trim()).map_err(|_| wrong())?,
    };
    match duration <= LONGEST {
        true => Ok(duration),
        false => Err(format!("{text:?} is longer than a hundred years: write a time that somebody can wait for")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_size("512M"), Ok(536_870_912));
        assert_eq!(parse_size("1g"), Ok(1 << 30));
        assert_eq!(parse_size("64 KiB"), Ok(65_536));
        assert_eq!(parse_size("7"), Ok(7));
        for wrong in ["", "M", "-1M", "1.5G", "12X", "0", "99999999999T"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_fits() {
        assert_eq!(show_bytes(536_870_912), "512.0 MiB");
        assert_eq!(show_bytes(1023), "1023 bytes");
        assert_eq!(show_bytes(1536), "1.5 KiB");
    }

    #[test]
    fn a_bare_number_is_seconds() {
        assert_eq!(parse_duration("600"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_duration("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_duration("soon").is_err());
        assert!(parse_duration("-1").is_err());
    }

    #[test]
    fn what_no_clock_can_add_is_no_duration() {
        for text in ["1e19", "1e300", "inf", "NaN", "1000000years", "18446744073709551615s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("99years").is_ok());
    }

    proptest! {
        #[test]
        fn a_size_is_its_number_times_its_unit(number in 1u64..1 << 20, unit in 0usize..5, style in 0usize..4) {
            let (name, shift) = [("", 0u32), ("K", 10), ("M", 20), ("G", 30), ("T", 40)][unit];
            let text = match (name, style) {
                ("", _) => number.to_string(),
                (name, 0) => format!("{number}{name}"),
                (name, 1) => format!(" {number} {}iB", name.to_lowercase()),
                (name, 2) => format!("{number}{name}B "),
                (name, _) => format!("{number}{}ib", name.to_lowercase()),
            };
            prop_assert_eq!(parse_size(&text), Ok(number << shift));
        }

        #[test]
        fn no_text_makes_a_size_of_zero_or_a_time_without_end(text in "[0-9]{0,22} ?[a-zA-Z.]{0,5}|\\PC{0,20}") {
            prop_assert!(parse_size(&text).is_ok_and(|size| size > 0) || parse_size(&text).is_err());
            if let Ok(duration) = parse_duration(&text) {
                prop_assert!(std::time::Instant::now().checked_add(duration).is_some());
            }
        }

        #[test]
        fn what_is_shown_can_be_read(size in 1u64..1 << 50) {
            let shown = show_bytes(size);
            let (number, unit) = shown.split_once(' ').unwrap();
            let whole = number.split('.').next().unwrap();
            // Rounded to a tenth, so no further off than one of its unit.
            let unit = if unit == "bytes" { "B" } else { unit };
            let one = parse_size(&format!("1 {unit}")).unwrap();
            let read = whole.parse::<u64>().unwrap() * one;
            prop_assert!(read.abs_diff(size) <= one, "{}", shown);
        }
    }
}
