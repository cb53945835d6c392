//! Path segments, decoded exactly once.

use axum::http::Uri;

/// A path segment that is no percent-encoded UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MalformedSegment;

/// Decodes the last segment of the path. Unlike the router's own decoding it refuses broken
/// escapes, and it does so after the caller was authenticated.
pub(crate) fn decode_last_segment(uri: &Uri) -> Result<String, MalformedSegment> {
    let segment = uri.path().rsplit('/').next().unwrap_or_default();
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (escape, tail) = tail.split_at_checked(2).ok_or(MalformedSegment)?;
        decoded.push(hex_digit(escape[0])? << 4 | hex_digit(escape[1])?);
        rest = tail;
    }
    String::from_utf8(decoded).map_err(|_| MalformedSegment)
}

fn hex_digit(byte: u8) -> Result<u8, MalformedSegment> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(MalformedSegment),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(path: &str) -> Option<String> {
        decode_last_segment(&path.parse().unwrap()).ok()
    }

    #[test]
    fn decodes_once() {
        assert_eq!(decode("/api/margins/globex").as_deref(), Some("globex"));
        assert_eq!(
            decode("/api/margins/a%2Fb%20c%2525?x=1").as_deref(),
            Some("a/b c%25")
        );
        assert_eq!(decode("/api/margins/%C3%A9+").as_deref(), Some("é+"));
    }

    #[test]
    fn refuses_broken_escapes() {
        for bad in ["/x/%", "/x/%2", "/x/a%zz", "/x/%+1", "/x/%FF"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
