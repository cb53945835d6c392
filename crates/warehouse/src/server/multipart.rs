//! Fields of a `multipart/form-data` body, the way the `clickhouse` crate sends query parameters.

/// The boundary named by a Content-Type header, if it is `multipart/form-data`.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then_some(value)
    })?;
    Some(value.trim_matches('"').to_owned()).filter(|boundary| !boundary.is_empty())
}

/// Name and value of each field, in order. `None` when the body is malformed or carries a file.
pub(super) fn fields(body: &[u8], boundary: &str) -> Option<Vec<(String, String)>> {
    let delimiter = format!("--{boundary}");
    let mut fields = Vec::new();
    // The first delimiter has no line break before it; every later one belongs to the part before.
    let mut rest = after(body, delimiter.as_bytes())?;
    let delimiter = format!("\r\n{delimiter}");
    while !rest.starts_with(b"--") {
        let part = rest.strip_prefix(b"\r\n")?;
        let end = position(part, delimiter.as_bytes())?;
        let (part, tail) = part.split_at_checked(end)?;
        fields.push(field(part)?);
        rest = tail.get(delimiter.len()..)?;
    }
    Some(fields)
}

fn field(part: &[u8]) -> Option<(String, String)> {
    let head_end = position(part, b"\r\n\r\n")?;
    let (head, value) = part.split_at_checked(head_end)?;
    let head = std::str::from_utf8(head).ok()?;
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim()
            .eq_ignore_ascii_case("content-disposition")
            .then_some(value)
    })?;
    if disposition.contains("filename") {
        return None;
    }
    let name = disposition
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("name="))?;
    let value = String::from_utf8(value.get(4..)?.to_owned()).ok()?;
    Some((name.trim_matches('"').to_owned(), value))
}

fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn after<'b>(haystack: &'b [u8], needle: &[u8]) -> Option<&'b [u8]> {
    haystack.get(position(haystack, needle)? + needle.len()..)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "--b\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT {a:String}\r\n\
        --b\r\nContent-Disposition: form-data; name=\"param_a\"\r\n\r\nx\r\ny\r\n--b--\r\n";

    #[test]
    fn reads_fields_with_line_breaks() {
        let fields = fields(BODY.as_bytes(), "b").unwrap();
        assert_eq!(fields[0], ("query".to_owned(), "SELECT {a:String}".to_owned()));
        assert_eq!(fields[1], ("param_a".to_owned(), "x\r\ny".to_owned()));
    }

    #[test]
    fn refuses_files_and_cut_bodies() {
        assert!(fields(&BODY.as_bytes()[..BODY.len() - 9], "b").is_none());
        let file = "--b\r\nContent-Disposition: form-data; name=\"t\"; filename=\"t\"\r\n\r\n1\r\n--b--\r\n";
        assert!(fields(file.as_bytes(), "b").is_none());
    }

    #[test]
    fn finds_the_boundary() {
        assert_eq!(
            boundary("multipart/form-data; boundary=\"x-1\"").as_deref(),
            Some("x-1")
        );
        assert_eq!(boundary("text/plain"), None);
    }
}
