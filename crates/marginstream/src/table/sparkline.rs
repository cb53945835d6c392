//! A row of small bars.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Stands before a projected month.
const PROJECTED_MARK: char = '›';
/// A margin beyond these is drawn as if it were there, so that one heavy loss does not flatten the rest.
const FLOOR_PERCENT: f64 = -50.0;
const CEILING_PERCENT: f64 = 100.0;

/// The range that the bars span, one for all rows of a table, so that rows can be compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    lowest: f64,
    highest: f64,
}

impl Scale {
    /// Spans `percents`, as far as they lie between -50 and 100.
    pub(super) fn of(percents: impl Iterator<Item = f64>) -> Self {
        let empty = Self {
            lowest: CEILING_PERCENT,
            highest: FLOOR_PERCENT,
        };
        percents.fold(empty, |scale, percent| {
            let percent = percent.clamp(FLOOR_PERCENT, CEILING_PERCENT);
            Self {
                lowest: scale.lowest.min(percent),
                highest: scale.highest.max(percent),
            }
        })
    }

    fn bar(self, percent: f64) -> char {
        let span = self.highest - self.lowest;
        let height = if span > 0.0 {
            (percent.clamp(self.lowest, self.highest) - self.lowest) / span
        } else {
            0.5
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "height lies in [0, 1]"
        )]
        let index = (height * 7.0).round() as usize;
        BARS.get(index).copied().unwrap_or('█')
    }
}

/// Draws points, oldest first; a projected one stands behind a mark.
pub(super) fn sparkline(points: impl Iterator<Item = (f64, bool)>, scale: Scale) -> String {
    let mut text = String::new();
    for (percent, is_projected) in points {
        if is_projected {
            text.push(PROJECTED_MARK);
        }
        text.push(scale.bar(percent));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(percents: &[f64]) -> String {
        let scale = Scale::of(percents.iter().copied());
        sparkline(percents.iter().map(|percent| (*percent, false)), scale)
    }

    #[test]
    fn bars_span_the_range() {
        assert_eq!(
            drawn(&[0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0]),
            "▁▂▃▄▅▆▇█"
        );
        assert_eq!(drawn(&[70.0, 0.0]), "█▁");
        assert_eq!(drawn(&[12.0, 12.0]), "▅▅");
        assert_eq!(drawn(&[]), "");
    }

    #[test]
    fn a_heavy_loss_does_not_flatten_the_rest() {
        assert_eq!(drawn(&[-90_000.0, 25.0, 100.0]), "▁▅█");
    }

    #[test]
    fn projections_are_marked() {
        let scale = Scale::of([0.0, 100.0].into_iter());
        assert_eq!(sparkline([(0.0, false), (100.0, true)].into_iter(), scale), "▁›█");
    }
}
