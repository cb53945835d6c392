//! Progress bars, on standard error and only where that is a terminal.

use std::borrow::Cow;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Redraws a second; a bar that is drawn for each step would slow the work down.
const REDRAWS_PER_SEC: u8 = 10;

/// Starts a bar of `len` steps. Dropped unfinished, it stays as it was.
pub(crate) fn bar(what: impl Into<Cow<'static, str>>, len: u64) -> ProgressBar {
    let template = "{prefix:>10} {bar:32.cyan/blue} {human_pos}/{human_len} {per_sec:.dim} {msg}";
    styled(ProgressBar::with_draw_target(Some(len), target()), template).with_prefix(what)
}

/// Starts a spinner, for work of unknown length.
pub(crate) fn spinner(what: impl Into<Cow<'static, str>>) -> ProgressBar {
    let spinner = styled(
        ProgressBar::with_draw_target(None, target()),
        "{prefix:>10} {spinner} {msg} {elapsed}",
    );
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner.with_prefix(what)
}

fn target() -> ProgressDrawTarget {
    ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SEC)
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    // A template that cannot be read leaves the plain bar.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_can_be_read() {
        for template in [
            "{prefix:>10} {bar:32.cyan/blue} {human_pos}/{human_len} {per_sec:.dim} {msg}",
            "{prefix:>10} {spinner} {msg} {elapsed}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
        bar("events", 3).inc(1);
    }
}
