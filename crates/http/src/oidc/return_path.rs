//! Where the browser goes after a sign-in.

/// The page after a sign-in that named none.
const DEFAULT: &str = "/app";
/// Longest path, in bytes: it travels in a cookie.
const MAX_BYTES: usize = 2_048;

/// An absolute path of this very host, with query and fragment if any.
///
/// Browsers take `//host` and `/\host` for another host, and drop tabs and newlines first: so the
/// second character is neither, and all are visible ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReturnPath(String);

impl ReturnPath {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_local = text.starts_with('/') && !text.starts_with("//");
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        (is_local && is_plain && text.len() <= MAX_BYTES).then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ReturnPath {
    fn default() -> Self {
        Self(DEFAULT.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_host_are_taken() {
        for good in ["/", "/app", "/app/margins?period=2026-03#top", "/a//b"] {
            assert_eq!(ReturnPath::parse(good).unwrap().as_str(), good);
        }
        let long = format!("/{}", "a".repeat(MAX_BYTES));
        for bad in [
            "",
            "app",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "/a b",
            "/ä",
            "javascript:alert(1)",
            &long,
        ] {
            assert_eq!(ReturnPath::parse(bad), None, "{bad}");
        }
    }
}
