//! How values are written: durations, quotas, sizes, lists. Each parser's error is a complaint that
//! reads on after the key's name.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use keyward_core::limits::Quota;
use zeroize::Zeroizing;

use super::source::Value;

/// Text, not empty.
pub(crate) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) if text.trim().is_empty() => {
            Err("is empty; set it or remove it".to_owned())
        }
        Value::Text(text) if text.chars().any(char::is_control) => {
            Err("holds a control character; remove that".to_owned())
        }
        Value::Text(text) => Ok(text.to_string()),
        other => Err(unfit(other, "a text in quotes")),
    }
}

/// A secret, which no error shows.
pub(crate) fn secret(value: &Value) -> Result<Zeroizing<String>, String> {
    match value {
        Value::Text(text) if text.is_empty() => Err("is empty; set it or remove it".to_owned()),
        Value::Text(text) => Ok(text.clone()),
        other => Err(unfit(other, "a text in quotes")),
    }
}

/// One of a few words.
pub(crate) fn choice<T: Copy>(value: &Value, choices: &[(&str, T)]) -> Result<T, String> {
    let text = text(value)?;
    choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        format!("is \"{text}\"; use {}", names.join(" or "))
    })
}

/// `true` or `false`.
pub(crate) fn boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Boolean(boolean) => Ok(*boolean),
        Value::Text(text) if text.as_str() == "true" => Ok(true),
        Value::Text(text) if text.as_str() == "false" => Ok(false),
        other => Err(unfit(other, "true or false")),
    }
}

/// A whole number within bounds.
pub(crate) fn number(value: &Value, least: u32, most: u32) -> Result<u32, String> {
    let number = match value {
        Value::Integer(number) => Some(*number),
        Value::Text(text) => text.parse().ok(),
        Value::Boolean(_) | Value::List(_) | Value::Unfit(_) => None,
    };
    let number = number.ok_or_else(|| unfit(value, "a whole number"))?;
    u32::try_from(number)
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("is {number}; set it between {least} and {most}"))
}

/// A length of time within bounds, such as `15m`.
pub(crate) fn duration(value: &Value, least: Duration, most: Duration) -> Result<Duration, String> {
    let Value::Text(text) = value else {
        return Err(unfit(value, "a duration such as \"90s\", \"15m\", \"12h\" or \"7d\""));
    };
    let duration = parse_duration(text).ok_or_else(|| no_duration(text))?;
    if (least..=most).contains(&duration) {
        return Ok(duration);
    }
    Err(format!("is {}; set it between {} and {}", text.as_str(), show(least), show(most)))
}

/// The text of a duration: a whole number and one of `s`, `m`, `h`, `d`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let secs_per_unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = plain.then(|| digits.parse().ok())??;
    // Beyond a century nothing means anything, and arithmetic on it would overflow somewhere.
    count.checked_mul(secs_per_unit).filter(|secs| *secs <= CENTURY_SECS).map(Duration::from_secs)
}

/// A limit on trying: `5 per 15m`, or `off`.
pub(crate) fn quota(value: &Value) -> Result<Option<Quota>, String> {
    let text = text(value)?;
    if text == "off" {
        return Ok(None);
    }
    let parts = text.split_once(" per ").and_then(|(count, window)| {
        Quota::new(count.trim().parse().ok()?, parse_duration(window.trim())?)
    });
    parts.map(Some).ok_or_else(|| {
        format!("is \"{text}\", which is no limit; write it like \"5 per 15m\", or \"off\"")
    })
}

/// An amount of memory in KiB, such as `19MiB`.
pub(crate) fn memory_kib(value: &Value) -> Result<u32, String> {
    let text = text(value)?;
    let units = [("KiB", 1), ("MiB", 1024), ("GiB", 1024 * 1024)];
    units
        .iter()
        .find_map(|(unit, kib)| {
            let count: u32 = text.strip_suffix(unit)?.trim().parse().ok()?;
            count.checked_mul(*kib)
        })
        .ok_or_else(|| format!("is \"{text}\", which is no size; write it like \"19MiB\""))
}

