//! What a run leaves for people: log, progress, `results.csv`, curves, overlays, tables.

mod axes;
mod canvas;
mod chart;
mod error;
mod histogram;
mod lock;
mod log;
mod overlay;
mod plot;
mod progress;
mod results;
mod scores;
mod sheet;
mod table;
mod text;

pub use canvas::{Canvas, Colour, PALETTE};
pub use chart::{Chart, Line};
pub use error::{ReportError, write_whole};
pub use histogram::Histogram;
pub use lock::{Lock, lock_file};
pub use log::Log;
pub use overlay::{Caption, Layer, Overlay};
pub use plot::{draw_results, plot_results};
pub use progress::Progress;
pub use results::{LOSS_PARTS, ResultRow, append_results, read_results, write_results};
pub use scores::{Precision, Protocol, Scores, UnknownName, Weights};
pub use sheet::{contact_sheet, side_by_side};
pub use table::Table;

use std::path::Path;

use image::RgbImage;

/// Writes a picture whole, then renames it, so that a viewer never sees half of one. Missing folders
/// are made; the suffix of `path` decides the format.
pub fn save_picture(picture: &RgbImage, path: &Path) -> Result<(), ReportError> {
    let format = image::ImageFormat::from_path(path)
        .map_err(|source| ReportError::Picture { path: path.into(), source })?;
    error::write_whole(path, |file| {
        picture
            .write_to(&mut std::io::BufWriter::new(file), format)
            .map_err(|source| ReportError::Picture { path: path.into(), source })
    })
}
