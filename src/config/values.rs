//! Values of flags and keys, each read from the same text on a command line and in a file.

use crate::backend::contract::{ErrorLimit, MemoryUnit};
use crate::proxy::Internal;
use crate::units::{parse_duration, parse_size};
use sandbox::plan::Layer;
use serde::Deserialize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A size in bytes, written `512M`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        parse_size(text).map(Size)
    }
}

/// A duration, written `600` (seconds) or `10m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        parse_duration(text).map(Span)
    }
}

/// Cores, written `2` or `0.5`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cores(pub f64);

impl FromStr for Cores {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse::<f64>() {
            Ok(cores) if (0.01..=4096.0).contains(&cores) => Ok(Cores(cores)),
            _ => Err(format!("{text:?} is no number of cores: write 2 or 0.5")),
        }
    }
}

/// A number of processes and threads, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processes(pub u64);

impl FromStr for Processes {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse::<u64>() {
            Ok(0) => Err(format!("{text:?} is no number of processes: a limit of zero would let nothing start")),
            Ok(number) => Ok(Processes(number)),
            Err(_) => Err(format!("{text:?} is no number of processes: write a whole number such as 256")),
        }
    }
}

/// Most characters of an error's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Characters(pub ErrorLimit);

impl FromStr for Characters {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Characters)
    }
}

/// A layer that may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerName(pub Layer);

impl FromStr for LayerName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Layer::ALL.into_iter().find(|l| l.name() == text).map(LayerName).ok_or_else(|| {
            let known: Vec<_> = Layer::ALL.iter().map(|l| l.name()).collect();
            format!("{text:?} is no layer that can be waived; there are: {}", known.join(", "))
        })
    }
}

/// A host or a network of the operator's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalName(pub Internal);

impl FromStr for InternalName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(InternalName)
    }
}

/// Slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots(pub usize);

impl FromStr for Slots {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse() {
            Ok(number) if (1..=512).contains(&number) => Ok(Slots(number)),
            _ => Err(format!("{text:?} is no number of slots: write a whole number from 1 to 512")),
        }
    }
}

/// How long something may take: never 0, with which nothing could succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(pub Duration);

impl FromStr for Patience {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match parse_duration(text)? {
            Duration::ZERO => Err(format!("{text:?} is a time in which nothing could succeed: write more than 0")),
            time => Ok(Patience(time)),
        }
    }
}

/// A unit of `memoryUsed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitName(pub MemoryUnit);

impl FromStr for UnitName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(UnitName)
    }
}

/// Makes a kind of text of which it is known that it is valid: by a function that says what is wrong with it.
macro_rules! checked_text {
    ($($(#[$about:meta])* $name:ident: $check:expr;)*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let check: fn(&str) -> Result<(), String> = $check;
                check(text).map(|()| $name(text.into()))
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }
    )*};
}
checked_text! {
    /// Where a backend is. One with a password in it is refused later, by who does not quote it as the parsers of flags and files do.
    BackendUrl: |text| match crate::backend::address_of(text) {
        Err(error) if !text.contains('@') => Err(error.to_string()),
        _ => Ok(()),
    };
    /// What URLs of repositories may begin with.
    UrlPrefix: crate::backend::allow::check_prefix;
    /// A level of the log.
    LevelName: |text| one_of(text, &["debug", "info", "warning", "warn", "error", "critical"]);
    /// A form of the log's lines.
    FormatName: |text| one_of(text, &["text", "json", "journal"]);
}

/// Whether it is one of these words, however it is written.
fn one_of(text: &str, words: &[&str]) -> Result<(), String> {
    match words.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        true => Ok(()),
        false => Err(format!("{text:?} is none of {}", words.join(", "))),
    }
}

/// A place where repositories under a URL prefix are taken from, written `URLPREFIX=DIR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// URLs that begin so.
    pub prefix: String,
    /// Directory that holds their rest.
    pub dir: PathBuf,
}

impl FromStr for Mirror {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once('=') {
            Some((prefix, dir)) if prefix.contains("://") && !dir.is_empty() => {
                Ok(Mirror { prefix: prefix.into(), dir: dir.into() })
            }
            _ => Err(format!("{text:?} is no mirror: write URLPREFIX=DIR, such as https://github.com/=/srv/git")),
        }
    }
}

/// Reads a value of a configuration file through its `FromStr`: strings as on the command line, and bare numbers.
macro_rules! from_text_or_number {
    ($($kind:ty),*) => {$(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(untagged)]
                enum Value { Text(String), Whole(i64), Real(f64) }
                let text = match Value::deserialize(input)? {
                    Value::Text(text) => text,
                    Value::Whole(number) => number.to_string(),
                    Value::Real(number) => number.to_string(),
                };
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
from_text_or_number!(Size, Span, Cores, Processes, Characters, LayerName, InternalName, Slots, Patience);
from_text_or_number!(UnitName, BackendUrl, UrlPrefix, LevelName, FormatName);
