//! How one setting's value is written and read: the forms that the key tables of the box policies refer to.
//!
//! Nothing here knows which settings exist.

use crate::time::Duration;

/// How values of one type are written in a specification.
#[derive(Clone, Copy)]
pub(crate) struct Form<T: 'static> {
    /// What would be right, as the object of "takes".
    pub(crate) takes: &'static str,
    /// Reads a value; nothing where the text is not one.
    pub(crate) read: fn(&str) -> Option<T>,
    /// Writes a value so that `read` gives it back.
    pub(crate) write: fn(&T) -> String,
}

/// The word that takes a setting back to what the kernel or the preset's documentation says by itself.
pub(crate) const DEFAULT: &str = "default";

impl<T> Form<T> {
    /// Reads a setting that may be left to its default, and says nothing where the text is no value.
    pub(crate) fn fill(self, slot: &mut Option<T>, text: &str) -> Option<()> {
        *slot = if text == DEFAULT { None } else { Some((self.read)(text)?) };
        Some(())
    }
}

/// The longest timeout that a kernel can hold: 2³¹ − 1 ticks at 100 ticks a second.
const KERNEL_SECS_MAX: u64 = i32::MAX as u64 / 100;

/// A kernel's timeout.
pub(crate) const SECONDS: Form<Duration> = Form {
    takes: "whole seconds up to 21474836, as 900 or 15m or 2h13m20s",
    read: |text| {
        let span = Duration::parse(text).ok()?;
        (span == Duration::from_secs(span.as_secs()) && span.as_secs() <= KERNEL_SECS_MAX).then_some(span)
    },
    write: |span| span.as_secs().to_string(),
};

/// The word for a timer that never fires.
pub(crate) const NEVER: &str = "never";

/// A timeout of a box that is not a kernel.
pub(crate) const SPAN: Form<Duration> = Form {
    takes: "a duration, as 350 or 15m or 2h13m20s, or 'never'",
    read: |text| if text == NEVER { Some(Duration::MAX) } else { Duration::parse(text).ok() },
    write: |span| match (span.0 / 1_000_000_000, span.0 % 1_000_000_000) {
        _ if *span == Duration::MAX => NEVER.to_owned(),
        (secs, 0) => secs.to_string(),
        (secs, nanos) => format!("{secs}.{nanos:09}").trim_end_matches('0').to_owned(),
    },
};

/// A switch.
pub(crate) const SWITCH: Form<bool> = Form {
    takes: "0 or 1",
    read: |text| match text {
        "0" | "false" | "no" | "off" => Some(false),
        "1" | "true" | "yes" | "on" => Some(true),
        _ => None,
    },
    write: |on| u8::from(*on).to_string(),
};

/// A mode from 0 to 3, as the defences of IPVS have.
pub(crate) const MODE: Form<u8> =
    Form { takes: "0, 1, 2 or 3", read: |text| text.parse().ok().filter(|mode| *mode <= 3), write: u8::to_string };

/// A small count.
pub(crate) const BYTE: Form<u8> = Form { takes: "a whole number from 0 to 255", read: |text| text.parse().ok(), write: u8::to_string };

/// `tcp_loose`: a count of packets before 2.6.21, a switch since.
pub(crate) const LOOSE: Form<u8> = Form { read: |text| (BYTE.read)(text).or_else(|| (SWITCH.read)(text).map(u8::from)), ..BYTE };

/// A kernel's integer that must not be negative.
pub(crate) const COUNT: Form<u32> = Form {
    takes: "a whole number from 0 to 2147483647",
    read: |text| text.parse().ok().filter(|count| i32::try_from(*count).is_ok()),
    write: u32::to_string,
};

/// A count of at least one.
pub(crate) const AT_LEAST_ONE: Form<u32> = Form {
    takes: "a whole number from 1 to 65535",
    read: |text| text.parse().ok().filter(|count| (1..=65535).contains(count)),
    write: u32::to_string,
};

/// A number of table entries.
pub(crate) const ENTRIES: Form<u64> = Form {
    takes: "a whole number of entries, at least 1",
    read: |text| text.parse().ok().filter(|count| *count > 0),
    write: u64::to_string,
};

/// A name that is checked elsewhere. It may not hold the characters that separate settings.
pub(crate) const NAME: Form<String> = Form {
    takes: "a name, as linux-6.12",
    read: |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        (!text.is_empty() && text != DEFAULT && text.chars().all(plain)).then(|| text.to_owned())
    },
    write: String::clone,
};

/// Defines an enum whose variants are words of a specification, each with the words that mean the same.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal $(| $alias:literal)*,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every variant, in the order of the documentation.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word of a specification that means this.
            pub const fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }

            /// Reads the word, or one that means the same; `_` and `-` and the letters' case do not count.
            pub fn from_word(text: &str) -> Option<$name> {
                let text = $crate::policy::hint::plain(text);
                $(if [$word $(, $alias)*].iter().any(|word| $crate::policy::hint::plain(word) == text) { return Some($name::$variant); })+
                None
            }

            /// How the key tables read and write it.
            pub(crate) const FORM: $crate::policy::value::Form<$name> = $crate::policy::value::Form {
                takes: concat!("one of the words", $(" ", $word),+),
                read: $name::from_word,
                write: |value| value.word().to_owned(),
            };
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                $name::from_word(&text).ok_or_else(|| serde::de::Error::custom(format!("'{text}' is not {}", $name::FORM.takes)))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_refuses_what_is_out_of_its_range() {
        for bad in ["", "-1", "0.5", "250ms", "21474837", "abc", "never"] {
            assert!((SECONDS.read)(bad).is_none(), "{bad}");
        }
        assert_eq!((SECONDS.read)("15m"), Some(Duration::from_secs(900)));
        assert_eq!((SECONDS.read)("21474836"), Some(Duration::from_secs(21_474_836)));
        assert_eq!((SWITCH.read)("2"), None);
        assert_eq!((MODE.read)("4"), None);
        assert_eq!((BYTE.read)("256"), None);
        assert_eq!((LOOSE.read)("3"), Some(3));
        assert_eq!((LOOSE.read)("off"), Some(0));
        assert_eq!((COUNT.read)("2147483648"), None);
        assert_eq!((AT_LEAST_ONE.read)("0"), None);
        assert_eq!((ENTRIES.read)("0"), None);
        assert_eq!((NAME.read)("a,b"), None);
    }

    #[test]
    fn a_refused_value_leaves_the_setting_alone_and_default_empties_it() {
        let mut slot = Some(true);
        assert_eq!(SWITCH.fill(&mut slot, "2"), None);
        assert_eq!(slot, Some(true));
        assert_eq!(SWITCH.fill(&mut slot, DEFAULT), Some(()));
        assert_eq!(slot, None);
    }

    #[test]
    fn spans_keep_every_nanosecond() {
        for span in [Duration(0), Duration(1), Duration(350_000_000_001), Duration(1_500_000_000), Duration::MAX] {
            assert_eq!((SPAN.read)(&(SPAN.write)(&span)), Some(span));
        }
    }
}
