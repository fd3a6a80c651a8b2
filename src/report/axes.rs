//! What all charts have in common: the font, colours, legends, the way to pixels.

use std::fmt::Display;
use std::sync::LazyLock;

use image::RgbImage;
use plotters::coord::{CoordTranslate, Shift};
use plotters::prelude::*;
use plotters::style::register_font;

use super::ReportError;
use super::canvas::PALETTE;

pub(super) const FONT: &str = "sans-serif";

static FONT_READY: LazyLock<bool> =
    LazyLock::new(|| register_font(FONT, FontStyle::Normal, dejavu::sans::regular()).is_ok());

pub(super) type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// A white picture of this width and height with what `draw` puts on it.
pub(super) fn picture(
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), ReportError>,
) -> Result<RgbImage, ReportError> {
    if !*FONT_READY {
        return Err(ReportError::Plot("the embedded font was refused".into()));
    }
    let mut pixels = vec![255; (size.0 * size.1 * 3) as usize];
    {
        let root = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        draw(&root)?;
        root.present().map_err(failed)?;
    }
    RgbImage::from_raw(size.0, size.1, pixels).ok_or_else(|| ReportError::Plot("wrong buffer size".into()))
}

/// Names the series of a chart.
pub(super) fn legend<'a, 'b: 'a, C: CoordTranslate>(
    chart: &mut ChartContext<'a, BitMapBackend<'b>, C>,
    position: SeriesLabelPosition,
) -> Result<(), ReportError> {
    chart
        .configure_series_labels()
        .position(position)
        .label_font((FONT, 14))
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.25))
        .draw()
        .map_err(failed)
}

pub(super) fn failed(error: impl Display) -> ReportError {
    ReportError::Plot(error.to_string())
}

pub(super) fn colour(index: usize) -> RGBColor {
    let [r, g, b] = PALETTE[index % PALETTE.len()];
    RGBColor(r, g, b)
}
