//! A tokenizer for ClickHouse SQL, as far as boundaries need one.

use std::ops::Range;

/// What a token is. Spaces and comments are passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A bare word: keyword, identifier or number.
    Word,
    /// `'...'`, `"..."`, a backticked name or a heredoc.
    Quoted,
    Semicolon,
    Open,
    Close,
    Other,
}

/// A token and the bytes it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) range: Range<usize>,
}

/// Yields the tokens of a text that may still grow.
#[derive(Debug)]
pub(super) struct Tokens<'t> {
    text: &'t [u8],
    position: usize,
    /// Set when the text ended inside a quote or comment.
    pub(super) unfinished: bool,
}

impl<'t> Tokens<'t> {
    pub(super) fn new(text: &'t [u8]) -> Self {
        Self {
            text,
            position: 0,
            unfinished: false,
        }
    }

    fn rest(&self) -> &'t [u8] {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let comment_end = if rest.starts_with(b"--") || rest.starts_with(b"#!") || rest.starts_with(b"# ")
            {
                find(rest, b"\n", 0)
            } else if rest.starts_with(b"/*") {
                find(rest, b"*/", 2)
            } else if rest
                .first()
                .is_some_and(|b| b.is_ascii_whitespace() || *b == 0x0b)
            {
                Some(1)
            } else {
                return;
            };
            match comment_end {
                Some(length) => self.position += length,
                None => {
                    self.unfinished |= rest.starts_with(b"/*");
                    self.position = self.text.len();
                }
            }
        }
    }

    /// Length of the quoted text at the start of `rest`; a doubled quote or a backslash escapes.
    fn quoted_length(&mut self, rest: &[u8], quote: u8) -> usize {
        let mut index = 1;
        while let Some(&byte) = rest.get(index) {
            if byte == b'\\' {
                index += 2;
            } else if byte != quote {
                index += 1;
            } else if rest.get(index + 1) == Some(&quote) {
                index += 2;
            } else {
                return index + 1;
            }
        }
        self.unfinished = true;
        rest.len()
    }

    /// Length of a heredoc `$tag$ ... $tag$` at the start of `rest`, or `None` if there is none.
    fn heredoc_length(&mut self, rest: &[u8]) -> Option<usize> {
        let tag_end = 1 + rest.get(1..)?.iter().position(|&b| !is_word(b))?;
        let tag = rest.get(..=tag_end).filter(|tag| tag.ends_with(b"$"))?;
        match find(rest, tag, tag.len()) {
            Some(length) => Some(length),
            None => {
                self.unfinished = true;
                Some(rest.len())
            }
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_blank();
        let rest = self.rest();
        let &first = rest.first()?;
        let (kind, length) = match first {
            b'\'' | b'"' | b'`' => (TokenKind::Quoted, self.quoted_length(rest, first)),
            b'$' => match self.heredoc_length(rest) {
                Some(length) => (TokenKind::Quoted, length),
                None => (TokenKind::Other, 1),
            },
            b';' => (TokenKind::Semicolon, 1),
            b'(' => (TokenKind::Open, 1),
            b')' => (TokenKind::Close, 1),
            byte if is_word(byte) => (
                TokenKind::Word,
                rest.iter().position(|&b| !is_word(b)).unwrap_or(rest.len()),
            ),
            _ => (TokenKind::Other, 1),
        };
        let start = self.position;
        self.position += length;
        Some(Token {
            kind,
            range: start..self.position,
        })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// End of the first `needle` in `haystack` at or after `from`.
fn find(haystack: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let position = haystack
        .get(from..)?
        .windows(needle.len())
        .position(|window| window == needle)?;
    Some(from + position + needle.len())
}
