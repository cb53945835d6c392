//! A small HTTP/1.1 client on one keep-alive connection. It costs little CPU time, which on a small
//! machine is taken from the server.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::LoadError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A stream is answered at its end, and slowed down until then.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// A body up to this size is written together with the head, in bytes.
const MAX_JOINED_BYTES: usize = 16 * 1024;

/// One connection, and the headers that each of its requests carries.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    headers: String,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| &**value)
    }
}

impl Client {
    /// Connects; `headers` are sent with each request.
    ///
    /// # Errors
    /// [`LoadError::Io`].
    pub(crate) fn connect(address: SocketAddr, headers: &[(&str, &str)]) -> Result<Self, LoadError> {
        let connect = || {
            let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
            io::Result::Ok(stream)
        };
        let stream = connect().map_err(LoadError::io("connect to the server"))?;
        let mut text = format!("Host: {address}\r\n");
        for (name, value) in headers {
            write_text(&mut text, format_args!("{name}: {value}\r\n"));
        }
        Ok(Self {
            stream: BufReader::new(stream),
            headers: text,
        })
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// [`LoadError::Io`]; [`LoadError::Refused`] unless the status is 2xx.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<Answer, LoadError> {
        let mut head = self.head(method, path, content_type, body.len()).into_bytes();
        let is_joined = body.len() <= MAX_JOINED_BYTES;
        if is_joined {
            head.extend_from_slice(body);
        }
        let written = self
            .write(&head)
            .and_then(|()| if is_joined { Ok(()) } else { self.write(body) });
        self.finish(&format!("{method} {path}"), written)
    }

    /// Writes the head of a request whose body of `length` bytes follows by [`Self::write`].
    pub(crate) fn begin(&mut self, path: &str, content_type: &str, length: usize) -> io::Result<()> {
        let head = self.head("POST", path, content_type, length);
        self.write(head.as_bytes())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads the answer to a request that was written, or not wholly so: a server that refuses
    /// stops reading, and its answer says more than the broken pipe.
    ///
    /// # Errors
    /// [`LoadError::Io`]; [`LoadError::Refused`] unless the status is 2xx.
    pub(crate) fn finish(&mut self, request: &str, written: io::Result<()>) -> Result<Answer, LoadError> {
        let answer = match (read_answer(&mut self.stream), written) {
            (Ok(answer), _) => answer,
            (Err(_), Err(error)) => return Err(LoadError::io("send a request")(error)),
            (Err(error), Ok(())) => return Err(LoadError::io("read an answer")(error)),
        };
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        Err(LoadError::Refused {
            request: request.to_owned(),
            status: answer.status,
            body: String::from_utf8_lossy(&answer.body).into_owned(),
        })
    }

    fn head(&self, method: &str, path: &str, content_type: &str, length: usize) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\n{}", self.headers);
        if !content_type.is_empty() {
            write_text(&mut head, format_args!("Content-Type: {content_type}\r\n"));
        }
        write_text(&mut head, format_args!("Content-Length: {length}\r\n\r\n"));
        head
    }
}

fn write_text(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let written = text.write_fmt(arguments);
    debug_assert!(written.is_ok(), "a string takes all that is written");
}

fn read_answer(reader: &mut impl BufRead) -> io::Result<Answer> {
    let status_line = read_line(reader)?;
    let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| malformed("status line"))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("header"))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut answer = Answer {
        status,
        headers,
        body: Vec::new(),
    };
    answer.body = match answer.header("content-length") {
        Some(length) => {
            let length = length.parse().map_err(|_| malformed("content length"))?;
            read_exactly(reader, length)?
        }
        None if answer.header("transfer-encoding").is_some() => read_chunks(reader)?,
        None => Vec::new(),
    };
    Ok(answer)
}

fn read_chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(reader)?;
        let size = usize::from_str_radix(&line, 16).map_err(|_| malformed("chunk size"))?;
        body.extend(read_exactly(reader, size)?);
        read_line(reader)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn read_exactly(reader: &mut impl BufRead, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.take(MAX_JOINED_BYTES as u64).read_line(&mut line)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("malformed {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_bodies_of_known_and_unknown_length() {
        let mut input = &b"HTTP/1.1 201 Created\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 3\r\n\r\nabc\
            HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"[..];
        let first = read_answer(&mut input).unwrap();
        assert_eq!((first.status, &*first.body), (201, &b"abc"[..]));
        assert_eq!(first.header("set-cookie"), Some("a=b; Path=/"));
        let second = read_answer(&mut input).unwrap();
        assert_eq!((second.status, &*second.body), (200, &b"abc0123456789"[..]));
        assert!(read_answer(&mut input).is_err());
    }
}
