//! Which result formats can be streamed.
//!
//! The engine formats every chunk of a streamed result as a document of its own. Formats whose
//! documents can be put one after the other are streamed; if each begins with a header, it is cut
//! from all chunks but the first. Results in other formats (JSON, Parquet, Pretty, ...) are made whole.

use bytes::{Buf, Bytes};

/// How a format's documents begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    None,
    /// This many lines, with line breaks escaped inside.
    Lines(usize),
    /// This many lines, with line breaks allowed inside double quotes.
    QuotedLines(usize),
    /// A count, and this many lists of so many strings.
    Strings(usize),
}

/// How documents in `format` begin, or `None` if they cannot be put together.
pub(super) fn header_of(format: &str) -> Option<Header> {
    let (base, names, types) = match format.strip_suffix("WithNamesAndTypes") {
        Some(base) => (base, 1, 1),
        None => match format.strip_suffix("WithNames") {
            Some(base) => (base, 1, 0),
            None => (format, 0, 0),
        },
    };
    let lines = names + types;
    Some(match base {
        "Native" | "JSONEachRow" | "JSONLines" | "NDJSON" | "JSONStringsEachRow" | "TSKV" | "Null"
        | "MsgPack"
            if lines == 0 =>
        {
            Header::None
        }
        "RowBinary" if lines == 0 => Header::None,
        "RowBinary" => Header::Strings(lines),
        "CSV" if lines == 0 => Header::None,
        "CSV" => Header::QuotedLines(lines),
        "TSV"
        | "TabSeparated"
        | "TSVRaw"
        | "TabSeparatedRaw"
        | "JSONCompactEachRow"
        | "JSONCompactStringsEachRow" => match lines {
            0 => Header::None,
            lines => Header::Lines(lines),
        },
        _ => return None,
    })
}

impl Header {
    /// Cuts the header from the beginning of `chunk`.
    pub(super) fn cut<C: AsRef<[u8]> + Send + 'static>(self, chunk: C) -> Bytes {
        let length = self.length(chunk.as_ref());
        let mut bytes = Bytes::from_owner(chunk);
        bytes.advance(length.unwrap_or(0).min(bytes.len()));
        bytes
    }

    fn length(self, chunk: &[u8]) -> Option<usize> {
        match self {
            Self::None => Some(0),
            Self::Lines(lines) => line_ends(chunk, false).nth(lines.checked_sub(1)?),
            Self::QuotedLines(lines) => line_ends(chunk, true).nth(lines.checked_sub(1)?),
            Self::Strings(lists) => {
                let mut rest = chunk;
                let columns = varint(&mut rest)?;
                for _ in 0..columns.checked_mul(lists)? {
                    let length = varint(&mut rest)?;
                    rest = rest.get(length..)?;
                }
                Some(chunk.len() - rest.len())
            }
        }
    }
}

/// Positions after each line break, leaving out those in double quotes if `quoted`.
fn line_ends(text: &[u8], quoted: bool) -> impl Iterator<Item = usize> {
    let mut inside = false;
    text.iter().enumerate().filter_map(move |(index, &byte)| {
        if quoted && byte == b'"' {
            inside = !inside;
        }
        (byte == b'\n' && !inside).then_some(index + 1)
    })
}

fn varint(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0_usize;
    for shift in (0..usize::BITS).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(format: &str, chunk: &'static [u8]) -> Bytes {
        header_of(format).unwrap().cut(chunk)
    }

    #[test]
    fn cuts_each_kind_of_header() {
        assert_eq!(cut("TSVWithNamesAndTypes", b"a\nUInt8\n1\n"), "1\n");
        assert_eq!(cut("CSVWithNames", b"\"a\nb\",\"c\"\n1,2\n"), "1,2\n");
        assert_eq!(
            cut("RowBinaryWithNamesAndTypes", b"\x01\x01a\x05UInt8\x07"),
            &b"\x07"[..]
        );
        assert_eq!(
            cut("RowBinaryWithNames", b"\x02\x01a\x01b\x07\x08"),
            &b"\x07\x08"[..]
        );
        assert_eq!(cut("JSONEachRow", b"{\"a\":1}\n"), "{\"a\":1}\n");
    }

    #[test]
    fn whole_documents_are_not_streamed() {
        for format in [
            "JSON",
            "Parquet",
            "ArrowStream",
            "PrettyCompact",
            "XML",
            "Values",
            "NativeWithNames",
        ] {
            assert_eq!(header_of(format), None, "{format}");
        }
    }
}
