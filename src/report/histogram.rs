//! Histograms of two kinds of things beside a limit.

use image::RgbImage;
use plotters::prelude::*;

use super::ReportError;
use super::axes::{self, FONT, colour, failed, legend};

const SIZE: (u32, u32) = (760, 480);
const BINS: usize = 50;

/// Two stacked groups of values in bins, and a line at a limit.
#[derive(Clone, Debug)]
pub struct Histogram<'a> {
    pub title: &'a str,
    /// What the values are.
    pub axis: &'a str,
    /// What is counted.
    pub unit: &'a str,
    /// Values from 0; larger ones than this are counted in the last bin.
    pub up_to: f64,
    pub limit: f64,
    /// Name and values: below, and on top of them.
    pub groups: [(&'a str, Vec<f64>); 2],
}

impl Histogram<'_> {
    pub fn draw(&self) -> Result<RgbImage, ReportError> {
        let bin = |value: f64| ((value / self.up_to * BINS as f64).max(0.0) as usize).min(BINS - 1);
        let mut counts = [[0usize; BINS]; 2];
        for (counts, (_, values)) in counts.iter_mut().zip(&self.groups) {
            values.iter().for_each(|&value| counts[bin(value)] += 1);
        }
        let highest = (0..BINS).map(|i| counts[0][i] + counts[1][i]).max().unwrap_or(0).max(1);
        axes::picture(SIZE, |root| {
            let mut chart = ChartBuilder::on(root)
                .caption(self.title, (FONT, 20))
                .margin(12)
                .x_label_area_size(44)
                .y_label_area_size(68)
                .build_cartesian_2d(0.0..self.up_to, 0.0..1.08 * highest as f64)
                .map_err(failed)?;
            chart
                .configure_mesh()
                .x_desc(self.axis)
                .y_desc(self.unit)
                .x_labels(11)
                .y_label_formatter(&|v| format!("{v:.0}"))
                .label_style((FONT, 14))
                .axis_desc_style((FONT, 16))
                .light_line_style(TRANSPARENT)
                .disable_x_mesh()
                .draw()
                .map_err(failed)?;
            let width = self.up_to / BINS as f64;
            for (group, (name, values)) in self.groups.iter().enumerate() {
                let style = colour([2, 1][group]).filled();
                let bars = (0..BINS).filter(|&i| counts[group][i] > 0).map(|i| {
                    let below = if group == 0 { 0 } else { counts[0][i] } as f64;
                    let (left, right) = (i as f64 * width, (i + 1) as f64 * width);
                    Rectangle::new([(left, below), (right, below + counts[group][i] as f64)], style)
                });
                chart
                    .draw_series(bars)
                    .map_err(failed)?
                    .label(format!("{name}: {}", values.len()))
                    .legend(move |(x, y)| Rectangle::new([(x, y - 6), (x + 20, y + 6)], style));
            }
            let line = [(self.limit, 0.0), (self.limit, 1.08 * highest as f64)];
            chart
                .draw_series(LineSeries::new(line, BLACK.stroke_width(1)))
                .map_err(failed)?
                .label(format!("limit: {}", self.limit))
                .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], BLACK));
            legend(&mut chart, SeriesLabelPosition::UpperRight)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::PALETTE;

    #[test]
    fn bars_are_as_high_as_their_counts() {
        let kept = vec![0.01; 30];
        let rejected = vec![0.5; 10].into_iter().chain([7.0; 5]).collect();
        let histogram = Histogram {
            title: "t",
            axis: "projection term",
            unit: "referents",
            up_to: 2.0,
            limit: 0.1,
            groups: [("kept", kept), ("rejected", rejected)],
        };
        let picture = histogram.draw().expect("drawn");
        let area = |colour: [u8; 3]| picture.pixels().filter(|pixel| pixel.0 == colour).count() as f64;
        // The legend has a little of each colour too.
        let ratio = area(PALETTE[2]) / area(PALETTE[1]);
        assert!((1.6..2.4).contains(&ratio), "30 to 15, found {ratio}");
        let empty = Histogram { groups: [("kept", vec![]), ("rejected", vec![])], ..histogram };
        empty.draw().expect("nothing to count is no error");
    }
}
