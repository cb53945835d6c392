//! A page that people read, made from the document; it loads nothing from elsewhere.

use std::fmt::Write;

use serde_json::Value;

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
    <meta name=viewport content='width=device-width'><title>marginstream API</title><style>\
    body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a2230}\
    h2{margin-top:2.5rem;border-bottom:1px solid #d8dee8}summary{cursor:pointer;padding:.35rem 0}\
    code{font:13px ui-monospace,monospace}pre{background:#f4f6fa;padding:.8rem;overflow:auto;font-size:13px}\
    .verb{display:inline-block;width:4.5rem;font-weight:600}.who{color:#5a6679}\
    table{border-collapse:collapse}td,th{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}</style>";

/// Returns the page as HTML.
pub(super) fn render(document: &Value) -> String {
    let mut page = String::from(HEAD);
    write_all(&mut page, document);
    page
}

fn write_all(page: &mut String, document: &Value) {
    let info = &document["info"];
    push(
        page,
        format_args!(
            "<h1>marginstream API</h1><p>Version {}. <a href=openapi.json>OpenAPI document</a>.<p>{}",
            text(&info["version"]),
            text(&info["description"])
        ),
    );
    let mut section = String::new();
    for (path, operations) in members(&document["paths"]) {
        for (verb, operation) in members(operations) {
            let tag = text(&operation["tags"][0]);
            if tag != section {
                push(page, format_args!("<h2>{tag}</h2>"));
                section = tag;
            }
            write_operation(page, verb, path, operation);
        }
    }
    push(page, format_args!("<h2>Schemas</h2>"));
    for (name, schema) in members(&document["components"]["schemas"]) {
        push(
            page,
            format_args!(
                "<details id='{0}'><summary><code>{0}</code></summary><pre>{1}</pre></details>",
                escape(name),
                pretty(schema)
            ),
        );
    }
}

fn write_operation(page: &mut String, verb: &str, path: &str, operation: &Value) {
    push(
        page,
        format_args!(
            "<details><summary><span class=verb>{}</span><code>{}</code> <span class=who>{}</span><br>{}</summary>",
            verb.to_uppercase(),
            escape(path),
            who(&operation["x-marginstream-access"]),
            text(&operation["summary"])
        ),
    );
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    if !parameters.is_empty() {
        push(page, format_args!("<table>"));
        for parameter in parameters {
            push(
                page,
                format_args!(
                    "<tr><td><code>{}</code><td>{}<td>{}<td><code>{}</code>",
                    text(&parameter["name"]),
                    text(&parameter["in"]),
                    text(&parameter["description"]),
                    escape(&parameter["schema"].to_string())
                ),
            );
        }
        push(page, format_args!("</table>"));
    }
    for (media_type, content) in members(&operation["requestBody"]["content"]) {
        push(
            page,
            format_args!(
                "<p>Body, <code>{}</code>:<pre>{}</pre>",
                escape(media_type),
                pretty(&content["schema"])
            ),
        );
    }
    push(page, format_args!("<table><tr><th>Status<th>"));
    for (status, response) in members(&operation["responses"]) {
        push(
            page,
            format_args!("<tr><td>{status}<td>{}", text(&response["description"])),
        );
        if status.starts_with('2') {
            for (_, content) in members(&response["content"]) {
                push(page, format_args!("<pre>{}</pre>", pretty(&content["schema"])));
            }
        }
    }
    push(page, format_args!("</table></details>"));
}

/// Says who may call, in words.
fn who(access: &Value) -> String {
    let role = access["minRole"].as_str().unwrap_or_default();
    let caller = match access["kind"].as_str().unwrap_or_default() {
        "public" => "anyone".to_owned(),
        "apiKey" => "API key".to_owned(),
        "session" => format!("session, {role} or higher"),
        "pathOrg" => format!("session, {role} or higher in that organization"),
        _ => "session, or API key where allowed".to_owned(),
    };
    match access["minTier"].as_str() {
        Some(tier) => format!("{caller}; {tier} plan or higher"),
        None => caller,
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn pretty(value: &Value) -> String {
    escape(&serde_json::to_string_pretty(value).unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&quot;")
}

fn push(page: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    page.write_fmt(arguments).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_of_the_document_are_escaped() {
        let operation = json!({ "tags": ["<b>"], "summary": "a < b & 'c'", "responses": {} });
        let document = json!({ "paths": { "/api/x": { "get": operation } } });
        let page = render(&document);
        assert!(page.contains("a &lt; b &amp; &#39;c&#39;") && !page.contains("<b>"));
    }
}