/// A list of texts; in one text they are separated by commas.
pub(crate) fn list(value: &Value) -> Result<Vec<String>, String> {
    let items: Vec<String> = match value {
        Value::List(items) => items.iter().map(|item| item.trim().to_owned()).collect(),
        Value::Text(text) if text.trim().is_empty() => Vec::new(),
        Value::Text(text) => text.split(',').map(|item| item.trim().to_owned()).collect(),
        other => return Err(unfit(other, "a list of texts")),
    };
    if items.iter().any(String::is_empty) {
        return Err("holds an empty item; remove it".to_owned());
    }
    Ok(items)
}

/// A list of networks, each an address or an address and a length.
pub(crate) fn networks(value: &Value) -> Result<Vec<IpNet>, String> {
    let network = |item: &String| {
        item.parse::<IpNet>().or_else(|_| item.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
            format!("holds \"{item}\", which is no network; write it like 10.0.0.0/8 or 10.0.0.7")
        })
    };
    list(value)?.iter().map(network).collect()
}

/// The shortest exact text of a duration.
pub(crate) fn show(duration: Duration) -> String {
    let secs = duration.as_secs();
    let units = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "m")];
    units.iter().find(|(unit_secs, _)| secs > 0 && secs.is_multiple_of(*unit_secs)).map_or_else(
        || format!("{secs}s"),
        |(unit_secs, unit)| format!("{}{unit}", secs / unit_secs),
    )
}

fn no_duration(text: &str) -> String {
    format!("is \"{text}\", which is no duration; write it like 90s, 15m, 12h or 7d")
}

fn unfit(value: &Value, wanted: &str) -> String {
    let found = match value {
        Value::Text(text) => return format!("is \"{}\"; it takes {wanted}", text.as_str()),
        Value::Integer(number) => return format!("is {number}; it takes {wanted}"),
        Value::Boolean(_) => "true or false",
        Value::List(_) => "a list",
        Value::Unfit(what) => what,
    };
    format!("is {found}; it takes {wanted}")
}

const CENTURY_SECS: u64 = 100 * 365 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn text_value(text: &str) -> Value {
        Value::Text(Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn durations_have_one_unit() {
        for (text, secs) in [("90s", 90), ("15m", 900), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(parse_duration(text), Some(Duration::from_secs(secs)), "{text}");
            assert_eq!(show(Duration::from_secs(secs)), text);
        }
        let overflow = format!("{}d", u64::MAX);
        for text in ["", "s", "15", "15 m", "-1s", "+1s", "1.5h", "1h30m", "1w", "10ms", &overflow]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn quotas_are_counted_or_off() {
        let five = Quota::new(5, Duration::from_secs(900));
        assert_eq!(quota(&text_value("5 per 15m")), Ok(five));
        assert_eq!(quota(&text_value("off")), Ok(None));
        for text in ["5", "5/15m", "0 per 15m", "5 per 0s", "-5 per 15m", "5 per 15", "on"] {
            quota(&text_value(text)).expect_err(text);
        }
    }

    #[test]
    fn sizes_need_their_unit() {
        assert_eq!(memory_kib(&text_value("19MiB")), Ok(19 * 1024));
        assert_eq!(memory_kib(&text_value("19456KiB")), Ok(19 * 1024));
        for text in ["19", "19MB", "19M", "-1MiB", "9999999GiB"] {
            memory_kib(&text_value(text)).expect_err(text);
        }
    }

    #[test]
    fn lists_split_at_commas() {
        assert_eq!(list(&text_value("a, b")), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(list(&text_value("")), Ok(Vec::new()));
        list(&text_value("a,,b")).expect_err("an empty item");
        networks(&text_value("10.0.0.0/8, ::1")).expect("networks");
        networks(&text_value("10.0.0.0/33")).expect_err("no network");
    }
}
