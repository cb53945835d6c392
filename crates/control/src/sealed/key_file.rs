//! The file that holds the keys.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::KEY_BYTES;
use crate::error::ControlError;

/// Returns the keys by their version.
pub(super) fn parse(file: &str) -> Result<BTreeMap<NonZeroU32, [u8; KEY_BYTES]>, ControlError> {
    let mut keys = BTreeMap::new();
    for (index, text) in file.lines().enumerate() {
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        let failed = |problem| ControlError::KeyFile {
            line: index + 1,
            problem,
        };
        let (version, key) = parse_line(text).map_err(failed)?;
        if keys.insert(version, key).is_some() {
            return Err(failed("its version stands in an earlier line, too"));
        }
    }
    Ok(keys)
}

/// Says what is wrong without the line itself, which may hold a key.
fn parse_line(line: &str) -> Result<(NonZeroU32, [u8; KEY_BYTES]), &'static str> {
    let (version, key) = line
        .split_once(':')
        .ok_or("it must be <version>:<key in base64>")?;
    let version = parse_version(version).ok_or("its version must be a whole number from 1")?;
    let key = STANDARD.decode(key).map_err(|_| "its key is not base64")?;
    let key = key.try_into().map_err(|_| "its key does not have 32 bytes")?;
    Ok((version, key))
}

/// Digits alone, the first of them no zero.
pub(super) fn parse_version(text: &str) -> Option<NonZeroU32> {
    let is_canonical = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn keys_come_in_any_order_between_empty_lines() {
        let file = format!("\r\n12:{KEY}\r\n\n  3:{KEY}  \n");
        let versions: Vec<u32> = parse(&file).unwrap().into_keys().map(NonZeroU32::get).collect();
        assert_eq!(versions, [3, 12]);
        assert!(parse("\n \n").unwrap().is_empty());
    }

    #[test]
    fn a_broken_line_is_named_and_not_printed() {
        let short = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==";
        for (line, words) in [
            (KEY.to_owned(), "must be <version>:<key"),
            (format!("0:{KEY}"), "whole number from 1"),
            (format!("-1:{KEY}"), "whole number from 1"),
            (format!("+1:{KEY}"), "whole number from 1"),
            (format!("01:{KEY}"), "whole number from 1"),
            (format!(":{KEY}"), "whole number from 1"),
            (format!("4294967296:{KEY}"), "whole number from 1"),
            (format!("1: {KEY}"), "not base64"),
            (format!("1:{}", &KEY[..43]), "not base64"),
            (format!("1:{short}"), "32 bytes"),
            ("1:".to_owned(), "32 bytes"),
            (format!("9:{KEY}"), "earlier line"),
        ] {
            let error = parse(&format!("9:{KEY}\n\n{line}\n")).unwrap_err();
            let printed = format!("{error} {error:?}");
            assert!(printed.contains("line 3") && printed.contains(words), "{printed}");
            assert!(!printed.contains(&KEY[..20]), "{printed}");
        }
    }
}
